"""One half-duplex line: one exchange at a time.

An exchange, step by step:

* the port is open, or is opened (with a growing pause between attempts);
* stale bytes are drained and counted: an answer that comes too late is never the next one's;
* the line has been silent for the turnaround;
* the request goes out; our own echo, if the adapter returns it, is dropped;
* bytes are fed to the conversation until it is complete, the answer does not begin within the
  response time-out, it stops for longer than the gap, or the whole takes longer than any answer
  can.

The last transcript is kept as evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from edge.line.budget import character_s
from edge.line.port import Port, PortLostError
from protocols.errors import LineError

ANSWER_SIZE_MAX = 512  # bytes, preamble and noise included, that one answer may take on the wire
FLOOD_SIZE_MAX = 4096  # bytes that end an exchange; no meter sends so much, a serial server may
STALE_READS_MAX = 64  # reads that drain a line before an exchange; more is a chattering line
REOPEN_MS_FIRST = 500
REOPEN_MS_MAX = 10_000


class NoAnswerError(LineError):
    """Nothing that answers the request came in time."""


class TooLateError(LineError):
    """What was to be sent holds no longer; it was not sent."""


class Wire(NamedTuple):
    """How one talks to a meter: the characters, and the patience. Meters of one line may differ."""

    baud: int  # bit/s
    parity: str  # "E", "N" or "O"
    stop_bits: int
    response_timeout_ms: int  # silence after a request before it counts as no answer
    gap_ms: int  # longest silence inside an answer
    turnaround_ms: int  # silence before a request

    @property
    def characters(self) -> tuple[int, str, int]:
        """Baud rate, parity and stop bits."""
        return self.baud, self.parity, self.stop_bits


class Conversation(Protocol):
    """One request and the bytes that answer it; pure."""

    request: bytes
    silence_characters: float
    drops_echo: bool

    def receive(self, data: bytes) -> bool:
        """Takes bytes; True when the answer is complete. Raises what the meter refuses."""

    def flush(self) -> bool:
        """The line fell silent: what stands behind a false start. True when that completes it."""


@dataclass
class LineCounters:
    """What happened on a line since the agent started."""

    exchanges: int = 0
    answers: int = 0
    silences: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    stale_bytes: int = 0
    echoes: int = 0
    port_losses: int = 0
    busy_ms: int = 0


class Line:
    """One line. Used by one thread; `transcript` is the last exchange's
    [(">" or "<", ms since its start, bytes), ...]."""

    def __init__(
        self,
        line_id: str,
        port: Port,
        wire: Wire,
        monotonic: Callable[[], float],
    ) -> None:
        self.line_id = line_id
        self.counters = LineCounters()
        self.transcript: list[tuple[str, int, bytes]] = []
        self.recording: list[tuple[str, int, bytes]] | None = None  # gathers transcripts while set
        self.may_send: Callable[[], bool] | None = None  # asked right before a request, while set
        self.round_trip_ms = 0  # what the last exchange took
        self.is_open = False
        self._is_stale = False  # open with other characters than the next exchange needs
        self._port = port
        self._set_wire(wire)
        self._now = monotonic  # seconds that never jump, finer than the clock's milliseconds
        self._silent_since = monotonic()
        self._started_at = 0.0
        self._reopen_ms = REOPEN_MS_FIRST
        self._reopen_at = 0.0

    def use(self, wire: Wire) -> None:
        """Talks like this from the next exchange on. Other characters open the port anew, with the
        next exchange: some drivers refuse to change the parity of an open one."""
        if wire == self._wire:
            return
        if wire.characters != self._wire.characters:
            self._port.configure(*wire.characters)
            self._is_stale = self.is_open
        self._set_wire(wire)

    def _set_wire(self, wire: Wire) -> None:
        self._wire = wire
        self._character_s = character_s(*wire.characters)
        self._response_timeout_s = wire.response_timeout_ms / 1000
        self._gap_s = wire.gap_ms / 1000
        self._turnaround_s = wire.turnaround_ms / 1000

    def converse(self, conversation: Conversation, turnaround_ms: int = 0) -> None:
        """Carries out one exchange. NoAnswerError or PortLostError when it failed on the wire;
        errors of the conversation pass through."""
        was_open = self.is_open
        self._ensure_open()
        try:
            try:
                self._prepare(conversation, turnaround_ms / 1000)
            except PortLostError:
                if not was_open:
                    raise
                self._call_again()
                self._prepare(conversation, turnaround_ms / 1000)
            self._exchange(conversation)
        except PortLostError:
            self._lose_port()
            raise
        finally:
            self._silent_since = self._now()
        self.counters.answers += 1

    def drain(self, seconds: float) -> None:
        """Listens for `seconds` and drops what comes: an answer that is late must not meet the next
        request where the protocol cannot tell them apart (Modbus has no sequence)."""
        deadline = self._now() + seconds
        try:
            while (left := deadline - self._now()) > 0:
                stale = self._port.read(left)
                if stale:
                    self.counters.stale_bytes += len(stale)
                    self._silent_since = self._now()
        except PortLostError:
            self._lose_port()
            raise

    def close(self) -> None:
        """Closes the port."""
        self._port.close()
        self.is_open = False

    def _ensure_open(self) -> None:
        if self.is_open and not self._is_stale:
            return
        if self._now() < self._reopen_at:
            raise PortLostError(f"line {self.line_id} waits before its port is opened again")
        try:
            if self._is_stale:
                self._port.close()
            self._port.open()
        except PortLostError:
            self._lose_port()
            raise
        finally:
            self._is_stale = False
        self.is_open = True
        self._reopen_ms = REOPEN_MS_FIRST

    def _call_again(self) -> None:
        """Opens the port anew, at once: whoever listens at a TCP port hangs up on an idle line, and
        nothing was asked yet that could be lost."""
        self._port.close()
        self._port.open()

    def _lose_port(self) -> None:
        self._port.close()
        self.is_open = False
        self.counters.port_losses += 1
        self._reopen_at = self._now() + self._reopen_ms / 1000
        self._reopen_ms = min(2 * self._reopen_ms, REOPEN_MS_MAX)

    def _prepare(self, conversation: Conversation, turnaround_s: float) -> None:
        silence = (
            max(turnaround_s, self._turnaround_s)
            + conversation.silence_characters * self._character_s
        )
        for _ in range(STALE_READS_MAX):
            stale = self._port.read(max(self._silent_since + silence - self._now(), 0))
            if not stale:
                return
            self.counters.stale_bytes += len(stale)
            self._silent_since = self._now()
        raise NoAnswerError(f"line {self.line_id} does not fall silent")

    def _exchange(self, conversation: Conversation) -> None:
        request = conversation.request
        if self.may_send is not None and not self.may_send():
            raise TooLateError("expired before it was sent")
        self.transcript = []
        self._started_at = self._now()
        self._port.write(request)
        self._note(">", request)
        self.counters.exchanges += 1
        self.counters.bytes_sent += len(request)
        try:
            self._listen(conversation, request)
        finally:
            self.round_trip_ms = round((self._now() - self._started_at) * 1000)
            self.counters.busy_ms += self.round_trip_ms
            if self.recording is not None:
                self.recording.extend(self.transcript)

    def _listen(self, conversation: Conversation, request: bytes) -> None:
        sent_at = self._started_at + len(request) * self._character_s
        deadline = sent_at + self._response_timeout_s
        limit = deadline + ANSWER_SIZE_MAX * self._character_s + self._gap_s
        echo = request if conversation.drops_echo else b""
        held = b""
        received = 0
        while True:
            wait = min(deadline, limit) - self._now()
            data = self._port.read(wait) if wait > 0 else b""
            if not data:
                if conversation.receive(held) if held else False:
                    return
                if conversation.flush():
                    return
                self.counters.silences += 1
                raise NoAnswerError(f"line {self.line_id}: no answer")
            self.counters.bytes_received += len(data)
            received += len(data)
            self._note("<", data)
            deadline = max(deadline, self._now() + self._gap_s)
            if echo:
                held, echo, data = self._strip_echo(held + data, echo)
            if data and conversation.receive(data):
                return
            if received > FLOOD_SIZE_MAX:
                self.counters.silences += 1
                raise NoAnswerError(f"line {self.line_id}: flooded")

    def _strip_echo(self, data: bytes, echo: bytes) -> tuple[bytes, bytes, bytes]:
        """(held back, echo still expected, bytes for the conversation)."""
        if data.startswith(echo):
            self.counters.echoes += 1
            return b"", b"", data[len(echo) :]
        if echo.startswith(data):
            return data, echo, b""
        return b"", b"", data

    def _note(self, direction: str, data: bytes) -> None:
        if self.transcript and self.transcript[-1][0] == direction:
            _, at, before = self.transcript[-1]
            self.transcript[-1] = (direction, at, before + data)
            return
        self.transcript.append((direction, round((self._now() - self._started_at) * 1000), data))
