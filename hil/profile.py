"""Real interval data replayed: kWh per interval of a CSV file, as the use behind a virtual meter.

* The file's header is `interval_start_local,kwh`; its rows are in order, their starts are on a grid
  of 15, 30 or 60 min (the shortest distance of two rows), and no energy is negative.
* Within an interval the power is constant. An interval that the file lacks has no use: a gap stays
  a gap. The file is taken in whole days, from the first day's midnight to the last day's end, and
  starts again after its end.
* Its local time is the meter's. Reactive power is not in such files: a power factor of 0.95 is
  assumed.
"""

import csv
import math
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hil.course import SLOT_MS, SLOTS_A_DAY
from hil.load import Flow
from protocols.errors import SettingError

HEADER = ["interval_start_local", "kwh"]
ROWS_MAX = 500_000  # 14 years of quarter hours
SCALES = (0.7, 1.3)  # of a meter whose scale comes from its seed
POWER_FACTOR = 0.95
_TANGENT = math.tan(math.acos(POWER_FACTOR))
_SLOT = timedelta(milliseconds=SLOT_MS)
_INTERVALS = (_SLOT, 2 * _SLOT, 4 * _SLOT)
_WEEK = 7


class Profile(NamedTuple):
    """Mean power in W of each slot of 15 min, for `days` whole days."""

    powers_w: tuple[float, ...]

    @property
    def days(self) -> int:
        """Whole days until it repeats."""
        return len(self.powers_w) // SLOTS_A_DAY


def read_profile(path: Path) -> Profile:
    """The interval data in a file; SettingError with one sentence when it is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = _rows(csv.reader(file), path)
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingError(f"{path}: is not CSV: {error}") from None
    starts = [start for start, _ in rows]
    steps = [after - before for before, after in pairwise(starts)]
    interval = min(steps, default=timedelta(0))
    if interval not in _INTERVALS:
        raise SettingError(f"{path}: its intervals are {interval}; they must be 15, 30 or 60 min")
    midnight = starts[0].replace(hour=0, minute=0, second=0, microsecond=0)
    width = interval // _SLOT
    powers = [0.0] * (((starts[-1] - midnight).days + 1) * SLOTS_A_DAY)
    for start, kwh in rows:
        if (start - midnight) % interval:
            raise SettingError(f"{path}: {start} is not on the grid of its intervals of {interval}")
        at = (start - midnight) // _SLOT
        powers[at : at + width] = [kwh * 1000 / (interval / timedelta(hours=1))] * width
    return Profile(tuple(powers))


def _rows(lines: Iterable[list[str]], path: Path) -> list[tuple[datetime, float]]:
    rows: list[tuple[datetime, float]] = []
    for number, line in enumerate(lines, 1):
        if number == 1:
            if line != HEADER:
                raise SettingError(f"{path}: line 1 must be {','.join(HEADER)}")
            continue
        try:
            start, kwh = _row(line)
        except ValueError:
            raise SettingError(
                f"{path}: line {number}: {','.join(line)!r} is not a local time and its kWh"
            ) from None
        if rows and start <= rows[-1][0]:
            raise SettingError(f"{path}: line {number}: {line[0]} is not after the row before it")
        if len(rows) == ROWS_MAX:
            raise SettingError(f"{path}: has more than {ROWS_MAX} rows")
        rows.append((start, kwh))
    return rows


def _row(line: list[str]) -> tuple[datetime, float]:
    """ValueError for anything but a local time and an energy of 0 or more."""
    start_text, kwh_text = line
    start, kwh = datetime.fromisoformat(start_text), float(kwh_text)
    if start.tzinfo is not None or not math.isfinite(kwh) or kwh < 0:
        raise ValueError
    return start, kwh


class ProfileUse:
    """The use of one meter: the profile from day `shift_days` on, times `scale`; what is None
    comes from the seed: a shift of whole weeks, and a scale within SCALES. A meter of several
    phases shares it among them."""

    def __init__(
        self,
        profile: Profile,
        seed: int,
        phases: int = 1,
        *,
        shift_days: int | None = None,
        scale: float | None = None,
        utc_offset_ms: int = 0,
    ) -> None:
        rng = random.Random(seed)
        week = rng.randrange(max(1, profile.days // _WEEK))
        seeded_scale = rng.uniform(*SCALES)
        parts = [rng.uniform(0.5, 1) for _ in range(phases)]
        self.phases = phases
        self.shift_days = week * _WEEK if shift_days is None else shift_days
        self.scale = seeded_scale if scale is None else scale
        self._powers_w = profile.powers_w
        self._shares = [self.scale * part / sum(parts) for part in parts]
        self._shift = self.shift_days * SLOTS_A_DAY + utc_offset_ms // SLOT_MS

    def flows(self, slot: int) -> tuple[Flow, ...]:
        """The flow of each phase during a slot."""
        power_w = self._powers_w[(slot + self._shift) % len(self._powers_w)]
        return tuple([(power_w * part, power_w * part * _TANGENT) for part in self._shares])
