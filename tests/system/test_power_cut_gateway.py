"""The running gateway on a disk that loses power, fills up or fails.

Real processes, mosquitto with mTLS; only the gateway's state folder is on `hil.cut_disk`.
"""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.cut_disk import CutDisk
from hil.cut_disk_model import CUT_MODES
from hil.deployment import Deployment, Plan
from tests.system.conftest import assert_exactly_once, fast_plan
from tests.system.power_rig import require_cut_disk

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
SEED = 645
ROUNDS = 6
FAULTS = ("full", "read-only", "unwritable", "unsyncable", "dead")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    """Where the gateway will have its state; unmounted after the gateway has ended."""
    require_cut_disk()
    folder = tmp_path / "gateway"
    folder.mkdir()
    with CutDisk(folder) as one:
        yield one


@pytest.fixture
def deployment(disk: CutDisk, deploy: Callable[[Plan], Deployment]) -> Deployment:
    """Started, and past its first reading."""
    plan = fast_plan()
    one = deploy(plan._replace(journal={**plan.journal, "ballast_kb": 256}))
    one.start()
    one.await_true(lambda: journal(one).get("head", 0) > 0, "the first reading")
    return one


def journal(deployment: Deployment) -> dict[str, Any]:
    """What the gateway tells about its journal; empty while it does not answer."""
    return dict(deployment.status().get("journal", {}))


def log_lines(deployment: Deployment, event: str) -> int:
    """How often the gateway has logged it."""
    return deployment.gateway.log_path.read_text().count(f" {event} ")


def test_nothing_is_lost_or_doubled_by_power_cuts(deployment: Deployment, disk: CutDisk) -> None:
    """The gateway dies with its disk, again and again; every sequence that it ever told is stored
    once, with its content."""
    rng = random.Random(SEED)
    for number in range(ROUNDS):
        time.sleep(rng.uniform(0.05, 1.0))  # the moment of the cut, while processes run
        told = journal(deployment).get("head", 0)
        disk.cut(SEED + number, rng.choice(CUT_MODES))
        deployment.gateway.kill()
        disk.restore()
        deployment.start_gateway()
        assert journal(deployment)["head"] >= told, f"seed {SEED}, round {number}"
    assert assert_exactly_once(deployment) > ROUNDS
    assert log_lines(deployment, "journal_put_aside") == 0


def test_a_failing_disk_is_told_and_outlived(deployment: Deployment, disk: CutDisk) -> None:
    """Polling goes on, one log line and the status say it, nothing is lost, and the journal goes on
    when the disk does. One fault after the other."""
    for number, fault in enumerate(FAULTS, 1):
        disk.refuse(fault)
        deployment.await_true(lambda: bool(journal(deployment).get("trouble")), fault)
        held = journal(deployment)["held_sets"]
        deployment.await_true(
            lambda held=held: journal(deployment)["held_sets"] > held + 5, "more readings"
        )
        disk.refuse()
        deployment.await_true(lambda: journal(deployment)["trouble"] == "", "the recovery")
        assert log_lines(deployment, "journal_refused") == number
        assert log_lines(deployment, "journal_recovered") == number
    assert assert_exactly_once(deployment) > len(FAULTS)
    assert journal(deployment)["lost_sets"] == 0
    assert log_lines(deployment, "edge.journal turn_failed") == 0
