"""What a power cut must not take of a remote configuration, in files of the state folder.

* `config-version.a`, `.b`: the highest version ever taken up. The journal may be lost and start
  again; a replay must not come in with it.
* `config-candidate.toml`: a configuration that is not proven yet. A start that finds one returns to
  the last good one.
* `config-good.toml`: the last one that was proven. Without it edge.toml alone holds.
* `config-failed.toml`: the last candidate that was given up, for a person to look at.
* `config-told`: what came of the highest version, and whether it is told.

Each file is replaced in one move and synced; a candidate becomes good by that move alone.
"""

import contextlib
import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from edge.journal.highwater import HighWater

CANDIDATE, GOOD, FAILED = "config-candidate.toml", "config-good.toml", "config-failed.toml"
TOLD = "config-told"
_HEAD = "# busbar-config"


class Stored(NamedTuple):
    """A remote configuration."""

    version: int
    text: str


class Outcome(NamedTuple):
    """What came of a version: the kind and detail of its event ("" while that is not known)."""

    version: int
    digest: str
    kind: str
    detail: str
    is_told: bool


class ConfigFolder:
    """The files; OSError when the disk refuses. Used by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.mark = HighWater(folder, "config-version")
        self._folder = folder
        self.outcome = self._read_outcome()

    def good(self) -> Stored | None:
        """The last that was proven; None when there is none, or it is damaged."""
        return self._read(GOOD)

    def candidate(self) -> Stored | None:
        """The one that is not proven."""
        return self._read(CANDIDATE)

    def has(self, name: str) -> bool:
        """Whether the file is there, damaged or not."""
        return (self._folder / name).exists()

    def put_candidate(self, stored: Stored) -> None:
        """Durable when it returns."""
        text = stored.text.encode()
        head = f"{_HEAD} {stored.version} {zlib.crc32(text)}\n"
        self._replace(CANDIDATE, head.encode() + text)

    def keep_candidate(self) -> None:
        """It is the good one from now on."""
        self._move(CANDIDATE, GOOD)

    def drop_candidate(self) -> None:
        """It is given up, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._move(CANDIDATE, FAILED)

    def note(self, outcome: Outcome) -> None:
        """Durable when it returns."""
        text = json.dumps(list(outcome))
        self._replace(TOLD, f"{zlib.crc32(text.encode())} {text}\n".encode())
        self.outcome = outcome

    def _read_outcome(self) -> Outcome | None:
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            check, text = (self._folder / TOLD).read_text(encoding="utf-8").split(" ", 1)
            text = text.rstrip("\n")
            if int(check) == zlib.crc32(text.encode()):
                return Outcome(*json.loads(text))
        return None

    def _read(self, name: str) -> Stored | None:
        with contextlib.suppress(OSError, ValueError):
            head, text = (self._folder / name).read_bytes().split(b"\n", 1)
            mark, version, check = head.decode().rsplit(" ", 2)
            if mark == _HEAD and int(check) == zlib.crc32(text):
                return Stored(int(version), text.decode())
        return None

    def _replace(self, name: str, content: bytes) -> None:
        path = self._folder / name
        temporary = path.with_name(name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        self._sync()

    def _move(self, name: str, to: str) -> None:
        (self._folder / name).replace(self._folder / to)
        self._sync()

    def _sync(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def digest_of(text: str, is_dry_run: bool) -> str:
    """What tells one message of a version from another."""
    return hashlib.sha256(f"{is_dry_run} {text}".encode()).hexdigest()[:32]
