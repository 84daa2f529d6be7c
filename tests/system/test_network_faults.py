"""Whatever the network does between broker and clients, every reading arrives exactly once.

Only mosquitto lives in a network namespace; gateway and head end reach it over a link that loses
packets, swallows them without a word, or is slow. Meters are polled all the while. Times are real:
they are those of TCP and of MQTT's keepalive.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hil.deployment import Deployment
from hil.namespace import Namespace
from tests.hil.networks import hurtable_network
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KEEPALIVE_S = 5  # the least that either end's settings allow
FOUND_DEAD_S_MAX = 2 * KEEPALIVE_S + 5  # silence, a ping that nobody answers, and a slow machine
FAULT_S = 4
SETTLE_S = 0.3  # what was on its way lands
LOSS_PERCENT = 30
SLOW_KBIT = 32


@pytest.fixture
def network(require: Callable[..., None]) -> Iterator[Namespace]:
    """Where the broker lives."""
    with hurtable_network(require) as one:
        yield one


@pytest.fixture
def deployment(
    tmp_path: Path, require: Callable[..., None], network: Namespace
) -> Iterator[Deployment]:
    """Up, with the first reading acknowledged over the link."""
    require("mosquitto")
    plan = fast_plan()._replace(mqtt={"keepalive_s": KEEPALIVE_S})
    one = Deployment(tmp_path, plan, "mosquitto", network)
    try:
        one.start()
        one.await_true(lambda: _acknowledged(one) > 0, "the first acknowledgement")
        yield one
    finally:
        one.stop()


def _head(deployment: Deployment) -> int:
    return int(deployment.status()["journal"]["head"])


def _acknowledged(deployment: Deployment) -> int:
    return int(deployment.status()["uplink"]["acknowledged_sets"])


def _endure(deployment: Deployment, seconds: float) -> None:
    """Lets the fault stand. Time passes here because processes run in it; meters are read at the
    pace of at least one set a second, of the four that the plan has."""
    head = _head(deployment)
    time.sleep(seconds)
    deployment.check_alive()
    assert _head(deployment) >= head + seconds, "polling stopped"


def test_a_black_hole_is_found_by_keepalive(deployment: Deployment, network: Namespace) -> None:
    """Half-open TCP: nobody closes, nothing comes, nothing counts as delivered; both ends find it
    out by themselves, and connect again when the link is back."""
    network.black_hole(deployment.broker.port)
    time.sleep(SETTLE_S)
    acknowledged = _acknowledged(deployment)
    _endure(deployment, KEEPALIVE_S / 2)
    assert deployment.status()["connected"], "found before the keepalive: is it a black hole?"
    deployment.await_true(
        lambda: not deployment.status()["connected"], "the gateway's keepalive", FOUND_DEAD_S_MAX
    )
    deployment.await_true(
        lambda: "broker_lost" in deployment.head_end.log_path.read_text(),
        "the head end's keepalive",
        FOUND_DEAD_S_MAX,
    )
    _endure(deployment, 1)
    assert _acknowledged(deployment) == acknowledged
    assert network.dropped() > 0
    network.heal()
    assert assert_exactly_once(deployment) > acknowledged


@pytest.mark.parametrize("way", ["in", "out"])
def test_one_way_lost_is_both_ways_lost(
    deployment: Deployment, network: Namespace, way: str
) -> None:
    """Either the broker hears nobody or nobody hears the broker. What arrived unanswered is sent
    again and doubles nothing."""
    network.black_hole(deployment.broker.port, way)
    time.sleep(SETTLE_S)
    acknowledged = _acknowledged(deployment)
    _endure(deployment, FAULT_S)
    status = deployment.status()["uplink"]
    assert status["acknowledged_sets"] == acknowledged
    assert status["batches_resent"] > 0
    assert network.dropped() > 0
    network.heal()
    assert assert_exactly_once(deployment) > acknowledged


def test_a_lossy_link(deployment: Deployment, network: Namespace) -> None:
    """A third of all packets gone, each way: TCP stalls and recovers as it likes. A gateway that
    starts in it has its TLS handshake on that link, too."""
    network.lose(LOSS_PERCENT)
    _endure(deployment, FAULT_S / 2)
    deployment.gateway.kill()
    deployment.start_gateway()
    _endure(deployment, FAULT_S / 2)
    assert network.dropped() > 0
    network.heal()
    assert assert_exactly_once(deployment) > FAULT_S


def test_a_slow_link(deployment: Deployment, network: Namespace) -> None:
    """Slow is not broken: readings go on arriving, those of a gateway that connects anew as
    well."""
    network.slow(SLOW_KBIT)
    _endure(deployment, 1)
    deployment.gateway.kill()
    deployment.start_gateway()
    acknowledged = _acknowledged(deployment)
    _endure(deployment, 1)
    deployment.await_true(
        lambda: _acknowledged(deployment) > acknowledged + 5, "readings over a slow link"
    )
    network.heal()
    assert assert_exactly_once(deployment) > acknowledged


def test_the_broker_dies_unseen(deployment: Deployment, network: Namespace) -> None:
    """Killed and started again behind a black hole: no client hears of it, and each holds a
    connection to a broker that is no more."""
    network.black_hole(deployment.broker.port)
    time.sleep(SETTLE_S)
    acknowledged = _acknowledged(deployment)
    deployment.broker.kill()
    with ThreadPoolExecutor(max_workers=1) as starter:
        started = starter.submit(deployment.broker.start)  # waits until it is reached over the link
        _endure(deployment, FAULT_S / 2)
        assert deployment.status()["connected"], "the gateway heard that the broker died"
        assert _acknowledged(deployment) == acknowledged
        assert not started.done()
        network.heal()
        started.result()
    assert assert_exactly_once(deployment) > acknowledged
