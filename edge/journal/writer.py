"""The one writer of the journal: group commits, and what happens when the disk is full.

* Reading sets and events are committed together: after `commit_sets` of them or
  `commit_interval_ms`, whichever comes first. Nothing is told upstream before its commit.
* Everything else that writes (acknowledgements, orders) is a call that runs in this thread and is
  committed before its future has a result.
* On a full or failing disk polling goes on. Reading sets wait in memory up to HELD_SETS_MAX;
  beyond that the oldest are dropped and counted. A ballast file is given up first, so that
  acknowledgements can still be recorded and acknowledged rows deleted; readings do not use up
  that space.
* A journal that turns out to be damaged is put aside while the gateway runs: a new one with a new
  epoch begins, and what is held goes there.
"""

import contextlib
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from edge.clock import Clock
from edge.journal.ballast import Ballast
from edge.journal.damage import is_damage
from edge.journal.events import stamped
from edge.journal.held import Held, Slot
from edge.journal.housekeeping import HOUSEKEEPING_MS, Housekeeping
from edge.journal.opening import ASIDE, REASON
from edge.journal.starting import open_patiently
from edge.journal.store import Journal, Memo
from protocols.envelope.events import decode_events, encode_events
from protocols.errors import BusbarError
from protocols.events import Event
from protocols.readings import ReadingSet

HELD_SETS_MAX = 5_000  # reading sets in memory while the disk refuses; about 5 MB
CALLS_MAX = 1_000  # calls that wait; more means that the writer is stuck
RETRY_MS = 2_000  # between attempts on a disk that refused
RENEW_MS = 600_000  # between two journals put aside: a card that spoils all must not be filled
_DAY_MS = 86_400_000
_ASIDE_KIND = "journal-aside"
_ASIDE_TOLD = ((ASIDE, REASON, ""),)
_NO_ROOM = "the space that is left is kept for acknowledgements"

Result = TypeVar("Result")
log = logging.getLogger("edge.journal")


class Writer:
    """Runs the journal in its own thread. `on_commit(head)` is called there after each commit,
    `on_new_epoch()` after the journal was put aside and a new one began."""

    def __init__(
        self,
        journal: Journal,
        settings: dict[str, Any],
        clock: Clock,
        on_commit: Callable[[int], None],
        on_new_epoch: Callable[[], None] = lambda: None,
    ) -> None:
        self.journal = journal
        self.trouble = ""  # why the disk refuses, in words; "" while it does not
        self.sets_committed = 0
        self.commits = 0
        self.head = 0
        self.on_new_epoch = on_new_epoch
        self._commit_sets: int = settings["commit_sets"]
        self._interval_ms: int = settings["commit_interval_ms"]
        self._ballast = Ballast(journal.path.parent / "ballast", settings["ballast_kb"] * 1024)
        self._house = Housekeeping(
            journal, settings["archive_days"] * _DAY_MS, clock, self._event, self.note
        )
        self._clock = clock
        self._on_commit = on_commit
        self._held = Held()
        self._oldest_at = 0
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._retry_at = 0
        self._housekeeping_at = 0
        self._suspicion = ""  # that the file is damaged, and why
        self._renew_at = 0
        self._thread = threading.Thread(target=self._run, name="journal")

    @property
    def held_sets(self) -> int:
        """Reading sets that wait for their commit."""
        return len(self._held)

    @property
    def sets_lost(self) -> int:
        """Reading sets that memory could not hold."""
        return self._held.sets_lost

    @property
    def events_lost(self) -> int:
        """Events that memory could not hold."""
        return self._held.events_lost

    @property
    def fill(self) -> float:
        """Share of the journal's size that is in use, 0..1."""
        return self._house.fill

    @property
    def is_crowded(self) -> bool:
        """Whether the journal or its disk is so full that groups with instantaneous values only are
        not to be polled."""
        return self._house.is_full

    def configure(self, settings: dict[str, Any]) -> None:
        """New settings of [journal], while it runs."""
        self._commit_sets = settings["commit_sets"]
        self._interval_ms = settings["commit_interval_ms"]

        def change() -> None:
            self._ballast.resize(settings["ballast_kb"] * 1024)
            self._house.configure(settings["archive_days"] * _DAY_MS, settings["size_mb_max"])

        self.call(change)

    def start(self) -> None:
        """Opens the journal and starts the thread; JournalRefusedError when that can not be."""
        open_patiently(self.journal, self._ballast.release, self._clock.sleep)
        self.head = self.journal.head()
        if self.journal.untold_aside:
            self.note(self._event(_ASIDE_KIND, self.journal.untold_aside))
        self._ballast.fill()
        self._thread.start()

    def stop(self) -> None:
        """Commits what is held, closes the journal and ends the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def submit(self, one: ReadingSet, slot: Slot | None = None) -> None:
        """Takes a reading set, and the slot (task, UTC ms) that it is of: durable together. Never
        blocks the line."""
        with self._wake:
            if self._held.is_empty:
                self._oldest_at = self._clock.boot_ms()
            self._held.add(one, slot, HELD_SETS_MAX)
            if len(self._held) == 1 or len(self._held) >= self._commit_sets:
                self._wake.notify()

    def note(self, event: Event) -> None:
        """Takes an event; never blocks and never fails. One that the head end would refuse is a
        fault of ours, and must not hold up those behind it."""
        try:
            event = event.fitted()
            decode_events(encode_events([(1, event)], 1))
        except (BusbarError, TypeError) as error:
            log.error("event_refused kind=%r reason=%s", event.kind, error)
            return
        with self._wake:
            if self._held.is_empty:
                self._oldest_at = self._clock.boot_ms()
                self._wake.notify()
            self._held.note(event)

    def suspect(self, error: BaseException) -> None:
        """A reader met an error: if it speaks of damage, the file is examined."""
        if is_damage(error):
            with self._wake:
                self._suspicion = str(error)
                self._wake.notify()

    def keep(
        self,
        sets: Iterable[ReadingSet] = (),
        events: Iterable[Event] = (),
        memos: Iterable[Memo] = (),
    ) -> "Future[int]":
        """Commits these together, soon, and tells so like any commit; the highest sequence."""
        return self.call(self._keep, list(sets), list(events), list(memos))

    def _keep(self, sets: list[ReadingSet], events: list[Event], memos: list[Memo]) -> int:
        self.head = self.journal.append(sets, (), events, memos)
        self.commits += 1
        self.sets_committed += len(sets)
        self._on_commit(self.head)
        return self.head

    def call(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Runs `function(*arguments)` in the writer's thread, where the journal may be written."""
        future: Future[Result] = Future()
        with self._wake:
            if self._stopping or len(self._calls) >= CALLS_MAX:
                future.set_exception(RuntimeError("the journal takes no calls now"))
            else:
                self._calls.append((lambda: function(*arguments), future))
                self._wake.notify()
        return future

    def call_in(
        self, epoch: bytes, function: Callable[..., Result], *arguments: object
    ) -> Future[Result]:
        """The same on the journal of this epoch; JournalReplacedError when that was put aside."""

        def checked() -> Result:
            self.journal.require_epoch(epoch)
            return function(*arguments)

        return self.call(checked)

    # ---- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            with self._wake:
                wait_ms = self._wait_ms()
                if wait_ms > 0:
                    self._wake.wait(wait_ms / 1000)
            try:
                self.work()
            except Exception:
                # A fault of ours must not end the only writer; what is held is tried again.
                log.exception("turn_failed")
                self._retry_at = self._clock.boot_ms() + RETRY_MS
        self._retry_at = 0
        self.work(everything=True)
        self._house.stop()
        with contextlib.suppress(sqlite3.Error):
            self.journal.close()

    def _wait_ms(self) -> int:
        if self._calls or self._stopping:
            return 0
        now = self._clock.boot_ms()
        waits = [self._housekeeping_at - now]
        if self._suspicion:
            waits.append(self._retry_at - now)
        if not self._held.is_empty:
            full = len(self._held) >= self._commit_sets
            due = now if full else self._oldest_at + self._interval_ms
            waits.append(max(due, self._retry_at) - now)
        return max(min(waits), 0)

    def work(self, everything: bool = False) -> None:
        """One turn: calls first, then the commit that is due, then housekeeping."""
        now = self._clock.boot_ms()
        if self._suspicion and now >= self._retry_at:
            self._examine()
        self._run_calls()
        if not self._held.is_empty and now >= self._retry_at:
            due = len(self._held) >= self._commit_sets or now - self._oldest_at >= self._interval_ms
            if due or everything:
                self._commit()
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_MS
            self._keep_house()

    def _run_calls(self) -> None:
        while self._calls:
            function, future = self._calls.popleft()
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - it is the caller's, who asked
                self.journal.roll_back()
                self.suspect(error)
                future.set_exception(error)

    def _commit(self) -> None:
        with self._wake:
            taken = self._held.all()
            lost = self._losses()
        try:
            if not self._ballast.room() and not self._purge(0.0):
                raise sqlite3.OperationalError(self.trouble or _NO_ROOM)
            told = _ASIDE_TOLD if any(one.kind == _ASIDE_KIND for one in taken.events) else ()
            head = self.journal.append(taken.sets, taken.slots, [*taken.events, *lost], told)
        except sqlite3.Error as error:
            self._meet_trouble(error)
            return
        with self._wake:
            self._held.remove(taken)
            self._oldest_at = self._clock.boot_ms()
        self.head = head
        self.commits += 1
        self.sets_committed += len(taken.sets)
        if self.trouble:
            log.warning("journal_recovered head=%d held_sets=%d", head, len(taken.sets))
            self.note(self._event("disk-recovered", f"it had been: {self.trouble}"))
            self.trouble = ""
        self._on_commit(head)

    def _losses(self) -> list[Event]:
        """The events that tell of what memory could not hold."""
        sets, events = self._held.untold_sets, self._held.untold_events
        told = []
        if sets.sets:
            words = (
                f"{sets.sets} whole reading sets from {sets.first} to {sets.last} (UTC ms), which"
                " memory could not hold while the disk refused"
            )
            told.append(self._event("values-shed", words))
        if events:
            told.append(self._event("events-lost", f"{events} that memory could not hold"))
        return told

    def _event(self, kind: str, detail: str) -> Event:
        return stamped(self._clock, kind, detail)

    # ---- trouble --------------------------------------------------------------------------------

    def _meet_trouble(self, error: sqlite3.Error) -> None:
        if not self.trouble:
            log.error("journal_refused reason=%r held_sets=%d", str(error), len(self._held))
            self.note(self._event("disk-refuses", str(error)))
        self.trouble = str(error)
        self._retry_at = self._clock.boot_ms() + RETRY_MS
        self.journal.roll_back()
        self.suspect(error)
        self._ballast.release()
        self._purge(0.0)

    def _purge(self, fill: float) -> int:
        """Makes room from acknowledged rows while the journal is fuller than `fill`; 0 when there
        is nothing to delete or no room to do it."""
        try:
            return self._house.purge(fill)
        except sqlite3.Error as error:
            self._fail_house("purge_failed", error)
            return 0

    def _keep_house(self) -> None:
        try:
            wait_ms = self._house.turn(is_in_trouble=bool(self.trouble))
            self._housekeeping_at = self._clock.boot_ms() + wait_ms
            if self.trouble:
                return
            self._ballast.fill()
            before, self.head = self.head, self.journal.head()
            if self.head != before:  # salvaged
                self._on_commit(self.head)
        except sqlite3.Error as error:
            self._fail_house("housekeeping_failed", error)

    def _fail_house(self, what: str, error: sqlite3.Error) -> None:
        self.journal.roll_back()
        self.suspect(error)
        if not self.trouble:  # which was told when it began, and is tried every RETRY_MS
            log.error("%s reason=%r", what, str(error))

    def _examine(self) -> None:
        """Looks whether the file is damaged. If so, a new one goes on with what is held; if not,
        the disk erred, and the file stays."""
        now = self._clock.boot_ms()
        if self.journal.is_open:
            if now < self._renew_at or not self.journal.can_be_read():
                self._suspicion = ""
                return
            log.error("journal_suspect reason=%r", self._suspicion)
        epoch = self.journal.epoch
        self._house.stop()
        self.journal.abandon()
        try:
            self.journal.open(suspect=True)
        except (sqlite3.Error, OSError) as error:
            self._retry_at = now + RETRY_MS
            self.trouble = self.trouble or str(error)
            return
        self._suspicion = ""
        self._renew_at = now + RENEW_MS
        self.head = self.journal.head()
        if self.journal.epoch == epoch:
            return
        log.error("journal_put_aside reason=%r", self.journal.salvaged)
        self.note(self._event(_ASIDE_KIND, self.journal.salvaged))
        self.on_new_epoch()
