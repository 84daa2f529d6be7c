"""A broker in the process.

* QoS 1 and persistent sessions: what was not acknowledged comes again on the next connection.
* Each message has its own delay. In orderly weather none overtakes another of its connection and
  direction, unless it is held back or its receiver was full; else they come in any order. A fault
  may lose, repeat or hold one back, or carry a copy to another gateway's topic; the broker may
  forget what it held.
* A link that breaks half open takes messages and delivers none, until the keepalive tells.
"""

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cloud.ingest.acks import Outbound
from protocols import topics
from tests.sim.scheduler import MS, SECOND, Scheduler

if TYPE_CHECKING:
    from tests.sim.links import Lane, Link

_RETRY_NS = 100 * MS  # before a full queue at the other end is tried again
DELAYED_NS = 2 * SECOND  # on one hop: longer than any storm makes it


class Weather(NamedTuple):
    """How bad the network is: percentages, and delays in ms."""

    lost: int = 0
    repeated: int = 0
    held: int = 0
    delay_ms: int = 20
    held_ms: int = 30_000
    keepalive_s: int = 20
    misrouted: int = 0
    is_ordered: bool = True


class Held(NamedTuple):
    number: int
    topic: str
    payload: bytes
    is_retained: bool
    expires_ns: int


class _Session:
    """What the broker keeps for one client."""

    def __init__(self, wants: Callable[[str], bool]) -> None:
        self.wants = wants
        self.waiting: deque[Held] = deque()
        self.in_flight: dict[int, Held] = {}
        self.seen: set[int] = set()  # delivered before, to count what comes twice
        self.highest = 0
        self.link: Link | None = None


class Broker:
    """Carries messages between links. `weather` may change at any time."""

    def __init__(
        self,
        scheduler: Scheduler,
        chance: random.Random,
        marks: Counter[str],
        gateways: tuple[str, ...],
    ) -> None:
        self.scheduler = scheduler
        self.gateways = gateways
        self.chance = chance
        self.marks = marks
        self.weather = Weather()
        self.leaves: Callable[[bytes], None] = lambda message: None
        self.is_up = True
        self.sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._number = 0

    def delay_ns(self) -> int:
        """Of one message on one hop."""
        delay_ns = self.chance.randrange(MS, self.weather.delay_ms * 2 * MS)
        self.marks["message_delayed"] += delay_ns > DELAYED_NS
        return delay_ns

    def happens(self, percent: int) -> bool:
        """Whether a fault of this likelihood strikes."""
        return percent > 0 and self.chance.randrange(100) < percent

    def accept(
        self, link: "Link", message: Outbound, retain: bool, taken: Callable[[bool], None]
    ) -> None:
        """A client publishes; `taken(somebody wants it)` is the PUBACK, if it comes."""
        self.leaves(message.payload)
        wire = link.wire
        lane = link.up
        number = lane.enter()

        def arrive() -> None:
            if not link.is_through(wire):
                return
            self.marks["publish_overtaken"] += lane.leave(number)
            if self.happens(self.weather.lost):
                self.marks["message_lost"] += 1
                wanted = True
            else:
                wanted = self._route(message, retain)
            self.scheduler.after(self.delay_ns(), lambda: link.is_through(wire) and taken(wanted))

        self.scheduler.after(self._in_turn(lane), arrive)

    def _in_turn(self, lane: "Lane") -> int:
        """The delay of the next message on its way: behind the ones before it, or not."""
        due_ns = self.scheduler.now_ns + self.delay_ns()
        if self.weather.is_ordered:
            due_ns = max(due_ns, lane.last_ns + 1)
        lane.last_ns = max(due_ns, lane.last_ns)
        return due_ns - self.scheduler.now_ns

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
        wanted = self._offer(message.topic, message.payload, expires_ns)
        if not retain and self.happens(self.weather.misrouted):
            self._misroute(message, expires_ns)
        return wanted

    def _offer(self, topic: str, payload: bytes, expires_ns: int) -> bool:
        wanted = False
        for session in self.sessions.values():
            if session.wants(topic):
                wanted = True
                self._hold(session, topic, payload, False, expires_ns)
                self.push(session)
        return wanted

    def _misroute(self, message: Outbound, expires_ns: int) -> None:
        """A copy comes under the topic of another gateway."""
        topic = topics.Topic.from_text(message.topic)
        others = [one for one in self.gateways if one != topic.gateway]
        if others:
            other = topics.Topic(topic.tenant, self.chance.choice(others), topic.suffix)
            self.marks["message_misrouted"] += self._offer(
                other.text(), message.payload, expires_ns
            )

    def _hold(
        self, session: _Session, topic: str, payload: bytes, is_retained: bool, expires_ns: int
    ) -> None:
        self._number += 1
        session.waiting.append(Held(self._number, topic, payload, is_retained, expires_ns))

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

    def _deliver(self, session: _Session, link: "Link", held: Held) -> None:
        delay_ns = self._in_turn(link.down)
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
