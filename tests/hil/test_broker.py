"""Both brokers as real processes, with real MQTT clients over real TLS."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from hil import broker as hil_broker
from hil.broker import Broker, find_broker
from protocols.errors import CallerError
from tests.hil.mqtt_peers import DEADLINE_S, Authority, Client

ROOT = "busbar/1/t1"
REPOSITORY = Path(hil_broker.__file__).parents[1]
pytestmark = pytest.mark.system


def is_refused(broker: Broker, authority: Authority, name: str | None) -> bool:
    """Whether the broker refuses the client's certificate. Under TLS 1.3 a client learns that only
    after its own handshake has ended well."""
    client = Client(broker, authority, name)
    try:
        return client.next_state() == "disconnected"
    finally:
        client.__exit__()


def has_ended(pid_descriptor: int) -> bool:
    """Wait for the end of a process that need not be our child."""
    is_ended = bool(select.select([pid_descriptor], [], [], DEADLINE_S)[0])
    os.close(pid_descriptor)
    return is_ended


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("broker") / "files")
    for name in ("ingest", "gw-a", "gw-b"):
        authority.issue(name)
    authority.revoke(authority.issue("gw-revoked"))
    return authority


@pytest.fixture(scope="module", params=["mosquitto", "amqtt"])
def kind(request: pytest.FixtureRequest) -> str:
    has_mosquitto = hil_broker.find_mosquitto() is not None
    if not (has_mosquitto if request.param == "mosquitto" else hil_broker.has_amqtt()):
        reason = f"{request.param} is not installed here, or not the version we use"
        if os.environ.get("BUSBAR_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        print(reason)
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="module")
def broker(
    kind: str, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """One broker for all tests that leave it running."""
    work_dir = tmp_path_factory.mktemp("work")
    with find_broker(work_dir, authority.files(), "t1", prefer=kind) as broker:
        yield broker


@pytest.fixture
def own_broker(kind: str, authority: Authority, tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, not started."""
    broker = find_broker(tmp_path / "work", authority.files(), "t1", prefer=kind)
    yield broker
    broker.stop()


@pytest.fixture
def connect(broker: Broker, authority: Authority) -> Callable[..., Client]:
    """Connect to the shared broker: `connect(name, ...)` with the arguments of `Client`."""
    return partial(Client, broker, authority)


@pytest.mark.parametrize("name", [None, "gw-revoked", "stranger"])
def test_only_a_valid_certificate_connects(
    broker: Broker, authority: Authority, tmp_path: Path, name: str | None
) -> None:
    """No certificate, a revoked one, and one of another authority are refused; ours is not."""
    clients = authority
    if name == "stranger":
        clients = Authority(tmp_path / "other")
        clients.issue(name)
        (clients.directory / "ca.pem").write_bytes(authority.files().ca.read_bytes())
    assert is_refused(broker, clients, name)
    assert not is_refused(broker, authority, "gw-a")


def test_a_gateway_has_its_own_topics_only(broker: Broker, connect: Callable[..., Client]) -> None:
    """Each reaches the head end and is reached; A can neither speak as B nor hear B, neither live
    nor retained, whatever user name it gives."""
    with connect("ingest") as ingest, connect("gw-b") as b:
        assert ingest.subscribe(f"{ROOT}/+/up/#", f"{ROOT}/+/st") == [True, True]
        assert b.subscribe(f"{ROOT}/gw-b/dn/#") == [True]
        ingest.publish(f"{ROOT}/gw-b/dn/k", b"keys of b", retain=True)
        with connect("gw-a") as a:
            foreign = ("#", f"{ROOT}/gw-b/dn/#", f"{ROOT}/+/dn/c", f"{ROOT}/+/up/#", "$share/g/#")
            grants = a.subscribe(*foreign)
            assert broker.kind == "mosquitto" or not any(grants)  # which grants, and then filters
            assert a.subscribe(f"{ROOT}/gw-a/dn/#") == [True]
            a.publish(f"{ROOT}/gw-b/up/d", b"forged")
            a.publish(f"{ROOT}/gw-b/st", b"forged", retain=True)
            a.publish(f"{ROOT}/gw-a/dn/c", b"order to myself")
            a.publish(f"{ROOT}/gw-a/st", b"on")
            a.publish(f"{ROOT}/gw-a/up/d", b"own")
            heard = ingest.heard_until(b"own")
            assert [message[:2] for message in heard] == [
                (f"{ROOT}/gw-a/st", b"on"),
                (f"{ROOT}/gw-a/up/d", b"own"),
            ]
            for name in (b"b", b"a"):
                ingest.publish(f"{ROOT}/gw-{name.decode()}/dn/c", b"order of " + name)
            assert {message[1] for message in a.heard_until(b"order of a")} == {b"order of a"}
        assert [m[1] for m in b.heard_until(b"order of b")] == [b"keys of b", b"order of b"]


def test_a_client_id_gives_no_rights(broker: Broker, connect: Callable[..., Client]) -> None:
    """A gateway that takes the client id of another inherits neither its topics nor its queue."""
    shared = {"client_id": "gw-b", "keeps_session": True}
    with connect("ingest") as ingest:
        ingest.subscribe(f"{ROOT}/+/up/#")
        with connect("gw-b", **shared) as b:
            b.subscribe(f"{ROOT}/gw-b/dn/c")
        ingest.publish(f"{ROOT}/gw-b/dn/c", b"secret")
        with connect("gw-a", **shared) as a:
            a.subscribe(f"{ROOT}/gw-a/dn/#")
            a.publish(f"{ROOT}/gw-b/up/d", b"forged")
            a.publish(f"{ROOT}/gw-a/up/d", b"own")
            ingest.publish(f"{ROOT}/gw-a/dn/c", b"end")
            assert {message[1] for message in a.heard_until(b"end")} == {b"end"}
        assert {message[1] for message in ingest.heard_until(b"own")} == {b"own"}
        if broker.kind == "amqtt":  # mosquitto keeps the secret from A, and loses it for B
            with connect("gw-b", **shared) as b:
                assert b.heard_until(b"secret") == [(f"{ROOT}/gw-b/dn/c", b"secret", False)]


def test_a_will_obeys_the_rules(broker: Broker, connect: Callable[..., Client]) -> None:
    """The will of A is not published as B's; a client that is lost has its own published."""
    with connect("ingest") as ingest:
        ingest.subscribe(f"{ROOT}/+/st")
        for will_topic in (f"{ROOT}/gw-b/st", f"{ROOT}/gw-a/st"):
            client = connect("gw-a", keepalive_s=1, will_topic=will_topic)
            if client.next_state() != "Success":
                assert (broker.kind, will_topic) == ("amqtt", f"{ROOT}/gw-b/st")
            elif broker.kind == "amqtt":
                client.fall_silent()
            else:  # mosquitto, whose keep-alive is not ours to test, takes seconds to miss it
                client.lose_connection()
            if will_topic == f"{ROOT}/gw-a/st":
                assert ingest.heard_until(b"lost") == [(will_topic, b"lost", False)]
            client.__exit__()


def test_a_client_may_return_before_its_old_connection_is_found_dead(
    connect: Callable[..., Client],
) -> None:
    """The new connection takes the session over and hears what comes, queued or not."""
    own = {"client_id": "gw-a", "keeps_session": True}
    order = f"{ROOT}/gw-a/dn/c"
    with connect("ingest") as ingest, connect("gw-a", **own) as old:
        old.subscribe(order)
        old.fall_silent()
        with connect("gw-a", **own) as new:
            ingest.publish(order, b"live")
            assert new.heard_until(b"live") == [(order, b"live", False)]
        ingest.publish(order, b"queued")
        with connect("gw-a", **own) as later:  # a gateway refuses an order that has RETAIN set
            assert later.heard_until(b"queued") == [(order, b"queued", False)]


def test_an_unacknowledged_message_comes_again(connect: Callable[..., Client]) -> None:
    """A client that dies between hearing an order and acknowledging it hears it once more."""
    own = {"client_id": "gw-a", "keeps_session": True}
    order = f"{ROOT}/gw-a/dn/c"
    with connect("ingest") as ingest, connect("gw-a", **own) as gateway:
        gateway.subscribe(order)
        gateway.paho.manual_ack_set(True)
        ingest.publish(order, b"twice")
        gateway.heard_until(b"twice")
        gateway.lose_connection()
        with connect("gw-a", **own) as later:
            assert later.heard_until(b"twice") == [(order, b"twice", False)]


def test_a_packet_over_the_limit_ends_the_connection(connect: Callable[..., Client]) -> None:
    """A packet just below the limit is taken, one above it is not."""
    with connect("gw-a") as gateway:
        gateway.publish(f"{ROOT}/gw-a/up/d", bytes(hil_broker.PACKET_SIZE_MAX - 100))
        gateway.paho.publish(f"{ROOT}/gw-a/up/d", bytes(hil_broker.PACKET_SIZE_MAX + 1), 1)
        assert gateway.next_state() == "disconnected"


def test_clients_find_a_killed_broker_again(own_broker: Broker, authority: Authority) -> None:
    """After `kill` and `start` the port is the same, and clients reconnect by themselves."""
    own_broker.start()
    before = (own_broker.port, own_broker.pid)
    connect = partial(Client, own_broker, authority, reconnects=True)
    with connect("gw-a") as gateway, connect("ingest") as ingest:
        ingest.subscribe(f"{ROOT}/+/up/#")
        own_broker.kill()
        assert own_broker.exit_code == -9
        assert (gateway.next_state(), ingest.next_state()) == ("disconnected", "disconnected")
        own_broker.start()
        assert (gateway.next_state(), ingest.next_state()) == ("Success", "Success")
        ingest.grants.get(timeout=DEADLINE_S)
        gateway.publish(f"{ROOT}/gw-a/up/d", b"after")
        ingest.heard_until(b"after")
    assert own_broker.port == before[0]
    assert own_broker.pid != before[1]


def test_mosquitto_remembers_over_a_restart(own_broker: Broker, authority: Authority) -> None:
    """What is retained in mosquitto is there after `restart`; amqtt says that it forgets."""
    keys = f"{ROOT}/gw-a/dn/k"
    own_broker.start()
    with Client(own_broker, authority, "ingest") as ingest:
        ingest.publish(keys, b"keys", retain=True)
    own_broker.restart()
    connect = partial(Client, own_broker, authority)
    with connect("ingest") as ingest, connect("gw-a") as gateway:
        gateway.subscribe(keys)
        ingest.publish(keys, b"end")
        heard = [payload for _, payload, _ in gateway.heard_until(b"end")]
    assert heard == ([b"keys", b"end"] if own_broker.kind == "mosquitto" else [b"end"])


def test_a_frozen_broker_is_silent_until_thawed(own_broker: Broker, authority: Authority) -> None:
    """A frozen broker acknowledges nothing, loses nothing, and can be stopped all the same."""
    own_broker.start()
    with Client(own_broker, authority, "gw-a") as gateway:
        own_broker.freeze()
        info = gateway.paho.publish(f"{ROOT}/gw-a/up/d", b"held", 1)
        info.wait_for_publish(0.3)
        assert not info.is_published()
        own_broker.thaw()
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published()
        own_broker.freeze()
        own_broker.stop()
        assert own_broker.exit_code == 0


def test_stop_leaves_nothing_behind(own_broker: Broker) -> None:
    """The process ends by itself with code 0, its port is closed, stopping twice is harmless."""
    own_broker.start()
    with pytest.raises(hil_broker.BrokerError, match="running already"):
        own_broker.start()
    assert own_broker.pid is not None
    descriptor = os.pidfd_open(own_broker.pid)
    own_broker.stop()
    own_broker.stop()
    assert has_ended(descriptor)
    assert own_broker.pid is None
    assert own_broker.exit_code == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own_broker.host, own_broker.port), DEADLINE_S)
    with pytest.raises(hil_broker.BrokerError, match="not running"):
        own_broker.freeze()


def test_a_broker_does_not_outlive_its_parent(
    kind: str, authority: Authority, tmp_path: Path
) -> None:
    """Even a frozen broker ends when the process that started it, from any thread, is killed."""
    program = """
import sys, threading
from pathlib import Path
from hil.broker import BrokerFiles, find_broker
files = BrokerFiles.from_directory(Path(sys.argv[1]))
broker = find_broker(Path(sys.argv[2]), files, "t1", prefer=sys.argv[3])
starter = threading.Thread(target=broker.start)
starter.start()
starter.join()
broker.freeze()
print(broker.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(authority.directory), str(tmp_path), kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        is_running = not select.select([descriptor], [], [], 0)[0]
        parent.kill()
    assert is_running
    assert has_ended(descriptor)


def test_a_failed_start_says_why(kind: str, authority: Authority, tmp_path: Path) -> None:
    """A key that is not the certificate's ends the start at once, with the broker's own words; so
    does a certificate that clients would refuse. Nothing is left running."""
    stranger = Authority(tmp_path / "other").files()
    cases = (
        (authority.files()._replace(key=stranger.key), r"ended with \d+:\n(.|\n)*(?i:key)"),
        (authority.files()._replace(ca=stranger.ca, crl=None), "clients will refuse it"),
    )
    for number, (files, words) in enumerate(cases):
        broker = find_broker(tmp_path / f"work{number}", files, "t1", prefer=kind)
        with pytest.raises(hil_broker.BrokerStartError, match=words):
            broker.start()
        assert broker.pid is None


def test_the_embedded_broker_ends_with_its_standard_input(
    authority: Authority, tmp_path: Path
) -> None:
    """Where there is no parent-death signal, the end of the pipe to the parent does the same."""
    if not hil_broker.has_amqtt():
        pytest.skip("amqtt is not installed here, or not the version we use")
    find_broker(tmp_path, authority.files(), "t1", prefer="amqtt")
    command = [sys.executable, "-m", "hil.embedded_broker", str(tmp_path / "amqtt.json")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stderr=pipe) as process:
        assert process.stdin is not None and process.stderr is not None
        assert any(b"bind to" in line for line in process.stderr)  # the last thing start does
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_mosquitto_is_preferred_and_a_missing_broker_named(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto comes first, amqtt second; when what is asked for is absent, the error says so."""
    files = authority.files()
    monkeypatch.setattr(hil_broker, "find_mosquitto", lambda: "/opt/mosquitto")
    monkeypatch.setattr(hil_broker, "has_amqtt", lambda: True)
    found = find_broker(tmp_path, files, "t1")
    assert (found.kind, found.mqtt_version) == ("mosquitto", 5)
    found = find_broker(tmp_path, files, "t1", prefer="amqtt")
    assert (found.kind, found.mqtt_version) == ("amqtt", 3)
    monkeypatch.setattr(hil_broker, "find_mosquitto", lambda: None)
    assert find_broker(tmp_path, files, "t1").kind == "amqtt"
    with pytest.raises(hil_broker.BrokerMissingError, match="no mosquitto broker here"):
        find_broker(tmp_path, files, "t1", prefer="mosquitto")
    monkeypatch.setattr(hil_broker, "has_amqtt", lambda: False)
    with pytest.raises(hil_broker.BrokerMissingError, match="no MQTT broker here"):
        find_broker(tmp_path, files, "t1")
    for tenant, prefer in (("t1", "rabbit"), ("+", None)):
        monkeypatch.setattr(hil_broker, "has_amqtt", lambda: True)
        with pytest.raises(CallerError):
            find_broker(tmp_path, files, tenant, prefer)


@pytest.mark.parametrize(
    ("user", "access", "topic", "expected"),
    [
        ("gw-a", "write", "gw-a/up/d", True),
        ("gw-a", "write", "gw-a/st", True),
        ("gw-a", "read", "gw-a/dn/#", True),
        ("gw-a", "read", "gw-a/dn/+", True),
        ("gw-a", "read", "gw-a/#", False),
        ("gw-a", "read", "gw-a/+/c", False),
        ("gw-a", "read", "+/dn/c", False),
        ("gw-a", "write", "gw-a/dn/c", False),
        ("gw-a", "write", "gw-b/up/d", False),
        ("gw-a", "write", "gw-a/st/more", False),
        ("gw-a", "write", "%u/st", False),
        ("ingest", "read", "+/up/#", True),
        ("ingest", "read", "gw-a/st", True),
        ("ingest", "read", "+/dn/c", False),
        ("ingest", "read", "#", False),
        ("ingest", "write", "gw-a/dn/cfg", True),
        ("ingest", "write", "gw-a/up/d", False),
    ],
)
def test_the_table_allows_no_more_than_it_says(
    user: str, access: str, topic: str, expected: bool
) -> None:
    """A topic or a whole filter is allowed only if one rule covers all of it."""
    embedded = pytest.importorskip("hil.embedded_broker", reason="amqtt is not installed")
    rules = hil_broker.acl_rules("t1")
    assert embedded.is_allowed(rules, user, access, f"{ROOT}/{topic}") == expected
    assert not embedded.is_allowed(rules, user, access, f"busbar/1/t2/{topic}")
    assert not embedded.covers("a/+", "a/#")


def test_only_a_gateway_id_is_a_user() -> None:
    """A common name that would mean more in a topic than one user, or two of them, gives none."""
    embedded = pytest.importorskip("hil.embedded_broker", reason="amqtt is not installed")
    for names in (["gw-a"], ["+"], ["#"], ["gw-a/up"], ["GW-A"], [""], ["gw-a", "gw-b"], []):
        subject = tuple((("commonName", name),) for name in names)
        peer = SimpleNamespace(getpeercert=lambda subject=subject: {"subject": subject})
        assert embedded.certificate_user(peer) == ("gw-a" if names == ["gw-a"] else None)
    assert embedded.certificate_user(None) is None
