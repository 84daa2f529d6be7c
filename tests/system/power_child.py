"""What loses its power: parts of the product at work, each telling what it holds for done.

`power_child.py STATE`: each JSON line of standard input [act, seed, options] becomes a process of
its own that first tells what it finds in STATE and then works until it has done enough or the disk
fails it; `["end", exit code]` closes its report. Options weaken it on purpose, so that the bench
can show what it would find: "synchronous" of SQLite, "fsync" false (none from Python).
"""

import hashlib
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloud.orders.desk import ReadRequest
from cloud.store import sql
from edge.meters.learned import Learned
from protocols.errors import BusbarError, EnvelopeError
from protocols.messages import ACK, ORDER
from protocols.obis import Obis
from provisioning.deployment import Deployment
from tests.cloud.world import World, reading_set
from tests.edge.fakes import FakeClock, FakePort, make_set
from tests.edge.test_learned import MODEL
from tests.edge.test_orders import REPLY
from tests.edge.test_orders import Gateway as EdgeGateway

DONE, POWERLESS = 0, 3  # exit codes
FOREVER = 1 << 62
NOW = 1_790_000_000
READ = ReadRequest("meter-1", Obis.from_text("1-0:1.8.0"), 60, "")
Options = dict[str, Any]


class PowerlessError(Exception):
    """The disk refused, and the product went on without it, as it should."""


class Alarm(logging.Handler):
    """A log line that says that the disk refused ends the act."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raises through whoever logs."""
        raise PowerlessError(record.getMessage())


def say(*words: object) -> None:
    """One line to whoever watches; it is out when this returns."""
    os.write(1, json.dumps(words).encode() + b"\n")


# ---- the gateway -------------------------------------------------------------------------------


class GatewayAct:
    """The journal behind its writer, the order inbox with its mark, and the learned holes."""

    def __init__(self, folder: Path, rng: random.Random, options: Options) -> None:
        self.folder, self.rng = folder, rng
        self.number = self.counter = options["first"]
        self.at_line = 0  # the order whose bytes are on the line
        clock = FakeClock()
        port = FakePort(clock, answer=self._hear)
        self.node = EdgeGateway(folder, clock, port, begins=False)
        weaken(self.node.journal._db, options)
        self.holes = Learned(folder, clock).of("meter", MODEL)
        self._tell_found()
        self.node.begin()
        self._run_jobs()
        for told in options["taken"]:
            self._replay(told)

    def work(self) -> None:
        """A seeded number of steps; some end with an ordinary stop."""
        steps: tuple[Callable[[], None], ...] = (
            *(self.commit,) * 4,
            *(self.order,) * 2,
            *(self.reserve, self.acknowledge, self.purge, self.check_point, self.learn),
        )
        for _ in range(self.rng.randrange(1, 30)):
            self.rng.choice(steps)()
        if self.rng.random() < 0.3:
            self.node.writer.stop()
            self._check_trouble()

    def _tell_found(self) -> None:
        journal = self.node.journal
        say("open", journal.epoch.hex(), journal.salvaged)
        say("integrity", journal._db.execute("PRAGMA integrity_check").fetchone()[0])
        reader = journal.reader()
        rows = [(n, one, one.readings[0].quantity.value) for n, one in reader.rows(1, FOREVER)]
        reader.close()
        say("rows", [[n, value if one == make_set(value) else -1] for n, one, value in rows])
        say("stored", list(journal.acknowledged()))
        orders = journal._db.execute("SELECT counter, state FROM order_inbox").fetchall()
        say("orders", dict(orders))
        say("mark", self.node.desk.last_counter)
        say("hole", self.holes.holes[0][1] if self.holes.holes else 0)

    def _check_trouble(self) -> None:
        if self.node.writer.trouble:
            raise PowerlessError(self.node.writer.trouble)

    def commit(self) -> None:
        """Reading sets, told as the uplink is told."""
        writer = self.node.writer
        numbers = list(range(self.number, self.number + self.rng.randrange(1, 6)))
        self.number += len(numbers)
        for number in numbers:
            writer.submit(make_set(number))
        writer.work(everything=True)
        self._check_trouble()
        say("committed", writer.heads[-1], numbers)

    def reserve(self) -> None:
        """Message counters."""
        say("counters", self.node.journal.reserve_counters())

    def acknowledge(self) -> None:
        """The head end has stored some."""
        head = self.node.journal.head()
        upto = self.rng.choice((head, self.rng.randint(0, head)))
        self.node.journal.acknowledge(upto, [])
        say("acknowledged", upto)

    def purge(self) -> None:
        """Makes room from what is acknowledged."""
        journal = self.node.journal
        say("purging", min(journal.acknowledged().contiguous_from(1), journal.head() - 1))
        journal.purge(0, 0.0)

    def check_point(self) -> None:
        """What SQLite does by itself every 1,000 pages."""
        self.node.journal._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def learn(self) -> None:
        """A hole of a register map."""
        hole = self.rng.randrange(1, 1 << 16)
        say("learning", hole)
        self.holes.keep([(3, hole, hole)])
        say("learned", hole)

    def order(self) -> None:
        """Takes one up; its job may run at once, later, or never."""
        self.counter += self.rng.randrange(1, 4)
        self.node.take(self.counter)
        say("taken", self.counter)
        if self.rng.random() < 0.8:
            self._run_jobs()

    def _run_jobs(self) -> None:
        for job in self.node.jobs:
            self.at_line = job._counter
            for _ in job.steps(self.node.line, self.node.driver, 0):
                pass
        self.node.jobs.clear()

    def _hear(self, request: bytes) -> list[tuple[float, bytes | Exception]]:
        say("byte", self.at_line)
        return [(50.0, REPLY)]

    def _replay(self, counter: int) -> None:
        try:
            self.node.take(counter)
            say("again", counter)
        except EnvelopeError:
            pass


# ---- the head end ------------------------------------------------------------------------------


class HeadEndAct:
    """Ingest and order desk: sealed batches in, sealed acknowledgements and orders out."""

    world: World

    def __init__(self, folder: Path, rng: random.Random, options: Options) -> None:
        self.rng = rng
        self.sequence = self.world.gateway.sequence = options["first"]
        self.core = self.world.core()
        weaken(self.core.store.db, options)
        self._tell_found()

    def work(self) -> None:
        """A hello, then seeded steps."""
        self._handle(self.world.gateway.hello())
        self._commit()
        for _ in range(self.rng.randrange(1, 15)):
            self.rng.choice((self.batches, self.batches, self.order))()
        if self.rng.random() < 0.3:
            self.core.store.close()

    def batches(self) -> None:
        """A group of messages, some of them twice, in one transaction."""
        for _ in range(self.rng.randrange(1, 4)):
            self.sequence += self.rng.randrange(1, 3)
            last = self.sequence + self.rng.randrange(1, 6)
            message = self.world.gateway.data(range(self.sequence, last))
            self.sequence = last
            self._handle(message)
            if self.rng.random() < 0.2:
                self.core.ingest.handle(*message)
        self._commit()

    def order(self) -> None:
        """One that an operator asks for."""
        self.core.desk.order_read(READ, lambda event: None)
        self._commit()
        self.core.desk.publish_queued()
        self._tell_sent()
        self._commit()

    def _handle(self, message: tuple[str, bytes]) -> None:
        word = self.core.ingest.handle(*message)
        if word:
            raise ValueError(f"an honest message was refused: {word}")

    def _commit(self) -> None:
        self.core.ingest.commit()
        self._tell_sent()

    def _tell_sent(self) -> None:
        for message in self.world.broker.take():
            if message.topic == self.world.gateway.topic(ACK.suffix):
                claims, ack = self.world.gateway.open_ack(message)
                say("acked", claims.sequence, ack.upto, [list(one) for one in ack.ranges])
            elif message.topic == self.world.gateway.topic(ORDER.suffix):
                order_claims, order = self.world.gateway.open_order(message)
                say("ordered", order_claims.sequence, order.order_id.hex())

    def _tell_found(self) -> None:
        db = self.core.store.db
        say("integrity", db.execute("PRAGMA integrity_check").fetchone()[0])
        epochs = db.execute("SELECT epoch_key FROM epoch").fetchall()
        say("found", len(epochs))
        for (key,) in epochs:
            say("ledger", db.execute(sql.SELECT_RANGES, (key,)).fetchall())
            say("rows", db.execute(sql.SELECT_ROW_RANGES, (key,)).fetchall())
            rows = db.execute('SELECT sequence, "values" FROM reading_set').fetchall()
            say("wrong", [n for n, values in rows if json.loads(values) != _values(n)])


def _values(sequence: int) -> list[int]:
    return [one.quantity.value for one in reading_set(sequence).readings]


# ---- provisioning ------------------------------------------------------------------------------


PARTS = ("ca", "cloud", "broker", "gateways")


class ProvisioningAct:
    """A deployment's key files: made once, and one more gateway each time."""

    def __init__(self, folder: Path, rng: random.Random, options: Options) -> None:
        self.path = folder / "id"
        self.rng = rng
        self.first = options["first"]
        has = {part: (self.path / part).exists() for part in PARTS}
        if has["ca"] and not all(has.values()):
            say("half", sorted(part for part in PARTS if not has[part]))
        registry = self.path / "cloud" / "registry.json"
        if registry.exists():
            keys = json.loads(registry.read_bytes())["keys"]
            say("registered", sorted({row["owner"] for row in keys}))
        say("files", digests(self.path))

    def work(self) -> None:
        """One or two gateways. Half a deployment is nobody's yet: the operator starts again."""
        parts = [(self.path / part).exists() for part in PARTS]
        if any(parts) and not all(parts):
            say("stranded")
            shutil.rmtree(self.path)
        for number in range(self.first, self.first + self.rng.randrange(1, 3)):
            Deployment(self.path).init(None, [f"gw{number}"], None, NOW)
            say("made", f"gw{number}", digests(self.path))


def digests(folder: Path) -> dict[str, str]:
    """The files that never change once they are made, by their names in `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("registry.json", "crl.pem")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


# ---- the process -------------------------------------------------------------------------------

ACTS = {"gateway": GatewayAct, "head-end": HeadEndAct, "provisioning": ProvisioningAct}


def weaken(db: sqlite3.Connection, options: Options) -> None:
    """SQLite with less than the product's own setting, where the test asks for it."""
    if "synchronous" in options:
        db.execute(f"PRAGMA synchronous={options['synchronous']}")


def perform(act: str, folder: Path, seed: int, options: Options) -> int:
    """One life of one part, in a process that nobody else uses. The exit code."""
    if not options["fsync"]:
        os.fsync = os.fdatasync = lambda descriptor: None
    try:
        ACTS[act](folder, random.Random(seed), options).work()
    except (OSError, sqlite3.Error, PowerlessError, BusbarError) as error:
        say("powerless", type(error).__name__, str(error))
        return POWERLESS
    return DONE


def main() -> None:
    """Forks an act for each line, because a start of Python takes longer than a whole act."""
    folder = Path(sys.argv[1])
    HeadEndAct.world = World(folder.parent)
    logging.getLogger("edge.meters").addHandler(Alarm())
    logging.getLogger("edge").propagate = False
    logging.getLogger("edge").addHandler(logging.NullHandler())
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = perform(*_parsed(line, folder))
            except BaseException:  # noqa: BLE001 - the parent must see how it ended
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        say("end", os.waitstatus_to_exitcode(status))


def _parsed(line: str, folder: Path) -> tuple[str, Path, int, Options]:
    act, seed, options = json.loads(line)
    return act, folder, seed, options


if __name__ == "__main__":
    main()
