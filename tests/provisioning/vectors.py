"""The vectors of tests/vectors, and captures for what no public frame shows.

`python -m tests.provisioning.vectors` writes explained.txt anew: what `busbar-provision explain`
says of all of them. Read the difference before you commit it.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from protocols.dlt645.frame import Frame

_ROOT = Path(__file__).parents[2]
_PLACES = (_ROOT / "tests" / "vectors", _ROOT.parent / "shared" / "vectors")
EXPLAINED = Path(__file__).with_name("explained.txt")
METER = "123456789012"


def load_vectors(name: str) -> list[dict[str, Any]]:
    """All vectors of a file, numbers as exact decimals."""
    path = next(place / name for place in _PLACES if (place / name).exists())
    found: list[dict[str, Any]] = json.loads(path.read_text(), parse_float=Decimal)["vectors"]
    return found


VECTORS = load_vectors("dlt645.json")
CJT188_VECTORS = load_vectors("cjt188.json")
BY_ID = {vector["id"]: vector for vector in VECTORS}
# Where the password of a vector begins in its data: behind the level.
ACCEPTED_PASSWORDS = {
    **dict.fromkeys(("v064", "v066", "v072", "v073", "v074", "v096", "v145", "v146", "v147"), 1),
    "v085": 5, "v086": 5, "v141": 5, "v132": 3, "v150": 1,
}  # fmt: skip
_AUTHORITY = "02 563412 78563412"  # level, password 123456, operator 12345678
_CLASS_1 = "0123 4522 6721 341280 000000 FFFFFF 0150"
_CLASS_4 = "56341200 00000000 01000080 02000000"


def frame_of(vector_id: str) -> bytes:
    """The wire form of one vector."""
    return bytes.fromhex(BY_ID[vector_id]["hex"])


def load_record(body: str, *, checksum: int = 0) -> str:
    """A block of class 06 around `body` (time and classes), in hex; `checksum` is added to its."""
    plain = bytes.fromhex(body)
    head = b"\xa0\xa0" + bytes((len(plain),)) + plain
    return (head + bytes(((sum(head) + checksum) & 0xFF, 0xE5))).hex()


_RECORDS = "01000006" + (
    load_record(f"0010251220 {_CLASS_1} AA AA AA {_CLASS_4} AA AA AA")
    + load_record(f"1510251220 {_CLASS_1} AA AA AA AA AA AA", checksum=1)
    + load_record("3010251220 AA AA AA AA AA AA").replace("a0a0", "e0e0", 1)
)
# Name, then (control, data in wire order) of each frame. Built from the rules, not captured.
EXAMPLES: dict[str, list[tuple[int, str]]] = {
    "load records asked": [(0x11, "00000106 01")],
    "load records asked from a time": [(0x11, "01000006 03 0010251220")],
    "load records": [(0x91, _RECORDS)],
    "load records, class 1": [(0x91, "02000106" + load_record(f"0010251220 {_CLASS_1} AA"))],
    "load records in two parts": [(0xB1, _RECORDS[:80]), (0x92, "01000006" + _RECORDS[80:] + "01")],
    "load records, damaged inside": [(0x91, _RECORDS[:-2])],
    "hourly freeze": [(0x91, "01FF0405 0010251220 AA 56341200 AA 00000000 AA")],
    "status words": [(0x91, "FF050004 8CC0 1100 5000 0400 0000 0000 0002")],
    "a write in words": [(0x14, f"02060004 {_AUTHORITY} 05")],
    "a write of a time": [(0x14, f"02010004 {_AUTHORITY} 305921")],
    "a write of a wrong length": [(0x14, f"03010004 {_AUTHORITY} 1500")],
    "a write, encrypted": [(0x14, "03010004 98 000000 78563412 00112233445566778899")],
    "a write with a code": [(0x14, "08010004 99 000000 78563412 00112233 AABBCCDD")],
    "a write of a password": [(0x14, f"030C0004 {_AUTHORITY} 02 654321")],
    "a password read": [(0x11, "030C0004"), (0x91, "030C0004 02 654321")],
    "a new password": [(0x18, "030C0004 00 563412 02 654321"), (0x98, "02 654321")],
    "a relay control without expiry": [(0x1C, f"{_AUTHORITY} 1A 00 000000000000")],
    "a delayed connect": [(0x1C, f"{_AUTHORITY} 1D 05 595923311226")],
    "a relay action that nobody knows": [(0x1C, f"{_AUTHORITY} 77 05 595923311226")],
    "a relay control of a wrong length": [(0x1C, f"{_AUTHORITY} 1A 00")],
    "a relay control whose expiry is no time": [(0x1C, f"{_AUTHORITY} 1A 00 999999999999")],
    "a relay answer in bits": [(0x9C, "2400")],
    "a relay refusal in bits": [(0xDC, "2800")],
    "clear the meter": [(0x1A, _AUTHORITY), (0x9A, "")],
    "clear events": [(0x1B, f"{_AUTHORITY} FF003003"), (0x1B, f"{_AUTHORITY} FFFFFFFF")],
    "clear the demand, encrypted": [(0x19, "98 000000 78563412" + "5A" * 20)],
    "freezes": [(0x16, "99999999"), (0x16, "15999999"), (0x16, "15069999"), (0x16, "00000199")],
    "rates": [(0x17, "08"), (0x17, "0C"), (0x97, "0C")],
    "terminal": [(0x1D, "02"), (0x9D, "02")],
    "open account": [(0x03, "FF010107 78563412" + "11" * 22), (0x83, "FF010107")],
    "recharge, too short": [(0x03, "FF020107 78563412" + "11" * 20), (0xC3, "0200")],
    "all errors": [(0xD1, "FF"), (0xC3, "FF81"), (0xD4, "00")],
    "1997: status and clock": [(0x81, "20C0 05"), (0x81, "21C0 12"), (0x81, "11C0 305921")],
    "1997: block with separators": [(0x81, "1F90 39000000 AA 01000000 AA")],
    "1997: follow-up": [(0xA1, "1F90 39000000 010000"), (0x02, "1F90"), (0x82, "1F90 00 02000000")],
    "1997: read again": [(0x03, "1090"), (0x83, "1090 39000000"), (0xC3, "02")],
    "1997: value that is none": [(0x81, "1090 FFFFFFFF"), (0x81, "1090 0000000E")],
    "1997: write": [(0x04, "11C1 02 563412 15"), (0x84, ""), (0xC4, "04")],
    "1997: write of a password": [(0x04, "12C2 02 563412 02 654321")],
    "1997: others": [(0x0A, "129078563412"), (0x0C, "08"), (0x0F, "02 563412 02 654321"),
                     (0x8F, "02 654321"), (0x10, "02 563412"), (0x90, "")],
}  # fmt: skip


def capture_of(name: str) -> bytes:
    """The frames of one example, one behind the other."""
    frames = (Frame(METER, control, bytes.fromhex(data)) for control, data in EXAMPLES[name])
    return b"".join(frame.to_bytes() for frame in frames)


def captures() -> dict[str, bytes]:
    """Every vector that a decoder must take, and every example, by name."""
    found = {
        f"{one['id']} {one['meaning']}": bytes.fromhex(one["hex"])
        for one in VECTORS + CJT188_VECTORS
        if one["expect"] in ("accept", "accept-frame")
    }
    return found | {name: capture_of(name) for name in EXAMPLES}


def explained() -> str:
    """What explained.txt should hold."""
    from provisioning.explain import explain, text  # noqa: PLC0415 - vectors alone need no pymodbus

    blocks = [f"# {name}\n{text(explain(wire), len(wire))}\n" for name, wire in captures().items()]
    return "\n".join(blocks)


if __name__ == "__main__":
    EXPLAINED.write_text(explained())
