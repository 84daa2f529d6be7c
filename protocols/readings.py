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


class Reading(namedtuple("Reading", ("obis", "quantity"))):
    """One value of one quantity: an Obis and a Quantity."""

    def described(self) -> dict:
        """What a person or a JSON reader sees; the value as exact decimal text."""
        obis: Obis = self.obis
        quantity: Quantity = self.quantity
        value, unit = quantity.shown()
        return {"obis": obis.text(), "name": obis.name(), "value": value, "unit": unit}


class ReadingSet(
    namedtuple("ReadingSet", ("meter_id", "read_at", "boot_at", "boot_id", "quality", "readings"))
):
    """What one meter showed at one instant: when the gateway began to read it. Its registers follow
    within the seconds that the sweep takes.

    `read_at` UTC ms, `boot_at` ms since the gateway's boot, `boot_id` 16 bytes, `quality` a
    TimeQuality, `readings` a tuple of Reading.
    """
