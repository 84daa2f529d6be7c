"""A DL/T 645 meter model: what one maker's meter takes, as a reviewed TOML file.

Identifiers are the same for all makers; what a password may do with the relay is not. A meter
without a model takes nothing in plain text (`relay.UNKNOWN_TERMS`).
"""

from collections import namedtuple

from protocols.dlt645.relay import ACTION_BY_NAME, RelayTerms
from protocols.errors import SettingError
from protocols.settings import REQUIRED, choice, flag, read_table, text, texts

PROTOCOL = "dlt645-2007"


class MeterModel(namedtuple("MeterModel", ("name", "title", "terms"))):
    """One model: `terms` is its RelayTerms."""


METER_MODEL_RULES = (
    choice("protocol", (PROTOCOL,), REQUIRED, "tells these files from Modbus models"),
    text("title", REQUIRED, "maker and types, for people"),
    text("source", REQUIRED, "where this was read, and what is not confirmed", 1000),
)
RELAY_RULES = (
    texts(
        "plain",
        lambda one: one in ACTION_BY_NAME,
        "names of relay actions: " + ", ".join(sorted(ACTION_BY_NAME)),
        (),
        "actions that it takes with a password",
    ),
    texts(
        "levels",
        lambda one: len(one) == 2 and one[0] == "0" and one[1] in "0123456789",
        "password levels 00 to 09",
        (),
        "password levels that may send them",
    ),
    flag("secured", False, "whether it takes the form with ciphertext (98)"),
)


def read_meter_model(name: str, table: dict) -> MeterModel:
    """The checked model of a parsed TOML file; SettingError with one sentence when it is not
    one."""
    where = f"meter model {name}"
    head = {key: value for key, value in table.items() if key != "relay"}
    settings = read_table(head, METER_MODEL_RULES, where)
    relay = read_table(table.get("relay", {}), RELAY_RULES, where + ": [relay]")
    if bool(relay["plain"]) != bool(relay["levels"]):
        raise SettingError(f"{where}: [relay]: plain and levels must both be given, or neither")
    levels = tuple([int(one) for one in relay["levels"]])
    plain = tuple([ACTION_BY_NAME[one] for one in relay["plain"]])
    return MeterModel(name, settings["title"], RelayTerms(plain, levels, relay["secured"]))
