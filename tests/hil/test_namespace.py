"""Each fault bites on a link, heals, and nothing of it is left on this machine."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil import namespace
from hil.broker import bound
from hil.namespace import Namespace, NamespaceError, NamespaceRefusedError
from protocols.errors import CallerError
from tests.hil.networks import hurtable_network

PORT = 7  # echo; in the namespace nobody else can have it
WAIT_S_MAX = 5
SILENCE_S = 0.4
SLOW_KBIT = 64
BULK = bytes(12_000)  # 1.5 s at that rate, both ways at once
ECHO = f"""
import socket, sys
server = socket.create_server((sys.argv[1], {PORT}))
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
"""
HOLDS_ONE = """
from hil.namespace import Namespace
with Namespace() as one:
    print(one.link, flush=True)
    input()
"""


@pytest.fixture
def network(require: Callable[..., None]) -> Iterator[Namespace]:
    """A namespace with a link."""
    with hurtable_network(require) as one:
        yield one


@pytest.fixture
def peer(network: Namespace) -> Iterator[socket.socket]:
    """A connection to a program in the namespace that sends everything back."""
    command = bound(network.command(sys.executable, "-c", ECHO, network.address))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as echo:
        assert echo.stdout is not None and echo.stdout.readline() == b"ready\n"
        with socket.create_connection((network.address, PORT), WAIT_S_MAX) as connection:
            yield connection
        echo.kill()


def _echoed(peer: socket.socket, data: bytes, wait_s: float = WAIT_S_MAX) -> bytes:
    """What comes back within a while."""
    peer.settimeout(wait_s)
    peer.sendall(data)
    back = b""
    try:
        while len(back) < len(data):
            back += peer.recv(len(data))
    except TimeoutError:
        pass
    return back


def _has_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _await(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a while."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not (is_true := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_true


@pytest.mark.parametrize("way", ["both", "in", "out"])
def test_a_black_hole_swallows_and_heals(network: Namespace, peer: socket.socket, way: str) -> None:
    """The connection stays open; what was swallowed comes after all, by TCP's own retries."""
    assert _echoed(peer, b"before") == b"before"
    network.black_hole(PORT, way)
    assert _echoed(peer, b"during", SILENCE_S) == b""
    assert network.dropped() > 0
    network.heal()
    peer.settimeout(WAIT_S_MAX)
    assert peer.recv(6) == b"during"
    assert network.dropped() == 0


def test_a_black_hole_has_one_port(network: Namespace, peer: socket.socket) -> None:
    """All other traffic passes."""
    network.black_hole(PORT + 1)
    assert _echoed(peer, b"passes") == b"passes"


def test_loss_has_its_share_and_tcp_gets_through(network: Namespace, peer: socket.socket) -> None:
    """Of 400 datagrams 120 are lost, give or take five deviations and a reply of ICMP or two."""
    network.lose(30)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(400):
            sender.sendto(b"lost?", (network.address, PORT))
    assert _await(lambda: network.dropped() > 70)  # the kernel may still have some in a queue
    assert network.dropped() < 180
    assert _echoed(peer, b"through") == b"through"


def test_a_slow_link_takes_its_time(network: Namespace, peer: socket.socket) -> None:
    """Bytes by rate, less what the bucket lets through at once."""
    network.slow(SLOW_KBIT)
    started = time.monotonic()
    assert _echoed(peer, BULK) == BULK
    assert time.monotonic() - started > 0.8 * len(BULK) * 8 / (SLOW_KBIT * 1000)
    network.heal()
    started = time.monotonic()
    assert _echoed(peer, BULK) == BULK
    assert time.monotonic() - started < 1


def test_nothing_stays_after_a_failure(network: Namespace) -> None:
    """The link goes with the block, whatever ended it."""
    other = Namespace()
    with pytest.raises(NamespaceError, match="tc qdisc"), other:  # noqa: PT012
        link = other.link
        assert _has_link(link) and link != network.link and other.address != network.address
        other.slow(1 << 70)
    assert not _has_link(link)
    other.close()


@pytest.mark.usefixtures("network")
def test_nothing_stays_when_its_owner_is_killed() -> None:
    """SIGKILL leaves no time to tidy up: the kernel does it."""
    command = (sys.executable, "-c", HOLDS_ONE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        link = owner.stdout.readline().decode().strip()
        assert _has_link(link)
        owner.kill()
        assert _await(lambda: not _has_link(link))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence each, before anything is made."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NamespaceRefusedError, match="a network namespace needs root"), Namespace():
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "nft" else name)
    with pytest.raises(NamespaceRefusedError, match="a network namespace needs nft"):
        namespace.check_tools()


def test_faults_that_make_no_sense_are_refused() -> None:
    """Before anything is run."""
    closed = Namespace()
    for call in (
        lambda: closed.lose(0),
        lambda: closed.lose(100),
        lambda: closed.black_hole(PORT, "up"),
        lambda: closed.slow(1),
        lambda: closed.command("true"),
    ):
        with pytest.raises(CallerError):
            call()
