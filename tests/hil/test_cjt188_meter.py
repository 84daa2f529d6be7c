"""The virtual CJ/T 188 meter: what it answers, and that it is silent to everybody else's frames."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import pytest
from pymodbus.framer.rtu import FramerRTU

from hil.cjt188_meter import BYTE_GAP_S, PREAMBLE_MAX, Cjt188Meter
from hil.line import Line
from hil.load import EPOCH_MS, HOUR_MS, Load
from hil.meter import Dlt645Meter
from hil.modbus_station import ModbusMeter, ModbusStation
from protocols.cjt188.deframer import Deframer
from protocols.cjt188.dialect import (
    AFTER,
    BEFORE,
    DI_ORDERS,
    HEAT,
    METER_TYPES,
    SETTLEMENT,
    UNIT_POSITIONS,
    Dialect,
)
from protocols.cjt188.exchange import DONE, Exchange, read_address, read_present
from protocols.cjt188.frame import ANY_ADDRESS, decode_frame
from protocols.cjt188.values import decode_present
from protocols.dlt645.exchange import read
from protocols.errors import CallerError
from protocols.quantity import decimal_text
from tests.hil.masters import FakeClock, Master, load_model
from tests.protocols.cjt188.vectors import BY_ID, dialect_of, wire

WATER = Dialect(METER_TYPES["cold-water"], "901F", AFTER, SETTLEMENT)
HEAT_METER = Dialect(HEAT, "1F90", BEFORE, SETTLEMENT)
ADDRESS, HEAT_ADDRESS, DLT645_ADDRESS = "00201510270588", "11110059200991", "000000000161"
NOW_MS = EPOCH_MS + 100 * HOUR_MS  # 2025-01-05 04:00:00


def make(dialect: Dialect = WATER, address: str = ADDRESS, **options: Any) -> Cjt188Meter:
    """A meter a hundred hours after its installation."""
    return Cjt188Meter(address, dialect, FakeClock(NOW_MS), **options)


def told(exchange: Exchange, dialect: Dialect) -> dict[str, object]:
    """OBIS -> value as text, of a DONE exchange."""
    return {
        one.obis.text().removesuffix("*255"): (
            one.quantity.value
            if isinstance(one.quantity.value, str)
            else decimal_text(one.quantity.value, one.quantity.scaler)
        )
        for one in decode_present(exchange.data(), dialect)
    }


def ask(meter: Cjt188Meter, exchange: Exchange) -> Exchange:
    """The question, and its one answer."""
    ((_, reply),) = meter.feed(exchange.request.to_bytes(4))
    (frame,) = Deframer().feed(reply)
    assert exchange.receive(frame) == DONE
    return exchange


# ---- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["A1", "I", "K", "J2", "K4"])
def test_a_captured_question_is_answered(name: str) -> None:
    """As the captured answers are: same type, length, identifier and SER."""
    vector = BY_ID[name]
    address = ADDRESS if vector["address"] == ANY_ADDRESS else vector["address"]
    dialect = dialect_of(vector)._replace(meter_type=0x10)
    ((delay_s, reply),) = make(dialect, address, preamble=2).feed(wire(name))
    assert delay_s == pytest.approx(0.04)
    assert reply[:2] == b"\xfe\xfe"
    frame = decode_frame(reply)
    data = bytes.fromhex(vector["data"])
    control = int(vector["control"], 16)
    assert frame[:3] == (0x10, address, control | 0x80)
    assert frame.data[:3] == data
    assert len(frame.data) == (3 if control == 3 else 0x16)


def test_its_bytes_are_those_of_a_captured_meter() -> None:
    """I3, 9 minutes past its hour: the same frame, but for the clock, byte by byte."""
    meter = make(address=ADDRESS, hourly=0, preamble=0)
    ((_, reply),) = meter.feed(wire("I"))
    due = wire("I3")
    assert reply[:24] == due[:24]
    assert reply[24:31] == bytes.fromhex("00 00 04 05 01 25 20")
    assert reply[31:33] == due[31:33]


@pytest.mark.parametrize("order", DI_ORDERS)
@pytest.mark.parametrize("position", UNIT_POSITIONS)
def test_water_and_heat_in_every_dialect(order: str, position: str) -> None:
    """What the meter counted is what the gateway reads: 1.23 m3 an hour for a hundred hours."""
    water = WATER._replace(di_order=order, unit_position=position)
    found = told(ask(make(water, hourly=123), read_present(ADDRESS, water, 9)), water)
    assert found == {
        "8-0:1.0.0": "123.00",
        "8-0:1.2.0": "100.00",
        "0-0:1.0.0": "2025-01-05T04:00:00",
        "0-0:96.5.0": "0",
    }
    heat = HEAT_METER._replace(di_order=order, unit_position=position)
    meter = make(heat, HEAT_ADDRESS, hourly=123, answers_as=0x25)
    exchange = ask(meter, read_present(HEAT_ADDRESS, heat, 9))
    assert exchange.answered_type == 0x25
    found = told(exchange, heat)
    assert found["6-0:1.0.0"] == "123000"  # Wh
    assert found["6-0:1.2.0"] == "100000"
    assert found["6-0:2.0.0"] == "123.00"
    assert (found["6-0:10.0.0"], found["6-0:11.0.0"]) == ("61.50", "42.75")
    assert found["0-0:96.8.0"] == "100"


def test_registers_grow_with_the_clock_and_are_logged() -> None:
    """Half an hour later."""
    records: list[dict[str, object]] = []
    clock = FakeClock(NOW_MS)
    meter = Cjt188Meter(ADDRESS, WATER, clock, hourly=10, log=records.append)
    ask(meter, read_present(ADDRESS, WATER, 1))
    clock.now_ms += HOUR_MS // 2
    second = told(ask(meter, read_present(ADDRESS, WATER, 2)), WATER)
    assert [one["count"] for one in records] == [1000, 1005]
    assert Fraction(str(second["8-0:1.0.0"])) == Fraction("10.05")


# ---- silence -----------------------------------------------------------------------------------

ASKED = read_present(ADDRESS, WATER, 1).request
SILENT = {
    "another meter": ASKED._replace(address=HEAT_ADDRESS).to_bytes(),
    "another type": ASKED._replace(meter_type=0x20).to_bytes(),
    "the other order": ASKED._replace(data=b"\x1f\x90\x01").to_bytes(),
    "another identifier": ASKED._replace(data=b"\xd1\x20\x01").to_bytes(),
    "no SER": ASKED._replace(data=b"\x90\x1f").to_bytes(),
    "a reply": ASKED._replace(control=0x81).to_bytes(),
    "an address read as a read": ASKED._replace(data=b"\x81\x0a\x01").to_bytes(),
    "a wrong sum": ASKED.to_bytes()[:-2] + b"\x00\x16",
    "opening a valve": wire("R"),
    "closing a valve": ASKED._replace(control=4, data=bytes.fromhex("17A00199")).to_bytes(),
    "a DL/T 645 read": read(DLT645_ADDRESS, "00010000").request.to_bytes(4),
    "Modbus": bytes.fromhex("11040000000673ab"),
    "nothing": b"",
    "all bytes": bytes(range(256)),
}


@pytest.mark.parametrize("kind", SILENT)
def test_what_is_not_its_own_gets_no_answer_and_hides_none(kind: str) -> None:
    """The question behind it, in the same breath, is heard."""
    meter = make()
    assert meter.feed(SILENT[kind]) == []
    assert len(meter.feed(ASKED.to_bytes(4))) == 1
    again = make()
    assert len(again.feed(SILENT[kind] + ASKED.to_bytes(4))) == 1


def test_a_question_in_pieces_is_one_question() -> None:
    """Byte by byte; after a long silence its first half is forgotten."""
    request = ASKED.to_bytes(4)
    meter = make()
    replies = [meter.feed(bytes((byte,))) for byte in request]
    assert [len(one) for one in replies] == [0] * (len(request) - 1) + [1]
    assert meter.feed(request[:10]) == []
    assert meter.feed(request[10:], BYTE_GAP_S * 2) == []
    assert len(meter.feed(request, BYTE_GAP_S * 2)) == 1


@pytest.mark.parametrize("options", [{"preamble": -1}, {"preamble": PREAMBLE_MAX + 1}])
def test_a_meter_that_cannot_be_is_refused(options: dict[str, int]) -> None:
    """So is an address of several."""
    with pytest.raises(CallerError):
        make(**options)
    with pytest.raises(CallerError):
        make(address=ANY_ADDRESS)


# ---- one line for all --------------------------------------------------------------------------


@pytest.fixture
def mixed_line(make_line: Callable[..., Line]) -> Iterator[Callable[..., Line]]:
    """A line with a water meter, a heat meter, an electricity meter and a Modbus unit."""
    with ExitStack() as stack:

        def start(**options: Any) -> Line:
            electricity = Dlt645Meter(DLT645_ADDRESS, Load(1), FakeClock())
            electricity.pin("00010000", 26)
            heat = make(HEAT_METER, HEAT_ADDRESS, answers_as=0x25)
            line = make_line(electricity, make(), heat, **options)
            unit = ModbusMeter(17, load_model("eastron-sdm630"), Load(2, 3, 0), FakeClock())
            unit.pin("voltage_l1", 2301)
            station = ModbusStation([unit])
            path = line.attach_external(station.name, accepts=station.accepts)
            station.start(path, line.baud)
            stack.callback(station.stop)
            return line

        yield start


def converse(master: Master, exchange: Exchange) -> Exchange:
    """A question over the tty, and its answer."""
    deframer = Deframer()
    master.send(exchange.request.to_bytes(4))
    while exchange.state != DONE:
        heard = master.hear(1)
        assert heard, "no answer"
        for frame in deframer.feed(heard):
            exchange.receive(frame)
    return exchange


def modbus_request() -> bytes:
    """Two input registers of unit 17."""
    body = bytes.fromhex("110400000002")
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


@pytest.mark.parametrize("options", [{}, {"paced": True, "baud": 38400}])
def test_meters_of_three_protocols_share_a_line(
    mixed_line: Callable[..., Line], options: dict[str, Any]
) -> None:
    """Each answers its own questions only, in any order, and nothing is said beside it."""
    line = mixed_line(**options)
    due = bytes.fromhex("1104044366199a")  # 230.1 V
    with Master(line.link) as master:
        for serial in range(4):
            data = master.exchange(read(DLT645_ADDRESS, "00010000"))
            assert data == bytes.fromhex("0000010026000000")
            water = converse(master, read_present(ADDRESS, WATER, serial))
            assert told(water, WATER)["8-0:1.0.0"] == "12.00"
            assert master.hear(1, 0.01) == b""  # Modbus wants silence before its frames
            assert master.ask(modbus_request(), 9)[:7] == due
            heat = converse(master, read_present(HEAT_ADDRESS, HEAT_METER, serial))
            assert told(heat, HEAT_METER)["6-0:1.0.0"] == "12000"
            assert master.exchange(read(DLT645_ADDRESS, "00010000")) == data
            assert water.strays == heat.strays == 0
        assert master.is_quiet()
    statistics = line.statistics()
    assert (statistics.requests, statistics.replies) == (20, 20)
    assert statistics.collisions == 0


def test_the_only_meter_of_an_order_tells_its_address(mixed_line: Callable[..., Line]) -> None:
    """810A to AA as its own dialect has it; the electricity meter next to it stays silent."""
    with Master(mixed_line().link) as master:
        assert converse(master, read_address("1F90", 3, HEAT)).answered_by == HEAT_ADDRESS
        assert converse(master, read_address("901F", 4)).answered_by == ADDRESS
        assert master.is_quiet()
