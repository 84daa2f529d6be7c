"""A Modbus meter over a scripted port; the CRC here is not the product's implementation."""

import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.line.line import Line, NoAnswerError
from edge.meters.driver import MeterCounters
from edge.meters.learned import MeterHoles
from edge.meters.modbus_driver import LATE_ANSWER_S, ModbusDriver
from edge.meters.modbus_pdu import BUFFER_SIZE_MAX
from edge.meters.modbus_rtu import RtuRead
from protocols.errors import RefusedError, UnsupportedError
from protocols.modbus.exceptions import exception_name
from protocols.modbus.model import Model, read_model
from protocols.modbus.plan import Span
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.edge.fakes import CHARACTER_S, ENERGY, FakeClock, FakePort, finish, make_line

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


def make_driver(
    model: Model = TWO_SPANS,
    *quantities: str,
    holes: MeterHoles | None = None,
    protocol: str = "modbus",
) -> ModbusDriver:
    """Unit 7; without `holes`, nothing is known and nothing is kept."""
    settings = {"id": "m-2", "protocol": protocol, "unit": UNIT, "quantities": quantities or None}
    return ModbusDriver(settings, model, holes or MeterHoles({}, FakeClock(), lambda rows: None))


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


def test_a_request_keeps_the_silence_between_frames(line: Line, port: FakePort) -> None:
    """3.5 characters and no less; not much more either."""
    port.expect(ask(0, 2), LOW)
    port.expect(ask(100, 2), HIGH)
    sweep(make_driver(), line)
    heard, asked = [at for what, at, _ in port.trace if what in ("read", "write")][1:3]
    silence_ms = 3.5 * CHARACTER_S * 1000
    assert silence_ms <= asked - heard < silence_ms + 2


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


def test_a_span_of_a_function_that_the_meter_lacks_is_asked_once(
    line: Line, port: FakePort
) -> None:
    """Exception 01 drops it from the schedule, its registers are named, and the others go on."""
    driver = make_driver()
    port.expect(ask(0, 2), refusal(1))
    port.expect(ask(100, 2), HIGH)
    port.expect(ask(100, 2), HIGH)
    for _ in range(2):
        assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(
        exchanges=3, refusals=1, exceptions={"illegal function": 1}
    )
    assert driver.unsupported == {"v", "i"}


@pytest.mark.parametrize("code", [3, 4, 5, 6, 11, 99])
def test_another_exception_is_counted_and_asked_again_next_time(
    line: Line, port: FakePort, code: int
) -> None:
    """A device that is busy now is not dropped."""
    driver = make_driver()
    for _ in range(2):
        port.expect(ask(0, 2), refusal(code))
        port.expect(ask(100, 2), HIGH)
        assert sweep(driver, line, retries=2) == [READ_ENERGY]
    assert driver.counters == MeterCounters(
        exchanges=4, refusals=2, exceptions={exception_name(code): 2}
    )
    assert driver.unsupported == set()


def test_refusals_are_counted_by_name(line: Line, port: FakePort) -> None:
    """A new table each time: another thread may be showing the old one."""
    driver = make_driver()
    before = driver.counters.exceptions
    port.expect(ask(0, 2), refusal(6))
    port.expect(ask(100, 2), refusal(4))
    assert sweep(driver, line) == []
    assert driver.counters.exceptions == {exception_name(4): 1, exception_name(6): 1}
    assert "busy" in exception_name(6) and "failure" in exception_name(4)
    assert before == {}


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


@pytest.mark.parametrize(
    ("code", "error"), [(1, UnsupportedError), (2, UnsupportedError), (4, RefusedError)]
)
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


def test_an_order_that_is_half_answered_is_no_answer(line: Line, port: FakePort) -> None:
    """The ratio came, the value did not: that is silence, and not a meter without a value."""
    port.expect(ask(6, 1), reply(2))
    port.expect(ask(200, 2))
    with pytest.raises(NoAnswerError):
        finish(make_driver(WITH_RATIO).read(line, CURRENT, 0))


# ---- damage -------------------------------------------------------------------------------------


def test_the_search_for_a_reply_is_bounded() -> None:
    """A flood in front of it fills no memory, and the reply is found behind."""
    conversation = RtuRead(UNIT, Span(3, 0, 2))
    for _ in range(50):
        assert not conversation.receive(b"\x07\x03" * 100)
        assert len(conversation._buffer) <= BUFFER_SIZE_MAX
    assert conversation.receive(LOW)
    assert list(conversation.read.words.values()) == [2305, 0x10000 - 1500]


@pytest.mark.parametrize("seed", range(12))
def test_no_single_wrong_bit_makes_another_value(seed: int) -> None:
    """Every bit of replies with 1 to 125 registers: CRC-16 finds them all. (An exception could come
    of one only if a register's value were by chance the CRC of the bytes before it.)"""
    rng = random.Random(seed)
    count = rng.choice((1, 2, 3, 10, 125))
    unit, function = rng.randrange(1, 248), rng.choice((3, 4))
    good = reply(*(rng.randrange(0x10000) for _ in range(count)), unit=unit, function=function)
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        conversation = RtuRead(unit, Span(function, 0, count))
        assert not conversation.receive(bytes(damaged)), f"seed {seed}, bit {bit}"
        assert not conversation.read.words


@given(
    st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8),
    st.integers(0, 20),
    st.integers(1, 0xFFFF),
)
def test_no_burst_of_up_to_16_wrong_bits_makes_another_value(
    words: list[int], start: int, burst: int
) -> None:
    """What a spike on the line does; the other promise of CRC-16."""
    good = reply(*words)
    width = 8 * len(good)
    start = start * (width - 16) // 20
    damaged = int.from_bytes(good, "big") ^ burst << (width - 16 - start)
    conversation = RtuRead(UNIT, Span(3, 0, len(words)))
    try:
        assert not conversation.receive(damaged.to_bytes(len(good), "big"))
    except RefusedError:
        return  # five bytes that are a good exception: no value
    assert not conversation.read.words


PIECES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=3).map(lambda one: reply(*one)),
    st.integers(0, 255).map(refusal),
    st.just(bytes((UNIT, 3))),
)


@given(st.lists(PIECES, max_size=6), st.integers(1, 3))
def test_any_bytes_give_words_or_a_named_error(pieces: list[bytes], count: int) -> None:
    """Nothing else, and words only of a frame that stands in the bytes."""
    conversation = RtuRead(UNIT, Span(3, 0, count))
    stream = b"".join(pieces)
    refused = b""
    try:
        done = any(conversation.receive(piece) for piece in pieces)
    except RefusedError as error:
        done, refused = False, refusal(error.code)
    assert refused in stream
    assert done == bool(conversation.read.words)
    assert not done or reply(*conversation.read.words.values()) in stream


@pytest.mark.parametrize("seed", range(10))
def test_a_noisy_line_gives_right_values_or_none(clock: FakeClock, seed: int) -> None:
    """Seeded noise in front, bits flipped, bytes lost, answers late or cut in pieces: a sweep has
    the true value of a register, or no value; and most sweeps have all of them."""
    rng = random.Random(seed)

    def answer(request: bytes) -> list[tuple[float, bytes | Exception]]:
        address, count = struct.unpack(">HH", request[2:6])
        true = bytearray(reply(*(5 * (address + n) + 1 for n in range(count))))
        fault = rng.randrange(8)
        if fault == 0:
            true[rng.randrange(len(true))] ^= 1 << rng.randrange(8)
        if fault == 1:
            del true[rng.randrange(len(true))]
        if fault == 2:
            return []
        if fault == 3:
            return [(rng.uniform(600, 600 + 1000 * LATE_ANSWER_S - 10), bytes(true))]
        noise = rng.randbytes(rng.randrange(12)) if fault == 4 else b""
        cut = rng.randrange(len(true))
        return [(30.0, noise + bytes(true[:cut])), (35.0, bytes(true[cut:]))]

    line = make_line(clock, FakePort(clock, answer=answer))
    driver = make_driver()
    wanted = {VOLTAGE: 1, CURRENT: 6, ENERGY: 501 << 16 | 506}
    whole = 0
    for _ in range(60):
        try:
            found = {one.obis: one.quantity.value for one in sweep(driver, line, retries=2)}
        except NoAnswerError:
            continue
        assert found.items() <= wanted.items(), f"seed {seed}"
        whole += len(found) == 3
    assert whole > 30, f"seed {seed}"
    assert driver.counters.retries > 10
    assert driver.unsupported == set()


# ---- Modbus TCP ---------------------------------------------------------------------------------


def tcp(transaction: int, rtu: bytes) -> bytes:
    """The same PDU behind an MBAP header."""
    return struct.pack(">HHH", transaction, 0, len(rtu) - 2) + rtu[:-2]


def test_over_tcp_each_request_has_its_own_transaction(line: Line, port: FakePort) -> None:
    """Retries included."""
    driver = make_driver(protocol="modbus-tcp")
    port.expect(tcp(1, ask(0, 2)), tcp(1, LOW))
    port.expect(tcp(2, ask(100, 2)))
    port.expect(tcp(3, ask(100, 2)), tcp(3, HIGH))
    assert sweep(driver, line, retries=1) == [READ_VOLTAGE, READ_CURRENT, READ_ENERGY]
    assert driver.counters == MeterCounters(exchanges=3, retries=1, silences=1)


def test_over_tcp_a_late_answer_is_never_taken_for_another(
    line: Line, port: FakePort, clock: FakeClock
) -> None:
    """Same unit, function and length, and the first answer comes when the second is awaited: the
    transaction tells; so nothing is waited for either."""
    driver = make_driver(TWO_SPANS, "1-0:32.7.0", protocol="modbus-tcp")
    port.expect(tcp(1, ask(0, 1)), (700.0, tcp(1, reply(1111))))
    port.expect(tcp(2, ask(0, 1)), (100.0, tcp(2, reply(2305))))
    before = clock.monotonic()
    assert sweep(driver, line, retries=1) == [READ_VOLTAGE]
    assert clock.monotonic() - before < 0.6 + 0.2 + LATE_ANSWER_S / 2
    assert line.counters.stale_bytes == 0
    assert [len(data) for what, _, data in port.trace if what == "read"] == [11, 11]


def test_the_transaction_begins_again_and_is_never_0(line: Line, port: FakePort) -> None:
    """After 65535 comes 1."""
    driver = make_driver(TWO_SPANS, "1-0:32.7.0", protocol="modbus-tcp")
    driver._transaction = 0xFFFE
    for transaction in (0xFFFF, 1):
        port.expect(tcp(transaction, ask(0, 1)), tcp(transaction, reply(2305)))
        assert sweep(driver, line) == [READ_VOLTAGE]
