"""The virtual meter of edition 1997: against captures of such meters, and its habits."""

import json
from pathlib import Path
from typing import Any

import pytest

from hil.load import Load
from hil.meter_1997 import Dlt645Meter1997
from protocols.dlt645.exchange import DONE, read_1997
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.values import decode_items
from protocols.errors import BusbarError, CallerError
from tests.hil.masters import ADDRESS, FakeClock, ask

VECTORS = {
    one["id"]: one
    for one in json.loads((Path(__file__).parents[1] / "vectors" / "dlt645.json").read_text())[
        "vectors"
    ]
}
NOON_MS = 1_770_033_600_000  # 2026-02-02 12:00:00 UTC, a Monday


def make(address: str = ADDRESS, **options: Any) -> Dlt645Meter1997:
    return Dlt645Meter1997(address, Load(1), FakeClock(NOON_MS), **options)


def values(meter: Dlt645Meter1997, di: str) -> list[Any]:
    reply = ask(meter, ADDRESS, 0x01, identifier_bytes(di))
    assert reply is not None and reply.control == 0x81
    return [quantity and quantity.value for _, quantity in decode_items(reply.data, 2)]


@pytest.mark.parametrize(
    ("asked", "answered", "pins"),
    [
        ("v041", "v042", {"9010": 10000}),
        ("v100", "v101", {"9010": 15}),
        ("v106", "v107", {"9110": 0}),
        ("v108", "v109", {"9020": 0}),
        ("v111", "v112", {}),  # four bytes are no identifier
        ("v117", "v118", {"9000": 38}),
        ("v119", "v120", {"B611": None}),
        ("v121", "v122", {"901F": (39, 0, 3, 24, 12)}),
        ("v123", "v124", {"B611": 100}),
        ("v130", "v131", {"9010": 27261}),
    ],
)
def test_a_captured_request_gets_the_captured_reply(
    asked: str, answered: str, pins: dict[str, Any]
) -> None:
    """With the habits of the captured meters, and the values that they showed."""
    reply = VECTORS[answered]
    address = reply["address"] if "A" not in reply["address"] else ADDRESS
    meter = make(address, echoes_wildcard=True, answers_broadcast=True, preamble=reply["preamble"])
    for di, value in pins.items():
        if isinstance(value, tuple):
            for tariff, one in enumerate(value):
                meter.pin(f"{di[:3]}{tariff}", one)
        else:
            meter.pin(di, value if answered != "v120" else 0)
    wire = reply["hex"]
    expected = [bytes.fromhex(wire)]
    if answered == "v120":  # its voltage has a nibble above 9, which no value of ours gives
        expected[0] = expected[0][:12] + b"\x33\x33" + _end(expected[0][:12] + b"\x33\x33")
    assert [one for _, one in meter.feed(bytes.fromhex(VECTORS[asked]["hex"]))] == expected


def _end(body: bytes) -> bytes:
    return bytes((sum(body) & 0xFF, 0x16))


@pytest.mark.parametrize("control", [c for c in range(256) if c not in (1, 2, 3)])
def test_everything_but_its_reads_gets_silence(control: int) -> None:
    meter = make(answers_broadcast=True)
    for address in (ADDRESS, "AAAAAAAAAAAA", "999999999999"):
        for data in ("", "1090", "00000100", "0c010004"):
            assert ask(meter, address, control, data) is None


@pytest.mark.parametrize(
    ("asked", "options", "answered"),
    [
        (ADDRESS, {}, ADDRESS),
        ("AAAAAAAAAAAA", {}, ADDRESS),
        ("AAAAAA789012", {}, ADDRESS),
        ("AAAAAAAAAAAA", {"echoes_wildcard": True}, "AAAAAAAAAAAA"),
        ("AAAAAA789012", {"echoes_wildcard": True}, "AAAAAA789012"),
        ("AAAAAA789013", {"echoes_wildcard": True}, ""),
        ("999999999999", {}, ""),
        ("999999999999", {"answers_broadcast": True}, ADDRESS),
        ("123456789013", {"answers_broadcast": True, "echoes_wildcard": True}, ""),
    ],
)
def test_addresses(asked: str, options: dict[str, bool], answered: str) -> None:
    reply = ask(make(**options), asked, 0x01, "1090")
    assert (reply.address if reply else "") == answered


def test_what_it_shows() -> None:
    meter = make()
    total, *rates = values(meter, "901F")
    assert total == sum(rates) == values(meter, "9010")[0] > 0
    assert len(rates) == 4
    assert all(210 < volts < 250 for volts in values(meter, "B61F"))
    assert values(meter, "B611") == values(meter, "B61F")[:1]
    assert len(values(meter, "B63F")) == 4
    assert values(meter, "C011") == ["12:00:00"]
    assert values(meter, "C010") == ["2026-02-02"]
    reply = ask(meter, ADDRESS, 0x01, "10c0")
    assert reply is not None and reply.data.hex() == "10c0" + "01020226"
    assert values(meter, "C032") == [ADDRESS]
    assert values(meter, "C020") == [0]
    (demand,), (when,) = values(meter, "A010"), values(meter, "B010")
    assert demand > 0 and when.startswith("01-01T")
    assert values(meter, "A01F")[0] == demand


@pytest.mark.parametrize("data", ["", "10", "1094", "00c5", "000000", "00000100", "12c2", "15a0"])
def test_what_it_lacks_is_error_02(data: str) -> None:
    assert ask(make(), ADDRESS, 0x01, data) == Frame(ADDRESS, 0xC1, b"\x02")


def test_separators_stand_behind_each_item_of_a_block() -> None:
    plain, separated = make(), make(has_separators=True)
    for di in ("901F", "B61F"):
        assert values(plain, di) == values(separated, di)
    one = ask(separated, ADDRESS, 0x01, "1f90")
    assert one is not None and len(one.data) == 2 + 5 * 5
    assert one.data[6::5] == b"\xaa" * 5
    assert ask(separated, ADDRESS, 0x01, "1090") == ask(plain, ADDRESS, 0x01, "1090")


@pytest.mark.parametrize("cut", [1, 7, 8, 19, 20])
def test_parts_follow_by_identifier_alone(cut: int) -> None:
    whole = ask(make(), ADDRESS, 0x01, "1f90")
    meter = make(cut=cut)
    exchange = read_1997(ADDRESS, "901F")
    controls = []
    while exchange.state != DONE:
        ((_, reply),) = meter.feed(exchange.request.to_bytes())
        frame = decode_frame(reply)
        again = ask(meter, ADDRESS, 0x03, "1f90")
        assert again is not None and again.data == frame.data
        controls.append(frame.control)
        exchange.receive(frame)
    assert whole is not None and exchange.data() == whole.data
    assert len(controls) == -(-20 // cut)
    assert controls[0] == (0xA1 if len(controls) > 1 else 0x81)
    assert controls[1:] == [0xA2] * (len(controls) - 2) + [0x82] * (len(controls) > 1)
    assert ask(meter, ADDRESS, 0x02, "1f90") == Frame(ADDRESS, 0xC2, b"\x02")


@pytest.mark.parametrize(("function", "data"), [(0x02, "1f90"), (0x03, "1f90"), (0x02, "")])
def test_a_part_that_nobody_announced_is_error_02(function: int, data: str) -> None:
    assert ask(make(), ADDRESS, function, data) == Frame(ADDRESS, function | 0xC0, b"\x02")


@pytest.mark.parametrize(
    ("di", "value"), [("901F", 1), ("00010000", 1), ("9010", -1), ("9010", 10**8), ("zz", 1)]
)
def test_a_pin_that_does_not_fit_is_refused(di: str, value: int) -> None:
    with pytest.raises(BusbarError):
        make().pin(di, value)


def test_every_value_answered_is_logged() -> None:
    records: list[dict[str, object]] = []
    shown = values(make(log=records.append), "B61F")
    assert [one["value"] for one in records] == shown
    assert records[0]["obis"] == "1-0:32.7.0*255"


def test_a_meter_that_cannot_exist_is_refused() -> None:
    for options in ({"cut": 0}, {"preamble": 8}):
        with pytest.raises(CallerError):
            make(**options)
    with pytest.raises(CallerError):
        make("999999999999")
