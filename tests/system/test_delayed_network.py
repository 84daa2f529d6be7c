"""Messages that come late, in another order, or not at all for a while: every reading arrives
exactly once.

Gateway and head end each talk to mosquitto through a proxy of their own, which speaks TLS to it
with their certificates and lets QoS 1 messages overtake each other. Real processes, real times.
"""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hil.delay_proxy import DelayProxy, Delays
from hil.deployment import GATEWAY, Deployment
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

KEEPALIVE_S = 5
FOUND_DEAD_S_MAX = 2 * KEEPALIVE_S + 5
DELAYS = Delays(seed=20, delay_ms_max=150, held_percent=40, held_ms=1_200)
FAULT_S = 6
SETS_MIN = 12  # in that time: four meters, each read every second


class Delayed(NamedTuple):
    """A deployment, and what stands between its ends and the broker."""

    deployment: Deployment
    proxies: tuple[DelayProxy, DelayProxy]  # the gateway's, the head end's

    def count(self, what: str) -> int:
        return sum(one.counts[what] for one in self.proxies)


def _proxy(deployment: Deployment, config: Path, identity: Path, seed: int) -> DelayProxy:
    """In front of the broker for one client, whose settings it changes."""
    context = ssl.create_default_context(cafile=str(identity / "ca.pem"))
    context.load_cert_chain(identity / "tls.pem", identity / "tls.key")
    broker = deployment.broker
    delays = DELAYS._replace(seed=seed)
    proxy = DelayProxy(broker.host, broker.port, delays, context)
    text, count = re.subn(
        rf"(?m)^port = {broker.port}$", f"port = {proxy.start()}", config.read_text()
    )
    assert count == 1
    config.write_text(text)
    return proxy


@pytest.fixture
def delayed(tmp_path: Path, require: Callable[..., None]) -> Iterator[Delayed]:
    """Up, with the first reading acknowledged."""
    require("mosquitto")
    plan = fast_plan()._replace(mqtt={"tls": False, "keepalive_s": KEEPALIVE_S})
    deployment = Deployment(tmp_path, plan, "mosquitto")
    proxies = (
        _proxy(deployment, deployment.edge_config, tmp_path / "id" / "gateways" / GATEWAY, 20),
        _proxy(deployment, deployment.cloud_config, tmp_path / "id" / "cloud", 21),
    )
    try:
        deployment.start()
        deployment.await_true(
            lambda: _uplink(deployment)["acknowledged_sets"] > 0, "the first acknowledgement"
        )
        yield Delayed(deployment, proxies)
    finally:
        deployment.stop()
        for one in proxies:
            one.stop()


def _uplink(deployment: Deployment) -> dict[str, int]:
    uplink: dict[str, int] = deployment.status()["uplink"]
    return uplink


def test_late_and_out_of_order(delayed: Delayed) -> None:
    """Batches, hellos and acknowledgements overtake each other; a gateway that is killed meanwhile
    comes back into the same."""
    deployment = delayed.deployment
    time.sleep(FAULT_S / 2)
    deployment.gateway.kill()
    deployment.start_gateway()
    time.sleep(FAULT_S / 2)
    assert assert_exactly_once(deployment) >= SETS_MIN
    assert all(one.counts["overtaken"] > 0 for one in delayed.proxies)


def test_a_stalled_head_end(delayed: Delayed) -> None:
    """Its link is open, and nothing passes: both sides of it find out by the keepalive; what waited
    in the stall comes late or again, and counts once."""
    deployment = delayed.deployment
    mine, theirs = delayed.proxies
    connections = theirs.counts["connections"]
    theirs.stall()
    deployment.await_true(
        lambda: "broker_lost" in deployment.head_end.log_path.read_text(),
        "the head end's keepalive",
        FOUND_DEAD_S_MAX,
    )
    assert _uplink(deployment)["batches_resent"] > 0
    theirs.resume()
    deployment.await_true(
        lambda: theirs.counts["connections"] > connections, "the head end's new connection"
    )
    assert assert_exactly_once(deployment) >= SETS_MIN
    assert mine.counts["connections"] == 1


def test_links_cut_again_and_again(delayed: Delayed) -> None:
    """With messages on their way each time, in both directions."""
    deployment = delayed.deployment
    for _ in range(3):
        for one in delayed.proxies:
            one.cut()
        time.sleep(FAULT_S / 3)
    assert assert_exactly_once(deployment) >= SETS_MIN
    assert delayed.count("connections") > 4
