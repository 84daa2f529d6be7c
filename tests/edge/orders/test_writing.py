"""Parameters, clock, demands and freezes on a virtual meter: written once, believed when read
back."""

from pathlib import Path
from typing import Any

import pytest

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality
from tests.edge.orders.line_rig import ADDRESS, OPERATOR, LineRig

DONE = ["armed", "sent", "acked", "confirmed"]
WRITES = {
    "prices": (2, 5000, 6200, 3100),
    "time-of-use": (1, 8, 0, 4, 700, 3, 2330, 2),
    "alarm-amounts": (5000, 1000),
    "overdraft": (700,),
    "arm-amount": (2000,),
}


@pytest.fixture
def rig(tmp_path: Path) -> LineRig:
    """A meter that takes parameters with a password."""
    return LineRig(tmp_path)


def refused_as(rig: LineRig, action: str, *arguments: Any, **more: Any) -> str:
    """The code of a refusal; nothing was sent."""
    gate = rig.run(action, *arguments, **more)
    assert gate.end == OrderState.REFUSED
    assert rig.commands() == []
    return code_of(gate.reasons[-1])


@pytest.mark.parametrize("action", WRITES)
def test_a_parameter_is_written_once_and_confirmed_by_reading_it_back(
    rig: LineRig, action: str
) -> None:
    """And a second order of the same finds it there, and sends nothing."""
    gate = rig.run(action, *WRITES[action])
    assert (gate.states, gate.reasons[-1]) == (DONE, "it reads back as written")
    assert len(rig.commands()) == (2 if action == "alarm-amounts" else 1)
    assert all(frame.data[4] == 4 for frame in rig.commands())  # the level of settings
    gate = rig.run(action, *WRITES[action])
    assert (gate.states, rig.commands()) == (["confirmed"], [])


@pytest.mark.parametrize(
    ("action", "place", "stored"),
    [
        ("prices", "040502FF", "005000000062000000310000"),
        ("time-of-use", "04010008", "040000030007023023"),
        ("overdraft", "04001003", "00070000"),
        ("arm-amount", "04001005", "00200000"),
        ("alarm-amounts", "04001001", "00500000"),
        ("alarm-amounts", "04001002", "00100000"),
    ],
)
def test_what_is_written_stands_where_and_as_it_must(
    rig: LineRig, action: str, place: str, stored: str
) -> None:
    """The meter's own bytes, low byte first; prices are written to the spare set alone."""
    gate = rig.run(action, *WRITES[action])
    assert gate.facts[f"{place} after"] == stored
    assert any(frame.data[:4][::-1].hex().upper() == place for frame in rig.commands())


@pytest.mark.parametrize(
    ("action", "arguments"),
    [("prices", (1, 5000)), ("steps", (2, 1, 20_000, 5000, 8000))],
)
def test_what_no_meter_lets_be_written_is_refused(
    rig: LineRig, action: str, arguments: tuple[int, ...]
) -> None:
    """Prices in force, and tables whose layout nobody tells."""
    assert refused_as(rig, action, *arguments) == "no-way"


def test_a_meter_that_takes_no_parameters_gets_none(tmp_path: Path) -> None:
    """As its settings say."""
    rig = LineRig(tmp_path, control={"parameters": False})
    assert refused_as(rig, "overdraft", 100) == "no-way"


def test_i15_a_lost_answer_is_answered_by_reading_back(rig: LineRig) -> None:
    """Written once; the meter has it."""
    rig.meter.quirks.add("drops_replies")
    gate = rig.run("overdraft", 700, retries=3)
    assert gate.states == ["armed", "sent", "confirmed"]
    assert len(rig.commands()) == 1


def test_an_acknowledged_write_that_is_not_there_is_not_done(rig: LineRig) -> None:
    """After a few looks."""
    rig.meter.quirks.add("ignores_orders")
    gate = rig.run("overdraft", 700)
    assert gate.states == ["armed", "sent", "acked", "verifying", "not-done"]
    assert rig.waits == [5_000, 5_000]
    assert len(rig.commands()) == 1


def test_something_else_than_was_written_is_contradicted(rig: LineRig) -> None:
    """It neither stands as before nor as ordered."""

    def other(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function == Function.WRITE:
            rig.meter.pin("04001003", 999)
        return reply

    rig.hook = other
    assert rig.run("overdraft", 700).end == OrderState.CONTRADICTED


def test_behind_a_refusal_the_second_part_is_not_sent(rig: LineRig) -> None:
    """One of two amounts: the receipt says how far it came."""

    def refuse_second(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function == Function.WRITE and len(rig.commands()) == 2:
            rig.meter.pin("04001002", 0)
            return Frame(ADDRESS, 0xD4, b"\x04")
        return reply

    rig.hook = refuse_second
    gate = rig.run("alarm-amounts", 5000, 1000)
    assert (gate.end, gate.reasons[-1]) == ("contradicted", "1 of 2 read back as written")
    assert gate.refused == ["settings"]


def test_i21_a_refused_password_ends_a_write_after_one_frame(tmp_path: Path) -> None:
    """I21: the gate hears it."""
    rig = LineRig(tmp_path, passwords={4: "123123"})
    gate = rig.run("alarm-amounts", 5000, 1000)
    assert gate.end == OrderState.REFUSED_BY_METER
    assert gate.refused == ["settings"]
    assert len(rig.commands()) == 1


def test_a_parameter_that_cannot_be_read_back_is_unknown(rig: LineRig) -> None:
    """It was sent, and then the meter fell silent."""

    def fall_silent(frame: Frame, reply: Frame | None) -> Frame | None:
        return None if rig.commands() else reply

    rig.hook = fall_silent
    gate = rig.run("overdraft", 700, retries=0)
    assert gate.end == OrderState.UNKNOWN
    assert gate.reasons[-1].startswith("its state could not be read: ")
    assert len(rig.commands()) == 1


# ---- clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-7_200, -30, 30, 86_400])
def test_a_clock_is_set_to_the_gateways_time(tmp_path: Path, off_s: int) -> None:
    """However far it was off; confirmed by reading it."""
    rig = LineRig(tmp_path, clock_offset_ms=off_s * 1000)
    gate = rig.run("set-clock")
    assert gate.states == DONE
    true_ms = rig.clock.utc_ms() + 480 * 60_000
    assert abs(rig.meter.clock.local_ms() - true_ms) <= 1_500
    assert rig.run("set-clock").states == ["confirmed"]


def test_a_clock_in_two_parts_is_set_by_its_time_while_the_date_is_right(tmp_path: Path) -> None:
    """One write; another date is refused, because midnight could come between two."""
    rig = LineRig(tmp_path, clock_offset_ms=90_000, refuses=("0400010C",))
    assert rig.run("set-clock").states == DONE
    (frame,) = rig.commands()
    assert frame.data[:4] == bytes.fromhex("02010004")
    rig = LineRig(tmp_path, clock_offset_ms=86_400_000, refuses=("0400010C",))
    assert refused_as(rig, "set-clock") == "no-way"


@pytest.mark.parametrize("quality", [TimeQuality.UNSYNCED, TimeQuality.RTC])
def test_without_a_good_time_no_clock_is_set(rig: LineRig, quality: int) -> None:
    """Nor while the gateway's is in doubt."""
    rig.clock.set_quality(quality)
    assert refused_as(rig, "set-clock") == "clock-untrusted"
    rig.clock.set_quality(TimeQuality.NTP)
    rig.clock.set_doubt(True)
    assert refused_as(rig, "set-clock") == "clock-untrusted"


def test_a_time_that_waited_on_the_line_is_not_sent(tmp_path: Path) -> None:
    """It would be wrong on arrival."""
    rig = LineRig(tmp_path, clock_offset_ms=90_000)
    for _ in rig.begin("set-clock"):
        if len(rig.asked) == 2:
            for n in range(20):
                rig.port.inject(50.0 * n, b"\x00")  # chatter: the line is not free
            rig.line._set_wire(rig.line._wire._replace(turnaround_ms=100))
    assert rig.gate.states == ["armed", "sent", "not-done"]
    assert rig.commands() == []


# ---- demands and freezes ------------------------------------------------------------------------


def test_a_demand_reset_is_confirmed_by_its_record(rig: LineRig) -> None:
    """19, which only this order may send."""
    gate = rig.run("reset-demand")
    assert (gate.states, gate.reasons[-1]) == (DONE, "the meter counts one more")
    assert gate.facts["demand resets before"] == "0" and gate.facts["demand resets after"] == "1"
    (frame,) = rig.commands()
    assert frame.data == bytes.fromhex("04110099" + "01000000")
    assert OPERATOR == "00000001"


def test_a_demand_reset_without_a_record_is_told_by_a_demand_of_zero(tmp_path: Path) -> None:
    """Where the meter keeps no count."""
    rig = LineRig(tmp_path, refuses=("03300200",))
    gate = rig.run("reset-demand")
    assert gate.reasons[-1] in ("the largest demand is zero now", "the meter does not tell")
    assert gate.end in (OrderState.CONFIRMED, OrderState.UNKNOWN)


def test_a_demand_reset_that_shows_nowhere_is_not_done(rig: LineRig) -> None:
    """The meter counts as before."""
    rig.meter.pin("03300200", bytes.fromhex("050000"))
    rig.meter.pin("01010000", bytes.fromhex("0050000101010101"))
    assert rig.run("reset-demand").end == OrderState.NOT_DONE


def test_a_freeze_ends_with_the_word_of_the_meter(rig: LineRig) -> None:
    """It cannot be observed, and the receipt says so."""
    gate = rig.run("freeze")
    assert gate.states == ["armed", "sent", "done"]
    assert gate.facts["observation"] == "none exists"
    assert [frame.address for frame in rig.commands()] == [ADDRESS]
    rig.meter.quirks.add("drops_replies")
    assert rig.run("freeze").end == OrderState.UNKNOWN
    assert len(rig.commands()) == 1
