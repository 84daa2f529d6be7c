"""An order that was sent when the gateway stopped: looked into, never sent again."""

from pathlib import Path

import pytest

from edge.orders.aftermath import seen_before
from edge.orders.jobs import aftermath_of
from protocols.dlt645.frame import Frame
from protocols.orders.states import OrderState
from tests.edge.orders.line_rig import OPERATOR, LineRig, NoteGate, make_order

KNOWN = {
    "relay before": "connected (0000)",
    "current before": "5875 mA",
    "records before": "0",
}


def look(rig: LineRig, action: str = "disconnect", known: dict[str, str] | None = None) -> NoteGate:
    """What the start after it does."""
    rig.asked.clear()
    rig.gate = gate = NoteGate(rig)
    gate.states.append(OrderState.SENT)
    facts = tuple((KNOWN if known is None else known).items())
    arguments = ("consent",) if action == "connect" else ()
    order = make_order(action, *arguments)
    job = aftermath_of(order, 7, rig.clock, gate, rig.terms, facts)
    for until in job.steps(rig.line, rig.driver, 1):
        if until is not None:
            rig.clock.advance(until - rig.clock.boot_ms())
    assert rig.commands() == []
    return gate


def disconnect(rig: LineRig) -> None:
    """What the command did, before the power went."""
    rig.meter.relay._disconnect(OPERATOR)
    rig.meter.relay.settle()


def test_what_was_done_is_confirmed_by_what_was_known_before(tmp_path: Path) -> None:
    """Contact and record, as if nothing had come between."""
    rig = LineRig(tmp_path)
    disconnect(rig)
    gate = look(rig)
    assert gate.end == OrderState.CONFIRMED
    assert gate.reasons[-1] == f"its contact, and its record 1 names operator {OPERATOR}"
    assert gate.facts["relay before"] == "connected (0000)"


def test_what_was_not_done_is_told(tmp_path: Path) -> None:
    """After the time in which it would be seen."""
    gate = look(LineRig(tmp_path))
    assert (gate.end, gate.reasons[-1]) == ("not-done", "it is connected, as before")


@pytest.mark.parametrize(
    ("action", "before", "end"),
    [
        ("arm", "disconnected (0050)", "not-done"),
        ("connect", "disconnected (0050)", "not-done"),
        ("keep-power-off", "disconnected (1050), keep-power", "confirmed"),
        ("keep-power-on", "disconnected (0050)", "not-done"),
    ],
)
def test_other_actions_are_looked_at_as_well(
    tmp_path: Path, action: str, before: str, end: str
) -> None:
    """By what each of them would show."""
    rig = LineRig(tmp_path)
    disconnect(rig)
    assert look(rig, action, KNOWN | {"relay before": before}).end == end


def test_another_meter_at_the_address_tells_nothing(tmp_path: Path) -> None:
    """It stays unknown, and is not refused: it was sent."""
    rig = LineRig(tmp_path, control={"meter_number": "000000000009"})
    disconnect(rig)
    assert look(rig).end == OrderState.UNKNOWN


def test_a_silent_meter_tells_nothing(tmp_path: Path) -> None:
    """Its line goes on meanwhile."""
    rig = LineRig(tmp_path)

    def silent(_: Frame, __: Frame | None) -> Frame | None:
        return None

    rig.hook = silent
    assert look(rig).end == OrderState.UNKNOWN


@pytest.mark.parametrize("known", [{}, {"relay before": "sideways (0000)"}])
def test_without_what_was_known_it_stays_unknown(tmp_path: Path, known: dict[str, str]) -> None:
    """Nothing is asked."""
    rig = LineRig(tmp_path)
    assert look(rig, known=known).end == OrderState.UNKNOWN
    assert rig.asked == []


def test_what_was_known_is_read_from_the_facts_of_a_real_order(tmp_path: Path) -> None:
    """As its intent was kept."""
    rig = LineRig(tmp_path)
    found = rig.run("disconnect").found
    assert found is not None
    seen = seen_before(dict(found.facts))
    assert seen is not None
    assert (seen.state.contact, seen.state.raw, seen.state.keep_power) == (
        "connected", "0000", False,
    )  # fmt: skip
    assert (seen.second.current_ma, seen.second.records) == (5875, 0)
    assert seen_before({"relay before": "armed (1010), keep-power"}).state.keep_power is True
