"""Whether a line has time for its schedule: the share of each register group, and their sum."""

from collections.abc import Iterable
from typing import NamedTuple

from edge.collect.schedule import Task
from edge.collect.watch import MeterWatch
from edge.line.budget import character_s, seconds
from protocols.errors import SettingError

FULL = 1.0
TIGHT = 0.8  # above it retries and orders have little room


class Share(NamedTuple):
    """What one register group takes of its line: bytes and seconds of a sweep, and their part of
    the period (1 is all of it)."""

    line_id: str
    meter_id: str
    group: str
    exchanges: int
    sent: int
    received: int
    sweep_s: float
    period_s: float
    share: float


def share_of(task: Task, watch: MeterWatch) -> Share:
    """By the protocol's own sizes and typical response delays."""
    wire = watch.wire
    character = character_s(*wire.characters)
    costs = watch.driver.costs(task.group)
    sweep_s = sum(seconds(cost, character, wire.turnaround_ms / 1000) for cost in costs)
    return Share(
        watch.line_id,
        task.meter_id,
        task.group,
        len(costs),
        sum(cost.sent for cost in costs),
        sum(cost.received for cost in costs),
        sweep_s,
        task.period_ms / 1000,
        1000 * sweep_s / task.period_ms,
    )


def load_of(shares: Iterable[Share]) -> float:
    """The part of a line's time that is taken."""
    return sum(share.share for share in shares)


def check_load(line_id: str, shares: list[Share]) -> None:
    """SettingError with the sum when the periods cannot be kept."""
    taken = load_of(shares)
    if taken > FULL:
        meters = len({share.meter_id for share in shares})
        raise SettingError(
            f"line {line_id}: the schedule of its {meters} meters takes {100 * taken:.0f} % of the"
            " line's time, and at most 100 % is there; `busbar-edge budget` shows what takes how"
            " much"
        )
