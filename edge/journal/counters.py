"""The highest counter of each (originator, meter, family) of orders, in a file of its own (I13).

Like the order counter's mark it outlives the journal: a new epoch must not open the window for an
order that was carried out before. Two copies, each replaced whole and synced, each with a checksum.
"""

import contextlib
import json
import logging
import zlib
from pathlib import Path

from edge.journal.highwater import replace_durably

NAME = "meter-counters"
_COPIES = (".a", ".b")
_Marks = dict[str, int]

log = logging.getLogger("edge.journal")


class MeterCounters:
    """Numbers that only grow. Any thread may ask, one raises."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / (NAME + copy) for copy in _COPIES]
        self._marks: _Marks = {}
        for path in self._paths:
            for key, value in _read(path).items():
                self._marks[key] = max(value, self._marks.get(key, 0))

    def value(self, originator: str, meter_id: str, family: str) -> int:
        """The highest one taken up; 0 for none."""
        return self._marks.get(_key(originator, meter_id, family), 0)

    def raise_to(self, originator: str, meter_id: str, family: str, value: int) -> None:
        """Durable when it returns; OSError when the disk refuses. A smaller one changes nothing."""
        key = _key(originator, meter_id, family)
        if value <= self._marks.get(key, 0):
            return
        marks = {**self._marks, key: value}
        text = json.dumps(marks, separators=(",", ":"), sort_keys=True)
        for path in self._paths:
            replace_durably(path, f"{text}\n{zlib.crc32(text.encode())}\n")
        self._marks = marks


def _key(originator: str, meter_id: str, family: str) -> str:
    return f"{originator} {meter_id} {family}"  # none of them has a space


def _read(path: Path) -> _Marks:
    if not path.exists():
        return {}
    with contextlib.suppress(OSError, ValueError):
        text, check = path.read_text().split("\n")[:2]
        marks = json.loads(text)
        if int(check) == zlib.crc32(text.encode()) and isinstance(marks, dict):
            return {str(key): int(value) for key, value in marks.items()}
    log.error("counters_spoiled file=%s", path.name)
    return {}
