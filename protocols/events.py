"""Events: what happened to a gateway, a line or a meter, and the one table of their kinds.

* A gateway's event is stamped by the gateway's clock. A meter's event comes out of the meter's own
  records and is stamped by the meter's clock, with the meter's count and the drift of that clock.
* The kinds of meter events are derived from the catalog of DL/T 645: one for each counter that a
  meter keeps (and so one for each phase that is counted apart), because an event is known by its
  kind and its number.
* A reader takes kinds that it does not know, because gateways are newer or older than the head end.
"""

from collections import namedtuple

from protocols.dlt645.catalog import events as catalog
from protocols.dlt645.rows import Row, rows_of

KIND_SIZE_MAX = 48  # characters
SUBJECT_SIZE_MAX = 64  # characters: of a meter's id, the longer one
DETAIL_SIZE_MAX = 200  # characters
EVENT_FRAMES_MAX = 64  # evidence of one event
EVENT_FRAME_SIZE_MAX = 300  # bytes; a DL/T 645 frame has at most 267, a Modbus one 256
DRIFT_S_MAX = 1 << 32  # a meter's calendar has a hundred years

_KIND_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Severity:
    """How much an event asks of a person."""

    INFO = "info"  # nothing; it explains what else is seen
    WARNING = "warning"  # a look, in working hours
    ALARM = "alarm"  # a look now: bills, safety or the installation may be at stake


SEVERITIES = (Severity.INFO, Severity.WARNING, Severity.ALARM)  # rising


class EventKind(namedtuple("EventKind", ("severity", "meaning"))):
    """One row of EVENT_KINDS."""


class MeterEvent(namedtuple("MeterEvent", ("counter", "place"))):
    """Where a meter counts the events of a kind: the identifier as printed ("03010000"), and the
    place of the count among that identifier's counts."""


class Event(
    namedtuple(
        "Event",
        (
            "kind",
            "subject",
            "at",
            "boot_at",
            "boot_id",
            "quality",
            "number",
            "drift_s",
            "detail",
            "evidence",
        ),
    )
):
    """One event.

    `kind` a name of EVENT_KINDS, `subject` a meter's id, a line's id or "" for the gateway itself,
    `at` UTC ms (of a meter's event by the meter's clock), `boot_at` ms since the gateway's boot and
    `boot_id` 16 bytes: when the gateway told or collected it, `quality` the TimeQuality of the
    gateway, `number` the meter's own count of it (0 for the gateway's), `drift_s` the meter's clock
    less ours when it was collected (None: not known, or the gateway's own), `detail` words for a
    person, `evidence` the frames as ((">" or "<", ms since the exchange began, bytes), ...).
    """

    def fitted(self) -> "Event":
        """The same event within the limits of the wire: the detail is cut, the first frames stay.
        An event that could never be sent would hold up all that follow it."""
        frames = [
            (way, at_ms, data[:EVENT_FRAME_SIZE_MAX])
            for way, at_ms, data in self.evidence[:EVENT_FRAMES_MAX]
        ]
        detail = self.detail[:DETAIL_SIZE_MAX]
        return Event(*self[:8], detail, tuple(frames))


def is_kind(text: object) -> bool:
    """Whether `text` may name a kind, known or not: 1 to 48 of a-z, 0-9 and -."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= KIND_SIZE_MAX
        and all(character in _KIND_CHARACTERS for character in text)
    )


def severity_of(kind: str) -> str:
    """The severity of a kind; one that we do not know is a warning: somebody should look."""
    known = EVENT_KINDS.get(kind)
    return known.severity if known else Severity.WARNING


# ---- the gateway's own -------------------------------------------------------------------------

# name, severity, meaning
_GATEWAY = """
started info the agent started; the detail tells the version and why the last run ended
stopped info the agent was stopped in order
line-down alarm a line answers no longer, or its port does not open
line-up info a line works again
adapter-lost alarm the serial adapter of a line is gone
adapter-found info the serial adapter of a line is back
meter-down warning a meter is silent for longer than the line's noise explains
meter-up info a meter answers again
clock-step warning the gateway's time was set by more than its tolerance
clock-synced info the gateway's time is good for the first time since its boot
clock-disagrees warning the system's clock left the time that the gateway holds
disk-80 warning the journal, or its file system, is four fifths full
disk-95 alarm the journal, or its file system, is nearly full: instantaneous values are not polled
disk-refuses alarm the journal can not be written; readings wait in memory
disk-recovered info the journal is written again
journal-aside alarm the journal was damaged and put aside; a new epoch began
journal-salvaged info what a damaged journal still held was brought into the new one
values-shed warning values were dropped for want of space
slots-missed warning scheduled readings did not take place
over-budget warning a line does not manage what its schedule asks for
message-refused warning a message from the head end was refused
foreign-answer warning a meter answered that was not asked
roll-back alarm a register stands lower than before
jump alarm a register grew by more than the breaker rating allows
stuck warning a register stands still where it should not
register-restarted warning a register began again, as after an exchange of the meter
meter-clock-drift warning a meter's clock is off
meter-clock-set info the gateway set a meter's clock
meter-clock-faulty alarm a meter's clock does not stay right
backfilled info a gap was filled from a meter's own records
backfill-incomplete warning a gap could not be filled whole
config-applied info a new configuration is in force
config-refused warning a configuration was refused
config-reverted alarm a new configuration failed, the last good one is in force again
config-checked info a configuration was tried without putting it in force
uplink-budget-spent warning the day's bytes of the uplink are spent
events-lost alarm events were dropped, because they could not be stored in time
order-unknown alarm an order was sent, and what came of it is not known
order-contradicted alarm what was observed after an order contradicts itself
order-stopped info an order was stopped before it was sent
open-while-paid alarm a meter is disconnected that no order disconnected
closed-while-cut alarm a meter is connected that an order disconnected
current-while-open alarm current flows through a meter that says it is disconnected
ceiling-reached alarm the disconnects of an hour or a day are used up
policy-missing warning no policy was received since the start: nobody is disconnected
lease-ended warning the permission to disconnect has ended
counter-regressed alarm an order counter stands lower than one taken up before
credential-refused alarm a meter refused a credential; it is not tried again
keep-power-set info a meter keeps power: it refuses to disconnect
keep-power-lifted info a meter no longer keeps power
meter-identity alarm a meter is not the one that its settings say
audit-broken alarm the audit chain does not join or can not be written
"""


def _gateway_kinds() -> dict:
    kinds = {}
    for line in _GATEWAY.split("\n"):
        if line:
            name, severity, meaning = line.split(" ", 2)
            kinds[name] = EventKind(severity, meaning)
    return kinds


# ---- the meters' -------------------------------------------------------------------------------

# By the identifier's first two or three bytes; every other one is a warning.
_ALARMS = ("033001", "033003", "03300D", "03300E")  # meter or events cleared, covers opened
_INFOS = ("033002", "1D00", "1E00")  # demand cleared, relay moved
_PHASE_COUNTS = "@three_counts"
_ONE_COUNT = ("@count", "NNNNNN")
_COUNT_ENDINGS = (": count", " counts", " count")


def _count_of(row: Row) -> int:
    """How many counts an identifier of a row of the catalog holds; 0: it does not count events."""
    if row.layout == _PHASE_COUNTS:
        return 3
    if row.layout.startswith("(NNNNNN)x"):
        return int(row.layout[9:])
    return 1 if row.layout in _ONE_COUNT else 0


def _counters(row: Row) -> list:
    """The identifiers of a row, as printed."""
    counters = [""]
    for place in range(len(row.places)):
        counters = [one + f"{byte:02X}" for one in counters for byte in row.values(place)]
    return counters


def _stem(name: str) -> str:
    """What is counted, in words."""
    for ending in _COUNT_ENDINGS:
        if name.endswith(ending):
            return name[: -len(ending)]
    return name


def _meter_kinds(row: Row) -> list:
    """[(kind, EventKind, MeterEvent), ...] of the events that a row counts."""
    kinds = []
    count, counters = _count_of(row), _counters(row)
    stem = _stem(row.name)
    prefix = "" if stem.startswith("meter ") else "meter-"
    for rank, counter in enumerate(counters):
        for place in range(count):
            mark, words = "", ""
            if row.layout == _PHASE_COUNTS:
                mark, words = f"-l{place + 1}", f", L{place + 1}"
            elif count * len(counters) > 1:
                mark, words = f"-{rank + place + 1}", f", number {rank + place + 1}"
            kind = prefix + stem.replace(" ", "-") + mark
            meaning = "recorded by the meter: " + stem + words
            event_kind = EventKind(_severity(counter), meaning)
            kinds.append((kind, event_kind, MeterEvent(counter, place)))
    return kinds


def _severity(counter: str) -> str:
    if any(counter.startswith(one) for one in _ALARMS):
        return Severity.ALARM
    is_info = any(counter.startswith(one) for one in _INFOS)
    return Severity.INFO if is_info else Severity.WARNING


METER_EVENTS: dict = {}  # kind -> MeterEvent
EVENT_KINDS = _gateway_kinds()  # kind -> EventKind
for _table in (catalog.EVENTS, catalog.AMENDED):
    for _row in rows_of(_table):
        if _count_of(_row):
            for _name, _event_kind, _meter_event in _meter_kinds(_row):
                EVENT_KINDS[_name] = _event_kind
                METER_EVENTS[_name] = _meter_event
