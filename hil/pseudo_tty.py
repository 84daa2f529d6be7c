"""Pseudo terminals, and the links that lead to them."""

import errno
import os
import pty
import tty
from pathlib import Path

from protocols.errors import BusbarError

READ_SIZE_MAX = 4096  # bytes at once; a pty holds no more


class LinkError(BusbarError):
    """The line's link cannot be made: something that is no symlink stands there."""


def open_pty() -> tuple[int, int, str]:
    """(master, slave, path of the slave), raw. The slave stays open here too: without any opener
    the master would report a hang-up, and would forget the raw mode."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    return master, slave, os.ttyname(slave)


def read_waiting(master: int) -> bytes:
    """What waits there; b"" for nothing and for a hang-up."""
    try:
        return os.read(master, READ_SIZE_MAX)
    except BlockingIOError:
        return b""
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def make_link(link: Path, target: str) -> None:
    """Leads `link` to `target`, whatever a crashed run left there; LinkError for a foreign file."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists() and not link.is_symlink():
        raise LinkError(f"{link} stands there and is no symlink")
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)  # at once: an agent never finds the link missing in between
