"""The reading, and the reading set: what one meter showed at one instant.

The set is the unit that is journaled, sent, stored and proven complete; one reading at a time would
cost five times more on the card and in the head end.
"""

from collections import namedtuple

from protocols.obis import Obis
from protocols.quantity import Quantity


class TimeQuality:
    """How far a gateway's UTC can be trusted, worst first."""

    UNSYNCED = 0
    RTC = 1
    NTP = 2
    SIGNED = 3


TIME_QUALITY_NAMES = ("unsynced", "rtc", "ntp", "signed")


class Origin:
    """Where a reading set comes from."""

    LIVE = 0  # read off the registers at that instant
    FREEZE = 1  # out of the meter's own snapshots
    LOAD_RECORD = 2  # out of the meter's own load profile


ORIGIN_NAMES = ("live", "freeze", "load-record")


class Flag:
    """What is doubtful about a reading set; bits that add up. A value is flagged, never edited."""

    ROLL_BACK = 1  # a register stands lower than before
    JUMP = 2  # a register grew by more than the breaker rating allows
    STUCK = 4  # a register stands still where it should not
    METER_CLOCK_SUSPECT = 8
    SHED = 16  # values were dropped for want of space; nothing may be left
    CLOCK_SUSPECT = 32  # the gateway's clock was in doubt


FLAG_NAMES = {
    Flag.ROLL_BACK: "roll-back",
    Flag.JUMP: "jump",
    Flag.STUCK: "stuck",
    Flag.METER_CLOCK_SUSPECT: "meter-clock-suspect",
    Flag.SHED: "shed",
    Flag.CLOCK_SUSPECT: "clock-suspect",
}
FLAGS_MAX = sum(FLAG_NAMES)


def flag_names(flags: int) -> list:
    """The names of the bits that are set, the lowest first."""
    return [FLAG_NAMES[bit] for bit in sorted(FLAG_NAMES) if flags & bit]


class Reading(namedtuple("Reading", ("obis", "quantity"))):
    """One value of one quantity: an Obis and a Quantity."""

    def described(self) -> dict:
        """What a person or a JSON reader sees; the value as exact decimal text."""
        obis: Obis = self.obis
        quantity: Quantity = self.quantity
        value, unit = quantity.shown()
        return {"obis": obis.text(), "name": obis.name(), "value": value, "unit": unit}


class ReadingSet(
    namedtuple(
        "ReadingSet",
        (
            "meter_id",
            "read_at",
            "boot_at",
            "boot_id",
            "quality",
            "readings",
            "origin",
            "flags",
        ),
    )
):
    """What one meter showed at one instant: when the gateway began to read it. Its registers follow
    within the seconds that the sweep takes.

    `read_at` UTC ms, `boot_at` ms since the gateway's boot, `boot_id` 16 bytes, `quality` a
    TimeQuality, `readings` a tuple of Reading, `origin` an Origin, `flags` bits of Flag.

    Of origin FREEZE and LOAD_RECORD `read_at` is the instant that the values stand for, by the
    meter's clock, and the boot is the one in which the gateway asked for them: such a set is never
    timed anew.
    """
