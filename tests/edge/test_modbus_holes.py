"""A Modbus meter that does not have all that its model lists: what a sweep does about it.

The meter here is a set of addresses; its frames are packed by hand, as in `test_drivers_modbus`.
"""

import struct
from pathlib import Path
from typing import Any

import pytest

from edge.line.line import Line, NoAnswerError
from edge.meters.learned import AGAIN_MS_FIRST, AGAIN_MS_MAX, Learned
from edge.meters.modbus_driver import ModbusDriver
from protocols.errors import UnsupportedError
from protocols.modbus.model import Model
from protocols.modbus.plan import GAP_REGISTERS_MAX
from protocols.obis import Obis
from tests.edge.fakes import FakeClock, FakePort, finish, make_line
from tests.edge.test_drivers_modbus import UNIT, make_model, refusal, reply

CODES = ("32.7", "52.7", "72.7", "31.7", "51.7", "71.7", "16.7", "36.7", "56.7", "76.7")
NAMES = tuple("abcdefghij")


def listed(*addresses: int, **head: Any) -> Model:
    """Registers a, b, … at these addresses."""
    rows = [
        {"name": name, "obis": f"1-0:{code}.0", "address": address, "unit": "V"}
        for name, code, address in zip(NAMES, CODES, addresses, strict=False)
    ]
    return make_model(*rows, **head)


class Meter:
    """Reads what is in `has`, refuses the rest; `mood` is an exception for everything."""

    def __init__(self, clock: FakeClock, *has: int) -> None:
        self.has = set(has)
        self.mood = 0
        self.silent = False
        self.asked: list[tuple[int, int]] = []  # of the sweep: address, count
        self.line: Line = make_line(clock, FakePort(clock, answer=self._answer))

    def _answer(self, request: bytes) -> list[tuple[float, bytes | Exception]]:
        function, address, count = struct.unpack(">BHH", request[1:6])
        self.asked.append((address, count))
        if self.silent:
            return []
        if self.mood:
            return [(30.0, refusal(self.mood, function=function))]
        words = range(address, address + count)
        if not self.has.issuperset(words):
            return [(30.0, refusal(2, function=function))]
        return [(30.0, reply(*words, function=function))]

    def sweep(self, driver: ModbusDriver, retries: int = 0) -> str:
        """The names of what was read, each with its true value."""
        self.asked = []
        readings = finish(driver.sweep(self.line, retries))
        by_code = {one.obis: one for one in driver._model.registers}
        for reading in readings:
            assert reading.quantity.value == by_code[reading.obis].address
        return "".join(by_code[one.obis].name for one in readings)


def start(folder: Path, clock: FakeClock, model: Model, *quantities: str) -> ModbusDriver:
    """A driver as after a restart."""
    settings = {"id": "m-1", "protocol": "modbus", "unit": UNIT, "quantities": quantities or None}
    return ModbusDriver(settings, model, Learned(folder, clock).of("m-1", model))


TEN = listed(*range(100, 110))


def test_what_answers_counts_in_the_sweep_that_learns(tmp_path: Path, clock: FakeClock) -> None:
    """One register of ten is missing: the nine others are read in the first sweep, and from the
    second on without a refusal."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    assert meter.sweep(driver) == "abcdfghij"
    assert driver.unsupported == {"e"}
    assert meter.asked[0] == (100, 10)
    assert meter.asked[1][0] == 100  # its parts in order
    assert driver.counters.refusals == driver.counters.exceptions["illegal data address"] > 0
    assert len(meter.asked) <= 12
    refusals = driver.counters.refusals
    for _ in range(3):
        assert meter.sweep(driver) == "abcdfghij"
        assert len(meter.asked) == 2
    assert driver.counters.refusals == refusals


@pytest.mark.parametrize("missing", range(100, 110))
def test_each_register_may_be_the_one(tmp_path: Path, clock: FakeClock, missing: int) -> None:
    """At the border too."""
    meter = Meter(clock, *set(range(100, 110)) - {missing})
    driver = start(tmp_path, clock, TEN)
    name = NAMES[missing - 100]
    for _ in range(2):
        assert meter.sweep(driver) == "abcdefghij".replace(name, "")
    assert driver.unsupported == {name}


def test_a_gap_that_refuses_is_read_around(tmp_path: Path, clock: FakeClock) -> None:
    """No register is missing then."""
    meter = Meter(clock, 100, 104)
    driver = start(tmp_path, clock, listed(100, 104))
    assert GAP_REGISTERS_MAX >= 3
    for _ in range(2):
        assert meter.sweep(driver) == "ab"
    assert meter.asked == [(100, 1), (104, 1)]
    assert driver.unsupported == set()


def test_the_models_limits_are_kept(tmp_path: Path, clock: FakeClock) -> None:
    """Registers of one request, and unread ones between two."""
    meter = Meter(clock, *range(100, 120))
    assert meter.sweep(start(tmp_path, clock, listed(*range(100, 110), span_max=4)))
    assert meter.asked == [(100, 4), (104, 4), (108, 2)]
    assert meter.sweep(start(tmp_path, clock, listed(100, 102, 105, gap_max=1)))
    assert meter.asked == [(100, 3), (105, 1)]


def test_two_functions_of_one_model_do_not_meet(tmp_path: Path, clock: FakeClock) -> None:
    """Holding register 100 and input register 100 are two; each is read with its own."""
    rows = [
        {"name": "a", "obis": "1-0:32.7.0", "address": 100, "unit": "V"},
        {"name": "b", "obis": "1-0:52.7.0", "address": 100, "unit": "V", "function": 4},
    ]
    port = FakePort(
        clock,
        answer=lambda one: [(30.0, reply(1000 * one[1], function=one[1]))],
    )
    readings = finish(start(tmp_path, clock, make_model(*rows)).sweep(make_line(clock, port), 0))
    assert [one.quantity.value for one in readings] == [3000, 4000]


def test_an_order_gets_in_between_the_parts(tmp_path: Path, clock: FakeClock) -> None:
    """One exchange between two yields, while it learns too."""
    meter = Meter(clock, *set(range(100, 110)) - {104, 107})
    steps = start(tmp_path, clock, TEN).sweep(meter.line, 0)
    count = 0
    for _ in steps:
        count += 1
        assert len(meter.asked) == count
    assert len(meter.asked) == count > 5


# ---- kept ---------------------------------------------------------------------------------------


def test_holes_are_known_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    """Not one refusal more."""
    meter = Meter(clock, *set(range(100, 110)) - {104, 107})
    assert meter.sweep(start(tmp_path, clock, TEN)) == "abcdfgij"
    driver = start(tmp_path, clock, TEN)
    assert meter.sweep(driver) == "abcdfgij"
    assert driver.counters.refusals == 0
    assert driver.unsupported == {"e", "h"}


def test_a_changed_model_learns_anew(tmp_path: Path, clock: FakeClock) -> None:
    """The register may be right now."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    meter.sweep(start(tmp_path, clock, TEN))
    driver = start(tmp_path, clock, listed(*range(100, 109)))
    assert meter.sweep(driver) == "abcdfghi"
    assert driver.counters.refusals > 0


def test_silence_while_it_learns_teaches_nothing_wrong(tmp_path: Path, clock: FakeClock) -> None:
    """After every exchange of the first sweep the meter falls silent once; later all is well."""
    has = set(range(100, 110)) - {104}
    for answered in range(1, 8):
        folder = tmp_path / str(answered)
        folder.mkdir()
        meter = Meter(clock, *has)
        driver = start(folder, clock, TEN)
        steps = driver.sweep(meter.line, 0)
        try:
            for _ in range(answered):
                next(steps)
            meter.silent = True
            finish(steps)
        except (NoAnswerError, StopIteration):
            pass
        meter.silent = False
        assert meter.sweep(driver) == "abcdfghij", answered
        assert meter.sweep(start(folder, clock, TEN)) == "abcdfghij"


def test_a_sweep_that_is_broken_off_keeps_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """A stop of the agent in the middle."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    steps = start(tmp_path, clock, TEN).sweep(meter.line, 0)
    next(steps)
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


# ---- asked again ---------------------------------------------------------------------------------


def test_a_missing_register_is_asked_for_again(tmp_path: Path, clock: FakeClock) -> None:
    """Not before its time, then once in a sweep; in vain, so later the next time."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    clock.advance(AGAIN_MS_FIRST - 10_000)
    meter.sweep(driver)
    assert len(meter.asked) == 2
    clock.advance(10_000)
    assert meter.sweep(driver) == "abcdfghij"
    assert meter.asked[2:] == [(104, 1)]
    clock.advance(AGAIN_MS_FIRST)
    meter.sweep(driver)
    assert len(meter.asked) == 2
    clock.advance(AGAIN_MS_FIRST)
    meter.sweep(driver)
    assert meter.asked[2:] == [(104, 1)]


def test_new_firmware_is_noticed(tmp_path: Path, clock: FakeClock) -> None:
    """The register counts in the sweep that finds it, and the file forgets its hole."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    meter.has.add(104)
    clock.advance(AGAIN_MS_MAX)
    assert meter.sweep(driver) == "abcdefghij"
    assert driver.unsupported == set()
    for one in (driver, start(tmp_path, clock, TEN)):
        assert meter.sweep(one) == "abcdefghij"
        assert meter.asked == [(100, 10)]


def test_only_one_hole_is_tried_in_a_sweep(tmp_path: Path, clock: FakeClock) -> None:
    """However many are due; each gets its turn."""
    meter = Meter(clock, 101, 103, 105)
    driver = start(tmp_path, clock, listed(*range(100, 106)))
    assert meter.sweep(driver) == "bdf"
    clock.advance(AGAIN_MS_FIRST)
    tried = []
    for _ in range(4):
        assert meter.sweep(driver) == "bdf"
        tried.append(meter.asked[3:])
    assert tried == [[(100, 1)], [(102, 1)], [(104, 1)], []]


def test_a_gap_is_tried_again_as_a_whole(tmp_path: Path, clock: FakeClock) -> None:
    """When it is filled, one request is enough again."""
    meter = Meter(clock, 100, 104)
    driver = start(tmp_path, clock, listed(100, 104))
    meter.sweep(driver)
    clock.advance(AGAIN_MS_FIRST)
    assert meter.sweep(driver) == "ab"
    assert meter.asked[2:] == [(101, 3)]
    meter.has.update(range(100, 105))
    clock.advance(AGAIN_MS_MAX)
    assert meter.sweep(driver) == "ab"
    assert meter.sweep(driver) == "ab"
    assert meter.asked == [(100, 5)]


@pytest.mark.parametrize("fault", ["silent", 4])
def test_another_answer_to_the_try_is_no_answer_either(
    tmp_path: Path, clock: FakeClock, fault: Any
) -> None:
    """Some units say nothing where they have nothing: the readings count, the hole stays."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    clock.advance(AGAIN_MS_FIRST)
    steps = driver.sweep(meter.line, 2)
    meter.asked = []
    for _ in range(2):
        next(steps)
    if fault == "silent":
        meter.silent = True
    else:
        meter.mood = fault
    assert len(finish(steps)) == 9
    assert meter.asked[2:] == [(104, 1)]
    meter.silent, meter.mood = False, 0
    assert meter.sweep(driver) == "abcdfghij"
    assert len(meter.asked) == 2


# ---- a meter that refuses everything ------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2])
def test_a_meter_that_refuses_everything_teaches_nothing(
    tmp_path: Path, clock: FakeClock, code: int
) -> None:
    """While it starts, say: one request a sweep from then on, nothing is written, and all is read
    again from the sweep after the first answer."""
    meter = Meter(clock, *range(100, 110))
    meter.mood = code
    driver = start(tmp_path, clock, TEN)
    assert meter.sweep(driver) == ""
    assert driver.unsupported == set(NAMES)
    tried = []
    for _ in range(12):
        assert meter.sweep(driver) == ""
        tried += meter.asked
    assert tried == [(100 + n % 10, 1) for n in range(12)]
    assert list(tmp_path.iterdir()) == []
    meter.mood = 0
    assert meter.sweep(driver) == "c"
    assert meter.sweep(driver) == "abcdefghij"
    assert meter.asked == [(100, 10)]
    assert driver.unsupported == set()


def test_what_was_known_outlives_a_meter_that_refuses_everything(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The hole from before is still one, here and in the file."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    meter.mood = 2
    for _ in range(3):
        meter.sweep(driver)
    meter.mood = 0
    meter.sweep(driver)
    for one in (driver, start(tmp_path, clock, TEN)):
        refusals = one.counters.refusals
        assert meter.sweep(one) == "abcdfghij"
        assert one.counters.refusals == refusals


def test_a_meter_that_refuses_everything_and_falls_silent_is_silent(
    tmp_path: Path, clock: FakeClock
) -> None:
    """So that it pauses, and the line does not wait for it."""
    meter = Meter(clock)
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    meter.silent = True
    with pytest.raises(NoAnswerError):
        meter.sweep(driver)


# ---- orders -------------------------------------------------------------------------------------


def test_an_order_is_not_hindered_by_a_gap(tmp_path: Path, clock: FakeClock) -> None:
    """The quantity and its ratio, with addresses between them that the meter refuses."""
    rows = [
        {"name": "ct", "obis": "1-0:0.4.2", "address": 6},
        {"name": "i", "obis": "1-0:31.7.0", "address": 9, "unit": "A", "times": ["ct"]},
    ]
    meter = Meter(clock, 6, 9)
    driver = start(tmp_path, clock, make_model(*rows))
    (reading,) = finish(driver.read(meter.line, Obis.from_text("1-0:31.7.0"), 0))
    assert reading.quantity.value == 6 * 9
    assert driver.counters.refusals == 0


def test_an_order_splits_what_only_answers_apart(tmp_path: Path, clock: FakeClock) -> None:
    """Neighbours across a border that the meter does not read over."""
    rows = [
        {"name": "ct", "obis": "1-0:0.4.2", "address": 6},
        {"name": "i", "obis": "1-0:31.7.0", "address": 7, "unit": "A", "times": ["ct"]},
    ]
    port = FakePort(clock, answer=lambda one: [(30.0, refusal(2) if one[5] > 1 else reply(one[3]))])
    driver = start(tmp_path, clock, make_model(*rows))
    (reading,) = finish(driver.read(make_line(clock, port), Obis.from_text("1-0:31.7.0"), 0))
    assert reading.quantity.value == 6 * 7


def test_an_order_asks_for_a_register_that_is_known_to_be_missing(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Somebody wants to know now. A refusal is told, and the schedule stays as it is."""
    meter = Meter(clock, *set(range(100, 110)) - {104})
    driver = start(tmp_path, clock, TEN)
    meter.sweep(driver)
    wanted = Obis.from_text(f"1-0:{CODES[4]}.0")
    meter.asked = []
    with pytest.raises(UnsupportedError, match=r"exception 02 \(illegal data address\)"):
        finish(driver.read(meter.line, wanted, 2))
    assert meter.asked == [(104, 1)]
    meter.has.add(104)
    assert len(finish(driver.read(meter.line, wanted, 2))) == 1
    assert meter.sweep(driver) == "abcdfghij"
