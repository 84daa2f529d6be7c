"""The journal, the order counter and the learned holes on a disk that refuses and then loses power.

Without processes and waits: the writer's turns run when the test says so, on `hil.cut_disk`.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import Core
from edge.journal import writer as writer_module
from edge.journal.highwater import HighWater
from edge.journal.store import FILE_NAME, Journal
from edge.journal.writer import HOUSEKEEPING_MS, RETRY_MS
from edge.meters.learned import Learned
from hil.cut_disk import FAULTS, CutDisk
from hil.cut_disk_model import CutMode
from provisioning import files
from tests.cloud.world import World
from tests.edge.fakes import FakeClock, InlineWriter, make_set
from tests.edge.test_learned import MODEL
from tests.system.power_rig import require_cut_disk

pytestmark = pytest.mark.system
EVER = 1 << 62


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    """An empty one."""
    require_cut_disk()
    folder = tmp_path / "disk"
    folder.mkdir()
    with CutDisk(folder) as one:
        yield one


class Gateway:
    """A writer that is fed and driven."""

    def __init__(self, disk: CutDisk, **settings: int) -> None:
        self.clock = FakeClock()
        self.writer = InlineWriter(disk.folder, self.clock, **settings)
        self.writer.start()
        self.count = 0

    def poll(self, times: int = 1, wait_ms: int = RETRY_MS) -> None:
        """A group of reading sets each time, and the writer's turn."""
        for _ in range(times):
            for _ in range(5):
                self.writer.submit(make_set(self.count))
                self.count += 1
            self.clock.advance(wait_ms)
            self.writer.work()


def die(disk: CutDisk, gateway: Gateway) -> None:
    """Power is lost and comes back; what its process had open is void."""
    disk.cut(645, CutMode.NONE)
    gateway.writer.journal._db.close()
    disk.restore()


def rows(disk: CutDisk) -> list[int]:
    """What a new start finds, by the numbers of the sets."""
    journal = Journal(disk.folder, 64)
    journal.open()
    assert journal.salvaged == ""
    reader = journal.reader()
    found = reader.rows(1, EVER)
    reader.close()
    journal.close()
    assert [n for n, _ in found] == list(range(1, len(found) + 1))
    numbers = [one.readings[0].quantity.value for _, one in found]
    assert [one for _, one in found] == [make_set(number) for number in numbers]
    return numbers


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_refuses_is_told_once_and_loses_nothing(
    disk: CutDisk, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For an hour, with housekeeping: then all of it is committed, and stays through a cut."""
    gateway = Gateway(disk, ballast_kb=64)
    gateway.poll(3)
    caplog.clear()
    disk.refuse(fault)
    gateway.poll(60, HOUSEKEEPING_MS)
    assert gateway.writer.trouble
    assert (gateway.writer.held_sets, gateway.writer.sets_lost) == (300, 0)
    lines = [one.getMessage().split()[0] for one in caplog.records]
    assert lines.count("journal_refused") == 1
    assert lines.count("ballast_kept") <= 1
    assert len(lines) <= 2, lines
    disk.refuse()
    gateway.poll(2)
    assert (gateway.writer.trouble, gateway.writer.held_sets) == ("", 0)
    assert [one.getMessage().split()[0] for one in caplog.records][-1] == "journal_recovered"
    die(disk, gateway)
    assert rows(disk) == list(range(gateway.count))


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_committed_before_a_fault_survives_a_cut_in_it(disk: CutDisk, fault: str) -> None:
    """A card that dies takes with it what was not committed, and nothing else."""
    gateway = Gateway(disk)
    gateway.poll(4)
    committed = gateway.count
    assert gateway.writer.head == committed
    disk.refuse(fault)
    gateway.poll(4)
    assert gateway.writer.head == committed
    disk.refuse()
    die(disk, gateway)
    found = rows(disk)
    assert found[:committed] == list(range(committed))


def test_what_memory_can_not_hold_is_counted(
    disk: CutDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first; kept and lost add up to what was read."""
    monkeypatch.setattr(writer_module, "HELD_SETS_MAX", 20)
    gateway = Gateway(disk)
    gateway.poll(2)
    disk.refuse("full")
    gateway.poll(10)
    assert (gateway.writer.held_sets, gateway.writer.sets_lost) == (20, 30)
    disk.refuse()
    gateway.clock.advance(RETRY_MS)
    gateway.writer.work()
    die(disk, gateway)
    assert rows(disk) == [*range(10), *range(40, 60)]


def test_a_disk_that_somebody_else_fills(disk: CutDisk) -> None:
    """The ballast is given up and readings leave its space alone, however long it lasts: there is
    room for acknowledgements. It is taken again when there is space."""
    gateway = Gateway(disk, ballast_kb=256)
    gateway.poll(3)
    ballast = disk.folder / "ballast"
    assert ballast.stat().st_size == 256 * 1024
    disk.limit(sum(path.stat().st_size for path in disk.folder.iterdir()) + 8 * 4096)
    gateway.poll(100)
    assert gateway.writer.trouble
    assert not ballast.exists()
    assert os.statvfs(disk.folder).f_bavail * 4096 > 128 * 1024
    writer = gateway.writer
    writer.call(writer.journal.acknowledge, 10, []).result(0)
    disk.limit(1 << 30)
    gateway.poll(1, HOUSEKEEPING_MS)
    gateway.poll(1, HOUSEKEEPING_MS)
    assert (writer.trouble, writer.held_sets, writer.sets_lost) == ("", 0, 0)
    assert ballast.exists()
    assert writer.journal.acknowledged().contiguous_from(1) == 10
    die(disk, gateway)
    assert rows(disk)[-gateway.count + 15 :] == list(range(15, gateway.count))


@pytest.mark.parametrize("fault", ["full", "read-only", "unwritable", "unsyncable"])
def test_a_start_on_a_refusing_disk_keeps_the_journal(disk: CutDisk, fault: str) -> None:
    """It may fail; nothing is put aside, and the next start finds every row."""
    gateway = Gateway(disk)
    gateway.poll(3)
    die(disk, gateway)
    disk.refuse(fault)
    again = InlineWriter(disk.folder, FakeClock())
    with pytest.raises((sqlite3.Error, OSError)):
        again.start()
    again.journal._disconnect()
    disk.refuse()
    assert not list(disk.folder.glob("journal-damaged-*"))
    assert rows(disk) == list(range(gateway.count))


@pytest.mark.parametrize("fault", ["full", "read-only", "unwritable", "unsyncable"])
def test_the_order_counter_on_a_refusing_disk(disk: CutDisk, fault: str) -> None:
    """A mark that could not be made durable was not raised, and the former one stays."""
    mark = HighWater(disk.folder)
    mark.raise_to(7)
    disk.refuse(fault)
    with pytest.raises(OSError):
        mark.raise_to(8)
    assert mark.value == 7
    disk.refuse()
    disk.cut(645, CutMode.REORDERED)
    disk.restore()
    assert HighWater(disk.folder).value >= 7
    mark = HighWater(disk.folder)
    mark.raise_to(9)
    disk.cut(646)
    disk.restore()
    assert HighWater(disk.folder).value == 9


@pytest.mark.parametrize("fault", ["full", "read-only", "unwritable", "unsyncable"])
def test_learned_holes_and_key_files_on_a_refusing_disk(
    disk: CutDisk, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The old content stays whole; the holes are a convenience and cost one log line."""
    learned = Learned(disk.folder, FakeClock()).of("meter", MODEL)
    learned.keep([(3, 1, 1)])
    files.replace(disk.folder / "keys.json", b"old")
    disk.refuse(fault)
    caplog.set_level(logging.WARNING)
    learned.keep([(3, 2, 2)])
    assert [one.getMessage().split()[0] for one in caplog.records] == ["learned_holes_unwritten"]
    with pytest.raises(OSError):
        files.replace(disk.folder / "keys.json", b"new")
    disk.refuse()
    disk.cut(645)
    disk.restore()
    assert Learned(disk.folder, FakeClock()).of("meter", MODEL).holes == ((3, 1, 1),)
    assert (disk.folder / "keys.json").read_bytes() == b"old"


def test_the_journal_needs_no_other_name(disk: CutDisk) -> None:
    """What a clean stop leaves is one file."""
    gateway = Gateway(disk)
    gateway.poll(2)
    gateway.writer.stop()
    assert [path.name for path in disk.folder.iterdir()] == [FILE_NAME]


def take(core: Core, message: tuple[str, bytes]) -> None:
    """One message in one transaction."""
    assert core.ingest.handle(*message) == ""
    core.ingest.commit()


@pytest.mark.parametrize("fault", ["full", "read-only", "unwritable", "unsyncable", "dead"])
def test_the_head_end_acknowledges_nothing_that_a_disk_refused(tmp_path: Path, fault: str) -> None:
    """No acknowledgement, no row; after the disk has healed the same batch gets both, and they
    stay."""
    require_cut_disk()
    state = tmp_path / "state"
    state.mkdir()
    world = World(tmp_path)
    with CutDisk(state) as disk:
        core = world.core()
        take(core, world.gateway.data([1, 2]))
        world.broker.take()
        disk.refuse(fault)
        with pytest.raises(sqlite3.Error):
            take(core, world.gateway.data([3, 4]))
        core.ingest.rollback()
        assert world.broker.take() == []
        disk.refuse()
        take(core, world.gateway.data([3, 4]))
        (message,) = world.broker.take()
        _, ack = world.gateway.open_ack(message)
        assert ack.upto == 4
        disk.cut(645, CutMode.NONE)
        core.store.db.close()
        disk.restore()
        core = world.core()
        stored = core.store.db.execute("SELECT sequence FROM reading_set ORDER BY 1").fetchall()
        assert stored == [(1,), (2,), (3,), (4,)]
        core.store.close()
