"""Seals what goes up at the moment it goes, gives it its counter, and counts its bytes."""

import logging
import sqlite3
from collections.abc import Callable
from typing import Any

from edge.clock import Clock
from edge.journal.damage import JournalReplacedError
from edge.journal.store import COUNTER_BLOCK, Journal
from edge.sync.allowance import Allowance
from edge.sync.identity import Identity
from edge.sync.transport import Transport
from protocols import topics
from protocols.envelope.claims import Claims
from protocols.envelope.keys import Use
from protocols.envelope.seal import BODY_SIZE_MAX, MESSAGE_SIZE_MAX, Context, seal
from protocols.envelope.suites import Provider
from protocols.messages import HEAD_END, MessageKind
from protocols.readings import TimeQuality

MEMO_SCOPE, MEMO_NAME = "uplink", "day"  # where the day's bytes outlive a restart

log = logging.getLogger("edge.sync")


class Sender:
    """The way up of one gateway. `call` runs a function of the journal in its writer's thread, and
    gives its result."""

    def __init__(
        self,
        identity: Identity,
        provider: Provider,
        journal: Journal,
        clock: Clock,
        bytes_per_day: int,
        call: Callable[..., Any],
        tell: Callable[..., None],
    ) -> None:
        self.transport: Transport  # given before the first message
        self.allowance = Allowance(bytes_per_day)
        self.bytes_sent = 0
        self._identity = identity
        self._provider = provider
        self._journal = journal
        self._clock = clock
        self._bytes_per_day = bytes_per_day
        self._call = call
        self._tell = tell
        self._epoch = b""
        self._counter = 0
        self._counter_end = 0

    def adopt(self, epoch: bytes) -> None:
        """What goes from now on belongs to this journal, and has counters of its own."""
        self._epoch = epoch
        self._counter = self._counter_end = 0

    def begin_day(self, saved: Any) -> None:
        """Goes on with the count that the memo holds."""
        self.allowance = Allowance(self._bytes_per_day, saved)

    def configure(self, bytes_per_day: int) -> None:
        """Another budget, from today on."""
        self._bytes_per_day = bytes_per_day
        self.begin_day(self.allowance.memo(is_exact=True))

    def packed(self, body: object) -> bytes | None:
        """The body compressed; None when the head end would not inflate it."""
        encoded = self._provider.encode(body)
        return self._provider.deflate(encoded) if len(encoded) <= BODY_SIZE_MAX else None

    def send(
        self, kind: MessageKind, body: bytes | None, is_backlog: bool | None = None
    ) -> int | None:
        """Seals and publishes. The message counter; 0 when there is no connection or, for rows, no
        room in the day's bytes; None when the message is too large."""
        if body is None:
            return None
        identity = self._identity
        topic = topics.Topic(identity.tenant, identity.gateway_id, kind.suffix).text()
        now = self._clock.utc_ms()
        counter = self._next_counter()
        claims = Claims(counter, now, 0, b"", self._epoch, kind.content_type)
        recipient = identity.trusted.current(HEAD_END, Use.OPEN, self.trusted_utc())
        context = Context(kind.name, identity.gateway_id, HEAD_END, topic)
        message = seal(
            self._provider, identity.signer, identity.signer_kid, recipient, context, claims, body
        )
        if len(message) > MESSAGE_SIZE_MAX:
            return None
        size = len(topic) + len(message)
        if is_backlog is not None and not self.allowance.fits(size, is_backlog):
            return 0
        if not self.transport.publish(topic, message):
            return 0
        self.bytes_sent += len(message)
        self.allowance.add(size)
        return counter

    def trusted_utc(self) -> int:
        """UTC when the clock can be trusted, else 0."""
        moment = self._clock.moment()
        return moment.utc_ms if moment.quality >= TimeQuality.NTP else 0

    def look_at_day(self) -> None:
        """A new UTC day has its own bytes."""
        self.allowance.look(self._clock.utc_ms(), self.trusted_utc() > 0)

    def keep_day(self) -> None:
        """Tells what was reached, and writes the count down ahead where that is due."""
        detail = self.allowance.news()
        if detail:
            self._tell("uplink-budget-spent", detail=detail)
        if self.allowance.is_unsaved:
            self._write_day(self.allowance.memo())

    def end(self) -> None:
        """Before an orderly stop: the count is kept as it is."""
        if self._bytes_per_day:
            self._write_day(self.allowance.memo(is_exact=True))

    def _next_counter(self) -> int:
        if self._counter >= self._counter_end:
            self._counter = self._call(self._journal.reserve_counters)
            self._counter_end = self._counter + COUNTER_BLOCK
        self._counter += 1
        return self._counter - 1

    def _write_day(self, memo: str) -> None:
        try:
            self._call(self._journal.set_memo, MEMO_SCOPE, MEMO_NAME, memo)
        except (sqlite3.Error, OSError, RuntimeError, JournalReplacedError) as error:
            # What is read now goes all the same; the next hundredth is written again.
            log.warning("day_unsaved reason=%r", str(error))
