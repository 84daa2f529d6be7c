"""edge.toml as a JSON Schema, made from the rule tables, so that an editor can complete and check.

It says less than our own check, which also knows what fits together: lines that exist, quantities
that a meter has, what stands twice.
"""

from typing import Any

from edge.settings.control import CONTROL_RULES
from edge.settings.rules import (
    GROUP_RULES,
    GROUPS_MAX,
    LINE_RULES,
    LINES_MAX,
    METER_RULES_BY_PROTOCOL,
    METERS_MAX,
    RULES,
    SECTIONS,
)
from protocols.settings import REQUIRED, Rule

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as a JSON object."""
    single = [name for name in SECTIONS if name not in ("line", "meter")]
    meters = {"anyOf": [_meter(protocol) for protocol in METER_RULES_BY_PROTOCOL]}
    sections = {name: _table(RULES[name]) for name in single} | {
        "line": _rows(_table(LINE_RULES), 1, LINES_MAX),
        "meter": _rows(meters, 1, METERS_MAX),
    }
    needed = [name for name in single if "required" in sections[name]]
    return {
        "$schema": DIALECT,
        "title": "edge.toml",
        "type": "object",
        "properties": sections,
        "required": [*needed, "line", "meter"],
        "additionalProperties": False,
    }


def _meter(protocol: str) -> dict[str, Any]:
    table = _table(METER_RULES_BY_PROTOCOL[protocol])
    table["properties"]["protocol"] |= {"enum": [protocol]}
    table["properties"]["group"] = _rows(_table(GROUP_RULES), 0, GROUPS_MAX)
    if protocol in CONTROL_RULES:
        table["properties"]["control"] = _table(CONTROL_RULES[protocol])
    return table


def _rows(table: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "minItems": least, "maxItems": most, "items": table}


def _table(rules: tuple[Rule, ...]) -> dict[str, Any]:
    required = [rule.name for rule in rules if rule.default is REQUIRED]
    return {
        "type": "object",
        "properties": {rule.name: _value(rule) for rule in rules},
        "additionalProperties": False,
    } | ({"required": required} if required else {})


def _value(rule: Rule) -> dict[str, Any]:
    found = {**rule.form, "description": f"{rule.meaning}; {rule.allowed}"}
    if rule.default is not REQUIRED and rule.default is not None:
        default = rule.default
        found["default"] = list(default) if isinstance(default, tuple) else default
    return found
