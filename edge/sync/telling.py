"""Which receipts and events go next: arithmetic over what the journal says is not stored yet.

* Events go in order, EVENTS_MAX of a message and one message under way: the head end's word for
  them is one number, so nothing is gained by more.
* What is not acknowledged in time goes again; for events the patience doubles each time, as in the
  outbox.
"""

from edge.journal.events import EventRow
from edge.journal.orders import Receipt
from edge.journal.store import JournalReader
from edge.sync.outbox import PATIENCE_DOUBLINGS_MAX
from edge.sync.sender import Sender
from protocols.envelope.events import EVENTS_MAX, encode_events
from protocols.errors import CallerError
from protocols.events import Severity, severity_of
from protocols.messages import EVENT

RECEIPTS_PER_TURN = 256  # far above what is ever open, so that none waits behind an older one
EVENTS_AHEAD_MAX = 1_000  # looked through for an alarm, when nothing else may go


class EventFlow:
    """The events of one journal epoch."""

    def __init__(self, ack_timeout_ms: int, stored: int) -> None:
        self.stored = stored  # the head end has all up to here
        self.messages_resent = 0
        self._ack_timeout_ms = ack_timeout_ms
        self._most = EVENTS_MAX
        self._sent_upto = 0  # of the message under way; 0 for none
        self._sent_at = 0
        self._doublings = 0

    def next_rows(self, reader: JournalReader, now: int, only_alarms: bool) -> list[EventRow]:
        """The events of the next message; none while one is under way. With `only_alarms` they go
        only if an alarm is among those that wait: it can not pass those before it."""
        if self._sent_upto and now - self._sent_at <= self._ack_timeout_ms << self._doublings:
            return []
        if self._sent_upto:
            self._sent_upto = 0
            self._doublings = min(self._doublings + 1, PATIENCE_DOUBLINGS_MAX)
            self.messages_resent += 1
        if not only_alarms:
            return reader.events(self._most)
        rows = reader.events(EVENTS_AHEAD_MAX)
        alarms = [n for n, (_, one) in enumerate(rows) if severity_of(one.kind) == Severity.ALARM]
        return rows[: min(alarms[-1] + 1, self._most)] if alarms else []

    def send(self, reader: JournalReader, sender: Sender, now: int) -> int:
        """Sends the next message, if one may go; how many events went."""
        only_alarms = not sender.allowance.takes_live
        while rows := self.next_rows(reader, now, only_alarms):
            counter = sender.send(EVENT, sender.packed(encode_events(rows, rows[0][0])))
            if counter is not None:
                if counter:
                    self.note_sent(rows, now)
                return len(rows) if counter else 0
            if len(rows) == 1:
                raise CallerError(f"event {rows[0][0]} does not fit into a message")
            self.note_too_large(len(rows))
        return 0

    def note_sent(self, rows: list[EventRow], now: int) -> None:
        """A message with these is under way."""
        self._sent_upto, self._sent_at = rows[-1][0], now
        self._most = EVENTS_MAX

    def note_too_large(self, count: int) -> None:
        """So many do not fit into a message; one always does."""
        self._most = max(count // 2, 1)

    def note_stored(self, upto: int) -> None:
        """The head end has all up to here."""
        self._doublings = 0
        self.stored = max(self.stored, upto)
        if self._sent_upto <= self.stored:
            self._sent_upto = 0

    def note_lost(self) -> None:
        """Nothing is known of what was under way."""
        self._sent_upto = 0


class ReceiptFlow:
    """The receipts of orders, each on its own."""

    def __init__(self, ack_timeout_ms: int) -> None:
        self._ack_timeout_ms = ack_timeout_ms
        self._sent: dict[tuple[int, str], int] = {}  # -> boot ms

    def due(self, reader: JournalReader, now: int) -> list[Receipt]:
        """What was not sent yet, or too long ago."""
        waiting = reader.receipts(RECEIPTS_PER_TURN)
        open_now = {(counter, state) for counter, state, _ in waiting}
        self._sent = {key: at for key, at in self._sent.items() if key in open_now}
        return [
            one
            for one in waiting
            if now - self._sent.get(one[:2], now - self._ack_timeout_ms) >= self._ack_timeout_ms
        ]

    def note_sent(self, receipt: Receipt, now: int) -> None:
        """It is under way."""
        self._sent[receipt[0], receipt[1]] = now

    def note_connected(self) -> None:
        """Nothing is known of what was under way."""
        self._sent.clear()
