"""The virtual DL/T 645 meter, frame by frame: against captures of real meters, and its rules."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hil.load import DAY_MS, Load
from hil.meter import Dlt645Meter
from hil.meter_quantities import Value
from protocols.dlt645.answers import CUT_SIZE_MAX
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import DONE, Exchange, read
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.values import decode_items
from protocols.errors import BusbarError, CallerError
from tests.hil.masters import ADDRESS, FakeClock, ask

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "dlt645.json").read_text(), parse_float=Decimal
)["vectors"]
# What the meter of these captures holds, and how its reply is then due to look, byte for byte.
EXCHANGES = [
    (ask, reply)
    for ask in VECTORS
    for reply in VECTORS
    if ask["protocol"] == "2007"
    and ask.get("control") in ("11", "12")
    and ask.get("pair")
    and ask["pair"] == reply.get("pair")
    and reply["direction"] == "s2m"
    and reply["expect"] == "accept"
    and ask["di"] == reply.get("di", ask["di"])
    and ask["kind"] == "capture"
]


def make(address: str = ADDRESS, **options: Any) -> Dlt645Meter:
    return Dlt645Meter(address, Load(1), FakeClock(), **options)


def read_di(meter: Dlt645Meter, di: str, address: str = ADDRESS) -> Frame | None:
    return ask(meter, address, Function.READ, identifier_bytes(di))


def values(meter: Dlt645Meter, di: str) -> list[Any]:
    frame = read_di(meter, di)
    assert frame is not None and frame.control == 0x91
    return [
        None if quantity is None else quantity.value for _, quantity in decode_items(frame.data)
    ]


def pin_as_expected(meter: Dlt645Meter, reply: dict[str, Any]) -> None:
    """Gives the meter the decoded values of a capture, not its bytes."""
    expected, di = reply["expected"], reply.get("di", "")
    number = expected.get("value")
    if di.endswith("FF00"):
        first = 0 if di.startswith("00") else 1
        digits = int(reply["format"].strip("[]")[2])
        for at, one in enumerate(expected["values"], first):
            value = None if one is None else int(Decimal(one).scaleb(digits))
            meter.pin(f"{di[:4]}{at:02X}00", value)
    elif "word" in expected:
        meter.pin(di, expected["word"])
    elif "time" in expected:
        meter.pin(di, expected["time"].replace(":", ""))
    elif "text" in expected:
        meter.pin(di, expected["text"])
    elif number is not None and di[:2] in ("00", "02") and not di.startswith("0090"):
        meter.pin(di, int(Decimal(number).scaleb(int(reply["format"][2]))))
    elif "err" not in expected:  # items outside the product's tables: the payload itself
        meter.pin(di, bytes.fromhex(reply["data_plain"])[4:])


def test_there_are_captured_exchanges_to_compare_with() -> None:
    assert len(EXCHANGES) >= 18


@pytest.mark.parametrize(
    ("request_", "reply"), [pytest.param(*pair, id=pair[0]["id"]) for pair in EXCHANGES]
)
def test_a_captured_request_gets_the_captured_reply(
    request_: dict[str, Any], reply: dict[str, Any]
) -> None:
    lacks = (request_["di"],) if "err" in reply["expected"] else ()
    meter = make(request_["address"], preamble=reply["preamble"], refuses=lacks)
    pin_as_expected(meter, reply)
    answers = meter.feed(bytes.fromhex(request_["hex"]))
    assert [answer for _, answer in answers] == [bytes.fromhex(reply["hex"])]


def test_follow_up_frames_are_those_of_another_implementation() -> None:
    pair = [one for one in VECTORS if one.get("pair") == "p34"][:6]
    meter = make(preamble=pair[1]["preamble"], cut=8)
    joined = pair[5]["expected"]["joined_values"]
    pin_as_expected(meter, pair[1] | {"expected": {"values": joined}})
    for request_, reply in zip(pair[::2], pair[1::2], strict=True):
        assert (
            meter.feed(bytes.fromhex(request_["hex"]))[0][1].hex()
            == bytes.fromhex(reply["hex"]).hex()
        )


@pytest.mark.parametrize(
    "vector",
    [one for one in VECTORS if one["direction"] == "m2s" and one.get("control") == "11"],
    ids=lambda one: one["id"],
)
def test_any_read_request_gets_a_well_formed_reply_or_silence(vector: dict[str, Any]) -> None:
    address = vector["address"].replace("A", "1")
    answers = make(address).feed(bytes.fromhex(vector["hex"]))
    if vector["status"] != "ok":
        assert answers == []
        return
    frame = decode_frame(answers[0][1])
    assert frame.address == address
    assert frame.control in (0x91, 0xD1)
    if frame.control == 0x91:
        assert bytes(reversed(frame.data[:4])).hex().upper() == vector["di"]


# --- addressing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "is_answered"),
    [
        (ADDRESS, True),
        ("AAAAAAAAAAAA", True),
        ("AAAAAAAAAA12", True),
        ("AAAA56789012", True),
        ("AA3456789012", True),
        ("AAAAAAAAAA13", False),
        ("12345678AAAA", False),  # the wild bytes are the high ones
        ("AA34AA789012", False),  # and contiguous
        ("123456789013", False),
        ("999999999999", False),
    ],
)
def test_reads_are_answered_at_own_and_abbreviated_addresses(asked: str, is_answered: bool) -> None:
    reply = read_di(make(), "00010000", asked)
    assert (reply is not None) == is_answered
    assert reply is None or reply.address == ADDRESS


@pytest.mark.parametrize("asked", [ADDRESS, "AAAAAAAAAA12", "999999999999"])
def test_read_address_is_answered_to_the_full_wildcard_only(asked: str) -> None:
    assert ask(make(), asked, Function.READ_ADDRESS) is None
    reply = ask(make(), "AAAAAAAAAAAA", Function.READ_ADDRESS)
    assert reply == Frame(ADDRESS, 0x93, bytes.fromhex("129078563412"))


def test_a_reply_is_never_answered() -> None:
    assert ask(make(), ADDRESS, 0x91, identifier_bytes("00010000")) is None


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("di", ["12345678", "00010500", "00030001", "03060000", "0001FF01"])
def test_an_identifier_it_lacks_is_error_02(di: str) -> None:
    assert read_di(make(), di) == Frame(ADDRESS, 0xD1, b"\x02")


def test_a_refused_block_leaves_its_items_readable() -> None:
    meter = make(refuses=("0001ff00",))
    assert read_di(meter, "0001FF00") == Frame(ADDRESS, 0xD1, b"\x02")
    assert len(values(meter, "00010000")) == 1


def test_a_read_of_a_wrong_length_is_error_01() -> None:
    assert ask(make(), ADDRESS, 0x11, b"\x00\x00\x01") == Frame(ADDRESS, 0xD1, b"\x01")
    assert ask(make(), ADDRESS, 0x12, b"\x00\x00\x01\x00") == Frame(ADDRESS, 0xD2, b"\x01")


@pytest.mark.parametrize("function", [0x00, 0x02, 0x08, 0x1E, 0x1F, 0x51, 0x31, 0x5C])
def test_what_is_no_request_gets_silence(function: int) -> None:
    assert ask(make(), ADDRESS, function, identifier_bytes("00010000")) is None
    assert ask(make(), ADDRESS, function, bytes(6)) is None


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preamble", range(8))
def test_the_preamble_is_as_long_as_configured(preamble: int) -> None:
    ((delay_s, reply),) = make(preamble=preamble, response_delay_s=0.123).feed(
        read(ADDRESS, "00010000").request.to_bytes()
    )
    assert reply[: preamble + 1] == b"\xfe" * preamble + b"\x68"
    assert delay_s == 0.123


def test_blocks_hold_what_the_single_items_show() -> None:
    meter = make()
    for block, first, last in (
        ("0001{}00", 0, 4),
        ("0003{}00", 0, 4),
        ("0201{}00", 1, 3),
        ("0202{}00", 1, 3),
        ("0203{}00", 0, 3),
        ("0206{}00", 0, 3),
    ):
        singles = [values(meter, block.format(f"{at:02X}"))[0] for at in range(first, last + 1)]
        assert values(meter, block.format("FF")) == singles
        assert all(isinstance(one, int) and one > 0 for one in singles)


@pytest.mark.parametrize("tariffs", range(5))
def test_a_block_is_as_long_as_there_are_tariffs(tariffs: int) -> None:
    meter = Dlt645Meter(ADDRESS, Load(1, 3, tariffs), FakeClock())
    assert len(values(meter, "0001FF00")) == 1 + tariffs
    reply = read_di(meter, "04000204")
    assert reply is not None and reply.data[4:] == bytes((tariffs,))


def test_absent_phases_are_ff_fill() -> None:
    meter = Dlt645Meter(ADDRESS, Load(1, phases=1), FakeClock())
    reply = read_di(meter, "0201FF00")
    assert reply is not None and reply.data[6:] == b"\xff" * 4
    assert values(meter, "02020300") == [None]


def test_clock_status_and_number() -> None:
    clock = FakeClock(1_767_225_599_000)  # 2025-12-31 23:59:59 UTC, a Wednesday
    meter = Dlt645Meter(ADDRESS, Load(1), clock)
    assert values(meter, "0400010C") == ["2025-12-31T23:59:59"]
    reply = read_di(meter, "04000101")
    assert reply is not None and reply.data[4:] == bytes.fromhex("03311225")
    assert values(meter, "04000102") == ["23:59:59"]
    assert values(meter, "04000503") == [0]
    assert values(meter, "04000401") == [ADDRESS]
    eastern = Dlt645Meter(ADDRESS, Load(1), clock, utc_offset_ms=8 * 3_600_000)
    assert values(eastern, "0400010C") == ["2026-01-01T07:59:59"]


@pytest.mark.parametrize(
    ("di", "value", "wire"),
    [
        ("00010000", 12345678, "78563412"),
        ("00000000", -1234, "34120080"),
        ("02030000", -12345, "452381"),
        ("02010200", None, "ffff"),
        ("04000503", 0x50, "5000"),
        ("04000102", "215355", "555321"),
        ("00900200", bytes.fromhex("56980100"), "56980100"),
    ],
)
def test_a_pinned_register_stays_until_unpinned(di: str, value: Value, wire: str) -> None:
    clock = FakeClock()
    meter = Dlt645Meter(ADDRESS, Load(1), clock)
    before = read_di(meter, di)
    meter.pin(di, value)
    clock.now_ms += 60_000
    reply = read_di(meter, di)
    assert reply is not None and reply.data[4:].hex() == wire
    meter.unpin(di)
    clock.now_ms -= 60_000
    assert read_di(meter, di) == before


@pytest.mark.parametrize(
    ("di", "value"),
    [("00010000", 10**8), ("00010000", -1), ("02010100", "123456"), ("0001FF00", 5), ("zz", 1)],
)
def test_a_pin_that_does_not_fit_is_refused(di: str, value: Value) -> None:
    with pytest.raises(BusbarError):
        make().pin(di, value)


@pytest.mark.parametrize(
    ("address", "options"),
    [("999999999999", {}), ("12345", {}), (ADDRESS, {"preamble": 8}), (ADDRESS, {"cut": 0})],
)
def test_a_meter_that_cannot_exist_is_refused(address: str, options: dict[str, Any]) -> None:
    with pytest.raises(CallerError):
        make(address, **options)


def test_every_value_answered_is_logged() -> None:
    records: list[dict[str, object]] = []
    meter = make(log=records.append)
    meter.pin("02010200", None)
    shown = values(meter, "0201FF00")
    assert [one["value"] for one in records] == shown
    assert {one["di"] for one in records} == {"0201FF00"}
    assert records[0] | {"value": 0, "t_ms": 0} == {
        "t_ms": 0,
        "meter": ADDRESS,
        "di": "0201FF00",
        "value": 0,
        "obis": "1-0:32.7.0*255",
        "scaler": -1,
        "unit": "V",
    }


def test_a_full_register_starts_again_from_zero() -> None:
    load = Load(1, power_w=(15_000, 20_000))
    century = FakeClock(FakeClock().now_ms + 100 * 365 * DAY_MS)
    meter = Dlt645Meter(ADDRESS, load, century)
    total_10wh = (load.shown(century())[1, 8, 0] or 0) // 10_000
    assert total_10wh > 10**8
    assert values(meter, "00010000") == [total_10wh % 10**8]
    assert values(meter, "00000000") == [total_10wh % (8 * 10**7)]


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 3, 7, 8, 19, 20, CUT_SIZE_MAX])
def test_joined_parts_equal_the_block_wherever_they_are_cut(cut: int) -> None:
    whole = read_di(make(), "0001FF00")
    assert whole is not None
    meter = make(cut=cut)
    exchange = read(ADDRESS, "0001FF00")
    parts = 0
    while exchange.state != DONE:
        ((_, reply),) = meter.feed(exchange.request.to_bytes())
        frame = decode_frame(reply)
        exchange.receive(frame)
        parts += 1
    assert exchange.data() == whole.data
    assert parts == -(-20 // cut)


def test_a_block_is_of_one_instant() -> None:
    """However long the meter takes over it."""
    clock = FakeClock()

    def hurried() -> int:
        clock.now_ms += 600_000
        return clock.now_ms

    for block in ("0001FF00", "0003FF00", "0203FF00"):
        total, *others = values(Dlt645Meter(ADDRESS, Load(1), hurried), block)
        assert total == sum(others)


def test_a_lost_part_can_be_asked_for_again_and_stays_of_one_instant() -> None:
    clock = FakeClock()
    meter = Dlt645Meter(ADDRESS, Load(1), clock, cut=8)
    whole = read_di(Dlt645Meter(ADDRESS, Load(1), clock), "0203FF00")
    di = identifier_bytes("0203FF00")
    first = ask(meter, ADDRESS, 0x11, di)
    clock.now_ms += 3_600_000
    lost, again = (ask(meter, ADDRESS, 0x12, di + b"\x01") for _ in range(2))
    assert first is not None and lost is not None and whole is not None
    assert lost == again
    assert (first.control, lost.control, lost.data[-1]) == (0xB1, 0x92, 1)
    assert first.data + lost.data[4:-1] == whole.data


@pytest.mark.parametrize("wire", ["00ff010002", "00ff010000", "00ff020001"])
def test_a_part_that_nobody_announced_is_error_02(wire: str) -> None:
    meter = make(cut=10)
    read_di(meter, "0001FF00")
    assert ask(meter, ADDRESS, 0x12, bytes.fromhex(wire)) == Frame(ADDRESS, 0xD2, b"\x02")


# --- the stream -----------------------------------------------------------------------------------


def test_requests_are_found_byte_by_byte_and_behind_noise() -> None:
    request = b"\x00\x68\xff" + read(ADDRESS, "00010000").request.to_bytes(4)
    whole = make().feed(request)
    meter = make()
    pieces = [reply for byte in request for reply in meter.feed(bytes((byte,)))]
    assert len(whole) == 1 and pieces == whole


def test_a_request_that_broke_off_is_forgotten_after_a_silence() -> None:
    request = read(ADDRESS, "00010000").request.to_bytes()
    meter = make()
    broken_off = request[:9] + b"\xc8"  # announces 200 data bytes that never come
    meter.feed(broken_off)
    assert meter.feed(request, gap_s=0.4) == []
    assert len(meter.feed(request, gap_s=0.6)) == 1


def test_its_frames_survive_our_own_exchange() -> None:
    """An exchange of the product accepts what the meter says, and nothing is a stray."""
    meter = make()
    exchange = Exchange(Frame("AAAAAAAAAA12", Function.READ, identifier_bytes("02030000")))
    for _, reply in meter.feed(exchange.request.to_bytes()):
        for frame in Deframer().feed(reply):
            exchange.receive(frame)
    assert (exchange.state, exchange.answered_by, exchange.strays) == (DONE, ADDRESS, 0)
