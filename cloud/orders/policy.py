"""cloud.toml [orders]: when cuts are allowed, how many, and how they are spread.

All of it is configuration; defaults are those of fee-control's section 8.
"""

from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocols.orders.windows import ALLOWED, Window, is_window
from protocols.settings import flag, matching, texts, whole


def is_timezone(name: str) -> bool:
    """Whether this machine knows a time zone of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


ORDER_RULES = (
    matching(
        "timezone",
        is_timezone,
        "a time zone of this machine, such as Asia/Shanghai",
        "Asia/Shanghai",
        "the meters' civil time, in which windows and blocked days are meant",
    ),
    texts("windows", is_window, ALLOWED, ("Mon-Thu 09:00-16:00",), "when cuts are allowed"),
    matching(
        "calendar",
        lambda name: 0 < len(name) <= 255,
        "a text of 1 to 255 characters",
        None,
        "JSON file of the blocked days, with the day up to which they are known; without it, or"
        " past that day, nobody is cut",
    ),
    flag("block_eves", True, "whether the day before a blocked day is blocked too"),
    whole("lease_h", 1, 168, 12, "a gateway that hears nothing for so long cuts nobody"),
    whole("jitter_s", 0, 3600, 1800, "the most by which a cut is delayed at random"),
    whole("restore_every_s", 0, 3600, 10, "at least so long between the restores of one feeder"),
    whole("lead_s", 0, 60, 0, "how long before its time an order is published"),
    whole("cuts_operator_hour", 1, 100_000, 20, "cuts that one person may ask for in an hour"),
    whole("cuts_operator_day", 1, 1_000_000, 60, "the same in a day"),
    whole("cuts_area_hour", 1, 100_000, 50, "cuts of one area in an hour, before quarantine"),
    whole("cuts_area_day", 1, 1_000_000, 200, "the same in a day"),
    whole("cuts_gateway_hour", 1, 10_000, 5, "cuts of one gateway in an hour, before quarantine"),
    whole("cuts_gateway_day_percent", 1, 100, 10, "of its meters in a day; one at least"),
    whole("restore_late_min", 1, 1440, 30, "a restore that is not done by then is told"),
    whole("restore_escalate_h", 1, 168, 24, "and by then it is for field work"),
    whole("clock_correction_s", 0, 3600, 0, "by how much a gateway may set a meter's clock itself"),
)


class OrderPolicy(NamedTuple):
    """cloud.toml [orders], checked."""

    timezone: str
    windows: tuple[Window, ...]
    calendar: Path | None
    block_eves: bool
    lease_h: int
    jitter_s: int
    restore_every_s: int
    lead_s: int
    cuts_operator_hour: int
    cuts_operator_day: int
    cuts_area_hour: int
    cuts_area_day: int
    cuts_gateway_hour: int
    cuts_gateway_day_percent: int
    restore_late_min: int
    restore_escalate_h: int
    clock_correction_s: int

    @classmethod
    def from_table(cls, table: dict[str, Any], base: Path) -> "OrderPolicy":
        """Of a table that `read_table` has checked; paths are relative to `base`."""
        windows = tuple(Window.from_text(one) for one in table["windows"])
        calendar = base / table["calendar"] if table["calendar"] else None
        return cls(**{**table, "windows": windows, "calendar": calendar})
