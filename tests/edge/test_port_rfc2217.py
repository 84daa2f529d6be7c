"""rfc2217:// against pyserial's own server side, in front of a looped-back wire: bytes there and
back, and a server that leaves."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import serial
from serial.rfc2217 import PortManager

from edge.line.port import PortLostError, SerialPort

# pyserial 3.5, unreleased since 2020, still says setDaemon and setName, and leaves the socket of a
# server that left to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Far(NamedTuple):
    """The far end: where the server listens, and its connection."""

    url: str
    connections: list[socket.socket]


@pytest.fixture
def far() -> Iterator[Far]:
    """A server for one client; what goes to its serial port comes back."""
    # A pty has no modem lines, which the server side asks for; loop:// has.
    device = serial.serial_for_url("loop://", timeout=0.02)
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    thread = threading.Thread(target=_serve, args=(listener, device, connections))
    thread.start()
    yield Far(f"rfc2217://127.0.0.1:{listener.getsockname()[1]}", connections)
    for connection in connections:
        connection.close()
    listener.close()
    thread.join(10)
    device.close()


def _serve(
    listener: socket.socket, device: serial.SerialBase, connections: list[socket.socket]
) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    connections.append(connection)
    connection.settimeout(0.02)

    class Writer:
        """What PortManager answers through."""

        @staticmethod
        def write(data: bytes) -> None:
            connection.sendall(data)

    manager = PortManager(device, Writer())
    while True:
        try:
            try:
                received = connection.recv(1024)
                if not received:
                    return
                device.write(b"".join(manager.filter(received)))
            except TimeoutError:
                pass
            sent = device.read(256)
            if sent:
                connection.sendall(b"".join(manager.escape(sent)))
        except OSError:
            return


def test_bytes_go_there_and_back(far: Far) -> None:
    """All byte values, FF included, which telnet escapes."""
    port = SerialPort(far.url, 2400, "N", 1)
    port.open()
    everything = bytes(range(256))
    port.write(everything)
    answer = b""
    deadline = time.monotonic() + 10
    while len(answer) < len(everything) and time.monotonic() < deadline:
        answer += port.read(1.0)
    assert answer == everything
    assert port.read(0.01) == b""
    port.close()


def test_a_server_that_leaves_is_a_lost_port(far: Far) -> None:
    """The line then opens it again, like an adapter that was pulled."""
    port = SerialPort(far.url, 2400, "N", 1)
    port.open()
    far.connections[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(PortLostError):
        _talk(port)
    port.close()


def _talk(port: SerialPort) -> None:
    for _ in range(200):
        port.write(b"\x68")
        port.read(0.05)


def test_nobody_there_is_a_lost_port() -> None:
    """One sentence, no traceback of a foreign library."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    with pytest.raises(PortLostError):
        SerialPort(f"rfc2217://127.0.0.1:{number}", 2400, "N", 1).open()
