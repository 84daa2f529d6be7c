"""The power of a whole machine: kernel, file system, page cache and the product on them die at a
seeded moment, and the next machine starts from the disk.

Skipped where nobody asks for a guest; see docs/bench.md for how to ask, and what one needs.
"""

from collections.abc import Callable

import pytest

from tests.bench_kit.guest import require_guest
from tests.bench_kit.guest_rig import MachineRig, asked_cuts

CUTS = asked_cuts()
SEED = 645
WEAK_SEEDS = range(4)  # the first at which the weakness shows is enough
LIFE_S = 300  # of a machine on a busy host, at the most

pytestmark = [pytest.mark.system, pytest.mark.timeout(LIFE_S * (CUTS + 1))]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> MachineRig:
    """Machines, each with the disk that the one before it left."""
    require_guest(request.config, "mkfs.ext4")
    return MachineRig(tmp_path_factory.mktemp("machine"))


def test_no_promise_is_broken(
    rig: MachineRig, record_property: Callable[[str, object], None]
) -> None:
    """The file recovers; rows, sequences, message counters, orders, marks and key files are as they
    were told."""
    outcome = rig.series(SEED, CUTS)
    record_property("writes in the disk's cache", rig.writes_at_stake)
    assert outcome.broken == []
    assert outcome.lost_rows == 0
    assert outcome.cuts == CUTS
    assert outcome.in_midst > CUTS / 2, "most cuts must come in the midst of the work"


@pytest.mark.parametrize(
    "weakness",
    [{"synchronous": "OFF"}, {"synchronous": "NORMAL"}, {"mount": "nobarrier"}],
    ids=["off", "normal", "nobarrier"],
)
def test_a_weaker_machine_loses_acknowledged_rows(
    rig: MachineRig, weakness: dict[str, str]
) -> None:
    """It can fail: SQLite that syncs less loses what was in the page cache, and a file system that
    never flushes its disk what was in the disk's."""
    for seed in WEAK_SEEDS:
        if rig.series(seed, CUTS, **weakness).lost_rows:
            return
    pytest.fail(f"no row was lost in {len(WEAK_SEEDS)} times {CUTS} cuts")
