"""A broker in the process, and the two ends that talk to it in the place of paho.

* QoS 1 and persistent sessions: what was not acknowledged comes again on the next connection.
* Each message has its own delay, so they overtake each other; a fault may lose, repeat or hold one
  back, the broker may forget what it held.
* A link that breaks half open takes messages and delivers none, until the keepalive tells.
"""

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from cloud.ingest import mailbox
from cloud.ingest.acks import Outbound
from edge.sync import transport
from protocols import topics
from tests.sim.scheduler import MS, SECOND, Process, Scheduler

RECEIVE_MAX = 8
_RETRY_NS = 100 * MS  # before a full queue at the other end is tried again


class Weather(NamedTuple):
    """How bad the network is: percentages, and delays in ms."""

    lost: int = 0
    repeated: int = 0
    held: int = 0
    delay_ms: int = 20
    held_ms: int = 30_000
    keepalive_s: int = 20


class _Held(NamedTuple):
    number: int
    topic: str
    payload: bytes
    is_retained: bool
    expires_ns: int


class _Session:
    """What the broker keeps for one client."""

    def __init__(self, wants: Callable[[str], bool]) -> None:
        self.wants = wants
        self.waiting: deque[_Held] = deque()
        self.in_flight: dict[int, _Held] = {}
        self.seen: set[int] = set()  # delivered before, to count what comes twice
        self.highest = 0
        self.link: Link | None = None


class Broker:
    """Carries messages between links. `weather` may change at any time."""

    def __init__(self, scheduler: Scheduler, chance: random.Random, marks: Counter[str]) -> None:
        self.scheduler = scheduler
        self.chance = chance
        self.marks = marks
        self.weather = Weather()
        self.is_up = True
        self.sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._number = 0

    def delay_ns(self) -> int:
        """Of one message on one hop."""
        return self.chance.randrange(MS, self.weather.delay_ms * 2 * MS)

    def happens(self, percent: int) -> bool:
        """Whether a fault of this likelihood strikes."""
        return percent > 0 and self.chance.randrange(100) < percent

    def accept(
        self, link: "Link", message: Outbound, retain: bool, taken: Callable[[bool], None]
    ) -> None:
        """A client publishes; `taken(somebody wants it)` is the PUBACK, if it comes."""
        wire = link.wire

        def arrive() -> None:
            if not link.is_through(wire):
                return
            if self.happens(self.weather.lost):
                self.marks["message_lost"] += 1
                wanted = True
            else:
                wanted = self._route(message, retain)
            self.scheduler.after(self.delay_ns(), lambda: link.is_through(wire) and taken(wanted))

        self.scheduler.after(self.delay_ns(), arrive)

    def connect(self, link: "Link", wants: Callable[[str], bool]) -> None:
        """A client's session goes on, or begins."""
        session = self.sessions.setdefault(link.client_id, _Session(wants))
        session.link = link
        again = [session.in_flight[number] for number in sorted(session.in_flight)]
        session.in_flight.clear()
        session.waiting.extendleft(reversed(again))
        for topic, payload in self._retained.items():
            if wants(topic):
                self._hold(session, topic, payload, True, 0)
        self.push(session)

    def forget(self) -> None:
        """The broker starts again without what it held, sessions included."""
        self.marks["broker_forgot"] += 1
        links = [session.link for session in self.sessions.values()]
        self.sessions.clear()
        for link in links:
            if link is not None:
                link.cut(is_seen=True)

    def will(self, topic: str, payload: bytes) -> None:
        """A client's last will, or its presence."""
        self._route(Outbound(topic, payload, 0), True)

    def acknowledge(self, link: "Link", wire: int, number: int) -> None:
        """A client has taken a message."""
        session = self.sessions.get(link.client_id)
        if session is not None and link.is_through(wire):
            session.in_flight.pop(number, None)
            self.push(session)

    def _route(self, message: Outbound, retain: bool) -> bool:
        if retain:
            self._retained[message.topic] = message.payload
        expires_ns = self.scheduler.now_ns + message.expiry_s * SECOND if message.expiry_s else 0
        wanted = False
        for session in self.sessions.values():
            if session.wants(message.topic):
                wanted = True
                self._hold(session, message.topic, message.payload, False, expires_ns)
                self.push(session)
        return wanted

    def _hold(
        self, session: _Session, topic: str, payload: bytes, is_retained: bool, expires_ns: int
    ) -> None:
        self._number += 1
        session.waiting.append(_Held(self._number, topic, payload, is_retained, expires_ns))

    def push(self, session: _Session) -> None:
        """Sends what may go."""
        link = session.link
        while link is not None and session.waiting and len(session.in_flight) < link.receive_max:
            held = session.waiting.popleft()
            if held.expires_ns and self.scheduler.now_ns > held.expires_ns:
                self.marks["message_expired"] += 1
                continue
            session.in_flight[held.number] = held
            copies = 1
            if self.happens(self.weather.repeated):
                self.marks["message_repeated"] += 1
                copies = 2
            for _ in range(copies):
                self._deliver(session, link, held)

    def _deliver(self, session: _Session, link: "Link", held: _Held) -> None:
        delay_ns = self.delay_ns()
        if self.happens(self.weather.held):
            self.marks["message_held"] += 1
            delay_ns += self.chance.randrange(self.weather.held_ms * MS)
        wire = link.wire

        def arrive() -> None:
            if not link.is_through(wire):
                return
            if not link.has_room():
                self.scheduler.after(_RETRY_NS, arrive)
                return
            if held.number in session.seen:
                self.marks["message_came_again"] += 1
            elif held.number < session.highest:
                self.marks["message_overtaken"] += 1
            session.seen.add(held.number)
            session.highest = max(session.highest, held.number)
            link.receive(held, lambda: self.acknowledge(link, wire, held.number))

        self.scheduler.after(delay_ns, arrive)


class Link:
    """One client's connection. `wire` numbers its connections: what belongs to an old one is
    void."""

    receive_max = RECEIVE_MAX

    def __init__(self, broker: Broker, process: Process, client_id: str, retry_s_max: int) -> None:
        self.client_id = client_id
        self.wire = 0
        self.believes = False  # that it is connected
        self._broker = broker
        self._scheduler = broker.scheduler
        self._process = process
        self._is_open = False  # bytes do pass
        self._retry_s = 1
        self._retry_s_max = retry_s_max
        self._has_stopped = False

    def start(self) -> None:
        """Connects, again and again."""
        self._scheduler.after(self._broker.delay_ns(), self._connect)

    def stop(self) -> None:
        """Goes away for good."""
        self._has_stopped = True
        self.cut(is_seen=True)

    def is_through(self, wire: int) -> bool:
        """Whether bytes of that connection pass."""
        return self._is_open and wire == self.wire and not self._process.is_dead

    def cut(self, is_seen: bool) -> None:
        """The connection breaks; not seen, the client believes in it until the keepalive tells."""
        if not self.believes:
            return
        wire = self.wire
        self._is_open = False
        session = self._broker.sessions.get(self.client_id)
        if session is not None and session.link is self:
            session.link = None
        self._last_will()
        if is_seen:
            self._lose(wire)
        else:
            self._broker.marks["link_half_open"] += 1
            wait_ns = self._broker.weather.keepalive_s * SECOND
            self._scheduler.after(wait_ns, lambda: self._lose(wire))

    def _connect(self) -> None:
        if self._process.is_dead or self._has_stopped or self.believes:
            return
        if not self._broker.is_up:
            self._retry()
            return
        self.wire += 1
        self.believes = self._is_open = True
        self._retry_s = 1
        self._broker.connect(self, self.wants)
        self.connected()

    def _lose(self, wire: int) -> None:
        if self._process.is_dead or not self.believes or wire != self.wire:
            return
        self.believes = self._is_open = False
        self.lost()
        self._retry()

    def _retry(self) -> None:
        wait_s = self._broker.chance.uniform(0, self._retry_s)
        self._retry_s = min(2 * self._retry_s, self._retry_s_max)
        self._scheduler.after(round(wait_s * SECOND) + MS, self._connect)

    def _last_will(self) -> None:
        """What the broker tells when the connection breaks."""

    def wants(self, topic: str) -> bool:
        """Its subscriptions."""
        raise NotImplementedError

    def connected(self) -> None:
        """Tells the product."""
        raise NotImplementedError

    def lost(self) -> None:
        """Tells the product."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Whether the product takes a message now."""
        return True

    def receive(self, held: _Held, acknowledge: Callable[[], None]) -> None:
        """Hands a message to the product."""
        raise NotImplementedError


class GatewayLink(Link):
    """The production interface `edge.sync.transport.Transport`."""

    def __init__(
        self,
        broker: Broker,
        process: Process,
        settings: dict[str, Any],
        client_id: str,
        subscriptions: tuple[str, ...],
        presence_topic: str,
        emit: Callable[[object], None],
        queue: Any,
    ) -> None:
        super().__init__(broker, process, client_id, settings["reconnect_s_max"])
        self._subscriptions = subscriptions
        self._presence = presence_topic
        self._emit = emit
        self._queue = queue

    def publish(self, topic: str, payload: bytes) -> bool:
        """As the real one."""
        self._process.step("publish")
        if not self.believes:
            return False
        self._broker.accept(self, Outbound(topic, payload, 0), False, self._taken)
        return True

    def wants(self, topic: str) -> bool:
        return topic in self._subscriptions

    def connected(self) -> None:
        self._broker.will(self._presence, b"on")
        self._tell(transport.Connected())

    def lost(self) -> None:
        self._tell(transport.Disconnected("lost"))

    def has_room(self) -> bool:
        return not self._queue.full()

    def receive(self, held: _Held, acknowledge: Callable[[], None]) -> None:
        process = self._process

        def tell_broker() -> None:
            process.step("acknowledge")
            acknowledge()

        self._tell(transport.Arrived(held.topic, held.payload, held.is_retained, tell_broker))

    def _taken(self, is_wanted: bool) -> None:
        if not is_wanted:
            self._broker.marks["publish_refused"] += 1
            self._tell(transport.Refused("no subscriber"))

    def _tell(self, event: object) -> None:
        if not self._process.is_dead:
            self._emit(event)

    def _last_will(self) -> None:
        self._broker.will(self._presence, b"off" if self._has_stopped else b"lost")


class HeadEndLink(Link):
    """The production interface `cloud.ingest.source.MqttSource`."""

    def __init__(
        self, broker: Broker, process: Process, tenant: str, receive_max: int, box: mailbox.Mailbox
    ) -> None:
        super().__init__(broker, process, f"busbar-head-end-{tenant}", 60)
        self.receive_max = receive_max
        self._root = f"busbar/{topics.VERSION}/{tenant}/"
        self._box = box
        self._is_starved = False

    def publish(self, message: Outbound) -> bool:
        """As the real one."""
        return self._publish(message, lambda wanted: None)

    def publish_tracked(self, message: Outbound, token: bytes) -> bool:
        """As the real one."""
        return self._publish(message, lambda wanted: self._box.put(mailbox.Published(token)))

    def renew(self) -> None:
        """As the real one."""
        self.cut(is_seen=True)

    def _publish(self, message: Outbound, taken: Callable[[bool], None]) -> bool:
        self._process.step("publish")
        if not self.believes:
            return False
        self._broker.accept(self, message, False, taken)
        return True

    def wants(self, topic: str) -> bool:
        suffixes = (topics.DATA, topics.RECEIPTS, topics.HELLO, topics.PRESENCE)
        return topic.startswith(self._root) and topic.endswith(suffixes)

    def connected(self) -> None:
        self._is_starved = False
        self._box.put(mailbox.Connected())

    def lost(self) -> None:
        self._box.put(mailbox.Disconnected())

    def receive(self, held: _Held, acknowledge: Callable[[], None]) -> None:
        process = self._process

        def tell_broker() -> None:
            process.step("acknowledge")
            acknowledge()

        message = mailbox.Message(held.topic, held.payload, held.is_retained, tell_broker)
        if not self._box.put_message(message) and not self._is_starved:
            self._broker.marks["mailbox_starved"] += 1
            self._is_starved = True
            self._box.put(mailbox.Starved())
