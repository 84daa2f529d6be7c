"""What a meter writes down of what happened to it: a count and the last ten records of each event.

A record that never was is FF fill. Layouts are those of the catalog, which meter firmware and
concentrators agree on; here they are put together, not looked up.
"""

from protocols.bcd import encode_bcd
from protocols.dlt645.identifiers import identifier_bytes, items_of

PROGRAMMED = "033000"
METER_CLEARED = "033001"
DEMAND_CLEARED = "033002"
EVENTS_CLEARED = "033003"
CLOCK_SET = "033004"
COVER_OPENED = "03300D"
TERMINAL_COVER_OPENED = "03300E"
RELAY_OPENED = "1D00"
RELAY_CLOSED = "1E00"

RECORDS_MAX = 10
_COUNT_SIZE = 3
_COUNT_END = 10 ** (2 * _COUNT_SIZE)
_WHOLE = "FF"  # DI1 of a relay event: the whole record
EVENTS = (
    PROGRAMMED,
    METER_CLEARED,
    DEMAND_CLEARED,
    EVENTS_CLEARED,
    CLOCK_SET,
    COVER_OPENED,
    TERMINAL_COVER_OPENED,
    RELAY_OPENED,
    RELAY_CLOSED,
)


class EventLog:
    """Counts and records by event, the latest first."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(EVENTS, 0)
        self._records: dict[str, list[bytes]] = {event: [] for event in EVENTS}

    def add(self, event: str, record: bytes) -> None:
        """One more of `event`."""
        self._counts[event] = (self._counts[event] + 1) % _COUNT_END
        self._records[event] = [record, *self._records[event]][:RECORDS_MAX]

    def amend(self, event: str, record: bytes) -> None:
        """The latest record of `event`, now that more is known."""
        self._records[event][:1] = [record]

    def latest(self, event: str) -> bytes:
        """The latest record; empty when there is none."""
        return self._records[event][0] if self._records[event] else b""

    def clear(self, events: tuple[str, ...] = EVENTS) -> None:
        """Forgets these events."""
        for event in events:
            self._counts[event], self._records[event] = 0, []

    def payload(self, di: str) -> bytes | None:
        """What stands behind an identifier; None for one that is no event of this meter."""
        event = event_of(di)
        if event is None:
            return None
        part, number = di[len(event) : -2], int(di[-2:], 16)
        if (part, number) == ("00", 1) or (part, number) == ("", 0):
            count: bytes = encode_bcd(self._counts[event], _COUNT_SIZE)
            return count
        sizes = [item.size for item in items_of(identifier_bytes(di), 0)]
        if not sizes or not 1 <= number <= RECORDS_MAX:
            return None
        records = self._records[event]
        if number > len(records):
            due: int = sum(sizes)
            return b"\xff" * due
        if part in ("", _WHOLE):
            return records[number - 1]
        whole = items_of(identifier_bytes(event + _WHOLE + "01"), 0)
        start: int = sum(item.size for item in whole[: int(part, 16) - 1])
        size: int = sizes[0]
        record: bytes = records[number - 1]
        return record[start : start + size]


def event_of(di: str) -> str | None:
    """The event that an identifier belongs to."""
    return next((event for event in EVENTS if di.startswith(event)), None)
