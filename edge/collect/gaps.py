"""Gaps in what is known of a meter, and how far each is filled: kept over restarts.

Gaps of one meter neither overlap nor touch; of more than GAPS_MAX the two nearest become one, and
what lies between them is asked for too. A gap that grows is filled from the start: what is stored
already is not stored twice.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

GAPS_MAX = 16  # of one meter


@dataclass
class Gap:
    """from_ms <= t < to_ms, UTC; `source` the number of the source being asked. Of that source
    everything from `end` on is done. While a window of it is being read, the window begins at
    `low`, and is read up to before `at`."""

    from_ms: int
    to_ms: int
    reason: str = ""  # why it is there
    source: int = 0
    end: int = 0
    low: int | None = None
    at: int = 0
    is_doubtful: bool = False  # the window seemed empty, and is asked for once more
    floor: int | None = None  # from where on the source has records; None: not asked yet
    found: int = 0  # reading sets stored
    there: int = 0  # records whose registers were stored before
    dropped: int = 0  # records that were none, or had a stamp that cannot be
    asked: int = 0  # answers
    why: str = ""  # it cannot be filled whole

    def __post_init__(self) -> None:
        self.end = self.end or self.to_ms

    def next_source(self, why: str = "") -> None:
        """The source is through, or has nothing."""
        self.source += 1
        self.end, self.low, self.floor, self.is_doubtful = self.to_ms, None, None, False
        self.note(why)

    def note(self, why: str) -> None:
        """One more reason why it stays incomplete."""
        if why and why not in self.why:
            self.why = f"{self.why}; {why}" if self.why else why


def with_gap(gaps: list[Gap], new: Gap) -> list[Gap]:
    """The gaps with one more, in order."""
    apart: list[Gap] = []
    near = [new]
    for gap in gaps:
        is_apart = gap.to_ms < new.from_ms or new.to_ms < gap.from_ms
        (apart if is_apart else near).append(gap)
    if any(one.from_ms <= new.from_ms and new.to_ms <= one.to_ms for one in near[1:]):
        return gaps  # it is being filled
    found = sorted([*apart, _joined(near)], key=lambda one: one.from_ms)
    while len(found) > GAPS_MAX:
        n = min(range(len(found) - 1), key=lambda n: found[n + 1].from_ms - found[n].to_ms)
        found[n : n + 2] = [_joined(found[n : n + 2])]
    return found


def _joined(gaps: list[Gap]) -> Gap:
    if len(gaps) == 1:
        return gaps[0]
    return Gap(
        min(one.from_ms for one in gaps),
        max(one.to_ms for one in gaps),
        gaps[0].reason,
        found=sum(one.found for one in gaps),
        there=sum(one.there for one in gaps),
    )


def to_text(gaps: list[Gap]) -> str:
    """As a memo."""
    return json.dumps([asdict(one) for one in gaps])


def from_text(memo: Any) -> list[Gap]:
    """Of a memo; none for none."""
    return [Gap(**one) for one in json.loads(memo or "[]")]
