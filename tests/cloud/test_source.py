"""The MQTT side against a real broker, and the whole service as its own process."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.ingest.acks import Outbound
from cloud.ingest.mailbox import (
    Connected,
    Disconnected,
    Event,
    Mailbox,
    Message,
    Published,
    Starved,
)
from cloud.ingest.source import SUBSCRIBED, MqttSource
from protocols.messages import OrderState
from tests.cloud.test_orders import FRAMES, READING
from tests.cloud.world import Gateway, World

WAIT_MS = 10_000
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.system


def free_port() -> int:
    """Below the ephemeral ports: a client that retries a dead port there may meet itself."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("127.0.0.1", port))
            return port


class Mosquitto:
    """A broker without TLS on a port of its own; it may be stopped and started."""

    def __init__(self, base: Path) -> None:
        self.port = free_port()
        self.config = base / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true"]
        lines += ["persistence true", f"persistence_location {base}/"]
        if os.geteuid() == 0:
            lines.insert(0, "user root")
        self.config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        self.process = subprocess.Popen(
            ["mosquitto", "-c", str(self.config)],
            env={**os.environ, "PATH": path},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                with pytest.raises(subprocess.TimeoutExpired):
                    self.process.wait(0.02)
            else:
                return
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


class Field:
    """A gateway's own connection to the broker."""

    def __init__(self, port: int, gateway: Gateway) -> None:
        self.gateway = gateway
        self.got: list[Outbound] = []
        self.on_order: Callable[[Outbound], None] = lambda _: None
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(10)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self.gateway.topic("dn/#"), 1)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        taken = Outbound(message.topic, bytes(message.payload), 0)
        with self._arrived:
            self.got.append(taken)
            self._arrived.notify_all()
        if message.topic.endswith("dn/c"):
            self.on_order(taken)

    def publish(self, message: tuple[str, bytes]) -> None:
        self.client.publish(*message, qos=1).wait_for_publish(10)

    def take(self, suffix: str) -> Outbound:
        """The first message of a topic that has come or comes."""

        def found() -> list[Outbound]:
            return [one for one in self.got if one.topic.endswith(suffix)]

        with self._arrived:
            assert self._arrived.wait_for(found, 10)
            one = found()[0]
            self.got.remove(one)
        return one

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path, require: Callable[..., None]) -> Iterator[Mosquitto]:
    require("mosquitto")
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


def wait_for(mailbox: Mailbox, kind: type[Event]) -> Any:  # type: ignore[valid-type]
    """The next event of a kind."""
    while (event := mailbox.take(WAIT_MS)) is not None:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("version", [5, 3])
def test_what_is_not_acknowledged_comes_again(
    version: int, world: World, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both protocol versions: a broker that is absent at first, one that goes, one that returns."""
    monkeypatch.setattr("cloud.ingest.source.RETRY_S_MAX", 1)
    world.write_config(broker.port, version)
    mailbox = Mailbox(50)
    source = MqttSource(world.settings(), None, mailbox, random.Random(5))
    message = Outbound(world.gateway.topic("dn/a"), b"x", 60)
    assert not source.publish(message)
    source.start()
    assert mailbox.take(50) is None  # it keeps trying
    broker.start()
    wait_for(mailbox, Connected)
    field = Field(broker.port, world.gateway)
    topic = world.gateway.topic("up/d")
    for text in (b"1", b"2"):
        field.publish((topic, text))
    first, second = wait_for(mailbox, Message), wait_for(mailbox, Message)
    assert (first.topic, first.payload, second.payload) == (topic, b"1", b"2")
    first.acknowledge()
    source.renew()
    wait_for(mailbox, Disconnected)
    again = wait_for(mailbox, Message)  # the broker does not wait for our subscription
    wait_for(mailbox, Connected)
    assert again.payload == b"2"
    second.acknowledge()  # of the old connection: must reach nobody
    again.acknowledge()
    assert source.publish_tracked(message, b"token")
    assert wait_for(mailbox, Published).token == b"token"
    assert field.take("dn/a").payload == b"x"
    field.close()
    broker.stop()
    wait_for(mailbox, Disconnected)
    broker.start()
    wait_for(mailbox, Connected)
    source.stop()
    assert not source.publish(message)


def test_a_full_mailbox_holds_the_broker_back(world: World, broker: Mosquitto) -> None:
    """All come over one connection, however few fit at once, and even unacknowledged."""
    broker.start()
    world.write_config(broker.port)
    mailbox = Mailbox(2)
    source = MqttSource(world.settings(), None, mailbox, random.Random(5))
    source.start()
    wait_for(mailbox, Connected)
    field = Field(broker.port, world.gateway)
    for n in range(40):
        field.publish((world.gateway.topic("up/d"), bytes((n,))))
    assert len(mailbox) <= 2
    taken = [mailbox.take(WAIT_MS) for _ in range(40)]
    assert [getattr(event, "payload", None) for event in taken] == [bytes((n,)) for n in range(40)]
    field.close()
    source.stop()


def test_a_mailbox_that_stays_full_asks_for_another_connection(
    world: World, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What did not fit in time is left with the broker, and comes after the renewal."""
    monkeypatch.setattr("cloud.ingest.source.ROOM_WAIT_MS", 1)
    monkeypatch.setattr("cloud.ingest.source.ROOM_SLICE_MS", 1)
    starved = threading.Event()

    class Noticing(Mailbox):
        def put(self, event: Event) -> None:
            super().put(event)
            if isinstance(event, Starved):
                starved.set()

    broker.start()
    world.write_config(broker.port)
    mailbox = Noticing(3)
    source = MqttSource(world.settings(), None, mailbox, random.Random(5))
    source.start()
    wait_for(mailbox, Connected)
    field = Field(broker.port, world.gateway)
    for n in range(6):
        field.publish((world.gateway.topic("up/d"), bytes((n,))))
    assert starved.wait(10)
    seen: set[bytes] = set()
    for _ in range(3):
        message = wait_for(mailbox, Message)
        message.acknowledge()
        seen.add(message.payload)
    assert seen == {b"\0", b"\1", b"\2"}
    source.renew()
    while len(seen) < 6:
        event = mailbox.take(WAIT_MS)
        assert event is not None
        if isinstance(event, Message):
            event.acknowledge()
            seen.add(event.payload)
        elif isinstance(event, Starved):
            source.renew()
    field.close()
    source.stop()


def command(world: World, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cloud", *words, "--config", str(world.config)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check(process: subprocess.Popen[str], code: int) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return out


def test_the_service_from_end_to_end(world: World, broker: Mosquitto) -> None:
    """Started before the broker: data and orders up and down, the commands beside it, SIGTERM."""
    world.write_config(broker.port)
    service = command(world, "run")
    broker.start()
    gateway = world.gateway
    field = Field(broker.port, gateway)

    def answer(message: Outbound) -> None:
        claims, order = gateway.open_order(message)
        for state in (OrderState.VERIFIED, OrderState.SENT):
            field.client.publish(*gateway.receipt(order, claims.sequence, state), qos=1)
        done = gateway.receipt(
            order, claims.sequence, OrderState.DONE, readings=(READING,), evidence=FRAMES
        )
        field.client.publish(*done, qos=1)

    field.on_order = answer
    # The topic is subscribed by nobody until the service is there: say hello until it answers.
    ack = None
    while ack is None:
        field.publish(gateway.hello(head=20))
        with field._arrived:
            field._arrived.wait_for(lambda: bool(field.got), 0.2)
            ack = field.got.pop() if field.got else None
        assert service.poll() is None
    field.publish(gateway.data(range(1, 11)))
    field.publish(gateway.data(range(12, 21)))
    while gateway.open_ack(field.take("dn/a"))[1].ranges != ((12, 20),):
        pass
    status = json.loads(check(command(world, "status", "--json"), 0))
    assert status["service"]["connected"] and status["service"]["sets"] == 19
    assert "missing         11\n" in check(command(world, "completeness", "gw1"), 1)
    rows = json.loads(check(command(world, "readings", "meter-1", "--json"), 0))
    assert len(rows) == 19 * 5
    text = check(command(world, "order", "read", "meter-1", "1-0:1.8.0"), 0)
    assert "verified" in text and "done" in text and "0.26" in text and "fe fe 68" in text
    words = ("order", "read", "meter-1", "1-0:1.8.0", "--gateway", "gw2")
    assert check(command(world, *words), 2) == ""
    second = command(world, "run")
    assert second.wait(30) == 2
    assert "in use by another busbar-cloud" in second.communicate()[1]
    field.close()
    service.send_signal(signal.SIGTERM)
    out, err = service.communicate(timeout=30)
    assert (service.returncode, out) == (0, "")
    assert "service_started" in err and "service_stopped" in err and "Traceback" not in err
    assert not (world.base / "state" / "control.sock").exists()


def test_all_that_a_gateway_sends_is_subscribed() -> None:
    """Every kind of message that goes up, and the presence; nothing that goes down."""
    assert sorted(SUBSCRIBED) == ["st", "up/d", "up/e", "up/h", "up/l", "up/r"]
