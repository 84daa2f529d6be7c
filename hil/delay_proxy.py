"""A network that delays and reorders, as a TCP proxy in front of an MQTT broker.

What it does, and what it never does:

* Each MQTT packet waits for a delay of its own, drawn from the seed; a client's packets and the
  broker's stay in order, with one exception.
* A PUBLISH of QoS 1 may be held back: those behind it come first. On one connection MQTT itself
  promises their order (MQTT 5.0, 4.6), so this is worse than any honest broker; bridges, clusters
  and repetitions look like it to who stands at the end.
* CONNECT comes first and DISCONNECT last, whatever is held. All else keeps its place as well:
  SUBSCRIBE, pings, every acknowledgement, PUBLISH of QoS 0 and 2.
* While it is stalled nothing passes, and nobody is told: a half-open link. `cut` breaks all links.
* It reads packets, so clients talk to it without TLS; to the broker it speaks TLS with the
  certificate that it is given. One proxy stands for one client.
* Nothing is lost, repeated or changed. A topic alias (MQTT 5.0) could be overtaken by its use: the
  clients here use none.
"""

import asyncio
import contextlib
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, cast

from protocols.errors import BusbarError

HOST = "127.0.0.1"
START_DEADLINE_S = 5.0
PENDING_MAX = 1024  # packets of one direction that wait; then the sender has to
_PUBLISH, _DISCONNECT = 3, 14  # packet types (MQTT 5.0, 2.1.2)
_QOS_1 = 0b0010  # of a PUBLISH's flags (3.3.1.2)
_QOS_MASK = 0b0110
_LENGTH_BYTES_MAX = 4  # of the remaining length (1.5.5)
_STEP_S = 1e-6  # between two packets that keep their order


class DelayProxyError(BusbarError):
    """The proxy did not start, or did not end."""


class Delays(NamedTuple):
    """How slow the network is, in ms; `held_percent` of the QoS 1 PUBLISH packets wait for up to
    `held_ms` longer."""

    seed: int
    delay_ms_max: int = 50
    held_percent: int = 0
    held_ms: int = 1000


class DelayProxy:
    """Listens at `port` of HOST and passes everything on to `host` and `broker_port`, late."""

    def __init__(
        self, host: str, broker_port: int, delays: Delays, context: ssl.SSLContext | None = None
    ) -> None:
        self.delays = delays
        self.context = context
        self.port = 0
        self.counts: Counter[str] = Counter()  # packets, held, overtaken, connections
        self.is_stalled = False
        self._upstream = (host, broker_port)
        self._chance = random.Random(delays.seed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="delay-proxy", daemon=True)
        self._lanes: set[_Lane] = set()
        self._links: set[asyncio.Task[None]] = set()

    def start(self) -> int:
        """Begins to listen; the port. DelayProxyError when it cannot."""
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S) or self._error is not None:
            raise DelayProxyError(f"the proxy did not start: {self._error}")
        return self.port

    def stop(self) -> None:
        """Breaks all links and ends."""
        if self._loop is not None and self._ended is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(START_DEADLINE_S)
        if self._thread.is_alive():
            raise DelayProxyError("the proxy did not end")

    def stall(self) -> None:
        """From now on nothing passes; what comes waits."""
        self._call(lambda: self._set_stalled(True))

    def resume(self) -> None:
        """What waited goes on, in the order in which it would have gone."""
        self._call(lambda: self._set_stalled(False))

    def cut(self) -> None:
        """Breaks all links; what was on its way is lost with them."""
        self._call(lambda: [link.cancel() for link in self._links])

    def _call(self, call: Callable[[], object]) -> None:
        """In the proxy's thread; returns when it is done."""

        async def run() -> None:
            call()

        if self._loop is None:
            raise DelayProxyError("the proxy has not started")
        asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_DEADLINE_S)

    def _set_stalled(self, is_stalled: bool) -> None:
        self.is_stalled = is_stalled
        for lane in self._lanes if not is_stalled else ():
            lane.resume()

    # ---- in the proxy's thread ------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        try:
            server = await asyncio.start_server(self._accept, HOST, 0)
        except OSError as error:
            self._error = error
            self._ready.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = cast("asyncio.Task[None]", asyncio.current_task())  # a server's callback is one
        self._links.add(link)
        writers = [writer]
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream, ssl=self.context)
            writers.append(up_writer)
            self.counts["connections"] += 1
            await _first_of(self._pump(reader, up_writer), self._pump(up_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # no broker, or cut: the client finds out and comes again
        finally:
            self._links.discard(link)
            for one in writers:
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction of one link, until the end of what it carries has arrived."""
        lane = _Lane(self, writer, random.Random(self._chance.getrandbits(64)))
        self._lanes.add(lane)
        try:
            while packet := await read_packet(reader):
                await lane.put(packet)
            await lane.drain()
        finally:
            self._lanes.discard(lane)
            lane.drop()


class _Lane:
    """Packets on their way in one direction."""

    def __init__(
        self, proxy: DelayProxy, writer: asyncio.StreamWriter, chance: random.Random
    ) -> None:
        self._proxy = proxy
        self._writer = writer
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(PENDING_MAX)
        self._pending = 0
        self._last_due = 0.0  # of those that keep their order
        self._latest_due = 0.0  # of all
        self._number = 0
        self._highest_sent = 0
        self._stalled: list[tuple[int, bytes]] = []
        self._is_empty = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()

    async def put(self, packet: bytes) -> None:
        """Takes a packet; waits while too many are on their way."""
        await self._room.acquire()
        self._number += 1
        self._pending += 1
        self._is_empty.clear()
        self._proxy.counts["packets"] += 1
        number, due = self._number, self._due(packet)
        timer: asyncio.TimerHandle | None = None

        def arrive() -> None:
            if timer is not None:
                self._timers.discard(timer)
            self._arrive(number, packet)

        timer = self._loop.call_at(due, arrive)
        self._timers.add(timer)

    def _due(self, packet: bytes) -> float:
        delays = self._proxy.delays
        due = self._loop.time() + self._chance.uniform(0, delays.delay_ms_max) / 1000
        is_held = self._chance.randrange(100) < delays.held_percent
        held_s = self._chance.uniform(0, delays.held_ms) / 1000
        if packet[0] >> 4 == _DISCONNECT:
            due = max(due, self._latest_due + _STEP_S)
        due = max(due, self._last_due + _STEP_S)
        if is_held and may_wait(packet):
            self._proxy.counts["held"] += 1
            due += held_s
        else:
            self._last_due = due
        self._latest_due = max(self._latest_due, due)
        return due

    def _arrive(self, number: int, packet: bytes) -> None:
        if self._proxy.is_stalled:
            self._stalled.append((number, packet))
            return
        self._proxy.counts["overtaken"] += number < self._highest_sent
        self._highest_sent = max(self._highest_sent, number)
        self._writer.write(packet)
        self._pending -= 1
        self._room.release()
        if not self._pending:
            self._is_empty.set()

    def resume(self) -> None:
        """Sends what waited for the end of a stall."""
        waiting, self._stalled = self._stalled, []
        for number, packet in waiting:
            self._arrive(number, packet)

    async def drain(self) -> None:
        """Waits until all has arrived."""
        if self._pending:
            await self._is_empty.wait()
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def drop(self) -> None:
        """The link is gone."""
        for timer in self._timers:
            timer.cancel()


def may_wait(packet: bytes) -> bool:
    """Whether others may overtake this packet: a PUBLISH of QoS 1."""
    return packet[0] >> 4 == _PUBLISH and packet[0] & _QOS_MASK == _QOS_1


async def read_packet(reader: asyncio.StreamReader) -> bytes:
    """The next MQTT packet; b"" at the end, and where a length is none (MQTT 5.0, 1.5.5)."""
    head = b""
    try:
        head = await reader.readexactly(1)
        length = shift = 0
        while True:
            one = await reader.readexactly(1)
            head += one
            length |= (one[0] & 0x7F) << shift
            shift += 7
            if not one[0] & 0x80:
                return head + await reader.readexactly(length)
            if len(head) > _LENGTH_BYTES_MAX:
                return b""
    except (asyncio.IncompleteReadError, OSError):
        return b""


async def _first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Runs both directions until one has ended: then the link has."""
    tasks = [asyncio.ensure_future(one) for one in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
