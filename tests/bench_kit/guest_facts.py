"""In a guest: what its own clock and its own UARTs do, as JSON for the host.

`guest_facts.py BENCH_FILE FACTS_FILE [everything]`: without the last word, how the clock starts. It
sets the clock of the machine that it runs on, and so runs only where the kernel was started as a
guest.
"""

import ctypes
import errno
import fcntl
import json
import os
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.collect.plausible import Verdict
from edge.collect.poller import LineWorker, Surroundings
from edge.collect.schedule import Task
from edge.collect.watch import MeterWatch
from edge.line.line import Wire
from edge.line.port import SerialPort
from hil.scenario import DLT645
from protocols.readings import ReadingSet
from tests.bench_kit.bench_file import read_bench_file
from tests.bench_kit.guest import GUEST_WORD
from tests.bench_kit.real import RealBench

EVERYTHING = "everything"
DAY_S = 86_400
STEPS_S = (DAY_S, -DAY_S, -DAY_S, DAY_S)  # in the end the clock shows what it had shown
PERIOD_S = 1
BETWEEN_S = 3.5  # between two steps: some slots
LOOKED_S = 5.5  # SystemClock looks at the system clock every 5 s
TOLD_UTC_MS = 1_790_000_000_000  # what the head end says it is
TIOCM_LOOP = 0x8000  # the UART hears itself, its RTS is its CTS
TIOCGRS485, TIOCSRS485 = 0x542E, 0x542F
SER_RS485_ENABLED = 1
_RS485_SIZE = 32
_TIMEX = struct.Struct("@iqqqqi")  # modes, offset, frequency, maximum and estimated error, status
_TIMEX_SIZE = 256
_ADJUST = 0x4 | 0x8 | 0x10  # maxerror, esterror, status


def clock_facts(bench: RealBench) -> dict[str, Any]:
    """Of SystemClock and of a line's worker while the clock is set."""
    return {
        "polled": _poll_over_steps(bench),
        "anchored": _anchored(),
        "synchronised": _synchronised(),
    }


def start_facts() -> dict[str, Any]:
    """Of a SystemClock that knows nothing but what the guest was started with."""
    clock = SystemClock()
    return {"utc_ms": clock.utc_ms(), "boot_ms": clock.boot_ms(), "quality": clock.quality()}


def _step(clock: SystemClock, seconds: int) -> dict[str, int]:
    """Sets the clock as `date -s` does. By how much each clock had gone on behind it, in ms."""
    before = _looked_at(clock)
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + seconds * 10**9)
    after = _looked_at(clock)
    return {name: after[name] - before[name] for name in after}


def _looked_at(clock: SystemClock) -> dict[str, int]:
    return {
        "utc": clock.utc_ms(),
        "boot": clock.boot_ms(),
        "monotonic": time.monotonic_ns() // 10**6,
    }


def _poll_over_steps(bench: RealBench) -> dict[str, Any]:
    """A meter on a UART, polled every second while the clock is set; all its reading sets."""
    line = bench.line()
    driver = line.meter(DLT645).driver()
    settings = {"line": "bench", "protocol": DLT645, "period_s": PERIOD_S}
    watch = MeterWatch(settings, driver, Wire(*(bench.file.line[key] for key in Wire._fields)), 1)
    sets: list[ReadingSet] = []
    clock = SystemClock()
    around = Surroundings(
        clock,
        lambda one, slot: sets.append(one),
        lambda *words, **more: None,
        lambda *words: Verdict(),
        lambda: False,
    )
    worker = LineWorker(
        line.master, {"m": watch}, [Task("m", "m", "", PERIOD_S * 1000, True)], around
    )
    worker.start()
    time.sleep(BETWEEN_S)
    steps = []
    for seconds in STEPS_S:
        steps.append(_step(clock, seconds))
        time.sleep(BETWEEN_S)
    worker.stop()
    return {
        "steps": steps,
        "jumps": worker.schedule.jumps,
        "failures": watch.last_error,
        "sets": [(one.read_at, one.boot_at, one.quality) for one in sets],
    }


def _anchored() -> list[dict[str, Any]]:
    """A clock that was told UTC by the head end, before and after the system clock is set."""
    clock = SystemClock()
    boot_ms = clock.boot_ms()
    clock.anchor(TOLD_UTC_MS, boot_ms)
    found = [_held(clock, TOLD_UTC_MS, boot_ms)]
    _step(clock, DAY_S)
    found.append(_held(clock, TOLD_UTC_MS, boot_ms))
    _step(clock, -DAY_S)
    return found


def _synchronised() -> list[dict[str, Any]]:
    """A clock whose kernel is told that it is right: so; at once after a step, and when the system
    clock has been looked at again; and when the kernel is told that the new time is right."""
    _claim_ntp()
    clock = SystemClock()
    utc_ms, boot_ms = clock.utc_ms(), clock.boot_ms()
    found = [_held(clock, utc_ms, boot_ms)]
    _step(clock, DAY_S)
    found.append(_held(clock, utc_ms, boot_ms))
    time.sleep(LOOKED_S)
    found.append(_held(clock, utc_ms, boot_ms))
    _claim_ntp()
    time.sleep(LOOKED_S)
    found.append(_held(clock, utc_ms, boot_ms))
    _step(clock, -DAY_S)
    return found


def _held(clock: SystemClock, utc_ms: int, boot_ms: int) -> dict[str, Any]:
    moment = clock.moment()
    return {
        "quality": moment.quality,
        "is_in_doubt": moment.is_in_doubt,
        "apart_ms": moment.utc_ms - moment.boot_ms - (utc_ms - boot_ms),
    }


def _claim_ntp() -> None:
    """As a daemon does that holds time: whatever time that is."""
    timex = ctypes.create_string_buffer(_TIMEX_SIZE)
    _TIMEX.pack_into(timex, 0, _ADJUST, 0, 0, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")


def uart_facts(near: str, far: str) -> dict[str, Any]:
    """Of the modem lines and the RS-485 mode of two ports that are wired back to back, and of a
    pseudo tty."""
    port = SerialPort(near, 2400, "E", 1)
    port.open()
    ends = [os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK) for path in (near, far)]
    facts: dict[str, Any] = {"opened": _lines(ends[0])}
    try:
        facts["here"], facts["there"] = [], []
        for is_on in (False, True, False):
            _set_line(ends[0], termios.TIOCM_RTS, is_on)
            facts["here"].append(_lines(ends[0]) & termios.TIOCM_RTS != 0)
            facts["there"].append(_lines(ends[1]) & termios.TIOCM_CTS != 0)
        facts["rs485"] = [_rs485(ends[0], request) for request in (TIOCGRS485, TIOCSRS485)]
        _set_line(ends[0], TIOCM_LOOP, True)
        facts["looped"] = []
        for is_on in (False, True, False):
            _set_line(ends[0], termios.TIOCM_RTS, is_on)
            facts["looped"].append(_lines(ends[0]) & termios.TIOCM_CTS != 0)
    finally:
        _set_line(ends[0], TIOCM_LOOP, False)
        for one in ends:
            os.close(one)
        port.close()
    return facts | {"pty": _pty_errors()}


def _lines(descriptor: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCMGET, bytes(4)))[0])


def _set_line(descriptor: int, line: int, is_on: bool) -> None:
    request = termios.TIOCMBIS if is_on else termios.TIOCMBIC
    fcntl.ioctl(descriptor, request, struct.pack("i", line))


def _rs485(descriptor: int, request: int) -> str:
    """What the driver answers: its flags, or the name of its error."""
    asked = struct.pack("I", SER_RS485_ENABLED).ljust(_RS485_SIZE, b"\0")
    try:
        answer = fcntl.ioctl(descriptor, request, asked)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return f"flags {struct.unpack_from('I', answer)[0]}"


def _pty_errors() -> list[str]:
    """What a pseudo tty answers to the same questions."""
    ends = os.openpty()
    found = [_rs485(ends[1], TIOCSRS485)]
    try:
        _lines(ends[1])
    except OSError as error:
        found.append(errno.errorcode[error.errno or 0])
    for one in ends:
        os.close(one)
    return found


def main() -> int:
    """Writes the facts."""
    if GUEST_WORD not in Path("/proc/cmdline").read_text().split():
        print("guest_facts sets the clock: it runs only in a guest; see docs/bench.md")
        return 2
    found = {"start": start_facts()}
    if EVERYTHING in sys.argv:
        bench = RealBench(Path("/dev/shm"), read_bench_file(Path(sys.argv[1])))
        try:
            found["clock"] = clock_facts(bench)
        finally:
            bench.close()
        found["uart"] = uart_facts(bench.file.line["port"], bench.file.line["answers_on"])
    Path(sys.argv[2]).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
