"""What a meter wrote down of its events: which records are new by its counts, and what they say.

* A count that is higher than before makes as many records new; the latest is number 1. A count that
  rolled over after 999999 goes on; one that fell otherwise was cleared.
* An event is stamped by the meter's clock. A record without a stamp that can be read is no event:
  it is counted as lost.
"""

from typing import NamedTuple

from edge.collect.meter_time import DAY_MS, utc_ms_of_text
from protocols.dlt645.values import decode_items
from protocols.errors import ValueFormatError
from protocols.events import DETAIL_SIZE_MAX, METER_EVENTS

RECORDS_MAX = 10  # that a meter keeps of one event
COUNTS = 1_000_000  # a count has six digits
ROLL_OVER_MAX = 1_000  # events in one period that we believe of a count that rolled over
# A meter whose clock was set back since has stamps ahead of it; more than a day is no stamp.
FUTURE_MS_MAX = DAY_MS
_COUNT_UNIT = "1"
_WHOLE_RECORD = {"1D": "FF", "1E": "FF"}  # classes of the amendment: DI1 of a whole record
# Which time of a record says when it was, the best first. A clock setting counts from its new time.
_STAMPS = ("start", "time", "after", "before")


def _kinds_by_counter() -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, event in METER_EVENTS.items():
        kinds.setdefault(event.counter, []).append(kind)
    return kinds


KINDS_OF = _kinds_by_counter()  # identifier of the counts -> kinds


class News(NamedTuple):
    """What is new of a kind: its present count, how many records, whether the count fell (from
    what), whether it was never seen before."""

    kind: str
    counted: int
    fresh: int
    fell_from: int | None = None
    is_first: bool = False

    def number(self, record: int) -> int:
        """The meter's count of the event in record 1, 2, …; 1000000 after 999999."""
        number = self.counted - record + 1
        return number if number > 0 else number + COUNTS


class Told(NamedTuple):
    """What a record says: UTC ms by the meter's clock, and the rest in words."""

    at: int
    detail: str


def counts_of(counter: str, data: bytes) -> dict[str, int]:
    """Kind -> count of the answer to an identifier of counts; a count of FF is left out.
    ValueFormatError when the answer is none."""
    counts = [quantity for item, quantity in decode_items(data) if item.unit == _COUNT_UNIT]
    found = {}
    for kind in KINDS_OF[counter]:
        place = METER_EVENTS[kind].place
        quantity = counts[place] if place < len(counts) else None
        if quantity is not None:
            found[kind] = int(quantity.value)
    return found


def news_of(kind: str, before: int | None, count: int) -> News | None:
    """None when nothing happened."""
    if before is None:
        return News(kind, count, count, is_first=True)
    grown = (count - before) % COUNTS
    if not grown:
        return None
    if count > before or grown <= ROLL_OVER_MAX:
        return News(kind, count, grown)
    return News(kind, count, count, fell_from=before)


def record_identifier(kind: str, record: int) -> str:
    """The identifier of the record 1, 2, … of a kind, 1 being the latest."""
    counter, place = METER_EVENTS[kind]
    if counter[:2] in _WHOLE_RECORD:
        part = _WHOLE_RECORD[counter[:2]]
    elif len(KINDS_OF[counter]) > 1:
        part = f"{place + 1:02X}"  # the phase, or the which-th
    else:
        part = counter[4:6]
    return f"{counter[:4]}{part}{record:02X}"


def read_record(data: bytes, offset_min: int, latest_ms: int) -> Told:
    """What a record says; ValueFormatError in words when it cannot be told when it was: nothing is
    there, nobody knows its layout, or its stamp is later than `latest_ms`."""
    items = decode_items(data)
    if not items:
        raise ValueFormatError("no public source tells how the record is laid out")
    times, words = {}, []
    for item, quantity in items:
        label = item.name.rpartition(": ")[2]
        if quantity is None:
            continue
        if label in _STAMPS:
            times[label] = str(quantity.value)
        value, unit = quantity.shown()
        words.append(f"{label} {value} {unit}".strip())
    stamp = next((times[label] for label in _STAMPS if label in times), None)
    if stamp is None:
        raise ValueFormatError("the record is empty")
    at = utc_ms_of_text(stamp, offset_min)
    if at > latest_ms:
        raise ValueFormatError(f"its stamp, {stamp}, is still to come")
    return Told(at, _fitting(words))


def _fitting(words: list[str]) -> str:
    """As many of them, whole, as an event's detail holds."""
    detail = ""
    for one in words:
        longer = f"{detail}, {one}" if detail else one
        if len(longer) > DETAIL_SIZE_MAX:
            break
        detail = longer
    return detail
