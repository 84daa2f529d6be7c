"""A Modbus meter over a scripted port; the CRC here is not the product's implementation."""

import struct
from typing import Any

import pytest

from edge.line.line import Line, NoAnswerError
from edge.meters.drivers import LATE_ANSWER_S, MeterCounters, ModbusDriver
from edge.meters.modbus_pdu import BUFFER_SIZE_MAX, ReadRegisters
from protocols.errors import RefusedError, UnsupportedError
from protocols.modbus.model import Model, read_model
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.edge.fakes import ENERGY, FakeClock, FakePort, finish, make_line

UNIT = 7
VOLTAGE = Obis.from_text("1-0:32.7.0")
CURRENT = Obis.from_text("1-0:31.7.0")
RATIO = Obis.from_text("1-0:0.4.2")


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS bit by bit: 8005h reflected, preset FFFFh, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return bytes((value & 0xFF, value >> 8))


def ask(address: int, count: int, unit: int = UNIT, function: int = 3) -> bytes:
    """A request as the specification draws it."""
    body = struct.pack(">BBHH", unit, function, address, count)
    return body + crc(body)


def reply(*words: int, unit: int = UNIT, function: int = 3) -> bytes:
    """Its answer."""
    body = struct.pack(f">BBB{len(words)}H", unit, function, 2 * len(words), *words)
    return body + crc(body)


def refusal(code: int, unit: int = UNIT, function: int = 3) -> bytes:
    """An exception answer."""
    body = bytes((unit, function | 0x80, code))
    return body + crc(body)


def float_words(value: float) -> tuple[int, int]:
    """Big-endian float32."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def make_model(*registers: dict[str, Any], **head: Any) -> Model:
    """A model from a table as its file would give it."""
    base = {"title": "t", "function": 3, "word_order": "big", "source": "test"}
    rows = [{"type": "uint16", "unit": "1", "kind": "instantaneous"} | row for row in registers]
    return read_model("model", base | head | {"register": rows})


TWO_SPANS = make_model(
    {"name": "v", "obis": "1-0:32.7.0", "address": 0, "unit": "V", "exponent": -1},
    {"name": "i", "obis": "1-0:31.7.0", "address": 1, "unit": "A", "exponent": -3, "type": "int16"},
    {
        "name": "e",
        "obis": "1-0:1.8.0",
        "address": 100,
        "type": "uint32",
        "unit": "Wh",
        "kind": "cumulative",
        "exponent": 1,
    },
)
READ_VOLTAGE = Reading(VOLTAGE, Quantity(2305, -1, "V", Kind.INSTANTANEOUS))
READ_CURRENT = Reading(CURRENT, Quantity(-1500, -3, "A", Kind.INSTANTANEOUS))
READ_ENERGY = Reading(ENERGY, Quantity(0x12345678, 1, "Wh", Kind.CUMULATIVE))
LOW, HIGH = reply(2305, 0x10000 - 1500), reply(0x1234, 0x5678)


@pytest.fixture
def line(clock: FakeClock, port: FakePort) -> Line:
    """At 2400 bit/s."""
    return make_line(clock, port)


def make_driver(model: Model = TWO_SPANS, *quantities: str) -> ModbusDriver:
    """Unit 7."""
    settings = {"id": "m-2", "protocol": "modbus", "unit": UNIT, "quantities": quantities or None}
    return ModbusDriver(settings, model)


def sweep(driver: ModbusDriver, line: Line, retries: int = 0) -> list[Reading]:
    """All of it."""
    readings: list[Reading] = finish(driver.sweep(line, retries))
    return readings


def test_the_crc_of_this_test_is_the_specifications() -> None:
    """The check value of CRC-16/MODBUS, and a request printed in many manuals."""
    assert crc(b"123456789") == bytes.fromhex("37 4B")
    assert ask(0, 2, unit=1) == bytes.fromhex("01 03 00 00 00 02 C4 0B")


def test_a_sweep_reads_all_spans(line: Line, port: FakePort) -> None:
    """One request per span; sign, word order and scale as the model says."""
    port.expect(ask(0, 2), LOW)
    port.expect(ask(100, 2), HIGH)
    driver = make_driver()
    assert sweep(driver, line) == [READ_VOLTAGE, READ_CURRENT, READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=2)


def test_only_the_wanted_quantities_are_read(line: Line, port: FakePort) -> None:
    """A shorter list makes shorter requests."""
    port.expect(ask(1, 1), reply(0x10000 - 1500))
    assert sweep(make_driver(TWO_SPANS, "1-0:31.7.0"), line) == [READ_CURRENT]


def test_function_and_word_order_are_the_models(line: Line, port: FakePort) -> None:
    """Input registers, low word first."""
    model = make_model(
        {"name": "e", "obis": "1-0:1.8.0", "address": 8, "type": "uint32", "unit": "Wh"},
        function=4,
        word_order="little",
    )
    port.expect(ask(8, 2, function=4), reply(0x5678, 0x1234, function=4))
    assert sweep(make_driver(model), line)[0].quantity.value == 0x12345678


@pytest.mark.parametrize(
    "noise",
    [
        b"\x00",
        b"\x07",
        b"\x07\x03",
        b"\x07\x03\x04",
        b"\xff" * 40,
        bytes(range(64)),
        LOW[:-1],
        reply(9, 9, unit=8),
        refusal(2, unit=8),
    ],
)
def test_noise_in_front_costs_nothing(line: Line, port: FakePort, noise: bytes) -> None:
    """Also when it looks like the beginning of a reply, or is another unit's."""
    port.expect(ask(0, 2), noise + LOW)
    port.expect(ask(100, 2), (50, noise), (55, HIGH[:3]), (60, HIGH[3:]))
    driver = make_driver()
    assert sweep(driver, line) == [READ_VOLTAGE, READ_CURRENT, READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=2)


def test_a_reply_byte_by_byte(line: Line, port: FakePort) -> None:
    """Nothing is read too early."""
    pieces = [(20.0 + n, bytes([byte])) for n, byte in enumerate(LOW)]
    port.expect(ask(0, 2), *pieces)
    assert sweep(make_driver(TWO_SPANS, "1-0:32.7.0", "1-0:31.7.0"), line) == [
        READ_VOLTAGE,
        READ_CURRENT,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        reply(1, 2, unit=8),
        reply(1, 2, function=4),
        reply(1),
        reply(1, 2, 3),
        LOW[:-1] + bytes([LOW[-1] ^ 1]),
        refusal(2, unit=8),
        refusal(2, function=4),
        refusal(2)[:-1] + b"\x00",
        ask(0, 2),
    ],
)
def test_what_is_no_answer_is_silence(
    line: Line, port: FakePort, clock: FakeClock, wrong: bytes
) -> None:
    """Another unit's or function's reply, a wrong byte count, a wrong CRC, our own echo."""
    port.expect(ask(0, 2), wrong)
    driver = make_driver(TWO_SPANS, "1-0:32.7.0", "1-0:31.7.0")
    with pytest.raises(NoAnswerError):
        sweep(driver, line)
    assert driver.counters == MeterCounters(exchanges=1, silences=1)
    assert driver.unsupported == set()


def test_a_byte_count_that_lies_is_no_answer(line: Line, port: FakePort) -> None:
    """The length fits and the CRC holds, but the count says something else."""
    body = bytes((UNIT, 3, 6, 0, 1, 0, 2))
    port.expect(ask(0, 2), body + crc(body))
    with pytest.raises(NoAnswerError):
        sweep(make_driver(TWO_SPANS, "1-0:32.7.0", "1-0:31.7.0"), line)


@pytest.mark.parametrize("code", [1, 2])
def test_a_span_that_the_meter_lacks_is_asked_once(line: Line, port: FakePort, code: int) -> None:
    """Illegal function and address drop it from the schedule; the others go on."""
    driver = make_driver()
    port.expect(ask(0, 2), refusal(code))
    port.expect(ask(100, 2), HIGH)
    port.expect(ask(100, 2), HIGH)
    for _ in range(2):
        assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=3, refusals=1)
    assert driver.unsupported == {"0000+2"}


@pytest.mark.parametrize("code", [3, 4, 6, 11, 99])
def test_another_exception_is_counted_and_asked_again_next_time(
    line: Line, port: FakePort, code: int
) -> None:
    """A device that is busy now is not dropped."""
    driver = make_driver()
    for _ in range(2):
        port.expect(ask(0, 2), refusal(code))
        port.expect(ask(100, 2), HIGH)
        assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=4, refusals=2)
    assert driver.unsupported == set()


def test_a_silent_unit_is_waited_for_and_its_late_answer_thrown_away(
    line: Line, port: FakePort, clock: FakeClock
) -> None:
    """Modbus has no sequence: the late answer must not be taken for the next request's."""
    driver = make_driver(TWO_SPANS, "1-0:32.7.0", "1-0:31.7.0")
    late = reply(1111, 1111)
    port.expect(ask(0, 2), (600 + LATE_ANSWER_S * 1000 - 5, late))
    port.expect(ask(0, 2), LOW)
    assert sweep(driver, line, retries=1) == [READ_VOLTAGE, READ_CURRENT]
    assert line.counters.stale_bytes == len(late)
    assert driver.counters == MeterCounters(exchanges=2, retries=1, silences=1)


def test_a_silent_unit_raises_after_its_retries(line: Line, port: FakePort) -> None:
    """Only the first span is tried."""
    driver = make_driver()
    for _ in range(3):
        port.expect(ask(0, 2))
    with pytest.raises(NoAnswerError):
        sweep(driver, line, retries=2)
    assert driver.counters == MeterCounters(exchanges=3, retries=2, silences=3)


def test_a_unit_that_falls_silent_on_the_way_keeps_what_it_said(line: Line, port: FakePort) -> None:
    """The spans before it count."""
    port.expect(ask(0, 2), LOW)
    port.expect(ask(100, 2))
    assert sweep(make_driver(), line) == [READ_VOLTAGE, READ_CURRENT]


def test_a_sweep_yields_after_every_exchange(line: Line, port: FakePort) -> None:
    """So that an order gets in, between retries too."""
    port.expect(ask(0, 2))
    port.expect(ask(0, 2), LOW)
    port.expect(ask(100, 2), HIGH)
    steps = make_driver().sweep(line, 1)
    for count in (1, 2, 3):
        next(steps)
        assert len(port.written()) == count
    with pytest.raises(StopIteration):
        next(steps)


# ---- ratios -------------------------------------------------------------------------------------

WITH_RATIO = make_model(
    {"name": "ct", "obis": "1-0:0.4.2", "address": 6},
    {
        "name": "i",
        "obis": "1-0:31.7.0",
        "address": 200,
        "type": "float32",
        "exponent": -3,
        "resolution": -3,
        "unit": "A",
        "times": ["ct"],
    },
)


def test_a_ratio_multiplies_what_it_names(line: Line, port: FakePort) -> None:
    """It is read in the same sweep, also when nobody asked for it."""
    port.expect(ask(6, 1), reply(40))
    port.expect(ask(200, 2), reply(*float_words(1234.0)))
    readings = sweep(make_driver(WITH_RATIO, "1-0:31.7.0"), line)
    assert readings == [Reading(CURRENT, Quantity(1234 * 40, -3, "A", Kind.INSTANTANEOUS))]


@pytest.mark.parametrize("ratio_answer", [[refusal(2)], [refusal(4)]])
def test_without_its_ratio_there_is_no_value(
    line: Line, port: FakePort, ratio_answer: list[bytes]
) -> None:
    """An unscaled value would be a wrong one."""
    port.expect(ask(6, 1), *ratio_answer)
    port.expect(ask(200, 2), reply(*float_words(1234.0)))
    assert sweep(make_driver(WITH_RATIO), line) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_float_that_is_no_number_gives_no_reading(
    line: Line, port: FakePort, value: float
) -> None:
    """Some meters send it for a phase that is not there."""
    port.expect(ask(6, 1), reply(40))
    port.expect(ask(200, 2), reply(*float_words(value)))
    assert [one.obis for one in sweep(make_driver(WITH_RATIO), line)] == [RATIO]


def test_a_read_of_one_quantity_brings_its_ratio(line: Line, port: FakePort) -> None:
    """An order gets the scaled value and nothing else."""
    port.expect(ask(6, 1), reply(2))
    port.expect(ask(200, 2), reply(*float_words(-1.4)))
    readings = finish(make_driver(WITH_RATIO).read(line, CURRENT, 0))
    assert readings == [Reading(CURRENT, Quantity(-2, -3, "A", Kind.INSTANTANEOUS))]


@pytest.mark.parametrize(("code", "error"), [(2, UnsupportedError), (4, RefusedError)])
def test_a_read_tells_a_refusal(
    line: Line, port: FakePort, code: int, error: type[Exception]
) -> None:
    """And drops nothing from the schedule."""
    driver = make_driver()
    port.expect(ask(100, 2), refusal(code))
    with pytest.raises(error) as caught:
        finish(driver.read(line, ENERGY, 2))
    assert type(caught.value) is error
    assert driver.unsupported == set()


def test_a_quantity_that_the_model_lacks_is_unsupported(line: Line, port: FakePort) -> None:
    """Nothing is sent."""
    with pytest.raises(UnsupportedError):
        finish(make_driver().read(line, Obis.from_text("1-0:99.1.0"), 0))
    assert port.written() == []


def test_the_search_for_a_reply_is_bounded() -> None:
    """A flood in front of it fills no memory, and the reply is found behind."""
    conversation = ReadRegisters(UNIT, 3, 0, 2)
    for _ in range(50):
        assert not conversation.receive(b"\x07\x03" * 100)
        assert len(conversation._buffer) <= BUFFER_SIZE_MAX
    assert conversation.receive(LOW)
    assert conversation.words == {0: 2305, 1: 0x10000 - 1500}
