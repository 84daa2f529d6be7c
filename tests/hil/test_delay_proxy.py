"""The delaying proxy: everything arrives once, and only QoS 1 PUBLISH packets change places."""

import socket
import threading
from collections.abc import Iterator

import pytest

from hil.delay_proxy import HOST, DelayProxy, Delays

DEADLINE_S = 8.0
QUIET_S = 0.2  # that nothing passes in is seen in this time
CONNECT = b"\x10\x00"
PING = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def publish(number: int, qos: int = 1, size: int = 0) -> bytes:
    """Not a whole PUBLISH, but one by its header; its body tells it apart."""
    body = number.to_bytes(2, "big") + bytes(size)
    length = (
        bytes((len(body),)) if len(body) < 128 else bytes((len(body) & 127 | 128, len(body) >> 7))
    )
    return bytes((0x30 | qos << 1,)) + length + body


def is_qos_1(packet: bytes) -> bool:
    """Of a PUBLISH; DUP and RETAIN may be set."""
    return packet[0] & 0b1111_0110 == 0b0011_0010


class Sink:
    """In the place of a broker: takes one connection, and keeps what comes."""

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self._server.settimeout(DEADLINE_S)
        self.port = self._server.getsockname()[1]
        self.connection: socket.socket | None = None
        self._came = threading.Event()
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            self.connection = self._server.accept()[0]
        except OSError:
            return
        self.connection.settimeout(DEADLINE_S)
        self._came.set()

    def read(self, size: int) -> bytes:
        """So many bytes, or what there was before the end."""
        assert self._came.wait(DEADLINE_S)
        assert self.connection is not None
        data = b""
        while len(data) < size and (piece := self.connection.recv(size - len(data))):
            data += piece
        return data

    def close(self) -> None:
        self._server.close()
        if self.connection is not None:
            self.connection.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    yield one
    one.close()


def through(sink: Sink, delays: Delays, packets: list[bytes]) -> tuple[list[bytes], DelayProxy]:
    """What the sink gets of these packets, in its order; each is of a size that tells."""
    proxy = DelayProxy(HOST, sink.port, delays)
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        client.sendall(b"".join(packets))
        data = sink.read(sum(map(len, packets)))
    proxy.stop()
    return split(data), proxy


def split(data: bytes) -> list[bytes]:
    """Packets of less than 128 bytes."""
    packets = []
    while data:
        packets.append(data[: 2 + data[1]])
        data = data[2 + data[1] :]
    return packets


def test_all_arrives_once_and_some_is_overtaken(sink: Sink) -> None:
    """CONNECT stays the first, DISCONNECT the last, and nothing else than QoS 1 moves."""
    middle = [publish(n, qos=n % 2) for n in range(60)]
    middle.insert(30, PING)
    sent = [CONNECT, *middle, DISCONNECT]
    got, proxy = through(sink, Delays(1, delay_ms_max=0, held_percent=40, held_ms=60), sent)
    assert sorted(got) == sorted(sent)
    assert got != sent
    assert (got[0], got[-1]) == (CONNECT, DISCONNECT)
    fixed = [one for one in sent if not is_qos_1(one)]
    assert [one for one in got if not is_qos_1(one)] == fixed
    assert proxy.counts["packets"] == len(sent)
    assert 5 < proxy.counts["overtaken"] <= proxy.counts["held"] < 30


def test_without_held_packets_the_order_stays(sink: Sink) -> None:
    """Jitter alone overtakes nothing."""
    sent = [CONNECT, *(publish(n) for n in range(100))]
    got, proxy = through(sink, Delays(2, delay_ms_max=10), sent)
    assert got == sent
    assert proxy.counts["overtaken"] == proxy.counts["held"] == 0


def test_one_seed_holds_the_same_packets(sink: Sink) -> None:
    """How many are held follows from the seed alone."""
    sent = [publish(n) for n in range(80)]
    held = []
    for seed in (3, 3, 4, 5):
        one = Sink()
        _, proxy = through(one, Delays(seed, delay_ms_max=1, held_percent=50, held_ms=5), sent)
        held.append(proxy.counts["held"])
        one.close()
    assert held[0] == held[1]
    assert len(set(held)) > 1


def test_nothing_passes_a_stall_and_nothing_is_lost_in_it(sink: Sink) -> None:
    """The link stays open meanwhile, both ways."""
    proxy = DelayProxy(HOST, sink.port, Delays(6, delay_ms_max=1))
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        client.sendall(CONNECT)
        assert sink.read(2) == CONNECT
        assert sink.connection is not None
        proxy.stall()
        client.sendall(PING)
        sink.connection.sendall(b"\xd0\x00")
        sink.connection.settimeout(QUIET_S)
        with pytest.raises(TimeoutError):
            sink.read(1)
        proxy.resume()
        sink.connection.settimeout(DEADLINE_S)
        assert sink.read(2) == PING
        assert client.recv(2) == b"\xd0\x00"
    proxy.stop()


def test_what_was_sent_before_the_end_arrives(sink: Sink) -> None:
    """A client that goes away leaves nothing behind on the way."""
    proxy = DelayProxy(HOST, sink.port, Delays(10, delay_ms_max=50, held_percent=30, held_ms=100))
    sent = [publish(n) for n in range(20)]
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        client.sendall(b"".join(sent))
    assert sorted(split(sink.read(1000))) == sent
    proxy.stop()


def test_a_cut_is_seen_by_both(sink: Sink) -> None:
    """Neither waits for a time-out."""
    proxy = DelayProxy(HOST, sink.port, Delays(7, delay_ms_max=1))
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        client.sendall(CONNECT)
        assert sink.read(2) == CONNECT
        proxy.cut()
        assert client.recv(1) == b""
        assert sink.read(1) == b""
    proxy.stop()


def test_long_packets_and_no_packets(sink: Sink) -> None:
    """A length of two bytes is read as one length; one of five bytes is none, and ends the link."""
    proxy = DelayProxy(HOST, sink.port, Delays(8, delay_ms_max=1))
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        long = publish(1, size=300)
        client.sendall(long)
        assert sink.read(len(long)) == long
        client.sendall(b"\x30\xff\xff\xff\xff\x01")
        assert client.recv(1) == b""
    proxy.stop()


def test_without_a_broker_the_link_ends() -> None:
    """The client is told at once, and may come again."""
    with socket.create_server((HOST, 0)) as nobody:
        port = nobody.getsockname()[1]
    proxy = DelayProxy(HOST, port, Delays(9))
    with socket.create_connection((HOST, proxy.start()), DEADLINE_S) as client:
        assert client.recv(1) == b""
    proxy.stop()
