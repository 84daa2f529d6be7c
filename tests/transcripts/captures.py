"""Transcripts of the captures in tests/vectors: one a group of frames that belong to one exchange.

`python -m tests.transcripts.captures` writes them. What is not of the capture, and so says each
file's head: the four FE in front of a request, with which our gateway wakes a meter, and all times.
"""

import json
import sys
from pathlib import Path
from typing import Any

from hil.transcript import TO_MASTER, TO_METER, Event, Transcript, transcript_text

FOLDER = Path(__file__).parent
VECTORS = FOLDER.parent / "vectors"
SETS = ("dlt645", "cjt188")
BAUD = 2400
CHARACTER_MS = 11_000 / BAUD
RESPONSE_MS = 50
PAUSE_MS = 500  # between exchanges
WAKE = b"\xfe" * 4
REQUEST = "m2s"

Vector = dict[str, Any]


def groups() -> dict[str, list[Vector]]:
    """Name -> the frames of one exchange, the request first. Two answers to one request are two
    exchanges: the second has the name with "-b"."""
    found: dict[str, list[Vector]] = {}
    for name in SETS:
        rows = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["vectors"]
        for row in rows:
            if "pair" in row:
                found.setdefault(f"{name}-{row['pair']}", []).append(row)
    return {key: rows for name, some in found.items() for key, rows in _split(name, some)}


def _split(name: str, rows: list[Vector]) -> list[tuple[str, list[Vector]]]:
    is_backwards = rows[0]["direction"] != REQUEST  # the vectors list the answer first
    main: list[Vector] = []
    for row in reversed(rows) if is_backwards else rows:
        if row["direction"] != REQUEST and main[-1]["direction"] != REQUEST:
            return [(name, main), (f"{name}-b", [*main[:-1], row])]
        main.append(row)
    return [(name, main)]


def capture_text(name: str, rows: list[Vector]) -> str:
    """The file of one group."""
    comments = [f"{name}: from tests/vectors, {sources(rows)}."]
    comments += [f"{row['id']} ({row['kind']}): {row['meaning']}" for row in rows]
    comments.append(f"Not of the capture: four FE before a request, the times, {BAUD} bit/s.")
    events = []
    ms = 0
    for row in rows:
        data = bytes.fromhex(row["hex"])
        if row["direction"] == REQUEST:
            data = data if data.startswith(WAKE) else WAKE + data
            events.append(Event(ms, TO_METER, data))
            ms += round(len(data) * CHARACTER_MS) + RESPONSE_MS
        else:
            events.append(Event(ms, TO_MASTER, data))
            ms += round(len(data) * CHARACTER_MS) + PAUSE_MS
    return transcript_text(Transcript({"baud": str(BAUD), "parity": "E"}, tuple(events)), comments)


def sources(rows: list[Vector]) -> str:
    """Where the frames were seen, each place once."""
    return "; ".join(dict.fromkeys(row["source"].rstrip(".") for row in rows))


def files() -> dict[Path, str]:
    """Every file and its text."""
    return {FOLDER / f"{name}.txt": capture_text(name, rows) for name, rows in groups().items()}


def main() -> int:
    """Writes them all."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(files())} transcripts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
