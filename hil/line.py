"""A virtual half-duplex RS-485 line: a tty for the agent, stations that answer, and real time.

What is guaranteed:

* The agent opens `link`, a symlink to a pty. Everybody on the line hears everything but himself.
* Paced, a byte takes 11 bit times (8E1, as DL/T 645 demands). A request reaches the stations when
  its last bit would have left the agent's UART; each station waits its own response delay; the
  bytes of a reply come when they would be complete. All deadlines are absolute, so an error never
  adds up. Not paced, there is no wire time and no delay at all.
* Two who talk at once destroy each other: where their bytes differ, noise is heard. (A clean wired
  AND is no good: two answers can AND to a third frame with a good checksum.)
* One thread owns the line. The methods may be called from any thread and return when it is done.

A pty drops the parity flag and then refuses it on a second open: open the link with parity N.
"""

import math
import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from hil.faults import Fault, apply_faults
from hil.line_rate import byte_s, heard_at, tty_baud
from hil.pseudo_tty import LinkError, make_link, open_pty, read_waiting
from hil.station import ExternalStation, Station
from hil.transmission import Transmission, collide, transmission

CHUNK_S = 0.002  # a reply is written in pieces of this length: finer steps only cost wake-ups
SILENCE_BYTES = 3.5  # a longer pause ends a Modbus RTU frame
STOP_DEADLINE_S = 5.0


@dataclass
class LineStatistics:
    """Totals since the start. What a perfect master would need is `busy_s`; the efficiency of a
    sweep is its growth divided by the time that the sweep took."""

    requests: int = 0  # transmissions of the agent
    replies: int = 0
    bytes_out: int = 0  # from the agent
    bytes_in: int = 0  # to the agent, the echo left out
    wire_out_s: float = 0.0
    wire_in_s: float = 0.0
    response_delay_s: float = 0.0
    collisions: int = 0
    requests_early: int = 0  # inside the turn-around after a reply: nobody heard them
    bytes_dropped: int = 0  # the agent did not read
    last_byte_late_s_max: float = 0.0  # how late the last byte of a reply was written

    @property
    def busy_s(self) -> float:
        """Wire time both ways and the meters' response delays."""
        return self.wire_out_s + self.wire_in_s + self.response_delay_s


class Line:
    """A line at `baud`; `echo` returns the agent's own bytes; a request within `turnaround_s`
    after the last byte of a reply is lost. Faults, collisions and noise follow `seed`.

    Everybody talks and hears at `baud` but a station that was told another `line_rate` and, with
    `follows_tty`, the agent, whose rate is then that of its tty.
    """

    def __init__(
        self,
        link: Path,
        *,
        baud: int = 2400,
        paced: bool = True,
        echo: bool = False,
        turnaround_s: float = 0.0,
        seed: int = 0,
        follows_tty: bool = False,
    ) -> None:
        self.link = link
        self.baud = baud
        self.paced = paced
        self.echo = echo
        self.turnaround_s = turnaround_s
        self._follows_tty = follows_tty
        self._stations: list[Station] = []
        self._faults: list[Fault] = []
        self._rng = random.Random(seed)
        self._statistics = LineStatistics()
        self._live: list[Transmission] = []
        self._heard_until_s = 0.0  # end of the last transmission of anybody
        self._talker: Station | None = None  # of the last transmission
        self._request_end_s = 0.0
        self._reply_end_s = 0.0
        self._agent: tuple[int, int] | None = None  # master and the slave that we hold open
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._calls: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._thread: threading.Thread | None = None

    # --- what a test or a world does ---------------------------------------------------------

    def attach(self, station: Station) -> None:
        """Puts a station of this process on the line."""
        self._in_thread(lambda: self._stations.append(station))

    def attach_external(
        self,
        name: str,
        *,
        accepts: Callable[[bytes], bool] | None = None,
        delay_of: Callable[[bytes], float] = lambda request: 0.0,
    ) -> str:
        """Puts a station on the line that opens a tty; the path of it. `accepts` says whether a
        burst is one whole request for it, `delay_of` what response delay (s) that one gets."""
        station = ExternalStation(name, SILENCE_BYTES * byte_s(self.baud), accepts, delay_of)
        self.attach(station)
        return station.tty_path

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """Replaces the rules; the objects stay the caller's, to read `applied` from."""
        rules = list(faults)

        def change() -> None:
            self._faults = rules

        self._in_thread(change)

    def inject(self, noise: bytes) -> None:
        """Bytes that the agent hears now though nobody sent them."""
        self._in_thread(lambda: self._write(noise))

    def statistics(self) -> LineStatistics:
        """A copy of the totals."""
        copies: list[LineStatistics] = []
        self._in_thread(lambda: copies.append(replace(self._statistics)))
        return copies[0]

    def unplug(self) -> None:
        """Takes the adapter out: the agent's reads fail, and the link is gone."""
        self._in_thread(self._close_agent)

    def replug(self) -> None:
        """Puts an adapter in again: a new pty under the same link."""
        self._in_thread(self._open_agent)

    def start(self) -> None:
        """Makes the link and begins; LinkError when the link cannot be made."""
        self._open_agent()
        self._thread = threading.Thread(target=self._run, name=f"line {self.link}", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the line still carries bytes: a fault in a station ends its thread."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Ends the thread, removes the link and hangs up every tty. May be called twice."""
        if self._wake < 0:
            return
        self._stopping = True
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join(STOP_DEADLINE_S)
            self._thread = None
        self._close_agent()
        for station in self._externals():
            station.close()
        self._stations.clear()
        os.close(self._wake)
        self._wake = -1

    def __enter__(self) -> "Line":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- the line's own thread ---------------------------------------------------------------

    def _in_thread(self, call: Callable[[], None]) -> None:
        """Runs `call` where the line is owned, and waits for it."""
        if self._thread is None or self._thread is threading.current_thread():
            call()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001  # it is the caller's
                done.set_exception(error)
            else:
                done.set_result(None)

        with self._lock:
            self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        done.result(STOP_DEADLINE_S)

    def _run(self) -> None:
        while not self._stopping:
            externals = self._externals()
            sources = [self._wake, *(station.master for station in externals)]
            if self._agent is not None:
                sources.append(self._agent[0])
            # select, because poll and epoll round their time-outs to whole milliseconds.
            ready = select.select(sources, (), (), self._wait_s())[0]
            if self._wake in ready:
                os.eventfd_read(self._wake)
                with self._lock:
                    calls, self._calls = self._calls, []
                for call in calls:
                    call()
            if self._agent is not None and self._agent[0] in ready:
                self._hear_agent(read_waiting(self._agent[0]))
            for station in externals:
                if station.master in ready:
                    data = read_waiting(station.master)
                    self._schedule(station, station.response_delay_s, data, self.baud)
            self._advance()

    def _externals(self) -> list[ExternalStation]:
        return [station for station in self._stations if isinstance(station, ExternalStation)]

    def _wait_s(self) -> float | None:
        """Seconds until something is due; None for no limit."""
        if not self._live:
            return None
        due_s = min(
            min(one.end_s, one.start_s + one.written * one.step_s + max(CHUNK_S, one.step_s))
            if self._is_heard(one)
            else one.end_s
            for one in self._live
        )
        return max(0.0, due_s - time.monotonic())

    def _is_heard(self, one: Transmission) -> bool:
        """Whether the agent hears it."""
        return one.source is not None or self.echo

    def _rate_of(self, talker: Station | None) -> int:
        """At what rate somebody talks and hears; None is the agent. Only wire time has a rate."""
        if not self.paced:
            return self.baud
        if talker is not None:
            return getattr(talker, "line_rate", None) or self.baud
        if self._follows_tty and self._agent is not None:
            return tty_baud(self._agent[1], self.baud)
        return self.baud

    def _hear_agent(self, data: bytes) -> None:
        now_s = time.monotonic()
        if not data:
            return
        own = [one.end_s for one in self._live if one.source is None]
        baud = self._rate_of(None)
        start_s = max([now_s, *own])  # its UART sends one after the other
        begin = self._begin(None, start_s, data, baud)
        self._statistics.requests += not own
        self._statistics.bytes_out += len(data)
        self._statistics.wire_out_s += len(data) * byte_s(baud)
        if not own and now_s - self._reply_end_s < self.turnaround_s:
            self._statistics.requests_early += 1
            begin.data[:] = bytes(len(data))  # the driver of the last talker is still on

    def _schedule(self, station: Station, delay_s: float, reply: bytes, baud: int) -> None:
        """Puts an answer to the last request on the wire, faults included."""
        changed = apply_faults(self._faults, station.name, reply, self._rng) if reply else None
        if changed is None:
            return
        extra_s, data = changed
        now_s = time.monotonic()
        start_s = self._request_end_s + (delay_s if self.paced else 0.0)
        if self.paced or isinstance(station, ExternalStation):
            start_s = max(start_s, now_s)  # a slow station answers when it is ready
        # One after the other, but an answer that a fault made late does not hold up the next one.
        own = [one.end_s for one in self._live if one.source is station and one.start_s <= start_s]
        start_s = max([start_s, *own])
        self._statistics.replies += not own
        self._statistics.bytes_in += len(data)
        self._statistics.wire_in_s += len(data) * byte_s(baud)
        self._statistics.response_delay_s += max(0.0, start_s - self._request_end_s)
        self._begin(station, start_s + extra_s, data, baud)

    def _begin(
        self, source: Station | None, start_s: float, data: bytes, baud: int
    ) -> Transmission:
        new = transmission(source, start_s, data, baud, self.paced)
        for other in self._live:
            is_shared = self._is_heard(other) and self._is_heard(new)
            if other.source is not source and collide(other, new, self._rng, is_shared):
                self._statistics.collisions += 1
        self._live.append(new)
        return new

    def _advance(self) -> None:
        """Writes what is due to the agent, and delivers what is complete to the stations."""
        for one in sorted(self._live, key=lambda each: each.end_s):
            now_s = time.monotonic()
            if now_s < one.start_s:
                continue
            done = now_s >= one.end_s
            if self._is_heard(one):
                due = len(one.data) if done else int((now_s - one.start_s) / one.step_s)
                if due > one.written:
                    span = range(one.written, due)
                    sent = bytes(one.data[at] for at in span if at not in one.shared)
                    self._write(heard_at(sent, one.baud, self._rate_of(None), self._rng))
                    one.written = due
            if done:
                self._live.remove(one)
                self._complete(one, now_s)

    def _complete(self, one: Transmission, now_s: float) -> None:
        if one.source is None:
            self._request_end_s = one.end_s
        else:
            self._reply_end_s = one.end_s
            late_s = now_s - one.end_s
            self._statistics.last_byte_late_s_max = max(
                self._statistics.last_byte_late_s_max, late_s
            )
        gap_s = one.start_s - self._heard_until_s
        if not self.paced and one.source is not self._talker:
            gap_s = math.inf  # without wire time a change of talker must count as silence
        self._talker = one.source
        self._heard_until_s = one.end_s
        for station in self._stations:
            if station is not one.source:
                baud = self._rate_of(station)  # of the answer, even where it changes the rate
                heard = heard_at(bytes(one.data), one.baud, baud, self._rng)
                for delay_s, reply in station.feed(heard, gap_s):
                    self._schedule(station, delay_s, reply, baud)

    def _write(self, data: bytes) -> None:
        if self._agent is None:
            return
        try:
            written = os.write(self._agent[0], data)
        except BlockingIOError:
            written = 0
        self._statistics.bytes_dropped += len(data) - written

    # --- the agent's tty ---------------------------------------------------------------------

    def _open_agent(self) -> None:
        if self._agent is not None:
            return
        master, slave, path = open_pty()
        try:
            make_link(self.link, path)
        except (OSError, LinkError):
            os.close(master)
            os.close(slave)
            raise
        self._agent = (master, slave)

    def _close_agent(self) -> None:
        if self._agent is None:
            return
        master, slave = self._agent
        self._agent = None
        self._live.clear()
        if self.link.is_symlink() and str(self.link.readlink()) == os.ttyname(slave):
            self.link.unlink()
        os.close(master)
        os.close(slave)
