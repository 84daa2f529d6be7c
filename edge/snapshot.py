"""What the running agent knows of itself, as plain data: the status, the tables and the metrics are
made of it. Instants are UTC ms, None stands for what is not known."""

import os
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect.poller import LineWorker
from edge.collect.watch import MeterWatch
from edge.journal.follow import Follower
from edge.journal.store import Journal
from edge.journal.writer import Writer
from edge.latency import OrderLatency
from edge.sync.session import Session
from protocols.readings import TIME_QUALITY_NAMES

UTILISATION_MS = 60_000  # over which a line's busy share is told
DRIFT_SCOPE = "meter-drift"  # memos: meter -> seconds that its clock is ahead of ours
_STATE_PATH = Path("/proc/self/statm")


class Parts(NamedTuple):
    """What is looked at."""

    gateway_id: str
    version: str
    clock: Clock
    journal: Journal
    writer: Writer
    session: Session
    workers: Callable[[], Iterable[LineWorker]]
    latency: OrderLatency
    configuration: Callable[[], dict[str, Any]]
    orders: Callable[[], dict[str, Any]]


class Snapshot:
    """Any thread may take one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()  # by kind, since the agent started
        self._counted = -1  # sequence up to which they are counted; -1: nothing yet
        self._epoch = b""
        self._busy: dict[str, deque[tuple[int, int]]] = {}  # line -> (boot ms, busy ms), rising

    def begin(self) -> None:
        """The journal is open: events are counted from here on."""
        self._from_journal()

    def take(self) -> dict[str, Any]:
        """Everything."""
        parts, clock = self._parts, self._parts.clock
        session, writer, outbox = parts.session, parts.writer, parts.session.outbox
        moment = clock.moment()
        told = self._from_journal()
        return {
            "gateway": parts.gateway_id,
            "version": parts.version,
            "utc_ms": moment.utc_ms,
            "clock_quality": TIME_QUALITY_NAMES[moment.quality],
            "clock_quality_level": moment.quality,
            "clock_error_ms": moment.error_ms,
            "clock_in_doubt": moment.is_in_doubt,
            "connected": session.is_connected,
            "memory_bytes": memory_bytes(),
            "events": told["events"],
            "orders": {**parts.latency.figures(), **parts.orders()},
            "configuration": parts.configuration(),
            "journal": {
                "head": writer.head,
                "epoch": parts.journal.epoch.hex(),
                "held_sets": writer.held_sets,
                "committed_sets": writer.sets_committed,
                "commits": writer.commits,
                "lost_sets": writer.sets_lost,
                "lost_events": writer.events_lost,
                "fill_percent": round(100 * writer.fill),
                "fill": round(writer.fill, 4),
                "trouble": writer.trouble,
                "is_in_trouble": bool(writer.trouble),
            },
            "uplink": {
                "backlog_sets": outbox.backlog,
                "backlog_age_ms": _age(moment.utc_ms, told["oldest_at"]),
                "acknowledged_sets": outbox.stored.count,
                "acknowledged_upto": outbox.stored.contiguous_from(1),
                "batches_in_flight": len(outbox.flights),
                "batches_sealed": session.batches_sealed,
                "batches_resent": outbox.resent_batches,
                "bytes_sent": session.sender.bytes_sent,
                "bytes_today": session.sender.allowance.bytes_today,
                "readings_sent": session.readings_sent,
                "refusals": dict(session.refusals),
            },
            "lines": [self._line(worker, moment.boot_ms) for worker in parts.workers()],
            "meters": self._meters(told["drifts"], moment.utc_ms),
        }

    def meters(self) -> list[dict[str, Any]]:
        """The rows of the meters."""
        return self._meters(self._from_journal()["drifts"], self._parts.clock.utc_ms())

    def summary(self) -> str:
        """One line for systemd's status."""
        session, workers = self._parts.session, list(self._parts.workers())
        watches = [watch for worker in workers for watch in worker.watches.values()]
        answering = sum(bool(watch.sweeps and not watch.failures) for watch in watches)
        down = sum(worker.is_down for worker in workers)
        backlog = session.outbox.backlog if session.outbox is not None else 0
        return (
            f"{answering} of {len(watches)} meters answer, {down} of {len(workers)} lines are down,"
            f" broker {'connected' if session.is_connected else 'NOT connected'},"
            f" backlog {backlog} sets"
        )

    def _meters(self, drifts: dict[str, Any], utc_ms: int) -> list[dict[str, Any]]:
        return [
            _meter(name, watch, drifts.get(name), utc_ms)
            for worker in self._parts.workers()
            for name, watch in worker.watches.items()
        ]

    def _line(self, worker: LineWorker, boot_ms: int) -> dict[str, Any]:
        line = worker.line
        return {
            "line": line.line_id,
            "open": line.is_open,
            "down": worker.is_down,
            "clock_jumps": worker.schedule.jumps,
            "utilisation": self._utilisation(line.line_id, boot_ms, line.counters.busy_ms),
            **asdict(line.counters),
        }

    def _utilisation(self, line_id: str, boot_ms: int, busy_ms: int) -> float:
        """The busy share since the youngest look that is UTILISATION_MS old, or the first one; 0 at
        the first."""
        with self._lock:
            looks = self._busy.setdefault(line_id, deque())
            if looks and busy_ms < looks[-1][1]:  # the line was built anew
                looks.clear()
            # Not each look is kept: many may ask at once.
            if not looks or boot_ms - looks[-1][0] >= UTILISATION_MS // 60:
                looks.append((boot_ms, busy_ms))
            while len(looks) > 1 and boot_ms - looks[1][0] >= UTILISATION_MS:
                looks.popleft()
            since, busy_before = looks[0]
        passed = boot_ms - since
        return round(min((busy_ms - busy_before) / passed, 1.0), 4) if passed > 0 else 0.0

    def _from_journal(self) -> dict[str, Any]:
        """What only the file tells; nothing of it while it cannot be read."""
        journal, outbox = self._parts.journal, self._parts.session.outbox
        oldest_at, drifts = None, {}
        try:
            with closing(Follower(journal.path)) as reader:
                drifts = reader.memos(DRIFT_SCOPE)
                self._count_events(reader)
                if outbox is not None and outbox.backlog > 0:
                    first = outbox.stored.contiguous_from(1) + 1
                    rows = reader.rows(first, first)
                    oldest_at = rows[0][1].read_at if rows else None
        except sqlite3.Error:  # the writer meets it too, and tells
            pass
        with self._lock:
            return {"oldest_at": oldest_at, "drifts": drifts, "events": dict(self._events)}

    def _count_events(self, reader: Follower) -> None:
        head = reader.event_head()
        with self._lock:
            if self._counted < 0:
                self._counted = head
            elif self._epoch != reader.epoch:
                self._counted = 0  # a new journal: all of it came since
            self._epoch = reader.epoch
            self._events.update(reader.event_counts(self._counted, head))
            self._counted = max(head, self._counted)


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        pages = int(_STATE_PATH.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _meter(name: str, watch: MeterWatch, drift: Any, utc_ms: int) -> dict[str, Any]:
    return {
        "meter": name,
        "line": watch.line_id,
        "protocol": watch.protocol,
        "edition": watch.driver.edition,  # of DL/T 645; 0: not known, or none
        "address": watch.driver.address,
        "period_s": watch.period_s,
        "state": _state(watch),
        "is_answering": bool(watch.sweeps and not watch.failures),
        "sweeps": watch.sweeps,
        "sweep_ms": watch.sweep_ms,
        "round_trip_ms": watch.round_trip_ms,
        "read_at": watch.read_at,
        "read_age_ms": _age(utc_ms, watch.read_at),
        "drift_s": drift if isinstance(drift, int | float) else None,
        "last_error": watch.last_error,
        "unsupported": sorted(watch.driver.unsupported),
        "readings": [reading.described() for reading in watch.shown()],
        **asdict(watch.driver.counters),
    }


def _state(watch: MeterWatch) -> str:
    if watch.failures:
        return "down" if watch.is_down else "silent"
    return "answering" if watch.sweeps else "waiting"


def _age(utc_ms: int, at: int | None) -> int | None:
    return max(utc_ms - at, 0) if at else None
