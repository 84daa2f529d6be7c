"""What needs no guest: how its disk loses what was not flushed, and who is told what is missing."""

import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from hil.cut_disk_model import CUT_MODES, SECTOR_SIZE, CutMode
from protocols.errors import CallerError, SettingError
from tests.bench_kit import guest_disk, guest_facts
from tests.bench_kit.guest import KERNEL_VARIABLE, require_guest
from tests.bench_kit.guest_disk import DiskWrite, GuestDisk, read_log, survivors
from tests.bench_kit.guest_rig import CUTS_VARIABLE, asked_cuts

FLUSH, FUA, DISCARD = 1, 2, 4
FIRST, SECOND = (bytes([n]) * 2 * SECTOR_SIZE for n in (1, 2))


def make_log(*entries: tuple[int, bytes, int], counted: int = 0) -> bytes:
    """A log as qemu writes it, of (sector, data, flags)."""
    head = guest_disk._SUPER.pack(guest_disk._MAGIC, 1, counted, SECTOR_SIZE)
    blocks = [head.ljust(SECTOR_SIZE, b"\0")]
    for sector, data, flags in entries:
        entry = guest_disk._ENTRY.pack(sector, len(data) // SECTOR_SIZE, flags, 0)
        blocks.append(entry.ljust(SECTOR_SIZE, b"\0") + data)
    return b"".join(blocks)


# --- the log ------------------------------------------------------------------------------------


def test_a_flush_parts_what_is_sure_from_what_is_not() -> None:
    """In the order of writing, at bytes."""
    log = make_log((8, FIRST, 0), (0, b"", FLUSH), (16, SECOND, 0), counted=2)
    assert read_log(log) == (
        [DiskWrite(8 * SECTOR_SIZE, FIRST)],
        [DiskWrite(16 * SECTOR_SIZE, SECOND)],
    )


def test_a_write_that_is_forced_through_is_sure_alone() -> None:
    """With nothing before it; behind other writes it keeps its place among them."""
    assert read_log(make_log((8, FIRST, FUA))) == ([DiskWrite(8 * SECTOR_SIZE, FIRST)], [])
    sure, pending = read_log(make_log((8, FIRST, 0), (16, SECOND, FUA)))
    assert (sure, [one.data for one in pending]) == ([], [FIRST, SECOND])


def test_a_discard_has_no_data() -> None:
    """Its sectors are a length only."""
    log = make_log((8, FIRST, DISCARD))[: 2 * SECTOR_SIZE] + make_log((16, SECOND, 0))[SECTOR_SIZE:]
    assert read_log(log) == ([], [DiskWrite(16 * SECTOR_SIZE, SECOND)])


def test_the_entry_that_its_writer_died_in_is_dropped() -> None:
    """At any byte of it."""
    log = make_log((8, FIRST, 0), (16, SECOND, 0))
    for cut in range(1, 3 * SECTOR_SIZE, 100):
        assert read_log(log[:-cut]) == ([], [DiskWrite(8 * SECTOR_SIZE, FIRST)])


def test_a_log_without_a_flush_has_no_head() -> None:
    """qemu writes it with the first one."""
    log = bytes(SECTOR_SIZE) + make_log((8, FIRST, 0))[SECTOR_SIZE:]
    assert read_log(log) == ([], [DiskWrite(8 * SECTOR_SIZE, FIRST)])
    assert read_log(b"") == ([], [])


def test_a_log_that_lacks_what_it_counted_is_refused() -> None:
    """A hole would make a cut that never was."""
    with pytest.raises(CallerError, match="1 whole entries of 2"):
        read_log(make_log((8, FIRST, 0), counted=2))
    with pytest.raises(CallerError, match="begins with 7, version 1"):
        read_log(b"\x07" + bytes(7) + make_log()[8:])


# --- what survives ------------------------------------------------------------------------------

PENDING = [DiskWrite(n * 4 * SECTOR_SIZE, bytes([n]) * 4 * SECTOR_SIZE) for n in range(1, 9)]


def test_a_first_part_of_the_writes_survives_and_a_torn_one() -> None:
    """Nothing, some and everything occur; a torn write ends at a sector."""
    counts, tails = set(), set()
    for seed in range(200):
        whole = list(survivors(PENDING, CutMode.PREFIX, random.Random(seed)))
        assert whole == PENDING[: len(whole)]
        torn = list(survivors(PENDING, CutMode.TORN, random.Random(seed)))
        assert torn[: len(whole)] == whole
        counts.add(len(whole))
        for offset, data in torn[len(whole) :]:
            assert offset == PENDING[len(whole)].offset
            assert PENDING[len(whole)].data.startswith(data)
            tails.add(len(data))
    assert counts == set(range(len(PENDING) + 1))
    assert tails == {n * SECTOR_SIZE for n in range(5)}


def test_sectors_survive_in_any_order() -> None:
    """Each is one of those that were written, and some lack."""
    sectors = {one.offset + at for one in PENDING for at in range(0, 4 * SECTOR_SIZE, SECTOR_SIZE)}
    seen: set[int] = set()
    counts = set()
    for seed in range(50):
        kept = list(survivors(PENDING, CutMode.REORDERED, random.Random(seed)))
        counts.add(len(kept))
        assert all(one.data == bytes([one.offset // 2048]) * SECTOR_SIZE for one in kept)
        seen |= {one.offset for one in kept}
    assert seen == sectors
    assert min(counts) < 8 < 24 < max(counts)


@pytest.mark.parametrize("mode", CUT_MODES)
def test_a_seed_is_a_cut(mode: str) -> None:
    """The same each time; without a survivor only where nothing may survive."""
    cuts = [list(survivors(PENDING, mode, random.Random(seed))) for seed in range(20)]
    assert cuts == [list(survivors(PENDING, mode, random.Random(seed))) for seed in range(20)]
    assert any(cuts) == (mode != CutMode.NONE)


def make_zeros(path: Path) -> None:
    """A small empty disk."""
    path.write_bytes(bytes(32 * SECTOR_SIZE))


def test_the_next_guest_sees_what_survived(tmp_path: Path) -> None:
    """Not what the guest saw that was killed; what was sure stays over further cuts."""
    disk = GuestDisk(tmp_path, make_zeros)
    assert f"filename={disk.running}" in disk.power_on()
    disk.running.write_bytes(b"\xee" * 32 * SECTOR_SIZE)
    disk.log.write_bytes(make_log((8, FIRST, 0), (0, b"", FLUSH), (16, SECOND, 0), counted=2))
    assert disk.cut(1, CutMode.NONE) == 1
    for _ in range(2):
        disk.power_on()
        content = disk.running.read_bytes()
        assert content[8 * SECTOR_SIZE :][: len(FIRST)] == FIRST
        assert content.count(0) == len(content) - len(FIRST)
        assert disk.cut(2, CutMode.REORDERED) == 0


# --- who is told --------------------------------------------------------------------------------


def config(*benches: str) -> pytest.Config:
    """Of a run that asked for these."""
    return SimpleNamespace(getoption=lambda name: list(benches))  # type: ignore[return-value]


def test_nobody_who_did_not_ask_waits_for_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where nothing may be skipped: the usual run has no kernel for one."""
    monkeypatch.delenv(KERNEL_VARIABLE, raising=False)
    monkeypatch.setenv("BUSBAR_REQUIRE_ALL", "1")
    with pytest.raises(pytest.skip.Exception, match="no guest asked for: --bench vm, or"):
        require_guest(config())


@pytest.mark.parametrize(
    ("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)]
)
def test_who_asks_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    required: str,
    outcome: type[BaseException],
) -> None:
    """In one sentence; a failure where nothing may be skipped."""
    monkeypatch.setenv("BUSBAR_REQUIRE_ALL", required)
    monkeypatch.setenv(KERNEL_VARIABLE, str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(outcome) as told:
        require_guest(config("vm"), "mkfs.ext4")
    assert str(told.value) == (
        "a guest needs qemu-system-x86_64, busybox, mkfs.ext4, a Debian kernel (BUSBAR_VM_KERNEL);"
        " see docs/bench.md"
    )


def test_the_number_of_cuts_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three unless somebody says otherwise."""
    monkeypatch.delenv(CUTS_VARIABLE, raising=False)
    assert asked_cuts() == 3
    monkeypatch.setenv(CUTS_VARIABLE, "20")
    assert asked_cuts() == 20
    for text in ("", "0", "1001", "many"):
        monkeypatch.setenv(CUTS_VARIABLE, text)
        with pytest.raises(SettingError, match="must be a whole number from 1 to 1000, not "):
            asked_cuts()


def test_no_clock_is_set_outside_a_guest(capsys: pytest.CaptureFixture[str]) -> None:
    """The program that sets it looks where it is."""
    assert guest_facts.main() == 2
    assert capsys.readouterr().out.startswith("guest_facts sets the clock: it runs only in a guest")
