"""Pain 15: nobody knows how full the buffer is, and how long it lasts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.journal import writer as writer_module
from edge.journal.store import Journal
from tests.edge.fakes import UTC_MS, FakeClock, InlineWriter, make_set
from tests.edge.test_settings import GOOD, write_config

ROOT = Path(__file__).parents[2]
DAY_MS = 86_400_000
SIZE_MB = 2


def status(folder: Path, *words: str) -> str:
    """What `busbar-edge journal status` prints, as a person starts it."""
    config = write_config(folder, GOOD | {"journal": {"size_mb_max": SIZE_MB}})
    done = subprocess.run(
        [sys.executable, "-m", "edge", "journal", "status", *words, "--config", str(config)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_command_tells_how_full_the_buffer_is_and_when_it_will_be(tmp_path: Path) -> None:
    """thingsboard-gateway #959, telegraf #967 (no way to see the buffer): share, backlog, since
    when, and the days that are left; and they are right, by filling what is left."""
    state = tmp_path / "state"
    state.mkdir()
    journal = Journal(state, SIZE_MB)
    journal.open()
    now = time.time_ns() // 1_000_000
    per_day = 20_000
    step = DAY_MS // per_day
    journal.append(make_set(n, read_at=now - DAY_MS + n * step + step // 2) for n in range(per_day))
    journal.acknowledge(1_000, [])
    said = status(tmp_path)
    figures = json.loads(status(tmp_path, "--json"))
    assert f"backlog   {per_day - 1_000} reading sets, the oldest of " in said
    assert f"{figures['used'] / figures['size_max']:.0%} of {SIZE_MB} MB" in said
    assert figures["backlog"] == per_day - 1_000
    oldest = now - DAY_MS + 1_000 * step + step // 2
    assert figures["oldest_unacknowledged"] == oldest
    assert figures["used"] / figures["size_max"] == journal.fill()
    days = figures["days_until_full"]
    assert f"full in {days:.0f} days" in said
    more, number = 0, per_day
    while journal.fill() < 0.99:
        journal.append(make_set(number + n) for n in range(100))
        more, number = more + 100, number + 100
    journal.close()
    assert 0.8 * days <= more / per_day <= 1.3 * days


def test_what_does_not_fit_is_told_and_never_dropped_in_silence(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """telegraf #5536 (metrics are dropped from the full buffer without a word): levels are told as
    they are crossed, and what memory cannot hold is counted and told with its times."""
    monkeypatch.setattr(writer_module, "HELD_SETS_MAX", 500)
    writer = InlineWriter(tmp_path, clock, size_mb_max=1, commit_sets=100)
    writer.start()
    number = 0
    while writer.sets_lost == 0:
        for _ in range(100):
            writer.submit(make_set(number, read_at=UTC_MS + number))
            number += 1
        clock.advance(60_000)
        writer.work()
        assert number < 100_000
    lost = writer.sets_lost
    stored = writer.journal.reader()
    kinds = [one.kind for _, one in stored.events(100)]
    assert "disk-80" in kinds
    writer.call(writer.journal.acknowledge, writer.head, [])
    for _ in range(5):
        clock.advance(60_000)
        writer.work()
    told = [one for _, one in stored.events(1000) if one.kind == "values-shed"]
    kinds = [one.kind for _, one in stored.events(1000)]
    stored.close()
    assert {"disk-refuses", "disk-recovered"} <= set(kinds)
    assert sum(int(one.detail.split()[0]) for one in told) == lost
    writer.stop()
