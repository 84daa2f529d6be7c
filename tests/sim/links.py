"""The two ends that talk to the broker in the place of paho: connections break, seen or not."""

from collections.abc import Callable
from typing import Any

from cloud.ingest import mailbox
from cloud.ingest.acks import Outbound
from cloud.ingest.source import SUBSCRIBED
from edge.sync import transport
from protocols import topics
from tests.sim.broker import Broker, Held
from tests.sim.scheduler import MS, SECOND, Process

RECEIVE_MAX = 8


class Lane:
    """One direction of one connection."""

    def __init__(self) -> None:
        self.last_ns = 0  # when the last message that is on its way comes
        self._entered = 0
        self._highest = 0

    def enter(self) -> int:
        """The number of one more message."""
        self._entered += 1
        return self._entered

    def leave(self, number: int) -> bool:
        """Whether a later one came before this one."""
        self._highest = max(self._highest, number)
        return number < self._highest


class Link:
    """One client's connection. `wire` numbers its connections: what belongs to an old one is
    void."""

    receive_max = RECEIVE_MAX

    def __init__(self, broker: Broker, process: Process, client_id: str, retry_s_max: int) -> None:
        self.client_id = client_id
        self.wire = 0
        self.believes = False  # that it is connected
        self.up, self.down = Lane(), Lane()
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
        self.up, self.down = Lane(), Lane()
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

    def receive(self, held: Held, acknowledge: Callable[[], None]) -> None:
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

    def receive(self, held: Held, acknowledge: Callable[[], None]) -> None:
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
        return topic.startswith(self._root) and topic.endswith(SUBSCRIBED)

    def connected(self) -> None:
        self._is_starved = False
        self._box.put(mailbox.Connected())

    def lost(self) -> None:
        self._box.put(mailbox.Disconnected())

    def receive(self, held: Held, acknowledge: Callable[[], None]) -> None:
        process = self._process

        def tell_broker() -> None:
            process.step("acknowledge")
            acknowledge()

        message = mailbox.Message(held.topic, held.payload, held.is_retained, tell_broker)
        if not self._box.put_message(message) and not self._is_starved:
            self._broker.marks["mailbox_starved"] += 1
            self._is_starved = True
            self._box.put(mailbox.Starved())
