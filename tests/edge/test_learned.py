"""The holes of Modbus meters across restarts: kept, forgotten, asked for again, never a crash."""

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent import Agent
from edge.meters.learned import (
    AGAIN_MS_FIRST,
    AGAIN_MS_MAX,
    FILE_NAME,
    FILE_SIZE_MAX,
    HOLES_MAX,
    Learned,
    MeterHoles,
    _format,
    _parse,
)
from edge.meters.modbus_driver import ModbusDriver
from edge.meters.models import load_models
from edge.settings import METERS_MAX, load_settings
from protocols.modbus.model import Model
from tests.edge.fakes import UTC_MS, FakeClock
from tests.edge.head_end import GATEWAY, TENANT, HeadEnd
from tests.edge.test_drivers_modbus import make_model
from tests.edge.test_settings import write_config

HOLE, OTHER = (3, 120, 123), (4, 0, 0)
MODEL = make_model({"name": "v", "obis": "1-0:32.7.0", "address": 0, "unit": "V"})
SAME = make_model({"name": "v", "obis": "1-0:32.7.0", "address": 0, "unit": "V"}, title="other")
MOVED = make_model({"name": "v", "obis": "1-0:32.7.0", "address": 1, "unit": "V"})
LONGER = make_model(
    {"name": "v", "obis": "1-0:32.7.0", "address": 0, "unit": "V"},
    {"name": "i", "obis": "1-0:31.7.0", "address": 1, "unit": "A"},
)


def kept(folder: Path, clock: FakeClock, model: Model = MODEL, meter: str = "m-1") -> MeterHoles:
    """What a start finds."""
    return Learned(folder, clock).of(meter, model)


def test_holes_outlive_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """Of two meters, each its own; in order."""
    learned = Learned(tmp_path, clock)
    learned.of("m-1", MODEL).keep([OTHER, HOLE])
    learned.of("m-2", MODEL).keep([OTHER])
    learned.of("whole", MODEL).keep([])
    healed = learned.of("m-3", MODEL)
    healed.keep([HOLE])
    healed.keep([])
    assert kept(tmp_path, clock).holes == (HOLE, OTHER)
    assert kept(tmp_path, clock, meter="m-2").holes == (OTHER,)
    assert kept(tmp_path, clock, meter="m-3").holes == ()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert set(json.loads((tmp_path / FILE_NAME).read_bytes())["meters"]) == {"m-1", "m-2"}


def test_a_hole_that_is_gone_is_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    """At once and after a restart."""
    holes = kept(tmp_path, clock)
    holes.keep([HOLE, OTHER])
    holes.keep([OTHER])
    assert holes.holes == kept(tmp_path, clock).holes == (OTHER,)


@pytest.mark.parametrize(("model", "holes"), [(SAME, (HOLE,)), (MOVED, ()), (LONGER, ())])
def test_a_changed_register_list_forgets(
    tmp_path: Path, clock: FakeClock, model: Model, holes: tuple[Any, ...]
) -> None:
    """And only that: a new title changes nothing."""
    kept(tmp_path, clock).keep([HOLE])
    assert kept(tmp_path, clock, model).holes == holes


def test_a_meter_that_is_gone_leaves_the_file(tmp_path: Path, clock: FakeClock) -> None:
    """With the next change: the file does not grow for ever."""
    learned = Learned(tmp_path, clock)
    learned.of("gone", MODEL).keep([HOLE])
    learned.of("m-1", MODEL).keep([HOLE])
    kept(tmp_path, clock).keep([OTHER])
    assert set(json.loads((tmp_path / FILE_NAME).read_bytes())["meters"]) == {"m-1"}


def test_only_a_change_is_written(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that taught nothing costs the card nothing."""
    writes: list[int] = []
    monkeypatch.setattr(Learned, "_write", lambda self: writes.append(1))
    holes = kept(tmp_path, clock)
    for wanted, count in (([], 0), ([HOLE], 1), ([HOLE], 1), ([OTHER, HOLE], 2), ([], 3), ([], 3)):
        holes.keep(wanted)
        assert len(writes) == count
        clock.advance(AGAIN_MS_MAX)


def test_the_holes_of_a_meter_are_bounded(tmp_path: Path, clock: FakeClock) -> None:
    """The same ones each time, so that they are not written again and again."""
    many = [(3, 2 * n, 2 * n) for n in range(HOLES_MAX + 10)]
    holes = kept(tmp_path, clock)
    holes.keep(many)
    before = (tmp_path / FILE_NAME).stat()
    holes.keep(list(reversed(many)))
    assert (tmp_path / FILE_NAME).stat().st_ino == before.st_ino
    assert kept(tmp_path, clock).holes == tuple(many[:HOLES_MAX])


def test_a_gateway_full_of_holes_fits_into_the_file() -> None:
    """The largest numbers of everything."""
    rows = {(4, 65535 - n, 65535): (99_999_999_999_999, 32) for n in range(HOLES_MAX)}
    full = {f"{n:x<64}": ("f" * 32, rows) for n in range(METERS_MAX)}
    content = _format(full)
    assert FILE_SIZE_MAX // 2 < len(content) <= FILE_SIZE_MAX
    assert _parse(content) == full


# ---- asked for again -----------------------------------------------------------------------------


def test_a_hole_is_due_later_each_time(tmp_path: Path, clock: FakeClock) -> None:
    """After an hour, two, four, and in the end every seven days; counted across restarts."""
    kept(tmp_path, clock).keep([HOLE])
    waits = [AGAIN_MS_FIRST << n for n in range(8)] + [AGAIN_MS_MAX] * 40
    assert waits[7] < AGAIN_MS_MAX < 2 * waits[7] == AGAIN_MS_FIRST << 8
    for wait in waits:
        holes = kept(tmp_path, clock)
        clock.advance(wait - 1)
        assert holes.due() is None
        clock.advance(1)
        assert holes.due() == HOLE
        holes.refused_again(HOLE)
        assert holes.due() is None


def test_the_hole_that_waits_longest_is_due_first(tmp_path: Path, clock: FakeClock) -> None:
    """One at a time; a hole that is still there keeps its time when another is added."""
    holes = kept(tmp_path, clock)
    holes.keep([OTHER])
    clock.advance(1)
    holes.keep([OTHER, HOLE])
    clock.advance(AGAIN_MS_FIRST)
    assert holes.due() == OTHER
    holes.refused_again(OTHER)
    assert holes.due() == HOLE


def test_a_clock_that_was_set_back_delays_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """A boot without time must not wait for decades."""
    holes = kept(tmp_path, clock)
    holes.keep([HOLE])
    clock.set_utc(1000)
    assert holes.due() == HOLE
    holes.refused_again(HOLE)
    assert holes.due() is None
    clock.set_utc(UTC_MS)
    assert holes.due() == HOLE


# ---- a bad file ----------------------------------------------------------------------------------


def checked(meters: Any, **head: Any) -> bytes:
    """A file with a good checksum, whatever it holds."""
    check = zlib.crc32(json.dumps(meters, sort_keys=True).encode())
    return json.dumps({"version": 1, "check": check, "meters": meters} | head).encode()


def row(*holes: Any, **more: Any) -> dict[str, Any]:
    """One meter."""
    return {"m-1": {"model": "0" * 32, "holes": list(holes)} | more}


BAD = {
    "nothing": b"",
    "zeros": bytes(100),
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a number": b"1",
    "deep": b"[" * 100_000,
    "another version": checked({}, version=2),
    "no checksum": json.dumps({"version": 1, "meters": {}}).encode(),
    "a wrong checksum": checked(row([3, 0, 0, 1, 1]), check=1),
    "meters as a list": checked([]),
    "a meter as a list": checked({"m-1": []}),
    "no model": checked(row(model=None)),
    "holes as a number": checked(row(holes=1)),
    "a hole as a number": checked(row(1)),
    "four numbers": checked(row([3, 0, 0, 1])),
    "a text in it": checked(row([3, "0", 0, 1, 1])),
    "true in it": checked(row([3, 0, 0, 1, True])),
    "a fraction": checked(row([3, 0, 0.0, 1, 1])),
    "function 5": checked(row([5, 0, 0, 1, 1])),
    "a range backwards": checked(row([3, 2, 1, 1, 1])),
    "a negative address": checked(row([3, -1, 1, 1, 1])),
    "an address of 17 bits": checked(row([3, 0, 65536, 1, 1])),
    "never refused": checked(row([3, 0, 0, 1, 0])),
    "refused too often": checked(row([3, 0, 0, 1, 33])),
    "too many holes": checked(row(*[[3, n, n, 1, 1] for n in range(HOLES_MAX + 1)])),
    "too long": checked(row([3, 0, 0, 1, 1])) + b" " * FILE_SIZE_MAX,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_bad_file_is_a_new_beginning_with_one_line(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """And what is learned then is kept again."""
    (tmp_path / FILE_NAME).write_bytes(content)
    holes = kept(tmp_path, clock)
    assert holes.holes == ()
    told = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert ["learned_holes_discarded" in one.getMessage() for one in told] == [True]
    holes.keep([HOLE])
    assert kept(tmp_path, clock).holes == (HOLE,)


def test_the_bad_files_are_bad_for_their_own_reason() -> None:
    """The frame that they share is good."""
    assert _parse(checked(row([3, 0, 0, 1, 1]))) == {"m-1": ("0" * 32, {(3, 0, 0): (1, 1)})}


def test_every_cut_and_every_wrong_bit_is_noticed(tmp_path: Path, clock: FakeClock) -> None:
    """A hole at a wrong place would hide a register that the meter has."""
    kept(tmp_path, clock).keep([HOLE, OTHER])
    good = (tmp_path / FILE_NAME).read_bytes().rstrip()
    assert _parse(good)["m-1"][1].keys() == {HOLE, OTHER}
    for size in range(len(good)):
        with pytest.raises(ValueError):
            _parse(good[:size])
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            _parse(bytes(damaged))


@given(st.binary(max_size=200))
def test_any_bytes_are_holes_or_a_value_error(content: bytes) -> None:
    """Nothing else."""
    try:
        assert isinstance(_parse(content), dict)
    except (ValueError, RecursionError):
        return


def test_a_file_that_can_not_be_read_stops_nothing(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place: told, neither read nor written, and the holes hold until the end."""
    (tmp_path / FILE_NAME).mkdir()
    holes = kept(tmp_path, clock)
    holes.keep([HOLE])
    assert holes.holes == (HOLE,)
    assert "learned_holes_discarded" in caplog.text
    assert "learned_holes_unwritten" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write that breaks off is never in its place; the next one may succeed."""
    holes = kept(tmp_path, clock)
    holes.keep([HOLE])
    before = (tmp_path / FILE_NAME).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edge.meters.learned.os.fsync", full)
        holes.keep([HOLE, OTHER])
    assert "learned_holes_unwritten" in caplog.text
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    holes.keep([OTHER])
    assert kept(tmp_path, clock).holes == (OTHER,)


# ---- wiring -------------------------------------------------------------------------------------


def test_the_agent_keeps_holes_in_its_state_folder(tmp_path: Path, clock: FakeClock) -> None:
    """The drivers that it builds know at the start what an earlier run learned."""
    HeadEnd().write_files(tmp_path / "identity")
    config = write_config(
        tmp_path,
        {
            "gateway": {
                "id": GATEWAY,
                "tenant": TENANT,
                "state_dir": "state",
                "identity_dir": "identity",
            },
            "mqtt": {"host": "127.0.0.1"},
            "line": [{"id": "lan", "port": "socket://127.0.0.1:1"}],
            "meter": [
                {
                    "id": "m-1",
                    "line": "lan",
                    "protocol": "modbus-tcp",
                    "unit": 1,
                    "model": "eastron-sdm630",
                }
            ],
        },
    )
    settings = load_settings(config)
    model = load_models(settings.meters, settings.path)["eastron-sdm630"]
    register = model.registers[0]
    (tmp_path / "state").mkdir()
    hole = (register.function, register.address, register.address + register.words - 1)
    kept(tmp_path / "state", clock, model).keep([hole])
    agent = Agent(settings, clock)
    os.close(agent._lock)
    driver = agent._workers["lan"].watches["m-1"].driver
    assert isinstance(driver, ModbusDriver)
    assert driver._groups[""].plan.missing == (register,)
    assert driver.unsupported == {register.name}
