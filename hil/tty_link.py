"""A pty under a link, for as long as somebody stands behind it, and how such a program is ended."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hil.pseudo_tty import make_link, open_pty


@contextmanager
def linked_pty(link: Path) -> Iterator[int]:
    """A raw pty that `link` leads to; its master, which never blocks. LinkError when something that
    is no symlink stands there. Open the link with parity N: a pty forgets any other."""
    master, slave, path = open_pty()
    try:
        make_link(link, path)
        yield master
    finally:
        if link.is_symlink() and str(link.readlink()) == path:
            link.unlink()
        os.close(master)
        os.close(slave)


@contextmanager
def stop_signals() -> Iterator[int]:
    """A descriptor that becomes readable at Ctrl-C or SIGTERM, in the main thread only."""
    stop = os.eventfd(0, os.EFD_NONBLOCK)

    before = [
        (one, signal.signal(one, lambda number, frame: os.eventfd_write(stop, 1)))
        for one in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield stop
    finally:
        for one, handler in before:
            signal.signal(one, handler)
        os.close(stop)


def wait_readable(descriptors: list[int], seconds: float | None) -> list[int]:
    """Those that can be read, after `seconds` at the latest; None waits for ever."""
    # select, because poll and epoll round their time-outs to whole milliseconds.
    return select.select(descriptors, (), (), None if seconds is None else max(seconds, 0.0))[0]


def write_all(master: int, data: bytes) -> int:
    """How many bytes were lost: whoever opened the link does not read."""
    try:
        return len(data) - os.write(master, data)
    except BlockingIOError:
        return len(data)
