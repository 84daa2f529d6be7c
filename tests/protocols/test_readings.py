"""protocols/readings.py: the reading and the reading set."""

import json

from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import (
    FLAG_NAMES,
    FLAGS_MAX,
    ORIGIN_NAMES,
    TIME_QUALITY_NAMES,
    Flag,
    Origin,
    Reading,
    ReadingSet,
    TimeQuality,
    flag_names,
)

ENERGY = Reading(Obis.from_text("1-0:1.8.0"), Quantity(12345678, 1, "Wh", Kind.CUMULATIVE))


def test_a_reading_describes_itself_in_exact_text() -> None:
    """Code, words, decimal text and unit: what a JSON reader gets has no float in it."""
    assert ENERGY.described() == {
        "obis": "1-0:1.8.0*255",
        "name": "active energy import",
        "value": "123456.78",
        "unit": "kWh",
    }
    assert json.loads(json.dumps(ENERGY.described()), parse_float=str) == ENERGY.described()


def test_a_text_reading_describes_itself() -> None:
    """A meter number has no unit."""
    reading = Reading(Obis.from_text("0-0:96.1.1"), Quantity("002241020208", 0, "", Kind.TEXT))
    assert reading.described()["value"] == "002241020208"
    assert reading.described()["unit"] == ""


def test_time_qualities_rise_and_have_names() -> None:
    """Worst first, so that a greater number is more trust."""
    codes = {name.lower(): code for name, code in vars(TimeQuality).items() if name.isupper()}
    assert codes == {name: code for code, name in enumerate(TIME_QUALITY_NAMES)}
    assert TIME_QUALITY_NAMES == ("unsynced", "rtc", "ntp", "signed")


def test_a_reading_set_is_one_meter_at_one_instant() -> None:
    """Its fields, in the order in which they are stored."""
    one = ReadingSet("m1", 1_763_700_000_000, 5_000, bytes(16), 2, (ENERGY,), Origin.FREEZE, 16)
    assert one._fields == (
        "meter_id", "read_at", "boot_at", "boot_id", "quality", "readings", "origin", "flags",
    )  # fmt: skip
    assert (one.origin, one.flags) == (1, 16)
    assert one.readings[0].quantity.shown() == ("123456.78", "kWh")


def constants(table: type) -> dict[str, int]:
    """The names of a class of codes, as they are shown."""
    return {
        name.lower().replace("_", "-"): code for name, code in vars(table).items() if name.isupper()
    }


def test_origins_have_names() -> None:
    """Live is 0: what nearly every set is."""
    assert constants(Origin) == {name: code for code, name in enumerate(ORIGIN_NAMES)}
    assert ORIGIN_NAMES == ("live", "freeze", "load-record")


def test_flags_are_bits_with_names() -> None:
    """Each a bit of its own; the wire and the store know them by number."""
    assert constants(Flag) == {name: bit for bit, name in FLAG_NAMES.items()}
    assert constants(Flag) == {
        "roll-back": 1, "jump": 2, "stuck": 4, "meter-clock-suspect": 8, "shed": 16,
        "clock-suspect": 32,
    }  # fmt: skip
    assert FLAGS_MAX == 63
    assert flag_names(0) == []
    assert flag_names(Flag.CLOCK_SUSPECT | Flag.JUMP) == ["jump", "clock-suspect"]
    assert flag_names(FLAGS_MAX) == list(FLAG_NAMES.values())
