"""Sends the audit chain up: in order, one message under way, again when it is not acknowledged in
time, later each time."""

from collections.abc import Callable

from edge.journal.store import JournalReader
from edge.sync.outbox import PATIENCE_DOUBLINGS_MAX
from edge.sync.sender import Sender
from protocols.audit.chain import ENTRIES_MAX, AuditBatch
from protocols.messages import AUDIT


class AuditFlow:
    """The chain of one journal epoch. `first_hash` is the hash before its first entry."""

    def __init__(self, ack_timeout_ms: int, first_hash: Callable[[], bytes]) -> None:
        self.messages_resent = 0
        self._ack_timeout_ms = ack_timeout_ms
        self._first_hash = first_hash
        self._sent_upto = 0  # of the message under way; 0 for none
        self._sent_at = 0
        self._doublings = 0

    def send(self, reader: JournalReader, sender: Sender, now: int) -> None:
        """The next entries, if none are under way. The day's bytes do not hold them back: what was
        done to a meter must be provable today."""
        if self._sent_upto and now - self._sent_at <= self._ack_timeout_ms << self._doublings:
            return
        if self._sent_upto:
            self._sent_upto = 0
            self._doublings = min(self._doublings + 1, PATIENCE_DOUBLINGS_MAX)
            self.messages_resent += 1
        waiting = reader.audit_entries(ENTRIES_MAX)
        if not waiting.entries:
            return
        batch = AuditBatch(waiting.first, waiting.previous or self._first_hash(), waiting.entries)
        if sender.send(AUDIT, sender.packed(batch.to_body())):
            self._sent_upto, self._sent_at = waiting.first + len(waiting.entries) - 1, now

    def note_stored(self, upto: int) -> None:
        """The head end has all up to here."""
        self._doublings = 0
        if self._sent_upto <= upto:
            self._sent_upto = 0

    def note_lost(self) -> None:
        """Nothing is known of what was under way."""
        self._sent_upto = 0
