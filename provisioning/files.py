"""Files that hold keys or decide whom we trust.

* A private file is never readable by another user, not even while it is being written.
* A file that is replaced is whole at every moment: a power cut leaves the old one or the new one.
* A new file never replaces an existing one: a key that is overwritten is a gateway that is lost.
* A name is on the disk only once its directory is: whoever makes one, syncs both.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocols.errors import SettingError

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644  # inside directories of 0700; the mode is for the copies that people make
DIRECTORY_MODE = 0o700
_PASSING = "."  # begins the name of a file that soon gets its own: such a name need not last


def make_directory(path: Path) -> None:
    """A new private directory, on the disk when this returns; FileExistsError when something has
    the name."""
    path.mkdir(mode=DIRECTORY_MODE)
    path.chmod(DIRECTORY_MODE)  # whatever the umask says
    sync_directory(path.parent)


def write_new(path: Path, content: bytes, mode: int = PUBLIC_MODE) -> None:
    """A new file, on the disk when this returns; FileExistsError when something has the name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if not path.name.startswith(_PASSING):
        sync_directory(path.parent)


def replace(path: Path, content: bytes, mode: int = PUBLIC_MODE) -> None:
    """The file with new content, or as it was."""
    beside = path.with_name(f"{_PASSING}{path.name}.{secrets.token_hex(4)}")
    try:
        write_new(beside, content, mode)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """What was created or renamed in the directory is on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone in the directory: two runs at once would lose each other's gateways."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingError(f"another busbar-provision is at work in {path}") from error
        yield
    finally:
        os.close(descriptor)


def json_bytes(value: object) -> bytes:
    """JSON as these files hold it."""
    return (json.dumps(value, indent=2) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; SettingError when there is none, without a word of its content."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SettingError(f"{path} is damaged: it must hold one JSON object")
    return value
