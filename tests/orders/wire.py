"""A broker between head end and gateway that a test may make lose, repeat, hold back and reorder
what passes; and the gateway's end of it."""

from collections.abc import Callable
from typing import NamedTuple

from cloud.ingest.acks import Outbound
from edge.sync.transport import Arrived, Connected, Disconnected
from protocols.topics import Topic


class Letter(NamedTuple):
    """A message that waits in the broker; `token` is what its sender wants to hear of it."""

    topic: str
    payload: bytes
    token: bytes = b""
    retained: bool = False

    @property
    def suffix(self) -> str:
        """Of its topic."""
        return Topic.from_text(self.topic).suffix


class Wire:
    """Both ways are lists that the test may change. It stands in for the head end's publisher."""

    def __init__(self) -> None:
        self.up: list[Letter] = []
        self.down: list[Letter] = []
        self.kept: list[Letter] = []  # delivered, and not taken: again with a new connection
        self.seen: list[Letter] = []  # all that ever went down
        self.is_up = True  # the head end's connection
        self.taken: list[bytes] = []  # tokens of what the broker took

    def publish(self, message: Outbound) -> bool:
        """As the head end's connection does."""
        return self._take(Letter(message.topic, message.payload))

    def publish_tracked(self, message: Outbound, token: bytes) -> bool:
        """And it hears when the broker has it."""
        return self._take(Letter(message.topic, message.payload, token))

    def renew(self) -> None:
        """Nothing to renew."""

    def _take(self, letter: Letter) -> bool:
        if self.is_up:
            self.down.append(letter)
            self.seen.append(letter)
            if letter.token:
                self.taken.append(letter.token)
        return self.is_up


class Station:
    """In the place of the gateway's `Transport`."""

    def __init__(self, wire: Wire, emit: Callable[[object], None]) -> None:
        self._wire = wire
        self._emit = emit
        self.is_connected = False

    def start(self) -> None:
        """Connects at once."""
        self.connect()

    def stop(self) -> None:
        """Leaves."""
        self.is_connected = False

    def connect(self) -> None:
        """The broker accepts us, and brings again what we did not take."""
        self.is_connected = True
        self._wire.down = self._wire.kept + self._wire.down
        self._wire.kept = []
        self._emit(Connected())

    def lose(self) -> None:
        """The connection is gone."""
        if self.is_connected:
            self.is_connected = False
            self._emit(Disconnected("lost"))

    def publish(self, topic: str, payload: bytes) -> bool:
        """False without a connection."""
        if self.is_connected:
            self._wire.up.append(Letter(topic, payload))
        return self.is_connected

    def arrive(self, letter: Letter, on_taken: Callable[[], None]) -> None:
        """A message comes down."""
        self._emit(Arrived(letter.topic, letter.payload, letter.retained, on_taken))
