"""The port on real ptys and a real TCP server: bytes, exclusiveness, unplugging and coming back."""

import contextlib
import os
import socket
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.line.line import REOPEN_MS_FIRST, Line, NoAnswerError, Wire
from edge.line.port import READ_SIZE_MAX, PortLostError, SerialPort

SOON_S = 5.0  # a read that takes as long as this hangs


class Pty:
    """A pty whose master plays the meters' side; `unplug` takes it away."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave: int | None = slave

    def unplug(self) -> None:
        """The adapter is pulled out."""
        for fd in (self._slave, self.master):
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._slave = None

    def release_slave(self) -> None:
        """Only the port under test holds the tty now."""
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None


@pytest.fixture
def adapter() -> Iterator[Pty]:
    """One that is plugged in."""
    one = Pty()
    yield one
    one.unplug()


def make_port(url: str, parity: str = "N") -> SerialPort:
    """At 9600 bit/s."""
    return SerialPort(url, 9600, parity, 1)


@pytest.fixture
def opened(adapter: Pty) -> Iterator[SerialPort]:
    """An open port on the adapter."""
    port = make_port(adapter.path)
    port.open()
    yield port
    port.close()


def read_all(port: SerialPort, size: int) -> bytes:
    """Reads until so many bytes are there."""
    data = b""
    while len(data) < size:
        chunk = port.read(SOON_S)
        assert chunk, f"only {len(data)} bytes came"
        data += chunk
    return data


def test_bytes_go_both_ways(adapter: Pty, opened: SerialPort) -> None:
    """All values, unchanged by any terminal setting."""
    every = bytes(range(256))
    opened.write(every)
    assert os.read(adapter.master, 1000) == every
    os.write(adapter.master, every)
    assert read_all(opened, 256) == every


@pytest.mark.parametrize("parity", ["E", "N", "O"])
def test_every_parity_opens(adapter: Pty, parity: str) -> None:
    """Given at the opening, as drivers want it."""
    port = make_port(adapter.path, parity)
    try:
        port.open()
    except PortLostError as error:
        pytest.skip(f"this kernel's ptys have no parity: {error}")
    port.write(b"x")
    assert os.read(adapter.master, 10) == b"x"
    port.close()


def test_a_read_waits_no_longer_than_asked(opened: SerialPort) -> None:
    """And 0 does not wait at all."""
    before = time.monotonic()
    assert opened.read(0) == b""
    assert opened.read(0.02) == b""
    taken = time.monotonic() - before
    assert 0.02 <= taken < SOON_S


def test_a_read_takes_a_bounded_piece(adapter: Pty, opened: SerialPort) -> None:
    """A flood is read in portions."""
    os.set_blocking(adapter.master, False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 3 * READ_SIZE_MAX:
            sent += os.write(adapter.master, b"x" * 1000)
    assert 0 < len(opened.read(SOON_S)) <= READ_SIZE_MAX


def test_what_the_driver_kept_is_thrown_away_at_the_opening(adapter: Pty) -> None:
    """Bytes of an earlier life answer nothing."""
    os.write(adapter.master, b"stale")
    port = make_port(adapter.path)
    port.open()
    assert port.read(0) == b""
    os.write(adapter.master, b"fresh")
    assert read_all(port, 5) == b"fresh"
    port.close()


def test_a_second_opening_is_refused(adapter: Pty, opened: SerialPort) -> None:
    """Two masters on one line would break both; after a close it is free."""
    second = make_port(adapter.path)
    with pytest.raises(PortLostError, match="cannot be opened"):
        second.open()
    opened.close()
    second.open()
    second.close()


@pytest.mark.parametrize(
    "url", ["/dev/no-such-tty", "/dev/null", "socket://127.0.0.1:1", "nonsense://x", "socket://x"]
)
def test_a_port_that_is_not_there_is_lost(url: str) -> None:
    """Whatever is wrong with it: one error, with the name in it."""
    with pytest.raises(PortLostError) as caught:
        make_port(url).open()
    assert url in str(caught.value)


def test_a_closed_port_is_lost(opened: SerialPort) -> None:
    """Neither read nor written; closing twice does no harm."""
    opened.close()
    opened.close()
    with pytest.raises(PortLostError, match="not open"):
        opened.read(0)
    with pytest.raises(PortLostError, match="not open"):
        opened.write(b"x")


def test_an_unplugged_adapter_is_noticed_promptly(adapter: Pty, opened: SerialPort) -> None:
    """Before, during and after a wait: lost at once, not after the time-out."""
    adapter.release_slave()
    unplug = threading.Timer(0.05, adapter.unplug)
    unplug.start()
    before = time.monotonic()
    with pytest.raises(PortLostError):
        opened.read(60)
    assert time.monotonic() - before < SOON_S
    unplug.join()
    with pytest.raises(PortLostError):
        opened.read(60)
    with pytest.raises(PortLostError):
        opened.write(b"x" * 1000)


def test_a_tty_that_is_readable_and_empty_is_unplugged(
    opened: SerialPort, adapter: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some drivers report the end of a device like that, and would be read for ever."""
    os.write(adapter.master, b"x")
    monkeypatch.setattr(opened._serial, "read", lambda size: b"")
    with pytest.raises(PortLostError, match="unplugged"):
        opened.read(SOON_S)


def test_a_port_without_a_descriptor_is_polled(
    opened: SerialPort, adapter: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As rfc2217:// is: empty is silence there, and bytes come all the same."""
    opened._fd = None
    assert opened.read(0.01) == b""
    os.write(adapter.master, b"late")
    assert read_all(opened, 4) == b"late"


class Once:
    """A conversation that any byte completes."""

    request = b"?"
    silence_characters = 0.0
    drops_echo = False

    def receive(self, data: bytes) -> bool:
        """Yes."""
        return True

    def flush(self) -> bool:
        """No."""
        return False


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_survives_unplugging(tmp_path: Path) -> None:
    """The exchange fails, the pause passes, a fresh adapter under the same name is opened."""
    first, second = Pty(), Pty()
    link = tmp_path / "adapter"
    link.symlink_to(first.path)
    clock = Clock()
    line = Line("line-1", make_port(str(link)), Wire(2400, "E", 1, 1_000, 100, 0), clock)
    os.write(first.master, b"")
    line._ensure_open()
    os.write(first.master, b"stale")
    first.release_slave()
    first.unplug()
    with pytest.raises(PortLostError):
        line.converse(Once())
    link.unlink()
    with pytest.raises(PortLostError, match="waits"):
        line.converse(Once())
    clock.now += REOPEN_MS_FIRST / 1000
    with pytest.raises(PortLostError, match="cannot be opened"):
        line.converse(Once())
    link.symlink_to(second.path)
    clock.now += 2 * REOPEN_MS_FIRST / 1000

    def meter() -> None:
        assert os.read(second.master, 10) == b"?"
        os.write(second.master, b"!")

    answering = threading.Thread(target=meter)
    answering.start()
    line.converse(Once())
    answering.join()
    assert line.counters.answers == 1
    line.close()
    second.unplug()


# ---- socket:// ----------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A TCP server on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(SOON_S)
    yield listener
    listener.close()


def url_of(server: socket.socket) -> str:
    """What the settings say."""
    return f"socket://127.0.0.1:{server.getsockname()[1]}"


def test_a_socket_is_a_port(server: socket.socket) -> None:
    """Bytes both ways, a bounded wait, and a peer that closes is a lost port."""
    port = make_port(url_of(server))
    port.open()
    peer, _ = server.accept()
    every = bytes(range(256))
    port.write(every)
    received = b""
    while len(received) < 256:
        received += peer.recv(1000)
    assert received == every
    peer.sendall(every)
    assert read_all(port, 256) == every
    assert port.read(0.01) == b""
    peer.close()
    before = time.monotonic()
    with pytest.raises(PortLostError):
        port.read(60)
    assert time.monotonic() - before < SOON_S
    port.close()


def test_a_line_over_a_socket_reconnects(server: socket.socket) -> None:
    """A terminal server that restarts is found again."""
    clock = Clock()
    line = Line("line-1", make_port(url_of(server)), Wire(2400, "E", 1, 2_000, 100, 0), clock)

    def terminal_server() -> None:
        for answers in (False, True):
            peer, _ = server.accept()
            with peer:
                assert peer.recv(10) == b"?"
                if answers:
                    peer.sendall(b"!")
                    peer.recv(10)

    serving = threading.Thread(target=terminal_server)
    serving.start()
    with pytest.raises(PortLostError):
        line.converse(Once())
    clock.now += REOPEN_MS_FIRST / 1000
    line.converse(Once())
    line.close()
    serving.join()
    assert line.counters.answers == 1
    assert line.counters.port_losses == 1


def test_silence_on_a_real_clock_ends_in_time(opened: SerialPort, adapter: Pty) -> None:
    """The only test here that waits: a response time of 50 ms is neither skipped nor doubled."""
    line = Line("line-1", opened, Wire(115200, "N", 1, 50, 10, 0), time.monotonic)
    line.is_open = True
    before = time.monotonic()
    with pytest.raises(NoAnswerError):
        line.converse(Once())
    assert 0.05 <= time.monotonic() - before < SOON_S
