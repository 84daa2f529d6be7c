"""protocols/events.py: the kinds of events, and what an event may hold."""

import pytest

from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.events import (
    DETAIL_SIZE_MAX,
    EVENT_FRAME_SIZE_MAX,
    EVENT_FRAMES_MAX,
    EVENT_KINDS,
    KIND_SIZE_MAX,
    METER_EVENTS,
    SEVERITIES,
    Event,
    EventKind,
    MeterEvent,
    Severity,
    is_kind,
    severity_of,
)

GATEWAY_KINDS = set(
    """
    started stopped line-down line-up adapter-lost adapter-found meter-down meter-up clock-step
    clock-synced clock-disagrees disk-80 disk-95 disk-refuses disk-recovered journal-aside
    journal-salvaged values-shed slots-missed over-budget message-refused foreign-answer roll-back
    jump stuck register-restarted meter-clock-drift meter-clock-set meter-clock-faulty backfilled
    backfill-incomplete config-applied config-refused config-reverted config-checked
    uplink-budget-spent events-lost
    order-unknown order-contradicted order-stopped open-while-paid closed-while-cut
    current-while-open ceiling-reached policy-missing lease-ended counter-regressed
    credential-refused keep-power-set keep-power-lifted meter-identity audit-broken
    """.split()
)


def test_every_kind_is_well_named_and_says_what_it_means() -> None:
    """A name for topics of thought, a severity of three, a sentence."""
    assert set(EVENT_KINDS) == GATEWAY_KINDS | set(METER_EVENTS)
    assert not GATEWAY_KINDS & set(METER_EVENTS)
    for name, kind in EVENT_KINDS.items():
        assert is_kind(name)
        assert type(kind) is EventKind
        assert kind.severity in SEVERITIES
        assert len(kind.meaning) > 10
        assert severity_of(name) == kind.severity


def test_the_kinds_of_meters_are_those_that_a_meter_counts() -> None:
    """Each by its own counter, and each phase for itself: kind and number name one event."""
    assert len(set(METER_EVENTS.values())) == len(METER_EVENTS) == 57
    assert METER_EVENTS["meter-cover-opened"] == MeterEvent("03300D00", 0)
    assert METER_EVENTS["meter-loss-of-voltage-l3"] == MeterEvent("03010000", 2)
    assert METER_EVENTS["meter-demand-over-limit-6"] == MeterEvent("03120000", 5)
    assert METER_EVENTS["meter-combination-word-programming-3"] == MeterEvent("03300B00", 0)
    assert METER_EVENTS["meter-relay-closed"] == MeterEvent("1E000001", 0)
    assert METER_EVENTS["meter-clear"] == MeterEvent("03300100", 0)
    assert all(name.startswith("meter-") for name in METER_EVENTS)


@pytest.mark.parametrize("kind", METER_EVENTS)
def test_the_counter_of_a_kind_can_be_read(kind: str) -> None:
    """The catalog knows its identifier, and a count stands in its place."""
    counter, place = METER_EVENTS[kind]
    sizes = [size for size in range(3, 40, 3) if items_of(identifier_bytes(counter), size)]
    counts = [
        item
        for item in items_of(identifier_bytes(counter), sizes[-1])
        if item.unit == "1" and item.size == 3
    ]
    assert place < len(counts)


def test_some_severities() -> None:
    """Covers and cleared records ask for a look now; a relay that moved explains itself."""
    assert severity_of("meter-terminal-cover-opened") == Severity.ALARM
    assert severity_of("meter-event-clear") == Severity.ALARM
    assert severity_of("meter-relay-opened") == Severity.INFO
    assert severity_of("meter-power-down") == Severity.WARNING
    assert severity_of("line-down") == Severity.ALARM
    assert severity_of("line-up") == Severity.INFO
    assert severity_of("something-of-next-year") == Severity.WARNING
    assert SEVERITIES == ("info", "warning", "alarm")


@pytest.mark.parametrize(
    "text",
    ["", "A", "line down", "line_down", "k" * (KIND_SIZE_MAX + 1), "é", "a\n", None, 5, b"a"],
)
def test_what_is_no_kind(text: object) -> None:
    """Lower case, digits and hyphens alone: it goes into logs and labels."""
    assert not is_kind(text)
    assert is_kind("k" * KIND_SIZE_MAX) and is_kind("disk-80")


def test_an_event_is_fitted_into_its_limits() -> None:
    """Cut, not lost: the first of what is too much stays."""
    frames = tuple((">", n, bytes(EVENT_FRAME_SIZE_MAX + n)) for n in range(EVENT_FRAMES_MAX + 5))
    one = Event("jump", "m1", 5, 4, bytes(16), 2, 0, None, "d" * (DETAIL_SIZE_MAX + 1), frames)
    fitted = one.fitted()
    assert type(fitted) is Event
    assert fitted[:8] == one[:8]
    assert fitted.detail == "d" * DETAIL_SIZE_MAX
    assert [at for _, at, _ in fitted.evidence] == list(range(EVENT_FRAMES_MAX))
    assert {len(data) for _, _, data in fitted.evidence} == {EVENT_FRAME_SIZE_MAX}
    assert fitted.fitted() == fitted
