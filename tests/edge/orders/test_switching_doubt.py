"""Switching orders in doubt: silence, lies, contacts that lag, lines that stop. Nothing is sent
twice, and nothing is confirmed by less than two observations."""

from pathlib import Path
from typing import Any

import pytest

from edge.line.port import PortLostError
from edge.orders.line_work import FIRST_PIECES, LineWork
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from protocols.messages import EVIDENCE_MAX
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from tests.edge.orders.line_rig import ADDRESS, EVERY_ACTION, LineRig

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


def test_an_alarm_without_an_answer_is_unknown(rig: LineRig) -> None:
    """And is not sent again."""
    rig.meter.quirks.add("drops_replies")
    assert rig.run("alarm-on").states == ["armed", "sent", "unknown"]
    assert len(rig.relay_frames()) == 1


def test_i16_an_acknowledgement_alone_confirms_nothing(rig: LineRig) -> None:
    """I16: a meter that accepts and does nothing."""
    rig.meter.quirks.add("ignores_orders")
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "acked", "verifying", "not-done"]
    assert gate.reasons[-1] == "it is connected, as before"
    assert len(rig.relay_frames()) == 1
    assert 100_000 <= sum(rig.waits) <= 120_000 and set(rig.waits) == {5_000}


def test_i16_bit_and_record_are_two_and_the_bit_alone_is_one(rig: LineRig) -> None:
    """I16: a load of zero and a meter that records nothing leave one observation."""
    rig.meter.pin("0202FF00", bytes(3) + FILL)
    rig.meter.quirks.add("keeps_no_records")
    gate = rig.run("disconnect")
    assert gate.end == OrderState.CONTRADICTED
    assert gate.reasons[-1] == "its contact is open, and it has recorded nothing"


def test_without_records_a_current_that_stopped_confirms(tmp_path: Path) -> None:
    """A meter that knows no records at all."""
    rig = LineRig(tmp_path, refuses=("1D000001", "1E000001"))
    gate = rig.run("disconnect")
    assert (gate.end, gate.reasons[-1]) == ("confirmed", "its contact, and its current has stopped")
    assert "records before" not in gate.facts


def test_somebody_elses_record_is_not_ours(rig: LineRig) -> None:
    """The current still is one: but a movement that is not ours is no proof of a record."""
    rig.meter.pin("1D000201", bytes.fromhex("77000000"))
    gate = rig.run("disconnect")
    assert (gate.end, gate.reasons[-1]) == ("confirmed", "its contact, and its current has stopped")


def test_behind_an_external_breaker_the_record_proves_nothing(tmp_path: Path) -> None:
    """Only the current does."""
    rig = LineRig(tmp_path, control={"breaker": "external"})
    gate = rig.run("disconnect")
    assert gate.reasons[-1] == "its contact, and its current has stopped"


def test_t14_a_contact_that_says_open_while_current_flows_is_contradicted(rig: LineRig) -> None:
    """T14: spoofed status."""
    rig.meter.quirks.add("ignores_orders")

    def lie(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function == Function.RELAY:
            rig.meter.quirks.add("shows_open")
        return reply

    rig.hook = lie
    gate = rig.run("disconnect")
    assert gate.end == OrderState.CONTRADICTED
    assert "its contact is open while 5" in gate.reasons[-1]
    assert len(rig.waits) == 1  # one look may be too early


def test_i16_an_armed_meter_whose_current_flows_is_contradicted(rig: LineRig) -> None:
    """An open contact and a current do not fit together for a restore either."""
    open_it(rig)
    rig.meter.pin("0202FF00", bytes.fromhex("005000") + FILL)
    assert rig.run("arm").end == OrderState.CONTRADICTED


def test_a_contact_that_lags_its_command_is_waited_for(rig: LineRig) -> None:
    """As long as the meter's own parameters say, and the line is free meanwhile."""
    rig.meter.pin("04001401", 3)
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "acked", "verifying", "confirmed"]
    assert 170_000 <= sum(rig.waits) <= 190_000
    assert len(gate.evidence) <= EVIDENCE_MAX


def test_a_contact_that_never_follows_is_contradicted(rig: LineRig) -> None:
    """The command bit moved: a person must look."""
    rig.meter.quirks.add("stuck_contact")
    gate = rig.run("disconnect")
    assert (gate.end, gate.reasons[-1]) == ("contradicted", "it has followed in part: opening")


def test_a_connect_that_ends_in_ready_is_contradicted(rig: LineRig) -> None:
    """It was to close."""
    open_it(rig)
    rig.meter.quirks.add("stuck_contact")
    gate = rig.run("connect", "consent")
    assert (gate.end, gate.reasons[-1]) == ("contradicted", "it has followed in part: armed")


def test_i15_a_reply_that_is_lost_is_answered_by_reading(rig: LineRig) -> None:
    """I15: the meter moved; the command went out once."""
    rig.meter.quirks.add("drops_replies")
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "confirmed"]
    assert gate.facts["answer"].startswith("no answer to the command")
    assert len(rig.relay_frames()) == 1


def test_i15_a_lost_command_is_not_done_and_never_sent_again(rig: LineRig) -> None:
    """I15: the meter heard nothing; that is read, not assumed."""
    rig.hook = lambda frame, reply: None if frame.function == Function.RELAY else reply
    rig.meter.quirks.add("ignores_orders")
    gate = rig.run("disconnect", retries=3)
    assert gate.states == ["armed", "sent", "verifying", "not-done"]
    assert len(rig.relay_frames()) == 1


@pytest.mark.parametrize("action", EVERY_ACTION)
@pytest.mark.parametrize("fault", ["silent", "garbage", "unplugged"])
def test_i15_in_no_fault_a_second_command_leaves(rig: LineRig, action: str, fault: str) -> None:
    """I15: whatever happens from the command on."""
    if action in ("arm", "connect"):
        open_it(rig)
    if action == "keep-power-off":
        rig.meter.relay.keeps_power = True

    def spoil(frame: Frame, reply: Frame | None) -> Frame | None:
        if not rig.relay_frames():
            return reply
        if fault == "unplugged":
            rig.port.inject(0.0, PortLostError("gone"))
        if fault == "garbage":
            rig.port.inject(50.0, b"\x68\x16\xfe" * 5)
        return None

    rig.hook = spoil
    gate = rig.run(action, *(("consent",) if action == "connect" else ()), retries=2)
    assert gate.end == OrderState.UNKNOWN
    assert len(rig.relay_frames()) == 1


def test_a_silent_meter_ends_a_cut_at_once_and_a_restore_is_patient(rig: LineRig) -> None:
    """A restore waits for the meter as long as it lives, and leaves the line to others."""
    open_it(rig)
    rig.hook = lambda frame, reply: None
    assert refused_as(rig, "disconnect") == "meter-silent"
    assert rig.waits == []
    looks = []

    def back_later(frame: Frame, reply: Frame | None) -> Frame | None:
        looks.append(frame)
        return reply if len(looks) > 6 else None

    rig.hook = back_later
    assert rig.run("arm", retries=0).end == OrderState.CONFIRMED
    assert rig.waits == [30_000] * 6


def test_a_restore_of_a_meter_that_stays_silent_ends_with_its_life(rig: LineRig) -> None:
    """Nothing was sent."""
    rig.hook = lambda frame, reply: None
    assert refused_as(rig, "arm", life_ms=100_000) == "meter-silent"
    assert rig.waits == [30_000] * 3


@pytest.mark.parametrize(
    ("code", "state"),
    [("stopped", "cancelled"), ("lower-counter", "superseded"), ("expired", "expired")],
)
def test_a_restore_that_waits_ends_with_what_ends_it(rig: LineRig, code: str, state: str) -> None:
    """A stop, or a newer order for the meter; it does not ask on for a day."""
    rig.hook = lambda frame, reply: None
    for n, _ in enumerate(rig.begin("arm", retries=0)):
        if n == 3:
            rig.gate.code = code
    assert rig.gate.states == [state]
    assert len(rig.waits) <= 4 and rig.commands() == []


def test_a_restore_waits_on_while_it_may_not_be_sent_yet(rig: LineRig) -> None:
    """A policy that is missing now may be there when the meter is back."""
    open_it(rig)
    rig.hook = lambda frame, reply: None if len(rig.waits) < 3 else reply
    rig.gate.code = "no-policy"
    for _ in rig.begin("arm", retries=0):
        if len(rig.waits) == 3:
            rig.gate.code = ""
    assert rig.gate.end == OrderState.CONFIRMED


def test_an_order_that_expires_while_its_intent_is_written_is_not_sent(rig: LineRig) -> None:
    """A slow card: the last look at the time is behind it."""
    rig.gate.arm_ms = 900_000
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "not-done"]
    assert rig.commands() == []


def test_a_stop_between_sent_and_the_bytes_leaves_nothing_on_the_line(rig: LineRig) -> None:
    """`holds` is the last word; the order says that nothing was sent."""
    rig.gate.is_held = True
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "not-done"]
    assert gate.reasons[-1].startswith("nothing was sent: ")
    assert rig.commands() == []


def test_a_port_that_is_gone_before_the_command_sends_nothing(rig: LineRig) -> None:
    """The line knows that no byte left."""
    for _ in rig.begin("disconnect"):
        if rig.asked[-1].data == CLOCK:  # the last read before
            rig.line.close()
            rig.port.open_errors.append("gone")
    assert rig.gate.states == ["armed", "sent", "not-done"]
    assert rig.commands() == []


def test_a_meter_that_refuses_plaintext_trips_says_so_once(tmp_path: Path) -> None:
    """I21: one refused credential, and the gate hears which."""
    rig = LineRig(tmp_path, plain=("arm", "connect"))
    gate = rig.run("disconnect")
    assert gate.states == ["armed", "sent", "refused-by-meter"]
    assert "password wrong or not authorised" in gate.reasons[-1]
    assert gate.refused == ["cut"]
    assert gate.facts["relay after"] == "connected (0000)"
    assert len(rig.relay_frames()) == 1


def test_a_refusal_of_another_kind_blames_no_credential(rig: LineRig) -> None:
    """ERR 01: the deadline, or the command itself."""
    rig.hook = lambda frame, reply: (
        Frame(ADDRESS, 0xDC, b"\x01") if frame.function == Function.RELAY else reply
    )
    rig.meter.quirks.add("ignores_orders")
    gate = rig.run("disconnect")
    assert (gate.end, gate.refused) == (OrderState.REFUSED_BY_METER, [])


def test_t13_a_refusal_of_a_meter_that_moved_is_contradicted(rig: LineRig) -> None:
    """T13: on a line where two answer, the no was another's."""
    rig.hook = lambda frame, reply: (
        Frame(ADDRESS, 0xDC, b"\x04") if frame.function == Function.RELAY else reply
    )
    assert rig.run("disconnect").end == OrderState.CONTRADICTED


def test_t13_a_second_meter_of_the_same_address_stops_a_cut(rig: LineRig) -> None:
    """T13: two answers to one question."""
    rig.others.append(rig.make_meter())
    assert refused_as(rig, "disconnect") == "identity"


def test_t13_a_second_meter_that_answers_afterwards_confirms_nothing(rig: LineRig) -> None:
    """T13: it speaks first for the one that was cut, or second; it is never believed."""

    def join(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function == Function.RELAY and not rig.others:
            rig.others.append(rig.make_meter())
        return reply

    rig.hook = join
    gate = rig.run("disconnect")
    assert gate.end in (OrderState.CONTRADICTED, OrderState.NOT_DONE)
    assert gate.end != OrderState.CONFIRMED


def test_a_line_that_stops_before_the_command_ends_the_order(rig: LineRig) -> None:
    """It was not sent, and says so."""
    course = rig.begin("disconnect")
    steps = next(course)
    steps.close()
    assert rig.gate.end == OrderState.REFUSED
    assert code_of(rig.gate.reasons[-1]) == "no-turn"


def test_a_line_that_stops_behind_the_command_leaves_it_unknown(rig: LineRig) -> None:
    """Nobody saw the effect."""
    for steps in rig.begin("disconnect"):
        if rig.relay_frames():
            steps.close()
            break
    assert rig.gate.end == OrderState.UNKNOWN
    assert rig.gate.reasons[-1] == "its line stopped on the way"
    assert rig.gate.facts["relay before"] == "connected (0000)"


def test_a_fault_of_ours_is_told_as_one(
    rig: LineRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the command it refused, behind it unknown; it never passes for done."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.driver.control, "clock", broken)
    gate = rig.run("disconnect")
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "internal")
    monkeypatch.undo()
    monkeypatch.setattr("edge.orders.switching.judge", broken)
    gate = rig.run("disconnect")
    assert (gate.end, gate.reasons[-1]) == ("unknown", "a fault of the gateway: ZeroDivisionError")
    assert "order_failed counter=7" in caplog.text


def test_an_order_without_a_turn_says_so(rig: LineRig) -> None:
    """Its line was configured anew, say."""
    rig.run("keep-power-off")
    assert isinstance(rig.job, LineWork)
    rig.gate.states.clear()
    rig.job.drop("it was configured anew")
    assert code_of(rig.gate.reasons[-1]) == "no-turn"


def test_the_evidence_keeps_the_command_and_the_latest_reads(rig: LineRig) -> None:
    """When there are more frames than a receipt carries."""
    rig.meter.quirks.add("ignores_orders")
    rig.terms = rig.terms._replace(verify_for_ms=600_000)
    gate = rig.run("disconnect")
    assert len(gate.evidence) == EVIDENCE_MAX
    assert gate.evidence[:FIRST_PIECES] == tuple(rig.job.recording[:FIRST_PIECES])
    assert gate.evidence[-1] == rig.job.recording[-1]
    functions = [data.lstrip(b"\xfe")[8] for way, _, data in gate.evidence if way == ">"]
    assert functions.count(Function.RELAY) == 1
    assert int(gate.facts["frames"]) > EVIDENCE_MAX


def test_a_three_phase_meter_is_judged_by_its_largest_current(tmp_path: Path) -> None:
    """Where the block is refused, phase by phase."""
    rig = LineRig(tmp_path, phases=3, refuses=("0202FF00",))
    gate = rig.run("disconnect")
    assert gate.end == OrderState.CONFIRMED
    asked = [frame.data[::-1].hex().upper() for frame in rig.asked if len(frame.data) == 4]
    assert asked.count("0202FF00") == 1
    assert asked.count("02020200") == 2
