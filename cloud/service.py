"""The writer's thread: the only one that touches the database.

It takes messages into one transaction until there are enough or the first has waited long enough,
commits, and only then lets the broker forget them. When the database fails, it undoes, waits and
takes the same messages again; when our own code fails on a message, it takes them one by one, so
that one is counted as refused and the others are stored.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from cloud.clock import Clock
from cloud.configs.desk import ConfigDesk, ConfigRequest
from cloud.faults import fault_words
from cloud.ingest.acks import Publisher
from cloud.ingest.ingest import Ingest
from cloud.ingest.mailbox import (
    Connected,
    Disconnected,
    Event,
    Gone,
    Mailbox,
    Message,
    Published,
    Request,
    Starved,
    Stop,
)
from cloud.orders.desk import Desk, ReadRequest, Watcher
from cloud.orders.operations import Operations
from cloud.orders.persons import Person
from protocols.errors import CallerError
from protocols.orders.kinds import ORDER_KINDS

log = logging.getLogger("cloud.service")

TICK_MS = 1000  # expiry, and orders that wait for the broker
RETRY_MS = 1000  # after the database failed


class Service:
    """Ingest, order desk and configurations behind one mailbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        ingest: Ingest,
        desk: Desk,
        configs: ConfigDesk,
        publisher: Publisher,
        clock: Clock,
        commit_messages: int,
        commit_interval_ms: int,
    ) -> None:
        self._mailbox = mailbox
        self._ingest = ingest
        self._desk = desk
        self._operations = Operations(desk)
        self._configs = configs
        self._publisher = publisher
        self._clock = clock
        self._commit_messages = commit_messages
        self._commit_interval_ms = commit_interval_ms
        self._watched: dict[Watcher, bytes] = {}
        self._stopping = threading.Event()
        self.is_connected = False
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Until `Stop` comes. What ends it otherwise is in `failed`."""
        try:
            self.sweep()
            next_tick = self._clock.monotonic_ms() + TICK_MS
            while not self._stopping.is_set():
                wait_ms = next_tick - self._clock.monotonic_ms()
                if wait_ms <= 0:
                    self.sweep()
                    next_tick = self._clock.monotonic_ms() + TICK_MS
                    continue
                event = self._mailbox.take(wait_ms)
                if event is not None:
                    self.step(event)
        except BaseException as error:  # noqa: BLE001 -- told to the main thread, which ends us
            self.failed = error

    def step(self, event: Event) -> None:
        """Do what one event asks for; a message starts a group."""
        follow: Event | None = event
        while follow is not None:
            if isinstance(follow, Message):
                follow = self._take_group(follow)
            else:
                one, follow = follow, None
                self._safely(one)

    def sweep(self) -> None:
        """What time alone brings about."""
        self._transact(self._desk.sweep)
        self._transact(self._configs.sweep)
        if self.is_connected:
            self._dispatch()
            self._transact(self._configs.publish)

    def _dispatch(self) -> None:
        """Orders that are due: sealed and durable first, then handed out."""
        self._transact(self._desk.seal_due)
        self._transact(self._desk.publish_queued)

    def stop(self) -> None:
        """End `run` soon, from any thread; messages that wait stay with the broker."""
        self._stopping.set()
        self._mailbox.put(Stop())

    # ---- messages -------------------------------------------------------------------------------

    def _take_group(self, first: Message) -> Event | None:
        """Messages up to a full group, committed. Gives back an event that came in between."""
        group: list[Message] = []
        deadline = self._clock.monotonic_ms() + self._commit_interval_ms
        event: Event | None = first
        failed: Exception | None = None
        while isinstance(event, Message):
            group.append(event)
            if failed is None:
                failed = self._try_handle(event)
            event = None
            if len(group) < self._commit_messages and not self._stopping.is_set():
                event = self._mailbox.take(deadline - self._clock.monotonic_ms())
        if failed is None:
            failed = self._try_commit()
        done = group if failed is None else self._take_again(group, failed)
        for message in done:
            message.acknowledge()
        return event

    def _try_handle(self, message: Message) -> Exception | None:
        try:
            self._ingest.handle(message.topic, message.payload, message.retain)
        except Exception as error:  # noqa: BLE001 -- see the module's rules
            return error
        return None

    def _try_alone(self, message: Message) -> Exception | None:
        error = self._try_handle(message) or self._try_commit()
        if error is not None:
            self._ingest.rollback()
            log.error("commit_failed messages=1 error=%s", fault_words(error))
        return error

    def _refuse(self, message: Message) -> Exception | None:
        self._ingest.refuse_internal(message.topic)
        error = self._try_commit()
        if error is not None:
            self._ingest.rollback()
        return error

    def _try_commit(self) -> Exception | None:
        try:
            self._ingest.commit()
        except Exception as error:  # noqa: BLE001 -- see the module's rules
            return error
        return None

    def _take_again(self, group: list[Message], failed: Exception) -> list[Message]:
        """One by one, until each is stored or refused; those that are. Waits while the database can
        not write; what is left when the service stops stays with the broker."""
        self._ingest.rollback()
        log.error("commit_failed messages=%d error=%s", len(group), fault_words(failed))
        is_waiting = isinstance(failed, sqlite3.OperationalError)
        done: list[Message] = []
        for message in group:
            while True:
                if is_waiting and self._stopping.wait(RETRY_MS / 1000):
                    return done
                error = self._try_alone(message)
                is_waiting = isinstance(error, sqlite3.OperationalError)
                if error is not None and not is_waiting:
                    error = self._refuse(message)
                    is_waiting = error is not None
                if error is None:
                    break
            done.append(message)
        return done

    # ---- everything else ------------------------------------------------------------------------

    def _safely(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.is_connected = True
            self._desk.connected()
            self._transact(self._ingest.greet_all)
            self._dispatch()
            self._transact(self._configs.publish)
        elif isinstance(event, Disconnected):
            self.is_connected = False
            self._desk.connection_lost()
            self._configs.connection_lost()
        elif isinstance(event, Starved):
            self._publisher.renew()
        elif isinstance(event, Published):
            self._transact(lambda: self._desk.published(event.token))
        elif isinstance(event, Request):
            self._answer(event)
        elif isinstance(event, Gone):
            order_id = self._watched.pop(event.reply, None)
            if order_id is not None:
                self._desk.forget(order_id)

    def _answer(self, request: Request) -> None:
        operation = request.body.get("op")
        if operation == "status":
            request.reply({"status": self.status(), "final": True})
            return
        operations: dict[object, Callable[[Request], None]] = {
            "order_read": self._order_read,
            "config_send": self._config_send,
        }
        operations.update(dict.fromkeys(self._operations.names(), self._order_operation))
        try:
            if not isinstance(operation, str) or operation not in operations:
                raise CallerError(f"op must be {', '.join(map(str, operations))} or status")
            operations[operation](request)
        except CallerError as error:
            request.reply({"error": str(error), "final": True})

    def _order_read(self, request: Request) -> None:
        wanted = ReadRequest.from_json(request.body)
        by = ""
        if "person" in request.body:
            person = Person.from_json(request.body["person"])
            person.check_kind(ORDER_KINDS[wanted.action])
            by = person.party
        self._store("order", lambda: self._begin_order(wanted, request.reply, by))
        self._transact(self._desk.publish_queued)

    def _order_operation(self, request: Request) -> None:
        replies: list[dict[str, Any]] = []
        self._store("order", lambda: replies.append(self._operations.reply(request.body)))
        request.reply(replies[0])
        if self.is_connected:
            self._dispatch()

    def _config_send(self, request: Request) -> None:
        wanted = ConfigRequest.from_json(request.body)
        self._store("configuration", lambda: self._configs.send(wanted))
        request.reply({"version": wanted.version, "final": True})
        if self.is_connected:
            self._transact(self._configs.publish)

    def _store(self, what: str, work: Callable[[], object]) -> None:
        failed = self._transact(work)
        if isinstance(failed, CallerError):
            raise failed
        if failed is not None:
            raise CallerError(f"the {what} could not be stored; see the service's log")

    def _begin_order(self, wanted: ReadRequest, reply: Watcher, by: str) -> None:
        self._watched[reply] = self._desk.order_read(wanted, reply, by)

    def status(self) -> dict[str, Any]:
        """What `busbar-cloud status` shows of the running service."""
        return {
            "connected": self.is_connected,
            "queue": len(self._mailbox),
            "messages": self._ingest.counts["messages"],
            "sets": self._ingest.counts["sets"],
            "events": self._ingest.counts["events"],
            "duplicates": self._ingest.counts["duplicates"],
            "conflicts": self._ingest.counts["conflicts"],
            "refused": self._ingest.counts["refused"],
            "acks": self._ingest.counts["acks"],
        }

    def _transact(self, work: Callable[[], object]) -> Exception | None:
        """Do `work()` in a transaction of its own; what it raised, undone and logged."""
        try:
            work()
            self._ingest.commit()
        except CallerError as error:
            self._ingest.rollback()
            return error
        except Exception as error:  # noqa: BLE001 -- the service outlives every request
            self._ingest.rollback()
            log.error("work_failed error=%s", fault_words(error))
            return error
        return None
