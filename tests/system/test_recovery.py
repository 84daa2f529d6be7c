"""Whatever dies, every journaled reading is in the head end's store exactly once.

Real processes, mosquitto with mTLS, seeded moments. The journal's file and the head end's answers
are compared reading by reading.
"""

import random
import time
from collections.abc import Callable

import pytest

from hil.deployment import Deployment, Plan
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
ROUNDS = 8
Deploy = Callable[[Plan], Deployment]


def _wait(deployment: Deployment, chance: random.Random) -> None:
    """A seeded while: the moment of the next fault. Time passes here because processes run in
    it."""
    time.sleep(chance.uniform(0.05, 1.3))


def _stored_after(
    deploy: Deploy, seed: int, fault: Callable[[Deployment, random.Random], None]
) -> int:
    """How many reading sets are journaled and stored, each exactly once, after all the faults."""
    chance = random.Random(seed)
    deployment = deploy(fast_plan())
    deployment.start()
    deployment.await_true(
        lambda: deployment.status().get("journal", {}).get("head", 0) > 0, "the first reading"
    )
    for _ in range(ROUNDS):
        _wait(deployment, chance)
        fault(deployment, chance)
    _wait(deployment, chance)
    return assert_exactly_once(deployment)


def _kill_gateway(deployment: Deployment, chance: random.Random) -> None:
    deployment.gateway.kill()
    deployment.start_gateway()


def _kill_head_end(deployment: Deployment, chance: random.Random) -> None:
    deployment.head_end.kill()
    time.sleep(chance.uniform(0, 0.5))
    deployment.head_end.start()


def _kill_broker(deployment: Deployment, chance: random.Random) -> None:
    deployment.broker.kill()
    time.sleep(chance.uniform(0, 0.5))
    deployment.broker.start()


def _restart_broker(deployment: Deployment, chance: random.Random) -> None:
    deployment.broker.restart()


def _cut_network(deployment: Deployment, chance: random.Random) -> None:
    """The broker neither answers nor closes: what a dead mobile link looks like from both ends."""
    deployment.broker.freeze()
    time.sleep(chance.uniform(0.2, 1.5))
    deployment.broker.thaw()


FAULTS = (_kill_gateway, _kill_head_end, _kill_broker, _restart_broker, _cut_network)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_nothing_is_lost_or_doubled(deploy: Deploy, fault: Callable[..., None]) -> None:
    """One kind of fault, again and again, at seeded moments."""
    assert _stored_after(deploy, 645, fault) > ROUNDS


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_or_doubled_when_all_faults_mix(deploy: Deploy, seed: int) -> None:
    """Any part may die at any moment, several in a row."""

    def any_fault(deployment: Deployment, chance: random.Random) -> None:
        chance.choice(FAULTS)(deployment, chance)

    assert _stored_after(deploy, seed, any_fault) > ROUNDS
