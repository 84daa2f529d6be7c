"""What Modbus meters refused to read, kept across restarts: the holes of their register maps.

* One JSON file in the state folder, replaced in one move and durable, written only when something
  changed.
* Kept by meter id and a digest of its model's registers: a changed model forgets.
* A convenience, never a condition: a file that is missing, damaged or of another version costs a
  few refusals, and one that cannot be written costs them at the next start.
* A hole is not for ever, since new firmware may fill it, or the refusal was a mood: it is due to be
  asked for again after AGAIN_MS_FIRST, then after twice the time, up to AGAIN_MS_MAX.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge.clock import Clock
from protocols.modbus.model import Model

FILE_NAME = "learned-holes.json"
VERSION = 1
FILE_SIZE_MAX = 4 * 1024 * 1024  # bytes; 1024 meters with all their holes need less
HOLES_MAX = 64  # of one meter that are kept; what is above is learned again after a restart
AGAIN_MS_FIRST = 3_600_000
AGAIN_MS_MAX = 7 * 86_400_000
_REFUSALS_MAX = 32  # counted no further: the time does not grow any more
_ADDRESS_MAX = 0xFFFF
_FUNCTIONS = (3, 4)

log = logging.getLogger("edge.meters")

Hole = tuple[int, int, int]  # function, first and last register
Rows = dict[Hole, tuple[int, int]]  # -> UTC ms when it was last refused, how often in a row


class MeterHoles:
    """The holes of one meter. Used by the thread of its line."""

    def __init__(self, rows: Rows, clock: Clock, save: Callable[[Rows], None]) -> None:
        self._rows = rows
        self._clock = clock
        self._save = save

    @property
    def holes(self) -> tuple[Hole, ...]:
        """All of them, in order."""
        return tuple(sorted(self._rows))

    def keep(self, holes: Iterable[Hole]) -> None:
        """These are the holes now; one that is new was refused just now."""
        fresh = (self._clock.utc_ms(), 1)
        rows = {hole: self._rows.get(hole, fresh) for hole in sorted(holes)[:HOLES_MAX]}
        if rows != self._rows:
            self._change(rows)

    def due(self) -> Hole | None:
        """The hole that waits longest to be asked for again, if its time has come."""
        now_ms = self._clock.utc_ms()
        due = [(at, hole) for hole, (at, times) in self._rows.items() if _is_due(now_ms, at, times)]
        return min(due)[1] if due else None

    def refused_again(self, hole: Hole) -> None:
        """It was asked for again in vain."""
        times = min(self._rows[hole][1] + 1, _REFUSALS_MAX)
        self._change(self._rows | {hole: (self._clock.utc_ms(), times)})

    def _change(self, rows: Rows) -> None:
        self._rows = rows
        self._save(rows)


def _is_due(now_ms: int, at: int, times: int) -> bool:
    wait_ms = min(AGAIN_MS_FIRST << (times - 1), AGAIN_MS_MAX)
    return not at <= now_ms < at + wait_ms  # before `at`: the clock was set back


class Learned:
    """The file. A meter that nobody asked for since the start is no longer in it after the next
    change."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / FILE_NAME
        self._clock = clock
        self._lock = threading.Lock()  # each line has its thread
        self._found = self._read()
        self._kept: dict[str, tuple[str, Rows]] = {}

    def of(self, meter_id: str, model: Model) -> MeterHoles:
        """The holes of a meter that is read by `model`."""
        digest = _digest(model)
        with self._lock:
            # What was learned since the start, when its line is built anew.
            known = self._kept.get(meter_id) or self._found.get(meter_id, ("", {}))
            before, rows = known
            rows = rows if before == digest else {}
            self._kept[meter_id] = (digest, rows)

        def save(changed: Rows) -> None:
            with self._lock:
                self._kept[meter_id] = (digest, changed)
                self._write()

        return MeterHoles(rows, self._clock, save)

    def _read(self) -> dict[str, tuple[str, Rows]]:
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_SIZE_MAX + 1)
            return _parse(content)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.warning("learned_holes_discarded path=%s reason=%r", self._path, str(error))
            return {}

    def _write(self) -> None:
        try:
            _replace(self._path, _format(self._kept))
        except OSError as error:
            log.warning("learned_holes_unwritten path=%s reason=%r", self._path, str(error))


def _digest(model: Model) -> str:
    rows = [(one.name, one.function, one.address, one.type) for one in model.registers]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]


def _format(kept: dict[str, tuple[str, Rows]]) -> bytes:
    meters = {
        name: {"model": digest, "holes": [[*hole, *row] for hole, row in sorted(rows.items())]}
        for name, (digest, rows) in sorted(kept.items())
        if rows
    }
    table = {"version": VERSION, "check": _check(meters), "meters": meters}
    return json.dumps(table).encode() + b"\n"


def _parse(content: bytes) -> dict[str, tuple[str, Rows]]:
    """ValueError when it is not what `_format` writes."""
    if len(content) > FILE_SIZE_MAX:
        raise ValueError(f"more than {FILE_SIZE_MAX} bytes")
    table = json.loads(content)
    if not isinstance(table, dict) or table.get("version") != VERSION:
        raise ValueError("another version")
    meters = table.get("meters")
    if not isinstance(meters, dict) or table.get("check") != _check(meters):
        raise ValueError("wrong checksum")
    return {name: _parse_meter(row) for name, row in meters.items()}


def _parse_meter(row: Any) -> tuple[str, Rows]:
    if not isinstance(row, dict) or not isinstance(row.get("model"), str):
        raise ValueError("a meter without its model")
    holes = row.get("holes")
    if not isinstance(holes, list) or len(holes) > HOLES_MAX:
        raise ValueError(f"holes are a list of up to {HOLES_MAX}")
    return row["model"], dict(map(_parse_hole, holes))


def _parse_hole(row: Any) -> tuple[Hole, tuple[int, int]]:
    if not isinstance(row, list) or len(row) != 5 or any(type(one) is not int for one in row):
        raise ValueError("a hole is five whole numbers")
    function, first, last, at, times = row
    if function not in _FUNCTIONS or not 0 <= first <= last <= _ADDRESS_MAX:
        raise ValueError("no range of registers")
    if not 1 <= times <= _REFUSALS_MAX:
        raise ValueError("no count of refusals")
    return (function, first, last), (at, times)


def _check(meters: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meters, sort_keys=True).encode())


def _replace(path: Path, content: bytes) -> None:
    """A power cut leaves the old file or the new one."""
    temporary = path.with_suffix(path.suffix + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # half a file would only fill the disk further
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
