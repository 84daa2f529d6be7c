"""Pulled plugs: how many cuts a second the bench makes, and what they cost.

The gateway's journal and the head end's store at work on `hil.cut_disk`, with SQLite's three
settings of `synchronous`: what of the acknowledged rows was gone after a cut. FULL is what both
use; the other two show that the bench finds a loss. Nothing is yielded where no disk can be cut.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hil.cut_disk import missing
from tests.system.power_rig import Rig, make_rig

SERIES = 15
CUTS = 8  # in a row; a series ends early once a promise is broken
MODES = ("FULL", "NORMAL", "OFF")


def measure() -> Iterator[tuple[str, float, str]]:
    """Cuts per second with FULL, and lost rows per hundred cuts with each setting."""
    if reason := missing():
        sys.stderr.write(f"no power was cut here: {reason}\n")
        return
    with tempfile.TemporaryDirectory() as folder, make_rig(Path(folder)) as rig:
        for mode in MODES:
            started = time.perf_counter()
            cuts, lost = _cut(rig, mode)
            if mode == "FULL":
                yield "power_cuts_per_second", cuts / (time.perf_counter() - started), "1/s"
            yield f"power_cut_rows_lost_{mode.lower()}", 100 * lost / cuts, "rows/100 cuts"


def _cut(rig: Rig, mode: str) -> tuple[int, int]:
    cuts = lost = 0
    for act in ("gateway", "head-end"):
        for seed in range(SERIES):
            outcome = rig.series(act, seed, CUTS, synchronous=mode)
            cuts += outcome.cuts
            lost += outcome.lost_rows
    return cuts, lost
