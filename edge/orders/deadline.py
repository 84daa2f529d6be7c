"""Until when a command may be obeyed, as the meter's own clock will show it (I14).

The meter compares the moment in a relay command with its own clock, which may be wrong; so the
moment is reckoned from what that clock showed a moment ago, on the gateway's boot clock, which does
not jump. It is never later than the order's expiry, and only minutes ahead: a frame that somebody
recorded on the line is worth nothing soon after.
"""

from edge.collect.meter_time import meter_time, utc_ms_of
from edge.meters.control import MeterClockShown
from protocols.dlt645.clock import MeterTime

WIRE_LIFE_MS = 300_000  # that a command on the line may still be obeyed


def meter_deadline(
    shown: MeterClockShown, deadline_boot_ms: int, now_boot_ms: int
) -> MeterTime | None:
    """The last second at which the meter may act; None when it cannot say such a time."""
    until = min(deadline_boot_ms, now_boot_ms + WIRE_LIFE_MS)
    found = meter_time(utc_ms_of(shown.time, 0) + until - shown.boot_ms, 0)
    return found if found.is_valid() else None


def drift_ms(shown: MeterClockShown, utc_ms: int, boot_ms: int, offset_min: int) -> int:
    """What the meter's clock is ahead of ours, as far as whole seconds tell."""
    return utc_ms_of(shown.time, offset_min) - (utc_ms - boot_ms + shown.boot_ms)
