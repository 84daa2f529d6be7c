"""The state folder: made so that it survives a power cut, and owned by one process."""

import fcntl
import os
from pathlib import Path

from protocols.errors import SettingError


class FolderBusyError(SettingError):
    """A running agent has it."""


def own_folder(folder: Path, config: Path) -> int:
    """Makes the state folder and locks it: two agents on one journal would break both. The lock
    holds while the descriptor that is returned is open."""
    try:
        _make(folder)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingError(
            f"{config}: [gateway]: state_dir = {str(folder)!r} is not allowed; "
            f"it must be a folder that we may write ({error.strerror})"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise FolderBusyError(
            f"{config}: [gateway]: state_dir = {str(folder)!r} is in use by a running agent; "
            "each agent needs its own"
        ) from error
    return lock


def _make(folder: Path) -> None:
    """Each new folder's name is on the disk before anything is put into it: what is synced inside
    is lost with the folder's name."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
