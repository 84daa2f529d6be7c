"""The one writer of the journal: group commits, and what happens when the disk is full.

* Reading sets are committed together: after `commit_sets` of them or `commit_interval_ms`,
  whichever comes first. Nothing is told upstream before its commit.
* Everything else that writes (acknowledgements, orders) is a call that runs in this thread and is
  committed before its future has a result.
* On a full or failing disk polling goes on. Reading sets wait in memory up to HELD_SETS_MAX;
  beyond that the oldest are dropped and counted. A ballast file is given up first, so that
  acknowledgements can still be recorded and acknowledged rows deleted; readings do not use up
  that space.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from edge.clock import Clock
from edge.journal.store import Journal
from protocols.readings import ReadingSet

HELD_SETS_MAX = 5_000  # reading sets in memory while the disk refuses; about 5 MB
CALLS_MAX = 1_000  # calls that wait; more means that the writer is stuck
RETRY_MS = 2_000  # between attempts on a disk that refused
HOUSEKEEPING_MS = 60_000
CROWDED = 0.8  # share of the journal's size above which acknowledged rows go early
_DAY_MS = 86_400_000
_NO_ROOM = "the space that is left is kept for acknowledgements"

Result = TypeVar("Result")
log = logging.getLogger("edge.journal")


class Writer:
    """Runs the journal in its own thread. `on_commit(head)` is called there after each commit."""

    def __init__(
        self,
        journal: Journal,
        settings: dict[str, Any],
        clock: Clock,
        on_commit: Callable[[int], None],
    ) -> None:
        self.journal = journal
        self.trouble = ""  # why the disk refuses, in words; "" while it does not
        self.sets_lost = 0
        self.sets_committed = 0
        self.commits = 0
        self.head = 0
        self.fill = 0.0
        self._commit_sets: int = settings["commit_sets"]
        self._interval_ms: int = settings["commit_interval_ms"]
        self._archive_ms: int = settings["archive_days"] * _DAY_MS
        self._ballast = Ballast(journal.path.parent / "ballast", settings["ballast_kb"] * 1024)
        self._clock = clock
        self._on_commit = on_commit
        self._held: deque[ReadingSet] = deque()
        self._oldest_at = 0
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._retry_at = 0
        self._housekeeping_at = 0
        self._thread = threading.Thread(target=self._run, name="journal")

    @property
    def held_sets(self) -> int:
        """Reading sets that wait for their commit."""
        return len(self._held)

    def start(self) -> None:
        """Opens the journal (errors pass to the caller) and starts the thread."""
        try:
            self.journal.open()
        except sqlite3.OperationalError:
            self._ballast.release()  # a start needs room too, and the disk may be full
            self.journal.open()
        self.head = self.journal.head()
        self._ballast.fill()
        self._thread.start()

    def stop(self) -> None:
        """Commits what is held, closes the journal and ends the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def submit(self, one: ReadingSet) -> None:
        """Takes a reading set; never blocks the line."""
        with self._wake:
            if not self._held:
                self._oldest_at = self._clock.boot_ms()
            self._held.append(one)
            if len(self._held) > HELD_SETS_MAX:
                self._held.popleft()
                self.sets_lost += 1
            if len(self._held) == 1 or len(self._held) >= self._commit_sets:
                self._wake.notify()

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
        with contextlib.suppress(sqlite3.Error):
            self.journal.close()

    def _wait_ms(self) -> int:
        if self._calls or self._stopping:
            return 0
        now = self._clock.boot_ms()
        waits = [self._housekeeping_at - now]
        if self._held:
            full = len(self._held) >= self._commit_sets
            due = now if full else self._oldest_at + self._interval_ms
            waits.append(max(due, self._retry_at) - now)
        return max(min(waits), 0)

    def work(self, everything: bool = False) -> None:
        """One turn: calls first, then the commit that is due, then housekeeping."""
        while self._calls:
            function, future = self._calls.popleft()
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001 - it is the caller's, who asked
                self.journal.roll_back()
                future.set_exception(error)
        now = self._clock.boot_ms()
        if self._held and now >= self._retry_at:
            due = len(self._held) >= self._commit_sets or now - self._oldest_at >= self._interval_ms
            if due or everything:
                self._commit()
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + HOUSEKEEPING_MS
            self._keep_house()

    def _commit(self) -> None:
        with self._wake:
            sets = list(self._held)
        try:
            if not self._ballast.room() and not self._purge(0.0):
                raise sqlite3.OperationalError(self.trouble or _NO_ROOM)
            head = self.journal.append(sets)
        except sqlite3.Error as error:
            self._meet_trouble(error)
            return
        with self._wake:
            # Sets dropped from the front meanwhile were in `sets`: they are committed all the same.
            taken = {id(one) for one in sets}
            while self._held and id(self._held[0]) in taken:
                self._held.popleft()
            self._oldest_at = self._clock.boot_ms()
        self.head = head
        self.commits += 1
        self.sets_committed += len(sets)
        if self.trouble:
            log.warning("journal_recovered head=%d held_sets=%d", head, len(sets))
            self.trouble = ""
        self._on_commit(head)

    def _meet_trouble(self, error: sqlite3.Error) -> None:
        if not self.trouble:
            log.error("journal_refused reason=%r held_sets=%d", str(error), len(self._held))
        self.trouble = str(error)
        self._retry_at = self._clock.boot_ms() + RETRY_MS
        self.journal.roll_back()
        self._ballast.release()
        self._purge(0.0)

    def _purge(self, fill: float) -> int:
        """Makes room from acknowledged rows while the journal is fuller than `fill`; 0 when there
        is nothing to delete or no room to do it."""
        try:
            return self.journal.purge(self._clock.utc_ms() - self._archive_ms, fill)
        except sqlite3.Error as error:
            self.journal.roll_back()
            if not self.trouble:  # which was told when it began, and is tried every RETRY_MS
                log.error("purge_failed reason=%r", str(error))
            return 0

    def _keep_house(self) -> None:
        if not self.trouble:
            self._purge(CROWDED)
            self._ballast.fill()
        self.fill = self.journal.fill()


class Ballast:
    """Space kept back on the disk, given up when it is full."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._is_kept = False  # told once, not at each attempt

    def fill(self) -> None:
        """Takes the space, if there is twice as much."""
        if not self._size or self._is_there() or self._free() < 2 * self._size:
            return
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            log.warning("ballast_refused reason=%r", error.strerror)
            self.release()

    def release(self) -> None:
        """Gives the space back, unless the disk refuses even that."""
        try:
            self._path.unlink(missing_ok=True)
            self._is_kept = False
        except OSError as error:
            if not self._is_kept:
                log.warning("ballast_kept reason=%r", error.strerror)
            self._is_kept = True

    def room(self) -> bool:
        """Whether readings may take space: the ballast lies there, or as much is free besides."""
        return not self._size or self._is_there() or self._free() > self._size

    def _is_there(self) -> bool:
        try:
            return self._path.exists()
        except OSError:
            return False

    def _free(self) -> int:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize
