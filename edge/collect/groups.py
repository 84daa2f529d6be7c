"""The tasks of a meter: one for its own register group, one for each other."""

from typing import Any

from edge.collect.schedule import Task
from protocols.obis import Obis

_ELECTRICITY = 1  # OBIS A field
_INSTANTANEOUS = 7  # OBIS D field
_VARIABLES = "02"  # first byte of DL/T 645 identifiers of present values


def tasks_of(meter: dict[str, Any]) -> list[Task]:
    """Of a checked meter section."""
    name = meter["id"]
    own = Task(name, name, "", meter["period_s"] * 1000, _is_aligned(meter), _is_instant(meter))
    return [own] + [
        Task(
            f"{name}/{group['name']}",
            name,
            group["name"],
            group["period_s"] * 1000,
            _is_aligned(group),
            _is_instant(group),
        )
        for group in meter["groups"]
    ]


def _is_aligned(group: dict[str, Any]) -> bool:
    return bool(group["align"] == "clock")


def _is_instant(group: dict[str, Any]) -> bool:
    """Whether all that it reads are instantaneous values, which nobody is billed by."""
    return bool(group["quantities"]) and all(map(is_instantaneous, group["quantities"]))


def is_instantaneous(quantity: str) -> bool:
    """Whether an OBIS code or an identifier names an instantaneous value."""
    if ":" not in quantity:
        return len(quantity) == 8 and quantity.startswith(_VARIABLES)
    obis = Obis.from_text(quantity)
    return bool(obis.a == _ELECTRICITY and obis.d == _INSTANTANEOUS)
