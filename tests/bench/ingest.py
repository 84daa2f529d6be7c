"""Ingest on SQLite: sealed batches to committed rows and sealed acknowledgements, against a bare
`executemany` of the same reading sets into the same schema, in transactions of the same size.

Both sides run in turn, each on a fresh database, synchronous FULL; the best round of each counts,
because what disturbs a round on a shared machine only ever makes it slower. Each side starts from
what it gets: ours from sealed messages, the bare one from ReadingSet objects in memory, which it
turns into rows and inserts. What the inserts alone would reach, with every row ready-made before
the clock starts, is told beside it and has no limit: opening, verifying and decoding cost more than
SQLite does.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cloud.settings import TABLES
from cloud.store import sql
from cloud.store.database import open_writer
from protocols.readings import ReadingSet
from tests.bench.gateway import SCRATCH
from tests.bench.sets import numbered, reading_sets
from tests.cloud.world import TENANT, World

ROUNDS = 9
BATCH_SETS = 50
BATCHES = 200
GROUP = next(rule.default for rule in TABLES["ingest"] if rule.name == "commit_messages")


def measure() -> Iterator[tuple[str, float, str]]:
    """Full batches of 500 readings, in groups of the default transaction."""
    SCRATCH.mkdir(exist_ok=True)
    rows = numbered(reading_sets(BATCH_SETS, BATCHES))
    ours, bare = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            ours.append(_ingest_s(Path(folder), rows))
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            bare.append(_bare_s(Path(folder), rows))
    whole, inserts = (min(column) for column in zip(*bare, strict=True))
    yield "ingest_speed_over_executemany", whole / min(ours), "ratio"
    yield "ingest_speed_over_ready_rows", inserts / min(ours), "ratio"


def _ingest_s(folder: Path, rows: list[tuple[int, ReadingSet]]) -> float:
    world = World(folder)
    sealed = [
        world.gateway.batch(rows[at : at + BATCH_SETS]) for at in range(0, len(rows), BATCH_SETS)
    ]
    core = world.core()
    started = time.perf_counter()
    for at in range(0, len(sealed), GROUP):
        for topic, payload in sealed[at : at + GROUP]:
            assert core.ingest.handle(topic, payload) == ""
        core.ingest.commit()
    seconds = time.perf_counter() - started
    assert core.store.db.execute("SELECT count(*) FROM reading_set").fetchone()[0] == len(rows)
    core.store.close()
    return seconds


def _bare_s(folder: Path, rows: list[tuple[int, ReadingSet]]) -> tuple[float, float]:
    """Seconds from reading sets to committed rows, and of the inserts alone."""
    db = open_writer(folder / "bare.db", TENANT)
    meters = {meter: key for key, meter in enumerate(sorted({one.meter_id for _, one in rows}))}
    size = GROUP * BATCH_SETS
    inserts = 0.0
    started = time.perf_counter()
    for at in range(0, len(rows), size):
        ready = [_row(meters, sequence, one) for sequence, one in rows[at : at + size]]
        inserting = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(sql.INSERT_SET, ready)
        db.execute("COMMIT")
        inserts += time.perf_counter() - inserting
    seconds = time.perf_counter() - started
    db.close()
    return seconds, inserts


def _row(meters: dict[str, int], sequence: int, one: ReadingSet) -> tuple[object, ...]:
    values = json.dumps([reading.quantity.value for reading in one.readings], separators=(",", ":"))
    meter = meters[one.meter_id]
    return (
        1, sequence, meter, one.read_at, one.boot_at, 1, one.quality, one.read_at, 1, values,
        one.origin, one.flags,
    )  # fmt: skip
