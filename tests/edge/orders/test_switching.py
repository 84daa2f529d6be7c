"""Disconnect, arm, connect, keep-power and alarm on a virtual meter: what is asked before, what
goes out, and what ends it well."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from protocols.dlt645.requests import decode_command
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality
from tests.edge.orders.line_rig import ADDRESS, OPERATOR, LineRig

MINUTE_MS = 60_000
CLOCK = bytes.fromhex("0C010004")
FILL = b"\xff" * 6  # of the phases that are not fitted


@pytest.fixture
def rig(tmp_path: Path) -> LineRig:
    """A connected meter with a load."""
    return LineRig(tmp_path)


def open_it(rig: LineRig) -> None:
    """Somebody disconnected the meter before."""
    assert rig.run("disconnect").end == OrderState.CONFIRMED


def refused_as(rig: LineRig, action: str, *arguments: Any, **more: Any) -> str:
    """The code of a refusal; nothing was sent."""
    gate = rig.run(action, *arguments, **more)
    assert gate.end == OrderState.REFUSED
    assert rig.commands() == []
    return code_of(gate.reasons[-1])


def local_meter(folder: Path, overdraft: int, limit: int, **more: Any) -> LineRig:
    """A meter with an account of its own, keep-power set."""
    rig = LineRig(folder, has_local_account=True, **more)
    rig.meter.pin("04001003", limit)
    rig.meter.pin("00900201", 0)
    assert rig.run("keep-power-on").end == OrderState.CONFIRMED
    rig.meter.pin("00900201", overdraft)
    return rig


def test_a_disconnect_is_confirmed_by_contact_record_and_current(rig: LineRig) -> None:
    """What was seen before and after stands in the receipt, with the register at the cut."""
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "acked", "confirmed"]
    assert gate.reasons[-1] == f"its contact, and its record 1 names operator {OPERATOR}"
    facts = gate.facts
    assert facts["relay before"] == "connected (0000)"
    assert facts["relay after"] == "disconnected (0050)"
    assert (facts["records before"], facts["records after"]) == ("0", "1")
    assert facts["current before"] == "5875 mA" and facts["current after"] == "0 mA"
    assert facts["register before"] == facts["register after"] == "20606970 Wh"
    assert facts["address"] == ADDRESS and facts["assurance"] == "usual"
    assert facts["answer"] == "accepted" and facts["meter clock"] in ("-1 s", "+0 s")
    assert len(rig.relay_frames()) == 1
    assert rig.waits == []


def test_the_gate_sees_what_was_found(rig: LineRig) -> None:
    """Contact, keep-power, identity, credential and its mark."""
    found = rig.run("disconnect").found
    assert found is not None
    assert (found.contact, found.keep_power, found.is_identified) == ("connected", False, True)
    assert (found.account, found.is_trustworthy, found.credential) == ("", True, "cut")
    assert found.credential_mark == f"{rig.path.stat().st_mtime_ns:x}"
    assert dict(found.facts)["relay before"] == "connected (0000)"


def test_an_arm_ends_in_ready_and_that_is_success(rig: LineRig) -> None:
    """I17: the consumer presses the button, which nobody waits for."""
    open_it(rig)
    gate = rig.run("arm")
    assert gate.end == OrderState.CONFIRMED
    assert gate.facts["relay after"] == "armed (0010)"
    assert rig.waits == []
    assert rig.meter.press_button()
    gate = rig.run("arm")
    assert (gate.states, gate.reasons) == (["confirmed"], ["it was so already: connected"])


def test_a_connect_closes_and_is_confirmed_by_its_record(rig: LineRig) -> None:
    """It says that the meter cannot tell of a voltage behind the contact."""
    open_it(rig)
    gate = rig.run("connect", "consent")
    assert gate.end == OrderState.CONFIRMED
    assert gate.facts["relay after"] == "connected (0000)"
    assert gate.facts["load-side voltage"] == "the meter cannot tell"
    assert "register before" in gate.facts and "register after" in gate.facts


@pytest.mark.parametrize(
    ("state", "action", "words"),
    [
        ("connected", "arm", "it was so already: connected"),
        ("connected", "connect", "it was so already: connected"),
        ("armed", "arm", "it was so already: armed"),
    ],
)
def test_a_restore_that_finds_what_it_wants_sends_nothing(
    rig: LineRig, state: str, action: str, words: str
) -> None:
    """ECS09: confirmed by the state."""
    if state == "armed":
        open_it(rig)
        assert rig.run("arm").end == OrderState.CONFIRMED
    gate = rig.run(action, *(("consent",) if action == "connect" else ()))
    assert (gate.states, gate.reasons) == (["confirmed"], [words])
    assert rig.commands() == []


@pytest.mark.parametrize(("code", "state"), [("stopped", "cancelled"), ("expired", "expired")])
def test_a_stopped_restore_is_not_confirmed_by_what_it_finds(
    rig: LineRig, code: str, state: str
) -> None:
    """It ended before."""
    rig.gate.code = code
    assert rig.run("arm").states == [state]


def test_a_disconnect_of_an_open_meter_is_refused(rig: LineRig) -> None:
    """It did not cause the state."""
    open_it(rig)
    assert refused_as(rig, "disconnect") == "already-open"


def test_a_disconnect_of_a_meter_that_is_about_to_open_is_refused(rig: LineRig) -> None:
    """Another one is under way."""
    rig.meter.pin("04001401", 5)
    rig.terms = rig.terms._replace(verify_for_ms=1)
    rig.run("disconnect")
    assert refused_as(rig, "disconnect") == "already-open"


def test_a_disconnect_of_an_armed_meter_takes_its_permission_back(rig: LineRig) -> None:
    """Nothing moves, so no record is due; no current fits."""
    open_it(rig)
    assert rig.run("arm").end == OrderState.CONFIRMED
    gate = rig.run("disconnect")
    assert (gate.end, gate.facts["relay after"]) == (OrderState.CONFIRMED, "disconnected (0050)")
    assert gate.reasons[-1] == "its contact, and no current flows, as before"


def test_i05_keep_power_in_the_meter_forbids_the_cut_before_the_gate_is_asked(
    rig: LineRig,
) -> None:
    """I5: bit 12, read immediately before."""
    assert rig.run("keep-power-on").end == OrderState.CONFIRMED
    assert refused_as(rig, "disconnect") == "keep-power"
    assert rig.gate.found is None
    assert rig.run("keep-power-off").end == OrderState.CONFIRMED
    assert rig.meter.relay.word_bits == 0
    assert rig.run("disconnect").end == OrderState.CONFIRMED


def test_keep_power_that_stands_as_wanted_is_not_sent(rig: LineRig) -> None:
    """Either way."""
    assert rig.run("keep-power-off").states == ["confirmed"]
    assert rig.run("keep-power-on").states == ["armed", "sent", "acked", "confirmed"]
    assert rig.run("keep-power-on").states == ["confirmed"]


def test_lifting_keep_power_of_an_overdrawn_meter_is_refused(tmp_path: Path) -> None:
    """It would disconnect at once."""
    rig = local_meter(tmp_path, 5_000, 1_000)
    assert refused_as(rig, "keep-power-off") == "local-account-overdrawn"


def test_an_overdraft_is_seen_without_a_bit_for_it(tmp_path: Path) -> None:
    """By its amount and its limit; without a limit any overdraft is one."""
    rig = local_meter(tmp_path, 5_000, 1_000, refuses=("04000501",))
    assert refused_as(rig, "keep-power-off") == "local-account-overdrawn"
    rig = local_meter(tmp_path, 1, 0, refuses=("04000501", "04001003"))
    assert refused_as(rig, "keep-power-off") == "local-account-overdrawn"


def test_lifting_keep_power_within_the_overdraft_goes_through(tmp_path: Path) -> None:
    """And the gate hears of the account."""
    rig = local_meter(tmp_path, 500, 1_000)
    gate = rig.run("keep-power-off")
    assert gate.end == OrderState.CONFIRMED
    assert gate.found is not None
    assert (gate.found.account, gate.found.is_overdrawn) == ("local", False)


def test_an_account_that_cannot_be_read_counts_as_overdrawn(tmp_path: Path) -> None:
    """Nobody knows what lifting keep-power would do."""
    rig = LineRig(tmp_path, has_local_account=True, refuses=("00900201", "04000501"))
    rig.meter.relay.keeps_power = True
    assert refused_as(rig, "keep-power-off") == "local-account-overdrawn"


def test_a_meter_that_disconnects_when_keep_power_ends_is_a_contradiction(rig: LineRig) -> None:
    """Lifting it never cuts by itself (I5)."""
    rig.meter.relay.keeps_power = True

    def cut_too(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function == Function.RELAY:
            rig.meter.relay._disconnect(OPERATOR)
        return reply

    rig.hook = cut_too
    gate = rig.run("keep-power-off")
    assert gate.end == OrderState.CONTRADICTED
    assert gate.reasons[-1] == "it was connected and is disconnected since keep-power has ended"


@pytest.mark.parametrize("action", ["alarm-on", "alarm-off"])
def test_an_alarm_ends_with_the_word_of_the_meter(rig: LineRig, action: str) -> None:
    """No observation exists, and the receipt says so."""
    gate = rig.run(action)
    assert gate.states == ["armed", "sent", "done"]
    assert gate.facts["observation"] == "none exists"


def test_an_order_whose_time_is_over_at_its_turn_asks_nothing(rig: LineRig) -> None:
    """Not one exchange."""
    assert rig.run("disconnect", life_ms=-1).states == ["expired"]
    assert rig.asked == []


def test_expiry_is_checked_again_right_before_the_write(rig: LineRig) -> None:
    """The reads took too long: nothing leaves, though all was read in time."""
    rig.delay_ms = 400.0
    for life_ms in range(200, 8_000, 200):
        gate = rig.run("disconnect", life_ms=life_ms)
        assert gate.end in (OrderState.EXPIRED, OrderState.CONFIRMED)
        if gate.end == OrderState.CONFIRMED:
            break
        assert rig.commands() == []
    assert gate.end == OrderState.CONFIRMED and life_ms > 1_000


def test_what_the_gate_refuses_is_refused_before_the_write(rig: LineRig) -> None:
    """By its code; and so is an intent that cannot be made durable."""
    rig.gate.code = "window"
    assert refused_as(rig, "disconnect") == "window"
    rig.gate.code, rig.gate.arm_code = "", "audit-unavailable"
    assert refused_as(rig, "disconnect") == "audit-unavailable"


def test_i14_the_deadline_on_the_wire_is_never_later_than_the_order(rig: LineRig) -> None:
    """I14: and only minutes ahead, whatever the order's life."""
    for life_ms in (20_000, 60_000, 299_000, 900_000, 86_400_000):
        rig.meter.quirks.add("ignores_orders")
        rig.terms = rig.terms._replace(verify_for_ms=1)
        begun = rig.clock.boot_ms()
        rig.run("disconnect", life_ms=life_ms)
        (frame,) = rig.relay_frames()
        shown = decode_command(frame).expiry
        limit = rig.meter.clock.local_ms() - (rig.clock.boot_ms() - begun) + life_ms
        own = _local_ms(shown)
        assert own <= limit
        assert own >= min(limit, begun - rig.clock.boot_ms() + rig.meter.clock.local_ms()) - 4_000
        assert own - rig.meter.clock.local_ms() <= 300_000


@pytest.mark.parametrize("off_s", [-3_600, -40, 40, 3_600])
def test_i14_the_deadline_is_told_in_the_meters_own_time(tmp_path: Path, off_s: int) -> None:
    """I14: a clock that is wrong neither prolongs an order nor ends it early."""
    rig = LineRig(tmp_path, clock_offset_ms=off_s * 1000)
    begun = rig.clock.boot_ms()
    gate = rig.run("keep-power-on", life_ms=200_000)
    assert gate.end == OrderState.CONFIRMED
    left_ms = 200_000 - (rig.clock.boot_ms() - begun)
    own = _local_ms(decode_command(rig.relay_frames()[0]).expiry)
    assert left_ms - 3_000 <= own - rig.meter.clock.local_ms() <= left_ms
    assert gate.facts["meter clock"] in (f"{off_s - 1:+d} s", f"{off_s:+d} s")


def test_a_cut_is_refused_where_the_clock_is_further_off_than_it_lives(tmp_path: Path) -> None:
    """Its deadline would be a guess."""
    rig = LineRig(tmp_path, clock_offset_ms=20 * MINUTE_MS)
    assert refused_as(rig, "disconnect") == "meter-clock"
    assert rig.run("disconnect", life_ms=30 * MINUTE_MS).end == OrderState.CONFIRMED


def test_a_meter_whose_clock_cannot_be_read_is_not_cut(tmp_path: Path) -> None:
    """Without a deadline nothing is sent; a restore goes by the gateway's time, if it has one."""
    rig = LineRig(tmp_path, refuses=("0400010C", "04000101"))
    assert refused_as(rig, "disconnect") == "no-way"
    rig.meter.relay._disconnect(OPERATOR)
    rig.meter.relay.settle()
    rig.clock.set_quality(TimeQuality.RTC)
    assert refused_as(rig, "arm") == "no-way"
    rig.clock.set_quality(TimeQuality.NTP)
    assert rig.run("arm").end == OrderState.CONFIRMED


def test_what_cannot_be_decoded_is_not_told_and_stops_nobody(tmp_path: Path) -> None:
    """Records of another form, an energy with a digit above 9; the current still tells."""
    rig = LineRig(tmp_path)
    rig.meter.pin("1D000001", b"\x0a\x00\x00")
    rig.meter.pin("00010000", b"\x00\x00\x0e\x00")
    gate = rig.run("disconnect")
    assert (gate.end, gate.reasons[-1]) == ("confirmed", "its contact, and its current has stopped")
    assert gate.facts["register before"] == "none"


def test_a_meter_that_lacked_its_status_once_is_asked_again(rig: LineRig) -> None:
    """One wrong answer must not keep it from being restored."""
    rig.hook = lambda frame, reply: (
        Frame(ADDRESS, 0xD1, b"\x02") if frame.data == bytes.fromhex("03050004") else reply
    )
    assert refused_as(rig, "disconnect") == "no-way"
    rig.hook = lambda frame, reply: reply
    assert rig.run("disconnect").end == OrderState.CONFIRMED


def test_a_clock_in_two_parts_serves_as_well(tmp_path: Path) -> None:
    """Date and time one after the other."""
    rig = LineRig(tmp_path, refuses=("0400010C",))
    assert rig.run("disconnect").end == OrderState.CONFIRMED


def test_a_meter_without_control_or_action_takes_no_order(tmp_path: Path) -> None:
    """Its settings decide, before a single exchange."""
    rig = LineRig(tmp_path, control={"plain": ["arm"], "levels": ["03"]})
    assert refused_as(rig, "disconnect") == "no-way"
    assert rig.asked == []
    rig.driver.control = None
    assert refused_as(rig, "arm") == "no-way"
    assert rig.asked == []


def test_a_level_that_the_settings_do_not_list_is_never_sent(tmp_path: Path) -> None:
    """The frame does not come to be."""
    rig = LineRig(tmp_path, control={"levels": ["03"]})
    assert refused_as(rig, "disconnect") == "no-way"


def test_i18_a_connect_with_voltage_behind_the_contact_is_refused(
    rig: LineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I18: by a meter that can tell."""
    open_it(rig)

    def there_is(line: Any, retries: int) -> Any:
        yield from ()
        return True

    monkeypatch.setattr(rig.driver.control, "load_voltage", there_is)
    assert refused_as(rig, "connect", "consent") == "load-voltage"
    assert rig.run("arm").end == OrderState.CONFIRMED  # the default restore asks for none


def test_i18_a_refused_connect_does_not_happen_later(rig: LineRig) -> None:
    """I18: its command carries a deadline of minutes, and nothing sends it again."""
    open_it(rig)
    rig.hook = lambda frame, reply: None if frame.function == Function.RELAY else reply
    rig.meter.quirks.add("ignores_orders")
    assert rig.run("connect", "consent").end == OrderState.NOT_DONE
    (frame,) = rig.relay_frames()
    rig.meter.quirks.clear()
    rig.clock.advance(301_000)
    reply = rig.meter.answer(frame)  # somebody plays it again
    assert reply is not None and reply.is_abnormal
    assert rig.meter.relay.word_bits >> 4 & 1


def test_i20_another_meter_at_the_address_gets_no_command(tmp_path: Path) -> None:
    """I20: its asset number is read again right before."""
    rig = LineRig(tmp_path, control={"asset_number": "BOX-7", "meter_number": "000000123456"})
    rig.meter.pin("04000402", "000000123456")
    rig.meter.pin("04000403", _ascii("BOX-8"))
    for action in ("disconnect", "arm", "keep-power-off"):
        assert refused_as(rig, action) == "identity"
    assert "its asset number is BOX-8" in rig.gate.reasons[-1]
    rig.meter.pin("04000403", _ascii("BOX-7"))
    gate = rig.run("disconnect")
    assert gate.end == OrderState.CONFIRMED
    assert gate.facts["asset number"] == "BOX-7"


def test_i20_a_meter_that_does_not_say_who_it_is_is_not_cut(tmp_path: Path) -> None:
    """I20: a restore goes on, since the address of its answers fits."""
    rig = LineRig(tmp_path, refuses=("04000401",))
    assert refused_as(rig, "disconnect") == "identity"
    assert rig.run("keep-power-on").end == OrderState.CONFIRMED


def _local_ms(time: Any) -> int:
    return int(datetime(*time, tzinfo=UTC).timestamp()) * 1000


def _ascii(text: str) -> bytes:
    return (text + "\x00" * (32 - len(text))).encode()[::-1]
