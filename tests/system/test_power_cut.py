"""What was promised is there after the power went, at hundreds of seeded moments.

The disk is `hil.cut_disk`: what was not synced is gone, or torn, or there in any order. Each part
of the product tells what it holds for done; the next life finds it. The same test finds what is
missing once SQLite or Python syncs less: a bench that can not fail proves nothing.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.power_rig import Outcome, Rig, make_rig, require_cut_disk

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
CUTS = 8  # in a row, on one disk
SERIES = {"gateway": range(12), "head-end": range(10), "provisioning": range(5)}
WEAK_SERIES = range(6)
NORMAL, OFF, NO_FSYNC = {"synchronous": "NORMAL"}, {"synchronous": "OFF"}, {"fsync": False}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A disk, and a process that can be each part."""
    require_cut_disk()
    with make_rig(tmp_path_factory.mktemp("power")) as one:
        yield one


def run(rig: Rig, act: str, seeds: range, **options: Any) -> Outcome:
    """All these series as one outcome."""
    all_of = [rig.series(act, seed, CUTS, **options) for seed in seeds]
    return Outcome(
        sum(one.cuts for one in all_of),
        sum(one.in_midst for one in all_of),
        [words for one in all_of for words in one.broken],
        sum(one.lost_rows for one in all_of),
    )


@pytest.mark.parametrize("act", SERIES)
def test_no_promise_is_broken(rig: Rig, act: str) -> None:
    """Rows, sequences, counters, orders, marks, ledgers and key files are as they were told."""
    outcome = run(rig, act, SERIES[act])
    assert outcome.broken == []
    assert outcome.lost_rows == 0
    assert outcome.cuts == len(SERIES[act]) * CUTS
    assert outcome.in_midst > outcome.cuts / 2, "most cuts must come in the midst of the work"


@pytest.mark.parametrize("weakness", [NORMAL, OFF], ids=["normal", "off"])
@pytest.mark.parametrize("act", ["gateway", "head-end"])
def test_less_than_full_loses_acknowledged_rows(
    rig: Rig, act: str, weakness: dict[str, Any]
) -> None:
    """The bench sees it: rows are gone, and their sequences come again."""
    outcome = run(rig, act, WEAK_SERIES, **weakness)
    assert outcome.lost_rows > 0
    again = "were given twice" if act == "gateway" else "are gone"
    assert any(again in words for words in outcome.broken), outcome.broken


@pytest.mark.parametrize(
    ("act", "found"),
    [
        ("gateway", "the mark fell from"),
        ("gateway", "the learned holes say"),
        ("provisioning", "is gone or changed"),
    ],
)
def test_files_that_are_not_synced_are_missed(rig: Rig, act: str, found: str) -> None:
    """The bench sees what Python did not sync, whatever SQLite does."""
    outcome = run(rig, act, WEAK_SERIES, **NO_FSYNC)
    assert any(found in words for words in outcome.broken), outcome.broken
