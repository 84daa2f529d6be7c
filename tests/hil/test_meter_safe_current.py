"""What a disconnect waits for, what an overdrawn account does to the relay, the extended answer.
Data are written by hand, as they stand on the wire (33h removed)."""

import pytest

from hil.load import EPOCH_MS
from hil.meter import Dlt645Meter
from protocols.dlt645.relay import RelayTerms
from tests.hil.masters import ADDRESS, ALL_TERMS, WHO, FakeClock, ask, make_meter, order, shown
from tests.hil.test_meter_orders import DELAY, Trusting
from tests.hil.test_meter_relay import (
    ALARM,
    CALM,
    CLOSE,
    CLOSE_LATER,
    CLOSED,
    FOREVER,
    KEEP,
    KEPT,
    LIFT,
    OPEN,
    OPENED,
    OPENING,
    PERMIT,
    PERMIT_LATER,
    PERMITTED,
    control,
    counts,
    word,
)
from tests.hil.test_meter_watch import MINUTE_MS, NOON_MS, Bench, Phase

LIMIT, WAIT = "02140004", "03140004"  # 04001402 in A, NNN.NNN; 04001403 in minutes
HIGH: Phase = (220_000, 30_001, 6_600_000)
LIMITED: Phase = (220_000, 30_000, 6_600_000)
LOW: Phase = (220_000, 100, 22_000)


def loaded(
    *steps: tuple[int, Phase], limit: str = "000003", wait: str = "6000"
) -> tuple[FakeClock, Dlt645Meter]:
    """A meter at noon with its limit (30 A) and its wait (60 min), whose second phase draws `steps`
    of ms after noon."""
    clock = FakeClock(NOON_MS)
    load = Bench(
        (EPOCH_MS, (LOW, HIGH, LOW)), *[(NOON_MS + ms, (LOW, one, LOW)) for ms, one in steps]
    )
    meter = Dlt645Meter(ADDRESS, load, clock, passwords={2: "123456"}, relay_terms=ALL_TERMS)
    assert order(meter, 0x14, LIMIT + WHO + limit) == "ok"
    assert order(meter, 0x14, WAIT + WHO + wait) == "ok"
    return clock, meter


# --- the safe current -----------------------------------------------------------------------------


def test_without_a_limit_nothing_waits() -> None:
    meter = make_meter()
    assert shown(meter, "04001402") == shown(meter, "04001403") == [0]
    for limit, wait in (("000000", "6000"), ("000003", "0000")):
        _, meter = loaded(limit=limit, wait=wait)
        assert control(meter, OPEN) == "ok"
        assert word(meter) == OPENED


def test_a_disconnect_waits_until_the_current_is_small() -> None:
    clock, meter = loaded((10 * MINUTE_MS, LIMITED))
    assert control(meter, OPEN) == "ok"
    assert word(meter) == OPENING  # the command bit alone: told to open, and not open
    clock.now_ms += 10 * MINUTE_MS - 1
    assert word(meter) == OPENING
    assert counts(meter) == (0, 0)
    clock.now_ms += 1
    assert word(meter) == OPENED
    assert shown(meter, "1D000101") == ["2026-02-02T12:10:00"]
    assert counts(meter) == (1, 0)


def test_it_looks_every_ten_seconds_however_often_it_is_asked() -> None:
    times = []
    for step_ms in (700, 4_000, 3_600_000):
        clock, meter = loaded((61_500, LOW), (72_500, HIGH))
        control(meter, OPEN)
        while clock.now_ms < NOON_MS + 2 * 3_600_000 and word(meter) == OPENING:
            clock.now_ms += step_ms
        times.append(shown(meter, "1D000101"))
    assert times == [["2026-02-02T12:01:10"]] * 3


@pytest.mark.parametrize(("delay", "minutes"), [("0000", 60), ("0500", 65)])
def test_a_wait_ends_though_the_current_does_not(delay: str, minutes: int) -> None:
    clock, meter = loaded()
    assert order(meter, 0x14, DELAY + WHO + delay) == "ok"
    control(meter, OPEN)
    clock.now_ms += minutes * MINUTE_MS - 1
    assert word(meter) == OPENING
    clock.now_ms += 1
    assert word(meter) == OPENED
    clock.now_ms += 60 * MINUTE_MS
    assert shown(meter, "1D000101")[0].endswith(f"13:{minutes - 60:02d}:00")


def test_the_current_matters_when_the_contact_is_due_not_before() -> None:
    clock, meter = loaded((4 * MINUTE_MS, LOW), (6 * MINUTE_MS, HIGH))
    order(meter, 0x14, DELAY + WHO + "0500")
    control(meter, OPEN)
    clock.now_ms += 5 * MINUTE_MS
    assert word(meter) == OPENED


@pytest.mark.parametrize(
    ("meanwhile", "end"),
    [(KEEP, KEPT), (PERMIT, CLOSED), (CLOSE, CLOSED), (OPEN, OPENED)],
)
def test_a_waiting_disconnect_is_taken_back(meanwhile: str, end: int) -> None:
    clock, meter = loaded((10 * MINUTE_MS, LOW))
    control(meter, OPEN)
    clock.now_ms += 5 * MINUTE_MS
    assert control(meter, meanwhile) == "ok"
    clock.now_ms += 5 * MINUTE_MS
    assert word(meter) == end
    assert counts(meter) == (1 if end == OPENED else 0, 0)


def test_power_that_is_cut_ends_the_wait_when_it_is_back() -> None:
    clock, meter = loaded((20 * MINUTE_MS, LOW))
    control(meter, OPEN)
    clock.now_ms += 10 * MINUTE_MS
    meter.cut_power()
    clock.now_ms += 20 * MINUTE_MS + 1_234
    meter.restore_power()
    assert word(meter) == OPENED
    assert shown(meter, "1D000101") == ["2026-02-02T12:30:01"]


# --- a local account ------------------------------------------------------------------------------


def overdrawn(by: int = 5_000, allowed: int = 1_000, **options: bool) -> Dlt645Meter:
    meter = make_meter(FakeClock(NOON_MS), has_local_account=True, **options)
    meter.pin("00900201", by)
    meter.pin("04001003", allowed)
    return meter


def test_an_overdrawn_meter_says_so() -> None:
    assert shown(overdrawn(), "04000501") == [1 << 14]
    assert shown(overdrawn(1_000), "04000501") == [0]
    assert word(overdrawn()) == 0b10 << 8
    remote = make_meter()
    remote.pin("00900201", 5_000)
    assert shown(remote, "04000501") == [0] and word(remote) == CLOSED


@pytest.mark.parametrize(
    ("steps", "end", "moves"),
    [
        ([LIFT], OPENED, (1, 0)),
        ([KEEP, LIFT], OPENED, (1, 0)),
        ([OPEN, CLOSE], OPENED, (1, 0)),
        ([OPEN, PERMIT], OPENED, (1, 0)),
        ([KEEP], KEPT, (0, 0)),
        ([CLOSE], CLOSED, (0, 0)),
    ],
)
def test_an_overdrawn_account_keeps_the_contact_open(
    steps: list[str], end: int, moves: tuple[int, int]
) -> None:
    meter = overdrawn()
    assert [control(meter, step) for step in steps] == ["ok"] * len(steps)
    assert word(meter) == end | 0b10 << 8
    assert counts(meter) == moves


def test_the_button_waits_for_the_payment() -> None:
    meter = overdrawn(0)
    control(meter, OPEN)
    control(meter, PERMIT)
    meter.pin("00900201", 5_000)
    assert not meter.press_button()
    meter.pin("00900201", 0)
    assert meter.press_button()


def test_the_end_of_keep_power_opens_nothing_that_is_paid() -> None:
    meter = overdrawn(1_000)
    control(meter, KEEP)
    assert control(meter, LIFT) == "ok"
    assert word(meter) == 0b10 << 8


# --- the extended answer --------------------------------------------------------------------------

ASKING, NOT_ASKING = "98000001" + "78563412", "98000000" + "78563412"
IN_TIME, LATE = "260202120000", "260202115959"  # YY MM DD hh mm ss inside the ciphertext


def secured(meter: Dlt645Meter, module: Trusting, plain: str, who: str = ASKING) -> str:
    module.plain = bytes.fromhex(plain)
    return order(meter, 0x1C, who + "00" * 20)


@pytest.mark.parametrize(
    ("first", "n1", "n2", "expiry", "answer"),
    [
        ("", CLOSE, "00", IN_TIME, "ok 0100"),
        ("", PERMIT, "00", IN_TIME, "ok 0200"),
        ("", OPEN, "00", IN_TIME, "ok 0400"),
        (OPEN, OPEN, "00", IN_TIME, "ok 0400"),
        ("", CLOSE_LATER, "01", IN_TIME, "ok 1000"),
        ("", PERMIT_LATER, "01", IN_TIME, "ok 1000"),
        ("", KEEP, "00", IN_TIME, "ok 0001"),
        ("", LIFT, "00", IN_TIME, "ok 0002"),
        ("", ALARM, "00", IN_TIME, "ok 0004"),
        ("", CALM, "00", IN_TIME, "ok 0008"),
        ("", OPEN, "00", LATE, "err 1000"),
        (KEEP, OPEN, "00", IN_TIME, "err 2000"),
        (KEEP, CLOSE_LATER, "01", IN_TIME, "err 4000"),
        ("", CLOSE_LATER, "00", IN_TIME, "err 8000"),
        ("", "55", "00", IN_TIME, "err 0400"),
        ("", "", "00", "261302120000", "err 0400"),
    ],
)
def test_a_secured_control_may_ask_for_a_status(
    first: str, n1: str, n2: str, expiry: str, answer: str
) -> None:
    module = Trusting()
    meter = make_meter(FakeClock(NOON_MS), security=module)
    if first:
        assert control(meter, first) == "ok"
    before = word(meter)
    plain = n1 + n2 + expiry
    assert secured(meter, module, plain) == answer
    if answer.startswith("err"):
        assert word(meter) == before
    usual = secured(meter, module, plain, NOT_ASKING)
    assert usual.split()[0] == answer.split(maxsplit=1)[0] and len(usual) in (2, 6)


@pytest.mark.parametrize(
    ("n1", "delay", "answer"),
    [
        (OPEN, "0000", "ok 2000"),
        (CLOSE_LATER, "0000", "ok 2000"),
        (OPEN, "0500", "ok 0800"),
        (CLOSE_LATER, "0500", "ok 1000"),
    ],
)
def test_the_status_says_what_the_contact_waits_for(n1: str, delay: str, answer: str) -> None:
    module = Trusting()
    meter = Dlt645Meter(
        ADDRESS,
        Bench((EPOCH_MS, (LOW, HIGH, LOW))),
        FakeClock(NOON_MS),
        passwords={2: "123456"},
        relay_terms=ALL_TERMS,
        security=module,
    )
    for di, value in ((LIMIT, "000003"), (WAIT, "6000"), (DELAY, delay)):
        assert order(meter, 0x14, di + WHO + value) == "ok"
    assert secured(meter, module, n1 + "01" + IN_TIME) == answer
    assert secured(meter, module, n1 + "01" + IN_TIME, NOT_ASKING) == "ok"


def test_who_may_not_gets_a_status_too() -> None:
    refusing = make_meter(FakeClock(NOON_MS))
    assert order(refusing, 0x1C, ASKING + "00" * 20) == "err 0400"
    unsecured = make_meter(relay_terms=RelayTerms((), (), False), security=Trusting())
    assert order(unsecured, 0x1C, ASKING + "00" * 20) == "err 0400"
    assert order(refusing, 0x19, ASKING + "00" * 20) == "err 04"  # of a relay control alone


def test_what_a_later_closing_answers_nobody_tells() -> None:
    module = Trusting()
    meter = make_meter(FakeClock(NOON_MS), security=module, relay_opens_first=False)
    assert secured(meter, module, CLOSE_LATER + "01" + IN_TIME) == "ok"


def test_a_password_never_gets_a_status() -> None:
    meter = make_meter(FakeClock(NOON_MS))
    reply = ask(meter, ADDRESS, 0x1C, WHO + OPEN + "00" + FOREVER)
    assert reply is not None and (reply.control, reply.data) == (0x9C, b"")
    assert word(meter) == OPENED
    assert control(meter, PERMIT) == "ok" and word(meter) == PERMITTED
