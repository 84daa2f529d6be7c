"""The transport over a stub of paho: a fresh client each time, jittered waits, and events."""

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.sync.identity import TlsFiles
from edge.sync.transport import (
    EVENTS_MAX,
    INFLIGHT_MAX,
    RECEIVE_MAX,
    SESSION_EXPIRY_S,
    Arrived,
    Connected,
    Disconnected,
    Refused,
    Transport,
    event_queue,
)

SUBSCRIPTIONS = ("busbar/1/t1/gw-1/dn/c", "busbar/1/t1/gw-1/dn/a")
PRESENCE = "busbar/1/t1/gw-1/st"


class StubClient:
    """What the transport uses of paho; `loop_forever` runs the test's script."""

    made: list["StubClient"]
    script: Callable[["StubClient"], None]
    connect_error: Exception | None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.settings = settings
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.publish_rc = mqtt.MQTT_ERR_SUCCESS
        StubClient.made.append(self)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, arguments, named))
            return SimpleNamespace(rc=self.publish_rc)

        return call

    def connect(self, *arguments: Any, **named: Any) -> None:
        """Fails when the test says so."""
        self.calls.append(("connect", arguments, named))
        if StubClient.connect_error is not None:
            raise StubClient.connect_error

    def loop_forever(self, retry_first_connection: bool) -> None:
        """The connection's life."""
        assert retry_first_connection is False
        type(self).script(self)

    def accept(self) -> None:
        """The broker says yes."""
        self.on_connect(self, None, None, ReasonCode(PacketTypes.CONNACK), None)

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The calls of one name."""
        return [(arguments, named) for called, arguments, named in self.calls if called == name]


class Bench:
    """A transport whose waits are taken down instead of waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.events: list[object] = []
        rules = {"host": "broker", "port": 8883, "version": 5, "keepalive_s": 60}
        self.tls: TlsFiles | None = settings.pop("tls_files", None)
        self.transport = Transport(
            rules | {"reconnect_s_max": 300} | settings,
            "gw-1",
            SUBSCRIPTIONS,
            PRESENCE,
            self.tls,
            self.events.append,
            random.Random(645),
        )
        self.waits: list[float] = []
        self.rounds = 1

        def wait(seconds: float) -> bool:
            self.waits.append(seconds)
            if len(self.waits) >= self.rounds:
                self.transport._stopping.set()
            return False

        monkeypatch.setattr(self.transport._stopping, "wait", wait)

    def run(self, rounds: int = 1) -> list[StubClient]:
        """The transport's thread, for some connections."""
        self.rounds = rounds
        self.transport._run()
        return StubClient.made


@pytest.fixture(autouse=True)
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho's client is the stub."""
    StubClient.made = []
    StubClient.script = lambda client: client.accept()
    StubClient.connect_error = None
    monkeypatch.setattr("edge.sync.transport.mqtt.Client", StubClient)


def test_a_connection_subscribes_and_tells_presence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our two topics at QoS 1, a retained "on", a retained last will; then the session hears."""
    bench = Bench(monkeypatch)
    (client,) = bench.run()
    assert [arguments[:2] for arguments, _ in client.named("connect")] == [("broker", 8883)]
    (topics,), _ = client.named("subscribe")[0]
    assert [topic for topic, _ in topics] == list(SUBSCRIPTIONS)
    assert client.named("publish") == [((PRESENCE, b"on"), {"qos": 1, "retain": True})]
    assert client.named("will_set") == [((PRESENCE, b"lost"), {"qos": 1, "retain": True})]
    assert bench.events == [Connected()]
    assert client.settings["manual_ack"] is True
    assert client.settings["reconnect_on_failure"] is False
    assert client.named("max_inflight_messages_set") == [((INFLIGHT_MAX,), {})]


def test_version_5_asks_for_a_lasting_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders wait for us, a few at a time."""
    (client,) = Bench(monkeypatch).run()
    named = client.named("connect")[0][1]
    assert client.settings["protocol"] == mqtt.MQTTv5
    assert named["clean_start"] is False
    assert named["properties"].SessionExpiryInterval == SESSION_EXPIRY_S
    assert named["properties"].ReceiveMaximum == RECEIVE_MAX


def test_version_3_asks_for_a_lasting_session_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what 3.1.1 has for it."""
    (client,) = Bench(monkeypatch, version=3).run()
    assert client.settings["protocol"] == mqtt.MQTTv311
    assert client.settings["clean_session"] is False
    assert set(client.named("connect")[0][1]) == {"keepalive"}


def test_every_connection_has_a_fresh_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no memory of unsent messages outlives its connection."""
    clients = Bench(monkeypatch).run(rounds=4)
    assert len(clients) == 4
    assert all(len(client.named("connect")) == 1 for client in clients)


def test_waits_grow_with_full_jitter_up_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away is not stormed; the same seed gives the same waits."""
    StubClient.connect_error = ConnectionRefusedError("nobody there")
    bench = Bench(monkeypatch, reconnect_s_max=60)
    bench.run(rounds=40)
    limits = [min(1 << n, 60) for n in range(40)]
    assert all(0 <= wait <= limit for wait, limit in zip(bench.waits, limits, strict=True))
    assert len(set(bench.waits)) == 40
    assert max(bench.waits) > 30
    again = Bench(monkeypatch, reconnect_s_max=60)
    again.run(rounds=40)
    assert again.waits == bench.waits
    assert bench.events == []


def test_a_good_connection_resets_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next interruption begins small again."""
    bench = Bench(monkeypatch)

    def sometimes(client: StubClient) -> None:
        if len(StubClient.made) != 10:
            raise OSError("gone")
        client.accept()

    StubClient.script = sometimes
    bench.run(rounds=10)
    assert bench.waits[9] <= 1


def test_a_refused_connection_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not authorised: nothing is published, and the session hears nothing."""
    bench = Bench(monkeypatch)

    def refuse(client: StubClient) -> None:
        reason = ReasonCode(PacketTypes.CONNACK, "Not authorized")
        client.on_connect(client, None, None, reason, None)

    StubClient.script = refuse
    (client,) = bench.run()
    assert bench.events == []
    assert client.named("publish") == []
    assert len(client.named("disconnect")) == 1
    assert not bench.transport.publish("t", b"x")


def test_a_message_is_acknowledged_only_when_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the broker would bring it again."""
    bench = Bench(monkeypatch)

    def deliver(client: StubClient) -> None:
        client.accept()
        message = SimpleNamespace(
            topic=SUBSCRIPTIONS[0], payload=bytearray(b"x"), retain=True, mid=7, qos=1
        )
        client.on_message(client, None, message)

    StubClient.script = deliver
    (client,) = bench.run()
    arrived = bench.events[1]
    assert isinstance(arrived, Arrived)
    assert arrived[:3] == (SUBSCRIPTIONS[0], b"x", True)
    assert client.named("ack") == []
    arrived.acknowledge()
    assert client.named("ack") == [((7, 1), {})]


@pytest.mark.parametrize(
    ("reason", "heard"),
    [
        ("Success", []),
        ("No matching subscribers", [Refused("No matching subscribers")]),
        ("Not authorized", [Refused("Not authorized")]),
        ("Quota exceeded", [Refused("Quota exceeded")]),
    ],
)
def test_a_brokers_refusal_is_a_hint(
    monkeypatch: pytest.MonkeyPatch, reason: str, heard: list[object]
) -> None:
    """Its yes says nothing, its no is handed on."""
    bench = Bench(monkeypatch)

    def answer(client: StubClient) -> None:
        client.accept()
        code = ReasonCode(PacketTypes.PUBACK, reason)
        client.on_publish(client, None, 1, code, None)

    StubClient.script = answer
    bench.run()
    assert bench.events[1:] == heard


def test_a_lost_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is published into it."""
    bench = Bench(monkeypatch)

    def drop(client: StubClient) -> None:
        client.accept()
        reason = ReasonCode(PacketTypes.DISCONNECT, "Server shutting down")
        client.on_disconnect(client, None, None, reason, None)

    StubClient.script = drop
    bench.run()
    assert bench.events == [Connected(), Disconnected("Server shutting down")]
    assert not bench.transport.publish("t", b"x")


def test_publish_tells_whether_the_client_took_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a connection, on it, and when paho's own queue refuses."""
    bench = Bench(monkeypatch)
    assert not bench.transport.publish("t", b"x")
    taken = []

    def talk(client: StubClient) -> None:
        client.accept()
        taken.append(bench.transport.publish("t", b"x"))
        client.publish_rc = mqtt.MQTT_ERR_QUEUE_SIZE
        taken.append(bench.transport.publish("t", b"y"))

    StubClient.script = talk
    (client,) = bench.run()
    assert taken == [True, False]
    assert client.named("publish")[1:] == [(("t", b"x"), {"qos": 1}), (("t", b"y"), {"qos": 1})]


def test_certificates_that_are_not_there_end_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They may come: it is tried again, and no connection without them is made."""
    files = TlsFiles(tmp_path / "ca.pem", tmp_path / "tls.pem", tmp_path / "tls.key")
    bench = Bench(monkeypatch, tls_files=files)
    clients = bench.run(rounds=3)
    assert len(bench.waits) == 3
    assert all(client.named("connect") == [] for client in clients)


def test_stop_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retained "off", then a disconnect; without a connection only the latter."""
    bench = Bench(monkeypatch)

    def stop(client: StubClient) -> None:
        client.accept()
        monkeypatch.setattr(bench.transport._thread, "join", lambda: None)
        bench.transport.stop()

    StubClient.script = stop
    (client,) = bench.run()
    assert client.named("publish")[-1] == ((PRESENCE, b"off"), {"qos": 1, "retain": True})
    assert len(client.named("disconnect")) == 1


def test_the_event_queue_is_bounded() -> None:
    """Full, it makes the network thread wait; the broker holds what comes."""
    assert event_queue().maxsize == EVENTS_MAX
