"""The DL/T 645 vectors as the tests use them: exact decimals, bytes, and what must come out."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "vectors" / "dlt645.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"), parse_float=Decimal)
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
BY_ID = {vector["id"]: vector for vector in VECTORS}

CLEAN = [vector for vector in VECTORS if vector["status"] == "ok"]
REJECTED = [vector for vector in VECTORS if vector["expect"].startswith("reject:")]
STREAMS = [vector for vector in VECTORS if vector["expect"] == "stream"]


def wire(vector: dict[str, Any]) -> bytes:
    """The bytes on the line, preamble included."""
    return bytes.fromhex(vector["hex"])


def content(vector: dict[str, Any]) -> tuple[str, int, bytes]:
    """(address, control, data without the offset) that the vector states."""
    return (
        vector["address"],
        int(vector["control"], 16),
        bytes.fromhex(vector["data_plain"]),
    )


def names(vectors: list[dict[str, Any]]) -> list[str]:
    """Test ids: the vector's number, so that a failure names its line in the file."""
    return [vector["id"] for vector in vectors]


def decimals(vector: dict[str, Any]) -> int:
    """Decimal places of the vector's `format`, such as 2 of `[4.2u]`."""
    found = re.fullmatch(r"\[?\d+\.(\d)[us]\]?", vector["format"])
    assert found, vector["format"]
    return int(found[1])
