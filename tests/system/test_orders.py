"""The way down through a real broker: an order that is carried out, and the same bytes misused."""

import queue
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hil.deployment import GATEWAY, TENANT, Deployment, Plan
from protocols.messages import ACK, ORDER
from protocols.topics import Topic
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ORDERS = Topic(TENANT, GATEWAY, ORDER.suffix).text()
ACKS = Topic(TENANT, GATEWAY, ACK.suffix).text()
QUANTITY = "1-0:32.7.0"


@contextmanager
def client(deployment: Deployment, party: Path, name: str) -> Iterator[mqtt.Client]:
    """An MQTT client with the certificate of `party`, connected."""
    peer = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
    peer.tls_set(str(party / "ca.pem"), str(party / "tls.pem"), str(party / "tls.key"))
    peer.connect(deployment.broker.host, deployment.broker.port)
    peer.loop_start()
    try:
        yield peer
    finally:
        peer.disconnect()
        peer.loop_stop()
        peer._reset_sockets()


def read(deployment: Deployment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`busbar-cloud order read`, to its end."""
    command = deployment.head_end_command("order", "read", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def refusals(deployment: Deployment, reason: str) -> int:
    """How often the gateway refused a message for `reason`."""
    count: int = deployment.status()["uplink"]["refusals"].get(reason, 0)
    return count


@pytest.fixture
def running(deploy: Callable[[Plan], Deployment]) -> Deployment:
    """A deployment whose gateway has said hello and read its meters."""
    deployment = deploy(fast_plan())
    deployment.start()
    deployment.await_true(
        lambda: deployment.status()["uplink"]["acknowledged_sets"] > 4, "the first acknowledgement"
    )
    return deployment


def test_an_order_is_carried_out_and_answered_with_frames(running: Deployment) -> None:
    """The states appear in order, then the reading, then the frames; exit code 0."""
    result = read(running, "house-1", QUANTITY)
    assert result.returncode == 0, result.stdout + result.stderr
    words = [line.split()[-1] for line in result.stdout.splitlines() if "Z  " in line]
    assert words == ["draft", "signed", "queued", "published", "verified", "sent", "done"]
    assert "voltage L1" in result.stdout
    assert "68 01 00 00 00 00 00 68 91" in result.stdout
    modbus = read(running, "shop", "1-0:14.7.0")
    assert modbus.returncode == 0, modbus.stdout + modbus.stderr
    assert "frequency" in modbus.stdout


def test_what_the_meter_does_not_have_is_refused(running: Deployment) -> None:
    """The gateway says no with a reason, and the exit code is 1; a meter nobody has is wrong
    use."""
    result = read(running, "shop", "1-0:2.6.0")
    assert result.returncode == 1
    assert "refused" in result.stdout
    assert "does not have" in result.stdout + result.stderr or "has no" in result.stdout
    assert read(running, "no-such-meter", QUANTITY).returncode == 2


def test_an_order_that_waited_too_long_is_never_carried_out(running: Deployment) -> None:
    """The gateway is away; the order's time passes; when it returns, nothing goes on the line."""
    running.gateway.stop()
    result = read(running, "house-1", QUANTITY, "--valid-s", "5")
    assert result.returncode == 1
    assert result.stdout.rstrip().splitlines()[-1].split()[1] in ("expired", "unknown")
    running.start_gateway()
    running.await_true(lambda: running.status()["connected"], "the gateway's connection")
    later = read(running, "house-2", QUANTITY)
    assert later.returncode == 0, later.stdout
    log = running.gateway.log_path.read_text()
    assert "counter=2 state=done" in log
    assert "counter=1 state=sent" not in log


def test_the_same_bytes_again_are_refused_everywhere(running: Deployment) -> None:
    """Replayed, retained, moved to another topic, altered: refused, counted, and never executed."""
    captured: queue.Queue[bytes] = queue.Queue()
    gateway_identity = running.folder / "id" / "gateways" / GATEWAY
    with client(running, gateway_identity, "tap") as tap:
        tap.on_message = lambda _, __, message: captured.put(message.payload)
        subscribed: queue.Queue[int] = queue.Queue()
        tap.on_subscribe = lambda *_: subscribed.put(1)
        tap.subscribe(ORDERS, 1)
        subscribed.get(timeout=10)
        assert read(running, "house-1", QUANTITY).returncode == 0
        order = captured.get(timeout=10)
    flipped = order[:-1] + bytes((order[-1] ^ 1,))
    attacks = (
        (ORDERS, order, False, "replayed"),
        (ORDERS, order, True, "retained"),
        (ACKS, order, False, "unopenable"),
        (ORDERS, flipped, False, "unopenable"),
        (ORDERS, b"not a message", False, "malformed"),
    )
    with client(running, running.folder / "id" / "cloud", "attacker") as attacker:
        for topic, payload, retain, reason in attacks:
            before = refusals(running, reason)
            attacker.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)
            running.await_true(lambda: refusals(running, reason) > before, reason)  # noqa: B023
        attacker.publish(ORDERS, b"", qos=1, retain=True).wait_for_publish(10)
    log = running.gateway.log_path.read_text()
    assert log.count("state=sent") == 1
    assert_exactly_once(running)
