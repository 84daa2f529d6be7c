"""The virtual meter's relay, one row a rule; frames by hand, and frames of others."""

import json
from pathlib import Path
from typing import Any

import pytest

from hil.load import Load
from hil.meter import Dlt645Meter
from protocols.dlt645.relay import RelayAction, RelayTerms
from tests.hil.masters import (
    ADDRESS,
    ALL_TERMS,
    PASSWORD,
    WHO,
    FakeClock,
    make_meter,
    order,
    shown,
)
from tests.hil.test_meter_orders import CIPHER, DELAY, Trusting

VECTORS = {
    one["id"]: one
    for one in json.loads((Path(__file__).parents[1] / "vectors" / "dlt645.json").read_text())[
        "vectors"
    ]
}
NOON_MS = 1_770_033_600_000  # 2026-02-02 12:00:00 UTC
FOREVER = "595923311299"
OPEN, PERMIT, CLOSE, ALARM, CALM, KEEP, LIFT = "1A", "1B", "1C", "2A", "2B", "3A", "3B"
CLOSE_LATER, PERMIT_LATER = "1D", "1E"
# Status word 3: bit 4 the contact, bit 6 the command, bit 7 the alarm, bit 12 keep-power.
CLOSED, OPENED, OPENING, PERMITTED, KEPT, ALARMED = 0x00, 0x50, 0x40, 0x10, 0x1000, 0x80
MINUTE_MS = 60_000


def control(
    meter: Dlt645Meter, action: str, expiry: str = FOREVER, n2: str = "00", who: str = WHO
) -> str:
    return order(meter, 0x1C, who + action + n2 + expiry)


def word(meter: Dlt645Meter) -> int:
    (found,) = shown(meter, "04000503")
    return int(found)


def counts(meter: Dlt645Meter) -> tuple[int, int]:
    return shown(meter, "1D000001")[0], shown(meter, "1E000001")[0]


@pytest.mark.parametrize(
    ("steps", "answers", "end", "moves"),
    [
        ([OPEN], ["ok"], OPENED, (1, 0)),
        ([OPEN, OPEN], ["ok", "ok"], OPENED, (1, 0)),
        ([CLOSE], ["ok"], CLOSED, (0, 0)),
        ([PERMIT], ["ok"], CLOSED, (0, 0)),
        ([OPEN, CLOSE], ["ok", "ok"], CLOSED, (1, 1)),
        ([OPEN, PERMIT], ["ok", "ok"], PERMITTED, (1, 0)),
        ([OPEN, PERMIT, CLOSE], ["ok"] * 3, CLOSED, (1, 1)),
        ([OPEN, PERMIT, "button"], ["ok", "ok", True], CLOSED, (1, 1)),
        ([OPEN, "button"], ["ok", False], OPENED, (1, 0)),
        (["button"], [False], CLOSED, (0, 0)),
        ([OPEN, PERMIT, OPEN, "button"], ["ok", "ok", "ok", False], OPENED, (1, 0)),
        ([ALARM], ["ok"], ALARMED, (0, 0)),
        ([ALARM, CALM], ["ok", "ok"], CLOSED, (0, 0)),
        ([KEEP], ["ok"], KEPT, (0, 0)),
        ([KEEP, OPEN], ["ok", "err 04"], KEPT, (0, 0)),
        ([KEEP, LIFT, OPEN], ["ok"] * 3, OPENED, (1, 0)),
        ([OPEN, KEEP], ["ok", "ok"], OPENED | KEPT, (1, 0)),
        ([OPEN, KEEP, CLOSE], ["ok"] * 3, KEPT, (1, 1)),
        ([LIFT], ["ok"], CLOSED, (0, 0)),
        (["55"], ["err 01"], CLOSED, (0, 0)),
        (["00"], ["err 01"], CLOSED, (0, 0)),
    ],
)
def test_what_was_ordered_and_what_became_of_it(
    steps: list[str], answers: list[object], end: int, moves: tuple[int, int]
) -> None:
    meter = make_meter()
    done = [meter.press_button() if one == "button" else control(meter, one) for one in steps]
    assert done == answers
    assert word(meter) == end
    assert counts(meter) == moves


@pytest.mark.parametrize(
    ("offset_s", "expiry", "answer"),
    [
        (0, "000012020226", "ok"),  # this very second is still valid
        (0, "595911020226", "err 01"),
        (0, "000012030226", "ok"),
        (0, "595923310125", "err 01"),
        (1, "000012020226", "err 01"),  # the meter's own clock decides
        (-1, "000012020226", "ok"),
        (0, "000000000000", "err 01"),  # what zeros mean, nobody tells
        (0, "000012300226", "err 01"),
        (0, "0A0012020226", "err 01"),
    ],
)
def test_an_order_expires(offset_s: int, expiry: str, answer: str) -> None:
    meter = make_meter(FakeClock(NOON_MS), clock_offset_ms=1000 * offset_s)
    assert control(meter, OPEN, expiry) == answer
    assert word(meter) == (OPENED if answer == "ok" else CLOSED)


@pytest.mark.parametrize(
    ("while_waiting", "end"),
    [
        ("", OPENED),
        (KEEP, KEPT),  # cancels what is not yet carried out
        (PERMIT, CLOSED),
        (CLOSE, CLOSED),
        (OPEN, OPENED),
    ],
)
def test_the_contact_opens_after_the_delay(while_waiting: str, end: int) -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    assert order(meter, 0x14, DELAY + WHO + "0500") == "ok"
    control(meter, OPEN)
    clock.now_ms += 5 * MINUTE_MS - 1
    assert word(meter) == OPENING
    if while_waiting:
        assert control(meter, while_waiting) == "ok"
    clock.now_ms += 1
    assert word(meter) == end
    assert counts(meter) == (1 if end == OPENED else 0, 0)
    if end == OPENED:
        assert shown(meter, "1D000101") == ["2026-02-02T12:05:00"]


def test_a_move_that_fell_due_unseen_is_written_down_as_of_then() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    order(meter, 0x14, DELAY + WHO + "0500")
    control(meter, OPEN)
    clock.now_ms += 60 * MINUTE_MS
    then = Dlt645Meter(ADDRESS, Load(1), FakeClock(NOON_MS + 5 * MINUTE_MS))
    assert word(meter) == OPENED
    assert shown(meter, "1D000101") == ["2026-02-02T12:05:00"]
    assert shown(meter, "1D000301") == shown(then, "00010000") == shown(meter, "00010000")


@pytest.mark.parametrize(
    ("action", "opens_first", "at_once", "then", "moves"),
    [
        (CLOSE_LATER, True, OPENED, CLOSED, (1, 1)),
        (PERMIT_LATER, True, OPENED, PERMITTED, (1, 0)),
        (CLOSE_LATER, False, CLOSED, CLOSED, (0, 0)),
        (PERMIT_LATER, False, CLOSED, CLOSED, (0, 0)),
    ],
)
def test_a_delayed_form_of_a_closed_meter(
    action: str, opens_first: bool, at_once: int, then: int, moves: tuple[int, int]
) -> None:
    clock = FakeClock()
    meter = make_meter(clock, relay_opens_first=opens_first)
    assert control(meter, action) == "err 01"  # without a number there is no time
    assert control(meter, action, n2="02") == "ok"
    assert word(meter) == at_once
    clock.now_ms += 10 * MINUTE_MS - 1
    assert word(meter) == at_once
    clock.now_ms += 1
    assert word(meter) == then
    assert counts(meter) == moves


@pytest.mark.parametrize(("action", "then"), [(CLOSE_LATER, CLOSED), (PERMIT_LATER, PERMITTED)])
def test_a_delayed_form_of_an_open_meter(action: str, then: int) -> None:
    for opens_first in (True, False):
        clock = FakeClock()
        meter = make_meter(clock, relay_opens_first=opens_first)
        control(meter, OPEN)
        assert control(meter, action, n2="01") == "ok"
        assert word(meter) == OPENED
        clock.now_ms += 5 * MINUTE_MS
        assert word(meter) == then


def test_keep_power_refuses_a_delayed_form_that_opens() -> None:
    for opens_first, answer in ((True, "err 04"), (False, "ok")):
        meter = make_meter(relay_opens_first=opens_first)
        control(meter, KEEP)
        assert control(meter, CLOSE_LATER, n2="01") == answer


def test_a_long_delay_is_overtaken_by_a_short_one() -> None:
    clock = FakeClock()
    meter = make_meter(clock)
    order(meter, 0x14, DELAY + WHO + "3000")
    control(meter, CLOSE_LATER, n2="01")
    clock.now_ms += 24 * 60 * MINUTE_MS
    assert word(meter) == CLOSED
    assert counts(meter) == (0, 0)


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "who", "action", "answer"),
    [
        (RelayTerms((), (), False), WHO, OPEN, "err 04"),
        (RelayTerms((RelayAction.ARM,), (2,), False), WHO, OPEN, "err 04"),
        (RelayTerms((RelayAction.ARM,), (2,), False), WHO, PERMIT, "ok"),
        (RelayTerms((RelayAction.DISCONNECT,), (4,), False), WHO, OPEN, "err 04"),
        (ALL_TERMS, "0299999978563412", OPEN, "err 04"),
        (ALL_TERMS, "0456341278563412", OPEN, "err 04"),  # no such password
        (ALL_TERMS, "0A56341278563412", OPEN, "err 01"),  # no such level
        (ALL_TERMS, CIPHER, OPEN, "err 01"),  # secured, but no ciphertext
    ],
)
def test_who_may_move_the_relay(terms: RelayTerms, who: str, action: str, answer: str) -> None:
    meter = make_meter(relay_terms=terms)
    assert control(meter, action, who=who) == answer
    assert word(meter) == CLOSED


def test_wrong_passwords_lock_out_the_relay_too() -> None:
    clock = FakeClock()
    meter = make_meter(clock)
    for _ in range(3):
        control(meter, OPEN, who="0299999978563412")
    assert control(meter, OPEN) == "err 04"
    clock.now_ms += 86_400_000
    assert control(meter, OPEN) == "ok"


@pytest.mark.parametrize(
    ("plain", "secured", "answer"),
    [
        ("1A00260202120000", True, "ok"),
        ("1A00260202115959", True, "err 01"),
        ("1A00261302120000", True, "err 01"),
        ("5500260202120000", True, "err 01"),
        ("1A002602021200", True, "err 01"),
        ("", True, "err 01"),
        ("1A00260202120000", False, "err 04"),
    ],
)
def test_a_secured_control_is_what_the_module_opens(plain: str, secured: bool, answer: str) -> None:
    module = Trusting()
    module.plain = bytes.fromhex(plain)
    terms = RelayTerms((), (), secured)
    meter = make_meter(FakeClock(NOON_MS), security=module, relay_terms=terms)
    assert order(meter, 0x1C, CIPHER + "00" * 20) == answer
    assert word(meter) == (OPENED if answer == "ok" else CLOSED)
    if answer == "ok":
        assert shown(meter, "1D000201") == ["12345678"]
    assert order(make_meter(), 0x1C, CIPHER + "00" * 20) == "err 04"


# --- what an open contact does --------------------------------------------------------------------


def test_an_open_contact_stops_the_load_and_the_registers() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    before = shown(meter, "0001FF00")
    control(meter, OPEN)
    clock.now_ms += 6 * 3_600_000
    assert shown(meter, "0001FF00") == before
    assert shown(meter, "0203FF00") == [0] * 4
    assert shown(meter, "0202FF00") == [0] * 3
    assert all(volts > 2000 for volts in shown(meter, "0201FF00"))
    assert shown(meter, "0206FF00") == [1000] * 4
    control(meter, CLOSE)
    assert shown(meter, "0001FF00") == before
    assert shown(meter, "02030000")[0] > 0
    clock.now_ms += 3_600_000
    after = shown(meter, "0001FF00")
    untouched = Dlt645Meter(ADDRESS, Load(1), FakeClock(clock.now_ms))
    early = Dlt645Meter(ADDRESS, Load(1), FakeClock(NOON_MS + 6 * 3_600_000))
    drawn = shown(untouched, "00010000")[0] - shown(early, "00010000")[0]
    assert after[0] - before[0] == drawn > 0
    assert after[0] == sum(after[1:])


def test_each_move_is_written_down_with_time_operator_and_registers() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    assert shown(meter, "1D00FF01") == [None] * 8
    energies = [shown(meter, di)[0] for di in ("00010000", "00020000", "00050000")]
    control(meter, OPEN, who=PASSWORD + "01000000")
    clock.now_ms += MINUTE_MS
    control(meter, PERMIT, who=PASSWORD + "02000000")
    clock.now_ms += MINUTE_MS
    meter.press_button()
    opened, closed = shown(meter, "1D00FF01"), shown(meter, "1E00FF01")
    assert opened[:5] == ["2026-02-02T12:00:00", "00000001", *energies]
    assert closed[:2] == ["2026-02-02T12:02:00", "00000002"]
    for number, value in enumerate(opened, 1):
        assert shown(meter, f"1D00{number:02X}01") == [value]
    assert shown(meter, "1D00FF02") == [None] * 8
    assert shown(meter, "1D00FF0B") == shown(meter, "1D000002") == shown(meter, "1D000901") == []


def test_the_last_ten_moves_are_kept() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    for _ in range(12):
        control(meter, OPEN)
        clock.now_ms += MINUTE_MS
        control(meter, CLOSE)
    assert counts(meter) == (12, 12)
    assert shown(meter, "1D000101") == ["2026-02-02T12:11:00"]
    assert shown(meter, "1D00010A") == ["2026-02-02T12:02:00"]


# --- frames of others -----------------------------------------------------------------------------


def play(meter: Dlt645Meter, name: str) -> bytes:
    replies = meter.feed(bytes.fromhex(VECTORS[name]["hex"]))
    return replies[0][1].lstrip(b"\xfe") if replies else b""


def meter_of(name: str, **options: Any) -> Dlt645Meter:
    expected = VECTORS[name]["expected"]
    passwords = {} if expected["pa"] == "98" else {int(expected["pa"]): expected["password"]}
    terms = RelayTerms(ALL_TERMS.plain, (2, 3), True)
    options = {"passwords": passwords, "relay_terms": terms} | options
    return Dlt645Meter(VECTORS[name]["address"], Load(1), FakeClock(), **options)


def test_a_captured_trip_and_permission_with_their_replies() -> None:
    meter = meter_of("v064")
    assert play(meter, "v064") == bytes.fromhex(VECTORS["v065"]["hex"])
    assert play(meter, "v067") == bytes.fromhex(VECTORS["v068"]["hex"])  # 0050
    assert play(meter, "v066") == bytes.fromhex(VECTORS["v065"]["hex"])
    assert word(meter) == PERMITTED
    assert meter.press_button()
    assert play(meter, "v067") == bytes.fromhex(VECTORS["v069"]["hex"])  # 0000
    assert shown(meter, "1D00FF01")[1] == "00000001"


@pytest.mark.parametrize(
    ("name", "first", "end"),
    [
        ("v072", "", OPENED),  # level 03
        ("v073", "", CLOSED),  # an expiry of zeros
        ("v096", OPEN, PERMITTED),  # another implementation's
        ("v145", OPEN, CLOSED),
        ("v146", ALARM, CLOSED),
        ("v147", "", KEPT),
    ],
)
def test_frames_of_others_do_what_they_mean(name: str, first: str, end: int) -> None:
    meter = meter_of(name)
    if first:
        assert order(meter, 0x1C, WHO + first + "00" + FOREVER, meter.name) == "ok"
    reply = play(meter, name)
    assert reply[8] == (0xDC if name == "v073" else 0x9C)
    assert word(meter) == end


@pytest.mark.parametrize("name", ["v064", "v066", "v072", "v096", "v145", "v147"])
def test_a_damaged_frame_of_others_does_nothing(name: str) -> None:
    wire = bytes.fromhex(VECTORS[name]["hex"])
    for at in range(wire.index(b"\x68"), len(wire)):
        meter = meter_of(name)
        damaged = wire[:at] + bytes((wire[at] ^ 0x01,)) + wire[at + 1 :]
        assert meter.feed(damaged) == []
        assert word(meter) == CLOSED


def test_the_documented_secured_trip() -> None:
    module = Trusting()
    module.plain = bytes.fromhex("1A00991231235959")
    meter = meter_of("v074", security=module)
    assert play(meter, "v074") == bytes.fromhex(VECTORS["v075"]["hex"]).lstrip(b"\xfe")
    assert word(meter) == OPENED
    (seen,) = module.seen
    assert seen.body.hex().upper() == VECTORS["v074"]["expected"]["cipher_wire"]  # type: ignore[attr-defined]
    refusing = meter_of("v074")
    assert play(refusing, "v074")[8] == 0xDC
    assert word(refusing) == CLOSED
