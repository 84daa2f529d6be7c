"""`busbar-hil record`: stands between a gateway and a real port, and writes down what passes.

* The gateway opens a pty under the link; every byte passes both ways unchanged and at once.
* An event ends with a silence of more than 3.5 characters (20 ms at least), with the other
  direction, or at its largest size. It is in the file as soon as it has ended.
* A file that has reached its limits gets no more events; bytes still pass, so the gateway never
  suffers from being watched.

It knows no protocol.
"""

import json
import os
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import serial

from hil.pseudo_tty import read_waiting
from hil.transcript import (
    EVENT_SIZE_MAX,
    EVENTS_MAX,
    FILE_SIZE_MAX,
    MS_MAX,
    TO_MASTER,
    TO_METER,
    Event,
    event_line,
    head_lines,
    silence_s,
)
from hil.tty_link import linked_pty, stop_signals, wait_readable, write_all
from protocols.errors import LineError, SettingError

READ_SIZE_MAX = 4096  # bytes a read takes at once

Tell = Callable[[str], None]


class Recording:
    """Bytes with times in, events out: to a file whose head is written already, `size` bytes long.

    Times are seconds of any clock that never jumps; `started_s` is the transcript's zero.
    """

    def __init__(self, out: TextIO, size: int, started_s: float, pause_s: float) -> None:
        self.events = 0
        self.is_full = False
        self._out = out
        self._size = size
        self._started_s = started_s
        self._pause_s = pause_s
        self._direction = ""
        self._data = b""
        self._begun_s = self._last_s = started_s

    def note(self, direction: str, data: bytes, now_s: float) -> None:
        """Takes bytes that came at `now_s`."""
        if direction != self._direction or now_s - self._last_s > self._pause_s:
            self.end_event()
        while data:
            if len(self._data) == EVENT_SIZE_MAX:
                self.end_event()
            if not self._data:
                self._direction, self._begun_s = direction, now_s
            room = EVENT_SIZE_MAX - len(self._data)
            self._data, data = self._data + data[:room], data[room:]
        self._last_s = now_s

    def quiet_at(self) -> float | None:
        """When the event that has begun ends, if nothing comes; None when none has begun."""
        return self._last_s + self._pause_s if self._data else None

    def end_event(self) -> None:
        """Writes what has begun, whole."""
        if not self._data:
            return
        ms = int((self._begun_s - self._started_s) * 1000)
        line = event_line(Event(ms, self._direction, self._data))
        self._data = b""
        self._size += len(line)
        if ms > MS_MAX or self.events == EVENTS_MAX or self._size > FILE_SIZE_MAX:
            self.is_full = True
        if not self.is_full:
            self.events += 1
            self._out.write(line)
            self._out.flush()


def open_port(url: str, baud: int, parity: str) -> serial.SerialBase:
    """The real port: a device path or socket://. LineError when it cannot be opened."""
    exclusive = {} if "://" in url else {"exclusive": True}
    try:
        port = serial.serial_for_url(url, baudrate=baud, parity=parity, timeout=0, **exclusive)
    except (OSError, ValueError, termios.error) as error:
        raise LineError(f"{url} cannot be opened: {error}") from None
    try:
        port.fileno()
    except (OSError, AttributeError):
        port.close()
        raise LineError(
            f"{url} cannot be recorded; it must be a device path or socket://"
        ) from None
    return port


def copy(
    port: serial.SerialBase, link: Path, stop: int, recording: Recording, ready: Callable[[], None]
) -> int:
    """Lets bytes pass between `port` and `link` until `stop` can be read; how many the gateway did
    not take. LineError when the port goes away."""
    lost = 0
    with linked_pty(link) as master:
        ready()
        try:
            while True:
                quiet_s = recording.quiet_at()
                wait_s = None if quiet_s is None else quiet_s - time.monotonic()
                readable = wait_readable([stop, master, port.fileno()], wait_s)
                if stop in readable:
                    return lost
                now_s = time.monotonic()
                if master in readable:
                    asked = read_waiting(master)
                    _write(port, asked)  # first: a slow disk must not hold it up
                    recording.note(TO_METER, asked, now_s)
                if port.fileno() in readable:
                    said = _read(port)
                    lost += write_all(master, said)
                    recording.note(TO_MASTER, said, now_s)
                quiet_s = recording.quiet_at()
                if not readable and quiet_s is not None and time.monotonic() > quiet_s:
                    recording.end_event()
        finally:
            recording.end_event()


def _read(port: serial.SerialBase) -> bytes:
    try:
        data: bytes = port.read(READ_SIZE_MAX)
    except (OSError, termios.error) as error:
        raise LineError(f"{port.port} went away: {error}") from None
    if not data:
        raise LineError(f"{port.port} went away: readable and empty")
    return data


def _write(port: serial.SerialBase, data: bytes) -> None:
    try:
        port.write(data)
    except (OSError, termios.error) as error:
        raise LineError(f"{port.port} went away: {error}") from None


def run(url: str, link: Path, out: Path, baud: int, parity: str) -> int:
    """Records until Ctrl-C or SIGTERM; 0, or 1 when the file became full. SettingError when `out`
    is there already, LineError when the port cannot be opened or goes away."""
    headers = {
        "port": url,
        "baud": str(baud),
        "parity": parity,
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    head = head_lines(headers)
    with stop_signals() as stop, closing(open_port(url, baud, parity)) as port:
        try:
            file = out.open("x", encoding="utf-8")
        except FileExistsError:
            raise SettingError(f"{out} is there already; a recording never replaces one") from None
        with file:
            file.write(head)
            file.flush()
            recording = Recording(file, len(head), time.monotonic(), silence_s(baud))
            lost = copy(
                port, link, stop, recording, lambda: _print({"ready": True, "link": str(link)})
            )
            os.fsync(file.fileno())
    if lost:
        sys.stderr.write(f"busbar-hil: {lost} bytes were lost: nobody read {link}\n")
    if recording.is_full:
        sys.stderr.write(f"busbar-hil: {out} became full; what came later is not in it\n")
    _print({"events": recording.events, "lost": lost})
    return 1 if recording.is_full else 0


def _print(message: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
