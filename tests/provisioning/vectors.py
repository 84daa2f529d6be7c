"""The DL/T 645 vectors: data with provenance, see tests/vectors/README.md."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_PLACES = (_ROOT / "tests" / "vectors", _ROOT.parent / "shared" / "vectors")


def load_vectors() -> list[dict[str, Any]]:
    """All vectors, numbers as exact decimals."""
    path = next(place / "dlt645.json" for place in _PLACES if (place / "dlt645.json").exists())
    found: list[dict[str, Any]] = json.loads(path.read_text(), parse_float=Decimal)["vectors"]
    return found


VECTORS = load_vectors()
BY_ID = {vector["id"]: vector for vector in VECTORS}


def frame_of(vector_id: str) -> bytes:
    """The wire form of one vector."""
    return bytes.fromhex(BY_ID[vector_id]["hex"])
