"""The CJ/T 188 vectors as the tests use them: bytes, content, and the dialect of their meter."""

import json
from pathlib import Path
from typing import Any

from protocols.cjt188.dialect import AFTER, HEAT, METER_TYPES, SETTLEMENT, Dialect

FILE = Path(__file__).parents[2] / "vectors" / "cjt188.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
BY_ID = {vector["id"]: vector for vector in VECTORS}

CLEAN = [vector for vector in VECTORS if vector["expect"] == "accept"]
REJECTED = [vector for vector in VECTORS if vector["expect"].startswith("reject:")]
ANSWERS = [vector for vector in CLEAN if vector["expected"]]
HEAT_ANSWERS = [vector for vector in ANSWERS if "energy" in vector["expected"]]
WATER_ANSWERS = [vector for vector in ANSWERS if "energy" not in vector["expected"]]

COLD_WATER = METER_TYPES["cold-water"]


def wire(name: str) -> bytes:
    """The bytes on the line."""
    return bytes.fromhex(BY_ID[name]["hex"])


def content(vector: dict[str, Any]) -> tuple[int, str, int, bytes]:
    """(T, address, control, data) that the vector states."""
    return (
        int(vector["meter_type"], 16),
        vector["address"],
        int(vector["control"], 16),
        bytes.fromhex(vector["data"]),
    )


def dialect_of(vector: dict[str, Any]) -> Dialect:
    """How its meter is set up; a meter that answers with T = 25 is asked as 20."""
    asked = HEAT if vector["meter_type"] == "25" else int(vector["meter_type"], 16)
    return Dialect(
        asked,
        vector["di_order"],
        vector.get("unit_position", AFTER),
        vector.get("first_energy", SETTLEMENT),
    )


def payload(vector: dict[str, Any]) -> bytes:
    """What stands behind identifier and SER."""
    return bytes.fromhex(vector["data"])[3:]


def names(vectors: list[dict[str, Any]]) -> list[str]:
    """Test ids."""
    return [vector["id"] for vector in vectors]
