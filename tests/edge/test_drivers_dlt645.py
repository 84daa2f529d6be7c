"""A DL/T 645 meter over a scripted port: frames of captures and vectors, not of our own encoder."""

from typing import Any

import pytest

from edge.line.line import Line, NoAnswerError
from edge.line.port import PortLostError
from edge.meters.drivers import CAREFUL_TURNAROUND_MS, Dlt645Driver, MeterCounters
from protocols.dlt645.exchange import PARTS_MAX
from protocols.errors import LineError, RefusedError, UnsupportedError, ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.edge.fakes import ENERGY, FakeClock, FakePort, finish, make_line, wire

WAKE = b"\xfe" * 4
ASK_ENERGY, ENERGY_REPLY = WAKE + wire("v001"), wire("v002")  # 00010000: 0.26 kWh
ASK_EXPORT, EXPORT_REPLY = WAKE + wire("v003"), wire("v004")  # 00020000: 1.26 kWh
ASK_VOLTAGE, VOLTAGE_REPLY = WAKE + wire("v009"), wire("v010")  # 02010100: 100.1 V
ASK_CURRENT, CURRENT_REPLY = WAKE + wire("v011"), wire("v012")  # 02020100: 4.999 A
NO_DATA = bytes.fromhex("68 61 01 00 00 00 00 68 D1 01 35 39 16")
OTHER_ERROR = bytes.fromhex("68 61 01 00 00 00 00 68 D1 01 34 38 16")
NOT_AUTHORISED = bytes.fromhex("68 61 01 00 00 00 00 68 D1 01 37 3B 16")
NEIGHBOUR_REPLY = bytes.fromhex("68 62 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8B 16")
NEIGHBOUR_NO_DATA = bytes.fromhex("68 62 01 00 00 00 00 68 D1 01 35 3A 16")
BAD_DIGITS = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 3D 33 94 16")
FILL = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 32 32 32 32 60 16")
SHORT = bytes.fromhex("68 61 01 00 00 00 00 68 91 07 33 33 34 33 59 33 33 56 16")
BAD_SUM = ENERGY_REPLY[:-2] + b"\x8b\x16"

EXPORT = Obis.from_text("1-0:2.8.0")
VOLTAGE = Obis.from_text("1-0:32.7.0")
CURRENT = Obis.from_text("1-0:31.7.0")
READ_ENERGY = Reading(ENERGY, Quantity(26, 1, "Wh", Kind.CUMULATIVE))
READ_EXPORT = Reading(EXPORT, Quantity(126, 1, "Wh", Kind.CUMULATIVE))
READ_VOLTAGE = Reading(VOLTAGE, Quantity(1001, -1, "V", Kind.INSTANTANEOUS))
READ_CURRENT = Reading(CURRENT, Quantity(4999, -3, "A", Kind.INSTANTANEOUS))


@pytest.fixture
def line(clock: FakeClock, port: FakePort) -> Line:
    """At 2400 bit/s."""
    return make_line(clock, port)


def make_driver(*quantities: str, address: str = "000000000161") -> Dlt645Driver:
    """A meter with these quantities."""
    return Dlt645Driver(
        {
            "id": "m-1",
            "protocol": "dlt645-2007",
            "address": address,
            "quantities": quantities or ("1-0:1.8.0",),
        }
    )


def sweep(driver: Dlt645Driver, line: Line, retries: int = 0) -> list[Reading]:
    """All of it."""
    readings: list[Reading] = finish(driver.sweep(line, retries))
    assert all(type(one) is Reading for one in readings)
    return readings


def test_a_sweep_reads_every_quantity_in_order(line: Line, port: FakePort) -> None:
    """OBIS codes and identifiers alike; values as the captures' displays showed them."""
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    port.expect(ASK_VOLTAGE, WAKE + VOLTAGE_REPLY)
    port.expect(ASK_CURRENT, b"\xfe" + CURRENT_REPLY)
    driver = make_driver("1-0:1.8.0", "00020000", "1-0:32.7.0", "02020100")
    assert sweep(driver, line) == [READ_ENERGY, READ_EXPORT, READ_VOLTAGE, READ_CURRENT]
    assert driver.counters == MeterCounters(exchanges=4)


def test_a_sweep_yields_after_every_exchange(line: Line, port: FakePort) -> None:
    """So that an order gets in."""
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    steps = make_driver("1-0:1.8.0", "1-0:2.8.0").sweep(line, 0)
    assert port.written() == []
    next(steps)
    assert port.written() == [ASK_ENERGY]
    next(steps)
    assert port.written() == [ASK_ENERGY, ASK_EXPORT]
    with pytest.raises(StopIteration):
        next(steps)


def test_what_the_meter_lacks_is_asked_once(line: Line, port: FakePort) -> None:
    """ERR 02 drops the item from the schedule; the others go on."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT, NO_DATA)
    assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.unsupported == {"00020000"}
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=3, refusals=1)


@pytest.mark.parametrize("refusal", [OTHER_ERROR, NOT_AUTHORISED])
def test_another_refusal_is_counted_and_asked_again_next_time(
    line: Line, port: FakePort, refusal: bytes
) -> None:
    """It is not repeated within the sweep, and it drops nothing."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    for _ in range(2):
        port.expect(ASK_ENERGY, refusal)
        port.expect(ASK_EXPORT, EXPORT_REPLY)
        assert sweep(driver, line, retries=2) == [READ_EXPORT]
    assert driver.unsupported == set()
    assert driver.counters == MeterCounters(exchanges=4, refusals=2)


@pytest.mark.parametrize("stray", [NEIGHBOUR_REPLY, NEIGHBOUR_NO_DATA, EXPORT_REPLY])
@pytest.mark.parametrize("then_right", [True, False])
def test_an_answer_to_another_question_is_counted_and_never_stored(
    line: Line, port: FakePort, stray: bytes, then_right: bool
) -> None:
    """Another meter's, or this one's late answer of another identifier."""
    driver = make_driver()
    port.expect(ASK_ENERGY, (50, stray), *([(300, ENERGY_REPLY)] if then_right else []))
    if then_right:
        assert sweep(driver, line) == [READ_ENERGY]
    else:
        with pytest.raises(NoAnswerError):
            sweep(driver, line)
    assert driver.counters.strays == 1
    assert driver.unsupported == set()


def test_a_late_answer_between_two_questions_is_drained(line: Line, port: FakePort) -> None:
    """It arrives before the next request: nobody takes it for that one's answer."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY, (50, ENERGY_REPLY), (50.5, EXPORT_REPLY[:12]), (51, EXPORT_REPLY[12:]))
    port.expect(ASK_EXPORT, OTHER_ERROR)
    assert sweep(driver, line) == [READ_ENERGY]
    assert line.counters.stale_bytes == len(EXPORT_REPLY)


def test_our_own_request_is_no_answer(line: Line, port: FakePort) -> None:
    """An echo behind a byte of noise is not recognised as one, and is no answer all the same."""
    driver = make_driver()
    port.expect(ASK_ENERGY, (-10, b"\x00" + ASK_ENERGY), (60, ENERGY_REPLY))
    assert sweep(driver, line) == [READ_ENERGY]


@pytest.mark.parametrize("bad", [BAD_DIGITS, SHORT])
def test_a_bad_value_is_counted_and_not_stored(line: Line, port: FakePort, bad: bytes) -> None:
    """The frame was good, so the meter is not asked again; the others still count."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY, bad)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    assert sweep(driver, line, retries=2) == [READ_EXPORT]
    assert driver.counters == MeterCounters(exchanges=2, bad_values=1)


def test_fill_bytes_give_no_reading(line: Line, port: FakePort) -> None:
    """FF is "no value": neither 0 nor 999999.99, and no fault."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY, FILL)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    assert sweep(driver, line) == [READ_EXPORT]
    assert driver.counters == MeterCounters(exchanges=2)


def test_a_damaged_frame_is_asked_for_again(line: Line, port: FakePort) -> None:
    """A wrong sum is silence: repeated up to the retries, with a longer turnaround, and counted."""
    driver = make_driver()
    port.expect(ASK_ENERGY, BAD_SUM)
    port.expect(ASK_ENERGY)
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=3, retries=2, silences=2)
    assert driver._turnaround_ms == CAREFUL_TURNAROUND_MS


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_silent_meter_raises_after_its_retries(line: Line, port: FakePort, retries: int) -> None:
    """Only the first quantity is tried: a dead meter costs no more."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    for _ in range(retries + 1):
        port.expect(ASK_ENERGY)
    with pytest.raises(NoAnswerError):
        sweep(driver, line, retries)
    assert driver.counters == MeterCounters(
        exchanges=retries + 1, retries=retries, silences=retries + 1
    )


def test_a_meter_that_falls_silent_on_the_way_keeps_what_it_said(
    line: Line, port: FakePort
) -> None:
    """And the rest of the sweep is left out."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0", "1-0:32.7.0")
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT)
    assert sweep(driver, line) == [READ_ENERGY]


def test_a_lost_port_is_not_the_meters_silence(line: Line, port: FakePort) -> None:
    """It ends the sweep at once, without retries."""
    driver = make_driver()
    port.expect(ASK_ENERGY, (20, PortLostError("unplugged")))
    with pytest.raises(PortLostError):
        sweep(driver, line, retries=5)
    assert driver.counters.silences == 0


def test_the_first_of_a_quantity_counts(line: Line, port: FakePort) -> None:
    """Asked for twice, stored once."""
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    assert sweep(make_driver("1-0:1.8.0", "00010000"), line) == [READ_ENERGY]


# ---- follow-up parts ----------------------------------------------------------------------------

ASK_BLOCK, PART_0 = WAKE + wire("v134"), wire("v135")
ASK_1, PART_1 = WAKE + wire("v136"), wire("v137")
ASK_2, PART_2 = WAKE + wire("v138"), wire("v139")
PART_REFUSED = wire("v140")


def block_driver() -> Dlt645Driver:
    """Reads total and rates in one block."""
    return make_driver("0001ff00", address="123456789012")


def block_values(readings: list[Reading]) -> dict[str, int]:
    """OBIS -> tens of Wh."""
    return {one.obis.text(): one.quantity.value for one in readings}


JOINED = {
    "1-0:1.8.0*255": 12345678,
    "1-0:1.8.1*255": 1234567,
    "1-0:1.8.2*255": 2345678,
    "1-0:1.8.3*255": 3456789,
    "1-0:1.8.4*255": 4567890,
}


def test_follow_up_parts_are_joined(line: Line, port: FakePort) -> None:
    """A part ends inside an item; the values are those of the whole."""
    port.expect(ASK_BLOCK, PART_0)
    port.expect(ASK_1, PART_1)
    port.expect(ASK_2, PART_2)
    driver = block_driver()
    assert block_values(sweep(driver, line)) == JOINED
    assert driver.counters == MeterCounters(exchanges=3)


def test_nothing_gets_between_parts(line: Line, port: FakePort) -> None:
    """Another question would make the meter forget the rest: no yield until the last part."""
    port.expect(ASK_BLOCK, PART_0)
    port.expect(ASK_1, PART_1)
    port.expect(ASK_2, PART_2)
    steps = block_driver().sweep(line, 0)
    next(steps)
    assert len(port.written()) == 3
    steps.close()


def test_a_lost_part_is_asked_for_again_with_its_sequence(line: Line, port: FakePort) -> None:
    """Retries count per part; a part of another sequence is a stray."""
    port.expect(ASK_BLOCK, PART_0)
    port.expect(ASK_1)
    port.expect(ASK_1, PART_1)
    port.expect(ASK_2, (50, PART_1), (100, PART_2))
    driver = block_driver()
    assert block_values(sweep(driver, line, retries=1)) == JOINED
    assert driver.counters == MeterCounters(exchanges=4, retries=1, silences=1, strays=1)


def test_a_part_that_never_comes_stores_nothing(line: Line, port: FakePort) -> None:
    """Half a block is none."""
    port.expect(ASK_BLOCK, PART_0)
    port.expect(ASK_1)
    with pytest.raises(NoAnswerError):
        sweep(block_driver(), line)


def test_a_refused_part_stores_nothing(line: Line, port: FakePort) -> None:
    """The meter lost its place: counted."""
    port.expect(ASK_BLOCK, PART_0)
    port.expect(ASK_1, PART_REFUSED)
    driver = block_driver()
    assert sweep(driver, line) == []
    assert driver.counters.refusals == 1


def test_an_answer_without_end_is_an_error(clock: FakeClock) -> None:
    """A meter that always has more is cut off."""

    def endless(request: bytes) -> list[tuple[float, bytes | Exception]]:
        at = request.index(b"\x68")
        if request[at + 8] == 0x11:
            return [(30, PART_0)]
        sequence = request[at + 14]
        body = PART_1[4:22] + bytes([0, sequence])
        frame = body[:18] + bytes([PART_1[22], PART_1[23], PART_1[24], PART_1[25], sequence])
        return [(30, frame + bytes([sum(frame) & 255, 0x16]))]

    port = FakePort(clock, answer=endless)
    with pytest.raises(LineError, match="parts"):
        sweep(block_driver(), make_line(clock, port))
    assert len(port.written()) == PARTS_MAX + 1


# ---- an order's read ----------------------------------------------------------------------------


def read(driver: Dlt645Driver, line: Line, obis: Obis) -> Any:
    """One quantity."""
    return finish(driver.read(line, obis, 0))


def test_a_read_asks_for_one_quantity(line: Line, port: FakePort) -> None:
    """Also one that the schedule dropped."""
    driver = make_driver()
    driver.unsupported.add("00020000")
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    assert read(driver, line, EXPORT) == [READ_EXPORT]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NO_DATA, UnsupportedError),
        (NOT_AUTHORISED, RefusedError),
        (BAD_DIGITS, ValueFormatError),
        (NEIGHBOUR_REPLY, NoAnswerError),
    ],
)
def test_a_read_tells_what_went_wrong(
    line: Line, port: FakePort, answer: bytes, error: type[Exception]
) -> None:
    """Nothing is swallowed, and the schedule is left alone."""
    driver = make_driver()
    port.expect(ASK_ENERGY, answer)
    with pytest.raises(error) as caught:
        read(driver, line, ENERGY)
    assert type(caught.value) is error
    assert driver.unsupported == set()


def test_a_quantity_without_an_identifier_is_unsupported(line: Line, port: FakePort) -> None:
    """Nothing is sent."""
    with pytest.raises(UnsupportedError):
        read(make_driver(), line, Obis.from_text("1-0:99.1.0"))
    assert port.written() == []
