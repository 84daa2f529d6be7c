"""Modbus meters on a virtual line: what pymodbus's server says for them, and to whom."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pymodbus.framer.rtu import FramerRTU

from hil.line import Line
from hil.line_rate import BITS_PER_BYTE
from hil.load import EPOCH_MS, Load
from hil.meter import Dlt645Meter
from hil.modbus_station import (
    HOST,
    ModbusMeter,
    ModbusStation,
    ModbusStationError,
    encode_register,
)
from protocols.dlt645.exchange import read
from protocols.errors import CallerError
from protocols.modbus.model import Model, Register
from protocols.modbus.plan import plan_spans
from protocols.modbus.values import decode_registers, words_of
from protocols.obis import Obis
from protocols.quantity import Kind
from tests.hil.masters import FakeClock, Master, load_model

MODELS = ("eastron-sdm630", "chint-dtsu666")
ADDRESS = "000000000161"
NOISE = [
    pytest.param(b"", id="silence"),
    pytest.param(bytes.fromhex("1104"), id="a request that breaks off"),
    pytest.param(bytes.fromhex("110400000006"), id="a request without its CRC"),
    pytest.param(bytes.fromhex("1104000000060000"), id="a wrong CRC"),
    pytest.param(bytes.fromhex("12040000000673ab"), id="another unit"),
    pytest.param(read(ADDRESS, "00010000").request.to_bytes(4), id="a DL/T 645 request"),
    pytest.param(bytes(range(256)), id="all bytes"),
]


def frame(body: bytes) -> bytes:
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def request(unit: int, function: int, address: int, count: int) -> bytes:
    return frame(bytes((unit, function)) + address.to_bytes(2, "big") + count.to_bytes(2, "big"))


def make(model: str = MODELS[0], unit: int = 17, **options: Any) -> ModbusMeter:
    load = Load(2, 3, 0, energy_step_wh=1)
    return ModbusMeter(unit, load_model(model), load, FakeClock(), **options)


def register(**changes: Any) -> Register:
    one = Register(
        "r", Obis(1, 0, 1, 8, 0, 255), 0, "uint16", 1, 0, None, "1", Kind.INSTANTANEOUS, (), 3, ()
    )
    return one._replace(**changes)


@pytest.fixture
def serve(make_line: Callable[..., Line]) -> Iterator[Callable[..., Line]]:
    """`serve(modbus_meter, ..., with_=[station])`: a line with these units on it."""
    with ExitStack() as stack:

        def start(*meters: ModbusMeter, with_: tuple[Any, ...] = (), **options: Any) -> Line:
            line = make_line(*with_, **({"baud": 9600} | options))
            station = ModbusStation(list(meters))
            path = line.attach_external(
                station.name, accepts=station.accepts, delay_of=station.delay_of
            )
            station.start(path, line.baud)
            stack.callback(station.stop)
            return line

        yield start


# --- what the registers hold ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_models_own_decoder_reads_back_what_the_load_shows(name: str) -> None:
    meter = make(name)
    now_ms = EPOCH_MS + 3_600_000  # early, so that a float32 still holds every watt-hour
    if name == "chint-dtsu666":
        meter.pin("ct_ratio", 40)
    model = meter.model
    readings = decode_registers(model, model.registers, meter.words(model.function, now_ms))
    assert len(readings) == len(model.registers)
    shown = Load(2, 3, 0, energy_step_wh=1).shown(now_ms)
    checked = 0
    for reading in readings:
        value = shown.get((reading.obis.c, reading.obis.d, reading.obis.e))
        if value is None:
            continue  # a ratio
        quantity = reading.quantity
        step = 40 if name == "chint-dtsu666" and quantity.unit in ("A", "W", "var", "Wh") else 1
        error = abs(quantity.value * 10 ** (quantity.scaler + 6) - value * 1000)
        assert error < step * 10 ** (quantity.scaler + 6) + 1
        checked += 1
    assert checked >= 27


def test_energy_counts_up_and_never_falls() -> None:
    meter = make()
    energy = next(one for one in meter.model.registers if one.name == "active_energy_import")
    shown = [meter.digits(energy, EPOCH_MS + hour * 3_600_000) for hour in range(48)]
    assert shown == sorted(shown) and len(set(shown)) == 48


@pytest.mark.parametrize(
    ("changes", "digits", "words"),
    [
        ({"type": "uint16"}, 0xFFFE, [0xFFFE]),
        ({"type": "int16"}, -2, [0xFFFE]),
        ({"type": "uint32"}, 0x12345678, [0x1234, 0x5678]),
        ({"type": "int32"}, -1, [0xFFFF, 0xFFFF]),
        ({"type": "uint64"}, 1 << 48, [1, 0, 0, 0]),
        ({"type": "float32", "resolution": -1}, 2301, [0x4366, 0x199A]),  # 230.1
        ({"type": "float32", "resolution": 0, "exponent": 3}, 1500, [0x3FC0, 0]),  # 1.5 thousand
        ({"type": "float32", "resolution": -1}, -1, [0xBDCC, 0xCCCD]),  # -0.1
    ],
)
def test_registers_hold_their_number_in_the_models_word_order(
    changes: dict[str, Any], digits: int, words: list[int]
) -> None:
    one = register(**changes)
    assert encode_register(one, "big", digits) == words
    assert encode_register(one, "little", digits) == words[::-1]
    for order in ("big", "little"):
        model = Model("m", "m", 3, order, (one,), 125, 8, ())
        held = dict(enumerate(encode_register(one, order, digits)))
        assert decode_registers(model, (one,), held)[0].quantity.value == digits


def test_a_pin_that_has_no_register_or_no_room_is_refused() -> None:
    with pytest.raises(CallerError, match="no_such"):
        make().pin("no_such", 1)
    with pytest.raises(CallerError, match="ct_ratio"):
        make("chint-dtsu666").pin("ct_ratio", 65536)


def test_a_station_needs_meters_of_different_units() -> None:
    for meters in ([], [make(), make()]):
        with pytest.raises(CallerError):
            ModbusStation(meters)
    with pytest.raises(CallerError):
        make(unit=248)


# --- on a line ------------------------------------------------------------------------------------


def test_a_pinned_register_is_answered_to_its_own_unit(serve: Callable[..., Line]) -> None:
    other = make("chint-dtsu666", 18)
    meter = make()
    line = serve(meter, other)
    with Master(line.link) as master:
        for volts, wire in ((2301, "4366199a"), (2200, "435c0000")):
            meter.pin("voltage_l1", volts)
            due = frame(bytes.fromhex("110404" + wire))
            assert master.ask(request(17, 4, 0, 2), len(due)) == due
        other.pin("ct_ratio", 75)
        assert master.ask(request(18, 3, 6, 1), 7) == frame(bytes.fromhex("120302004b"))
        other.unpin("ct_ratio")
        assert master.ask(request(18, 3, 6, 1), 7) == frame(bytes.fromhex("1203020001"))


@pytest.mark.parametrize("name", MODELS)
def test_every_span_that_the_product_would_ask_for_is_served(
    serve: Callable[..., Line], name: str
) -> None:
    meter = make(name)
    line = serve(meter)
    words: dict[int, int] = {}
    with Master(line.link) as master:
        for function, address, count in plan_spans(meter.model.registers):
            reply = master.ask(request(17, function, address, count), 5 + 2 * count)
            assert reply == frame(reply[:-2]) and reply[2] == 2 * count
            words |= words_of(reply[3:-2], address, function)
    model = meter.model
    due = decode_registers(model, model.registers, meter.words(model.function, FakeClock()()))
    assert len(due) > 20
    assert decode_registers(model, model.registers, words) == due


def test_holding_and_input_registers_are_two_areas(serve: Callable[..., Line]) -> None:
    """One model with both: an address may stand in both, in one, or in a gap of one."""
    model = load_model(MODELS[0])
    rows = (
        register(name="holding", address=0, function=3),
        register(name="far", address=4, function=3),
        register(name="input", address=0, function=4),
        register(name="wide", address=3, function=4, type="float64", resolution=0),
    )
    meter = ModbusMeter(17, model._replace(registers=rows), Load(2, 3, 0), FakeClock())
    for name, value in (("holding", 1), ("far", 2), ("input", 3), ("wide", 2**53 - 1)):
        meter.pin(name, value)
    wide = bytes.fromhex("433fffffffffffff")
    line = serve(meter)
    with Master(line.link) as master:
        for function, address, words in (
            (3, 0, "0001 0000 0000 0000 0002"),
            (4, 0, "0003 0000 0000" + wide.hex()),
            (4, 1, "0000"),
            (3, 4, "0002"),
        ):
            data = bytes.fromhex(words)
            due = frame(bytes((17, function, len(data))) + data)
            asked = request(17, function, address, len(data) // 2)
            assert master.ask(asked, len(due)) == due
        assert master.ask(request(17, 3, 4, 2), 5) == frame(b"\x11\x83\x02")
        assert master.ask(request(17, 4, 5, 3), 5) == frame(b"\x11\x84\x02")


def test_over_tcp_it_answers_the_same() -> None:
    """With the transaction of the request, one after the other and on a second connection."""
    meter = make()
    meter.pin("voltage_l1", 2301)
    station = ModbusStation([meter])
    port = station.start_tcp()
    try:
        for transaction in (1, 0xFFFF):
            with socket.create_connection((HOST, port), timeout=5) as connection:
                for function, due in ((4, "0007 1104044366199a"), (3, "0003 118301")):
                    head = transaction.to_bytes(2, "big") + bytes(2)
                    body = bytes((17, function, 0, 0, 0, 2))
                    connection.sendall(head + bytes((0, len(body))) + body)
                    assert connection.recv(300) == head + bytes.fromhex(due)
    finally:
        station.stop()


@pytest.mark.parametrize(
    ("body", "due"),
    [
        pytest.param("110300000002", "118301", id="a function of another model"),
        pytest.param("110404000002", "118402", id="an address without a register"),
        pytest.param("110600000001", "118601", id="a write"),
    ],
)
def test_what_it_does_not_have_is_an_exception(
    serve: Callable[..., Line], body: str, due: str
) -> None:
    line = serve(make())
    with Master(line.link) as master:
        assert master.ask(frame(bytes.fromhex(body)), 5) == frame(bytes.fromhex(due))


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("paced", [False, True])
def test_a_request_is_answered_whatever_went_before(
    serve: Callable[..., Line], noise: bytes, paced: bool
) -> None:
    meter = make(response_delay_s=0.001)
    meter.pin("voltage_l1", 2301)
    line = serve(meter, with_=(Dlt645Meter(ADDRESS, Load(1), FakeClock()),), paced=paced)
    due = frame(bytes.fromhex("1104044366199a"))
    with Master(line.link) as master:
        for _ in range(2):
            if noise:
                master.send(noise)
                answer = master.hear(300, 0.1 + len(noise) * BITS_PER_BYTE / 9600)
                assert (answer != b"") == (noise[:1] == b"\xfe")
            assert master.ask(request(17, 4, 0, 2), len(due)) == due


def test_without_wire_time_the_protocols_may_follow_each_other_at_once(
    serve: Callable[..., Line],
) -> None:
    meter = make()
    meter.pin("voltage_l1", 2301)
    line = serve(meter, with_=(Dlt645Meter(ADDRESS, Load(1), FakeClock()),), baud=300)
    due = frame(bytes.fromhex("1104044366199a"))
    with Master(line.link) as master:
        for _ in range(5):
            master.exchange(read(ADDRESS, "00010000"))
            assert master.ask(request(17, 4, 0, 2), len(due)) == due


def test_a_unit_that_is_not_there_is_silent(serve: Callable[..., Line]) -> None:
    line = serve(make())
    with Master(line.link) as master:
        for unit in (0, 16, 18, 247):
            master.send(request(unit, 4, 0, 2))
            assert master.is_quiet()


def test_a_paced_answer_takes_its_time(serve: Callable[..., Line]) -> None:
    line = serve(make(response_delay_s=0.06), paced=True)
    due_s = (8 + 17) * BITS_PER_BYTE / 9600 + 0.06
    with Master(line.link) as master:
        errors_s = []
        for _ in range(4):
            assert len(master.ask(request(17, 4, 0, 6), 17)) == 17
            errors_s.append(master.last_s - master.started_s - due_s)
            assert master.hear(1, 0.01) == b""  # the silence between two frames
    print(f"due {due_s * 1e3:.2f} ms, errors", [f"{e * 1e3:+.2f}" for e in errors_s])
    assert -0.001 < min(errors_s) < 0.02 * due_s
    assert line.statistics().response_delay_s == pytest.approx(4 * 0.06, rel=0.1)


def test_every_register_answered_is_logged_as_a_decoder_reads_it(
    serve: Callable[..., Line],
) -> None:
    records: list[dict[str, object]] = []
    meter = make(log=records.append)
    meter.pin("active_energy_import", 999_999_999)  # more than a float32 holds
    line = serve(meter)
    with Master(line.link) as master:
        reply = master.ask(request(17, 4, 72, 4), 13)
    words = words_of(reply[3:-2], 72)
    chosen = tuple(one for one in meter.model.registers if 72 <= one.address < 76)
    readings = decode_registers(meter.model, chosen, words)
    assert [(one["obis"], one["value"], one["scaler"]) for one in records] == [
        (one.obis.text(), one.quantity.value, one.quantity.scaler) for one in readings
    ]
    assert records[0]["value"] == 1_000_000_000 and records[0]["register"] == chosen[0].name


def test_a_tty_that_cannot_be_opened_is_an_error() -> None:
    with pytest.raises(ModbusStationError):
        ModbusStation([make()]).start("/dev/no-such-tty")


def test_stopping_ends_the_thread_and_frees_the_tty(make_line: Callable[..., Line]) -> None:
    line = make_line()
    meter = make()
    meter.pin("voltage_l1", 2301)
    station = ModbusStation([meter])
    path = line.attach_external("modbus", accepts=station.accepts)
    before = set(threading.enumerate())
    with Master(line.link) as master:
        for _ in range(3):  # pymodbus opens exclusively: a tty that it kept would refuse the next
            station = ModbusStation([meter])
            station.start(path)
            due = frame(bytes.fromhex("1104044366199a"))
            assert master.ask(request(17, 4, 0, 2), len(due)) == due
            station.stop()
            station.stop()
            assert set(threading.enumerate()) <= before  # one of an earlier test may end meanwhile
