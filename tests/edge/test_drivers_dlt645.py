"""A DL/T 645 meter over a scripted port: frames of captures and vectors, not of our own encoder."""

import logging
from typing import Any

import pytest

from edge.line.line import Line, NoAnswerError
from edge.line.port import PortLostError
from edge.meters.dlt645_driver import (
    CAREFUL_TURNAROUND_MS,
    OTHER_EDITION_EVERY,
    Dlt645Conversation,
    Dlt645Driver,
)
from edge.meters.dlt645_quantities import members_of
from edge.meters.driver import MeterCounters
from protocols.dlt645 import exchange as dlt645
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


def make_driver(
    *quantities: str, address: str = "000000000161", edition: str = "2007"
) -> Dlt645Driver:
    """A meter with these quantities."""
    return Dlt645Driver(
        {
            "id": "m-1",
            "protocol": "dlt645-2007",
            "address": address,
            "edition": edition,
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


def test_the_everyday_answer_takes_the_short_way() -> None:
    """It is read without deframer and exchange."""
    conversation = Dlt645Conversation(dlt645.read("000000000161", "00010000"))
    assert conversation.receive(WAKE + ENERGY_REPLY)
    assert conversation.readings == [READ_ENERGY]


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
    assert driver.unsupported == set()  # it has the block, and is asked again next time


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


@pytest.mark.parametrize(
    ("obis", "request_data", "reply", "codes"),
    [
        ("1-0:1.8.0*1", "34 33 34 33", "34 33 34 33 59 33 33 33", ["1-0:1.8.0*1"]),
        ("1-128:4.0.15*1", "34 42 33 37", "34 42 33 37 33 38 33 33", ["1-128:4.0.15*1"]),
        (
            "1-0:1.6.0",
            "33 33 34 34",
            "33 33 34 34 45 33 33 38 43 34 36 58",
            ["1-0:1.6.0*255", "1-129:1.1.0*0"],
        ),
    ],
)
def test_a_read_knows_settlements_and_codes_of_our_own(
    line: Line, port: FakePort, obis: str, request_data: str, reply: str, codes: list[str]
) -> None:
    """The energy of the last settlement, an item without a code, and a demand with its time."""
    port.expect(WAKE + frame("000000000161", 0x11, request_data),
                frame("000000000161", 0x91, reply))  # fmt: skip
    readings = read(make_driver(), line, Obis.from_text(obis))
    assert [one.obis.text() for one in readings] == codes


@pytest.mark.parametrize("obis", ["1-128:4.0.12*1", "1-128:6.1.0*1", "1-128:9.9.9*9"])
def test_what_cannot_be_read_is_not_asked_for(line: Line, port: FakePort, obis: str) -> None:
    """A password, a load record of unknown layout, an identifier that nobody knows."""
    with pytest.raises(UnsupportedError, match="cannot be read: "):
        read(make_driver(), line, Obis.from_text(obis))
    assert port.written() == []


# ---- a refused block ----------------------------------------------------------------------------


def frame(address: str, control: int, wire_data: str = "") -> bytes:
    """A frame with data as on the wire, not by our own encoder."""
    data = bytes.fromhex(wire_data)
    body = b"\x68" + bytes.fromhex(address)[::-1] + bytes([0x68, control, len(data)]) + data
    return body + bytes([sum(body) % 256, 0x16])


def ask(di: str) -> bytes:
    """The read of one identifier of edition 2007."""
    data = bytes((one + 0x33) % 256 for one in reversed(bytes.fromhex(di)))
    return WAKE + frame("000000000161", 0x11, data.hex())


def test_a_refused_block_is_asked_for_item_by_item(line: Line, port: FakePort) -> None:
    """In its place, in the same sweep; from then on the block is left alone."""
    driver = make_driver("0201FF00", "1-0:1.8.0")
    port.expect(ask("0201FF00"), NO_DATA)
    port.expect(ASK_VOLTAGE, VOLTAGE_REPLY)
    port.expect(ask("02010200"), NO_DATA)
    port.expect(ask("02010300"), OTHER_ERROR)
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    assert sweep(driver, line) == [READ_VOLTAGE, READ_ENERGY]
    assert driver.unsupported == {"0201FF00", "02010200"}
    port.expect(ASK_VOLTAGE, VOLTAGE_REPLY)
    port.expect(ask("02010300"), OTHER_ERROR)
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    assert sweep(driver, line) == [READ_VOLTAGE, READ_ENERGY]
    assert driver.costs()


def test_behind_the_first_tariff_that_is_missing_there_are_no_more(
    line: Line, port: FakePort
) -> None:
    """A meter has as many as it has: sixty refusals are not asked for."""
    driver = make_driver("0001FF00", "1-0:2.8.0")
    for _ in range(2):
        first = not driver.unsupported
        if first:
            port.expect(ask("0001FF00"), NO_DATA)
        port.expect(ASK_ENERGY, ENERGY_REPLY)
        if first:
            port.expect(ask("00010100"), NO_DATA)
        port.expect(ASK_EXPORT, EXPORT_REPLY)
        assert sweep(driver, line) == [READ_ENERGY, READ_EXPORT]
    assert driver.unsupported == {"0001FF00", "00010100"}


def test_an_item_that_is_read_anyway_is_not_read_twice(line: Line, port: FakePort) -> None:
    """A block beside one of its items."""
    driver = make_driver("02010100", "0201FF00")
    port.expect(ASK_VOLTAGE, VOLTAGE_REPLY)
    port.expect(ask("0201FF00"), NO_DATA)
    port.expect(ask("02010200"), NO_DATA)
    port.expect(ask("02010300"), NO_DATA)
    assert sweep(driver, line) == [READ_VOLTAGE]


@pytest.mark.parametrize(
    ("block", "first", "last", "count", "is_open"),
    [
        ("0001FF00", "00010000", "00013F00", 64, True),
        ("000100FF", "00010000", "0001000C", 13, False),
        ("0101FF00", "01010000", "01013F00", 64, True),
        ("0203FF00", "02030000", "02030300", 4, False),
        ("040005FF", "04000501", "04000507", 7, False),
        ("901F", "9010", "901E", 15, True),
        ("B61F", "B611", "B613", 3, True),
    ],
)
def test_the_items_of_a_block(block: str, first: str, last: str, count: int, is_open: bool) -> None:
    """In their order; a demand's value and time are one identifier."""
    members, found_open = members_of(block)
    assert (members[0], members[-1], len(members), found_open) == (first, last, count, is_open)
    assert members_of(first) == ([], False)


# ---- an error reply that may be late ------------------------------------------------------------


def test_a_late_refusal_drops_nothing(line: Line, port: FakePort) -> None:
    """The meter refused the question that it had been asked before, after we gave it up: the
    refusal meets the next question, which is asked again when the line is quiet."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT)
    assert sweep(driver, line) == [READ_ENERGY]
    port.expect(ASK_ENERGY, (50, NO_DATA), (60, ENERGY_REPLY))
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    assert sweep(driver, line) == [READ_ENERGY, READ_EXPORT]
    assert driver.unsupported == set()
    assert line.counters.stale_bytes == len(ENERGY_REPLY)


def test_a_chain_of_late_refusals_ends(line: Line, port: FakePort) -> None:
    """Each answer comes a question or two late: without a pause, the second refusal would meet the
    next question, and the third one its repetition."""
    driver = make_driver("1-0:2.8.0", "1-0:1.8.0")
    port.expect(ASK_EXPORT, (1460, NO_DATA))  # given up after 600 ms
    port.expect(ASK_EXPORT, (900, NO_DATA))  # as this one
    port.expect(ASK_EXPORT, (320, NO_DATA))  # the first one's refusal comes 40 ms after this
    port.expect(ASK_ENERGY, (300, ENERGY_REPLY))  # the second one's meets this
    port.expect(ASK_ENERGY, (300, ENERGY_REPLY))
    assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.unsupported == {"00020000"}
    assert line.counters.stale_bytes == len(NO_DATA) + len(ENERGY_REPLY)


def test_a_refusal_that_comes_again_counts(line: Line, port: FakePort) -> None:
    """Once it was confirmed, the doubt is over: the next one is believed at once."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0", "1-0:32.7.0")
    port.expect(ASK_ENERGY)
    with pytest.raises(NoAnswerError):
        sweep(driver, line)
    port.expect(ASK_ENERGY, NO_DATA)
    port.expect(ASK_ENERGY, NO_DATA)
    port.expect(ASK_EXPORT, NO_DATA)
    port.expect(ASK_VOLTAGE, VOLTAGE_REPLY)
    assert sweep(driver, line) == [READ_VOLTAGE]
    assert driver.unsupported == {"00010000", "00020000"}


def test_an_answer_ends_the_doubt(line: Line, port: FakePort) -> None:
    """Answers come in order: behind a value, a refusal is of its own question."""
    driver = make_driver("1-0:1.8.0", "1-0:2.8.0")
    port.expect(ASK_ENERGY)
    port.expect(ASK_ENERGY, ENERGY_REPLY)
    port.expect(ASK_EXPORT, NO_DATA)
    assert sweep(driver, line, retries=1) == [READ_ENERGY]
    assert driver.unsupported == {"00020000"}


def test_an_orders_read_does_not_believe_a_late_refusal_either(line: Line, port: FakePort) -> None:
    """It would be reported as the meter's no."""
    driver = make_driver()
    port.expect(ASK_ENERGY)
    with pytest.raises(NoAnswerError):
        sweep(driver, line)
    port.expect(ASK_EXPORT, NO_DATA)
    port.expect(ASK_EXPORT, EXPORT_REPLY)
    assert read(driver, line, EXPORT) == [READ_EXPORT]


# ---- editions -----------------------------------------------------------------------------------

OLD = "000000063295"  # a captured meter of edition 1997
ASK_OLD_ENERGY, OLD_ENERGY = WAKE + frame(OLD, 0x01, "43 C3"), wire("v103")  # 9010: 0.26 kWh
ASK_OLD_EXPORT, OLD_EXPORT = WAKE + frame(OLD, 0x01, "53 C3"), wire("v109")  # 9020: 0.00 kWh
ASK_OLD_BLOCK, OLD_BLOCK = WAKE + frame(OLD, 0x01, "52 C3"), wire("v122")  # 901F: four tariffs
OLD_NO_DATA = wire("v112")
ASK_OLD_AS_2007 = WAKE + frame(OLD, 0x11, "33 33 34 33")
OLD_AS_2007 = frame(OLD, 0x91, "33 33 34 33 59 33 33 33")
READ_OLD_EXPORT = Reading(EXPORT, Quantity(0, 1, "Wh", Kind.CUMULATIVE))


def old_driver(*quantities: str, edition: str = "auto") -> Dlt645Driver:
    """The captured meter."""
    return make_driver(*(quantities or ("1-0:1.8.0", "1-0:2.8.0")), address=OLD, edition=edition)


def expect_detection(port: FakePort) -> None:
    """2007 is asked and silent, 1997 answers, 2007 is asked once more."""
    port.expect(ASK_OLD_AS_2007)
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(ASK_OLD_AS_2007)


def test_a_meter_of_1997_is_read_as_such(line: Line, port: FakePort) -> None:
    """When the setting says so: nothing of 2007 is sent."""
    driver = old_driver(edition="1997")
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(ASK_OLD_EXPORT, OLD_EXPORT)
    assert sweep(driver, line) == [READ_ENERGY, READ_OLD_EXPORT]
    port.expect(ASK_OLD_ENERGY)
    port.expect(ASK_OLD_ENERGY)
    with pytest.raises(NoAnswerError):
        sweep(driver, line, retries=1)


def test_a_block_of_1997(line: Line, port: FakePort) -> None:
    """As captured, and item by item when it is refused."""
    driver = old_driver("901F", edition="1997")
    port.expect(ASK_OLD_BLOCK, OLD_BLOCK)
    values = [one.quantity.value for one in sweep(driver, line)]
    assert values == [39, 0, 3, 24, 12]
    port.expect(ASK_OLD_BLOCK, OLD_NO_DATA)
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(WAKE + frame(OLD, 0x01, "44 C3"), OLD_NO_DATA)
    assert sweep(driver, line) == [READ_ENERGY]


def test_the_edition_is_found_after_a_silence_and_kept(
    line: Line, port: FakePort, caplog: pytest.LogCaptureFixture
) -> None:
    """After the retries of 2007, with one question; it is logged once."""
    driver = old_driver()
    port.expect(ASK_OLD_AS_2007)
    expect_detection(port)
    for _ in range(2):
        port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
        port.expect(ASK_OLD_EXPORT, OLD_EXPORT)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert sweep(driver, line, retries=1) == [READ_ENERGY, READ_OLD_EXPORT]
    assert driver.edition == 1997
    assert caplog.text.count("edition_detected meter=m-1 edition=1997") == 1


@pytest.mark.parametrize("answer", [OLD_NO_DATA, frame(OLD, 0x81, "43 C3 3F 33 33 33")])
def test_a_refusal_or_a_bad_value_tells_the_edition_too(
    line: Line, port: FakePort, answer: bytes
) -> None:
    """Somebody answers in it: that is all that is asked."""
    driver = old_driver("1-0:2.8.0")
    port.expect(WAKE + frame(OLD, 0x11, "33 33 35 33"))
    port.expect(ASK_OLD_ENERGY, answer)
    if answer == OLD_NO_DATA:  # in doubt after the silence
        port.expect(ASK_OLD_ENERGY, answer)
    port.expect(ASK_OLD_AS_2007)
    port.expect(ASK_OLD_EXPORT, OLD_EXPORT)
    assert sweep(driver, line) == [READ_OLD_EXPORT]


def test_a_meter_that_knows_both_is_read_as_2007(line: Line, port: FakePort) -> None:
    """Its silence was an accident."""
    driver = old_driver("1-0:1.8.0")
    port.expect(ASK_OLD_AS_2007)
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(ASK_OLD_AS_2007, OLD_AS_2007)
    port.expect(ASK_OLD_AS_2007, OLD_AS_2007)
    assert sweep(driver, line) == [READ_ENERGY]
    assert driver.edition == 2007


def test_a_meter_that_answers_at_once_is_never_asked_as_1997(line: Line, port: FakePort) -> None:
    """Detection costs time only where a meter is silent."""
    driver = make_driver(edition="auto")
    for _ in range(2):
        port.expect(ASK_ENERGY, ENERGY_REPLY)
        assert sweep(driver, line) == [READ_ENERGY]
    assert driver.edition == 2007


def test_a_dead_meter_costs_one_question_more(line: Line, port: FakePort) -> None:
    """At each sweep, as long as nobody knows what it is."""
    driver = old_driver()
    for _ in range(3):
        port.expect(ASK_OLD_AS_2007)
        port.expect(ASK_OLD_ENERGY)
        with pytest.raises(NoAnswerError):
            sweep(driver, line)
    assert driver.edition == 0


def test_a_silent_meter_of_a_known_edition_is_tried_in_the_other_now_and_then(
    line: Line, port: FakePort
) -> None:
    """It may have been replaced by one of the other edition under the same address."""
    driver = old_driver("1-0:1.8.0")
    expect_detection(port)
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    sweep(driver, line)
    for number in range(1, 2 * OTHER_EDITION_EVERY):
        port.expect(ASK_OLD_ENERGY)
        if number == OTHER_EDITION_EVERY:
            port.expect(ASK_OLD_AS_2007)
        with pytest.raises(NoAnswerError):
            sweep(driver, line)
    port.expect(ASK_OLD_ENERGY)
    port.expect(ASK_OLD_AS_2007, OLD_AS_2007)
    port.expect(ASK_OLD_AS_2007, OLD_AS_2007)
    assert sweep(driver, line) == [READ_ENERGY]
    assert driver.edition == 2007


def test_what_the_found_edition_lacks_is_shown_as_unsupported(line: Line, port: FakePort) -> None:
    """A quantity of 2007 alone, and an identifier of the other length."""
    driver = old_driver("1-0:1.8.0", "1-0:9.8.0", "02010100", "9020")
    expect_detection(port)
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(ASK_OLD_EXPORT, OLD_EXPORT)
    assert sweep(driver, line) == [READ_ENERGY, READ_OLD_EXPORT]
    assert driver.unsupported == {"1-0:9.8.0", "02010100"}


def test_an_edition_that_nothing_is_asked_in_is_not_tried(line: Line, port: FakePort) -> None:
    """Identifiers of one length say which edition it must be."""
    driver = make_driver("00010000", edition="auto")
    port.expect(ASK_ENERGY)
    with pytest.raises(NoAnswerError):
        sweep(driver, line)
    assert driver.edition == 2007
    old = old_driver("9010")
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    assert sweep(old, line) == [READ_ENERGY]


def test_an_orders_read_finds_the_edition_as_well(line: Line, port: FakePort) -> None:
    """Before the first sweep."""
    driver = old_driver()
    port.expect(WAKE + frame(OLD, 0x11, "33 33 35 33"))
    port.expect(ASK_OLD_ENERGY, OLD_ENERGY)
    port.expect(ASK_OLD_AS_2007)
    port.expect(ASK_OLD_EXPORT, OLD_EXPORT)
    assert read(driver, line, EXPORT) == [READ_OLD_EXPORT]


def test_follow_up_parts_of_1997_have_no_number(line: Line, port: FakePort) -> None:
    """Each is asked for with the same bytes; a lost one ends the read, because asked for again it
    might be the next one."""
    parts = ["52 C3 6C 33 33 33 33 33", "52 C3 33 33 36 33 33 33 57", "52 C3 33 33 33 45 33 33 33"]
    ask_more = WAKE + frame(OLD, 0x02, "52 C3")
    driver = old_driver("901F", edition="1997")
    port.expect(ASK_OLD_BLOCK, frame(OLD, 0xA1, parts[0]))
    port.expect(ask_more, frame(OLD, 0xA2, parts[1]))
    port.expect(ask_more, frame(OLD, 0x82, parts[2]))
    assert [one.quantity.value for one in sweep(driver, line)] == [39, 0, 3, 24, 12]
    port.expect(ASK_OLD_BLOCK, frame(OLD, 0xA1, parts[0]))
    port.expect(ask_more)
    with pytest.raises(NoAnswerError):
        sweep(driver, line, retries=2)
