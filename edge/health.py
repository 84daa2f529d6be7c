"""What systemd is told: that the gateway is ready, how it does, and that it still makes progress.

* The watchdog is fed at half its time, and only when every line, the journal's writer and the
  uplink have made progress within their bounds. Then systemd restarts what hangs.
* Progress is that a mark changed: a line's turns and exchanges, a call that the writer carried out,
  a turn of the uplink. A broker that is away, a disk that refuses and meters that are silent are no
  lack of it.
* Without NOTIFY_SOCKET there is nobody to tell, and nothing runs.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from edge.collect.poller import LineWorker
from edge.line.budget import character_s
from edge.line.line import ANSWER_SIZE_MAX, Wire
from edge.sync.session import Session

LINE_MS_MIN = 30_000
WRITER_MS = 60_000  # a card may write for a while
UPLINK_MS = 90_000  # it waits for the writer for at most 60 s
STATUS_SIZE_MAX = 200
_REQUEST_SIZE_MAX = 300  # bytes, preamble included

log = logging.getLogger("edge.health")


class Part(NamedTuple):
    """What must make progress: a mark that changes while it does, and the longest time (ms) between
    two changes."""

    name: str
    mark: Callable[[], Hashable]
    bound_ms: Callable[[], int]


class Notifier:
    """Sends datagrams to systemd's socket; nothing without NOTIFY_SOCKET."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # An abstract name begins with a zero byte, which @ stands for.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._is_refused = False  # told once
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        wanted = environment.get("WATCHDOG_USEC", "")
        self.watchdog_ms = int(wanted) // 1000 if path and mine and wanted.isdecimal() else 0
        self.is_on = bool(path)

    def tell(self, *lines: str) -> None:
        """READY=1 and the like; a socket that refuses is logged once."""
        if not self.is_on:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
                one.setblocking(False)
                one.sendto("\n".join(lines).encode(), self._address)
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                log.warning("notify_refused reason=%r", str(error))
            self._is_refused = True


class Progress:
    """Who has made none for too long. Used by one thread."""

    def __init__(self, boot_ms: Callable[[], int]) -> None:
        self._boot_ms = boot_ms
        self._seen: dict[str, tuple[Hashable, int]] = {}  # name -> mark, since when

    def stuck(self, parts: list[Part]) -> list[str]:
        """One sentence for each part that stands still; a part that is new has its whole bound."""
        now = self._boot_ms()
        names = {part.name for part in parts}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        found = []
        for part in parts:
            mark = part.mark()
            before, since = self._seen.get(part.name, (None, now))
            if part.name not in self._seen or mark != before:
                self._seen[part.name] = (mark, now)
            elif now - since > part.bound_ms():
                found.append(f"{part.name} stands still for {(now - since) // 1000} s")
        return found


class WriterProbe:
    """The writer's mark: how many calls of ours it has carried out. `call` is `Writer.call`."""

    def __init__(self, call: Callable[..., Future[Any]]) -> None:
        self._call = call
        self._pending: Future[Any] | None = None
        self._carried_out = 0

    def mark(self) -> int:
        """Asks for the next one when the last is done."""
        if self._pending is not None and self._pending.done():
            self._carried_out += self._pending.exception() is None
            self._pending = None
        if self._pending is None:
            self._pending = self._call(lambda: None)
        return self._carried_out


def line_part(worker: LineWorker) -> Part:
    """A line goes on when its worker takes a turn or an exchange, or loses its port."""

    def mark() -> Hashable:
        counters = worker.line.counters
        return worker.progress_at, counters.exchanges, counters.port_losses

    def bound_ms() -> int:
        wires = (watch.wire for watch in list(worker.watches.values()))
        return max((LINE_MS_MIN, *map(_exchange_ms, wires)))

    return Part(f"line {worker.line.line_id}", mark, bound_ms)


def writer_part(probe: WriterProbe) -> Part:
    """The journal's writer goes on when it carries out a call, also while the disk refuses."""
    return Part("the journal's writer", probe.mark, lambda: WRITER_MS)


def session_part(session: Session) -> Part:
    """The uplink goes on when it ends a turn, connected or not."""
    return Part("the uplink", lambda: session.progress_at, lambda: UPLINK_MS)


def _exchange_ms(wire: Wire) -> int:
    """The longest exchange that such a wire allows."""
    characters_s = (_REQUEST_SIZE_MAX + ANSWER_SIZE_MAX) * character_s(*wire.characters)
    return round(1000 * characters_s) + (
        wire.response_timeout_ms + wire.gap_ms + wire.turnaround_ms
    )


class Health:
    """`parts` and `status` are asked at each look, by its own thread."""

    def __init__(
        self,
        notifier: Notifier,
        parts: Callable[[], list[Part]],
        status: Callable[[], str],
        boot_ms: Callable[[], int],
    ) -> None:
        self._notifier = notifier
        self._parts = parts
        self._status = status
        self._progress = Progress(boot_ms)
        self._withheld = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Everything runs: systemd may go on."""
        self._notifier.tell("READY=1", self._status_line())
        if self._notifier.watchdog_ms:
            self._thread.start()

    def stop(self) -> None:
        """The agent begins to stop."""
        self._stopping.set()
        self._notifier.tell("STOPPING=1", "STATUS=stopping")
        if self._thread.ident is not None:
            self._thread.join(1)

    def look(self) -> None:
        """Feeds the watchdog, or says why not."""
        stuck = self._progress.stuck(self._parts())
        if not stuck:
            self._withheld = ""
            self._notifier.tell("WATCHDOG=1", self._status_line())
            return
        reason = "; ".join(stuck)
        if not self._withheld:
            log.error("watchdog_withheld reason=%r", reason)
        self._withheld = reason
        self._notifier.tell("STATUS=" + reason[:STATUS_SIZE_MAX])

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                log.exception("look_failed")  # and the watchdog is not fed
            if self._stopping.wait(self._notifier.watchdog_ms / 2000):
                return

    def _status_line(self) -> str:
        return "STATUS=" + self._status()[:STATUS_SIZE_MAX].replace("\n", " ")
