"""One machine's disk: real SQLite on real files, and what a crash, a full disk and a bad one do.

* Every statement that writes is a step at which the process may crash, and at which the disk may
  refuse.
* A commit under `synchronous=FULL` is durable when it returns. A power cut in the middle of one
  leaves any mixture of the sectors that it wrote: first of the log, and only when that is whole, of
  the database file (a checkpoint). A process that merely dies leaves what it wrote.
* Under a weaker `synchronous` nothing is durable by itself: a power cut may take back all that was
  written since the file was opened.
* After a crash the next process gets a copy of what the disk kept, in a folder of its own.

Not modelled: a rename that is lost because its folder was not synced.
"""

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.sim.scheduler import Killed, Process

SECTOR = 512
FREE_BYTES = 1 << 30
_WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")
_LEFT_BEHIND = ("-shm", "/lock", ".sock")
_SYNCHRONOUS_FULL = 2
Files = dict[str, bytes]


class Disk:
    """The state folder of one machine. `marks` counts what happened."""

    def __init__(self, base: Path, chance: random.Random, marks: Counter[str]) -> None:
        self.name = base.name
        self.is_full = False
        self.loses_journal = False  # at the next crash
        self.ballast_size = 0
        self.fails = 0  # writes that still fail with an input/output error
        self.after_commit: Callable[[], None] = lambda: None
        self.after_damage: Callable[[], None] = lambda: None
        self._base = base
        self._chance = chance
        self._marks = marks
        self._generation = 0
        self._process: Process | None = None
        self._connections: list[sqlite3.Connection] = []
        self._unsynced: Files | None = None  # of the database, when its writes are not synced
        self._torn: Callable[[bool], None] | None = None  # what is being written, if anything
        self.folder.mkdir(parents=True)

    @property
    def folder(self) -> Path:
        """The state folder of the process that runs."""
        return self._base / f"state-{self._generation}"

    def attach(self, process: Process) -> None:
        """A new process uses the disk."""
        self._process = process

    def crash(self, is_power_cut: bool) -> None:
        """The process is gone: its files become what the disk kept."""
        if is_power_cut and self._unsynced is not None:
            self._marks["unsynced_commits_lost"] += 1
            _write_files(self.folder, self._mixture(self._unsynced, _database_files(self.folder)))
        elif self._torn is not None:
            self._torn(is_power_cut)
        self._torn = self._unsynced = None
        if self.loses_journal:
            self.loses_journal = False
            self._marks["journal_damaged"] += 1
            path = self.folder / "journal.db"
            path.write_bytes(self._chance.randbytes(SECTOR) + path.read_bytes()[SECTOR:])
            (self.folder / "journal.db-wal").unlink(missing_ok=True)
            self.after_damage()
        before = self.folder
        self._generation += 1
        self.folder.mkdir()
        for path in sorted(before.iterdir()):
            if path.is_file() and not str(path).endswith(_LEFT_BEHIND):
                shutil.copyfile(path, self.folder / path.name)

    def sweep(self) -> None:
        """Closes what dead processes left open."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    # ---- what the product's modules find --------------------------------------------------------

    def sqlite_module(self) -> SimpleNamespace:
        """In the place of the module `sqlite3`."""
        names = {name: getattr(sqlite3, name) for name in dir(sqlite3) if not name.startswith("_")}
        return SimpleNamespace(**(names | {"connect": self._connect}))

    def os_module(self) -> SimpleNamespace:
        """In the place of the module `os`."""
        names = {name: getattr(os, name) for name in dir(os) if not name.startswith("__")}
        own = {"fsync": self._fsync, "fdatasync": self._fsync}
        own |= {"statvfs": self._statvfs, "urandom": self._urandom}
        return SimpleNamespace(**(names | own))

    def _urandom(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def _connect(self, path: Any, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(path, factory=_Connection, **options)
        connection.disk = self
        self._connections.append(connection)
        return connection

    def _statvfs(self, path: Path) -> SimpleNamespace:
        free = 0 if self.is_full else FREE_BYTES
        free += self._given_up()
        return SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=2 * FREE_BYTES, f_frsize=1)

    def _given_up(self) -> int:
        """Space of the ballast that a full disk has back."""
        return 0 if not self.is_full or (self.folder / "ballast").exists() else self.ballast_size

    def _fsync(self, file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()

        def tear(is_power_cut: bool) -> None:
            if is_power_cut and path.is_file():
                content = path.read_bytes()
                path.write_bytes(content[: self._chance.randrange(len(content) + 1)])

        self._step("fsync", tear)
        if self.is_full and not self._given_up() and path.is_file():
            self._marks[f"{self.name}_disk_full"] += 1
            raise OSError(28, "No space left on device")

    # ---- statements -----------------------------------------------------------------------------

    def write(self, connection: "_Connection", sql: str, run: Callable[[], Any]) -> Any:
        """Runs one statement that writes, or crashes, or refuses."""
        commits = sql.startswith("COMMIT") or not connection.in_transaction
        self._refuse(connection, commits)
        if not commits:
            self._step("statement", None)
            return run()
        before = _database_files(self.folder) if self._may_tear() else None
        if self._unsynced is None and not connection.is_synced():
            self._unsynced = before if before is not None else _database_files(self.folder)

        def tear(is_power_cut: bool) -> None:
            if is_power_cut or self._chance.random() < 0.5:
                run()
            if before is not None and is_power_cut:
                self._marks[f"{self.name}_commit_cut"] += 1
                _write_files(self.folder, self._cut(before, _database_files(self.folder)))

        self._step("commit", tear)
        result = run()
        self.after_commit()
        return result

    def _may_tear(self) -> bool:
        process = self._process
        return process is not None and process.fuse == 0 and process.fuse_step in ("", "commit")

    def _step(self, name: str, torn: Callable[[bool], None] | None) -> None:
        if self._process is None:
            return
        self._torn = torn
        self._process.step(name)
        self._torn = None

    def _refuse(self, connection: "_Connection", commits: bool) -> None:
        if self._process is not None and self._process.is_dead:
            raise Killed
        if self.is_full and not self._given_up():
            self._marks[f"{self.name}_disk_full"] += 1
            self._raise(connection, "database or disk is full", sqlite3.SQLITE_FULL)
        if self.fails and commits:
            self.fails -= 1
            self._marks[f"{self.name}_disk_error"] += 1
            self._raise(connection, "disk I/O error", sqlite3.SQLITE_IOERR_FSYNC)

    def _raise(self, connection: "_Connection", words: str, code: int) -> None:
        if connection.in_transaction and self._chance.random() < 0.5:
            connection.roll_back()  # SQLite does that by itself, or does not
        error = sqlite3.OperationalError(words)
        error.sqlite_errorcode = code
        raise error

    # ---- torn files -----------------------------------------------------------------------------

    def _cut(self, before: Files, after: Files) -> Files:
        """What is there when the power goes while `before` becomes `after`: the log comes first."""
        logs = {name for name in before | after if name.endswith("-wal")}
        others = (before | after).keys() - logs
        is_checkpoint = any(before.get(name) != after.get(name) for name in others)
        if is_checkpoint and self._chance.random() < 0.5:
            old = {name: before.get(name, b"") for name in others}
            new = {name: after.get(name, b"") for name in others}
            return {name: after.get(name, b"") for name in logs} | self._mixture(old, new)
        kept = {name: before[name] for name in others if name in before}
        old = {name: before.get(name, b"") for name in logs}
        new = {name: after.get(name, b"") for name in logs}
        return kept | self._mixture(old, new)

    def _mixture(self, old: Files, new: Files) -> Files:
        style = self._chance.choice(("none", "prefix", "any", "any"))
        mixed = {}
        for name in sorted(old | new):
            mixed[name] = self._mixed(old.get(name, b""), new.get(name, b""), style)
            if mixed[name] not in (old.get(name, b""), new.get(name, b"")):
                self._marks["torn_write"] += 1
        return mixed

    def _mixed(self, old: bytes, new: bytes, style: str) -> bytes:
        if style == "none":
            return old
        count = -(-len(new) // SECTOR)
        changed = [
            at
            for at in range(count)
            if old[at * SECTOR : (at + 1) * SECTOR] != new[at * SECTOR : (at + 1) * SECTOR]
        ]
        end = self._chance.randrange(len(changed) + 1)
        is_kept = set(changed[:end])
        if style == "any":
            is_kept = {at for at in changed if self._chance.random() < 0.7}
        content = bytearray(old)
        for at in sorted(is_kept):
            piece = new[at * SECTOR : (at + 1) * SECTOR]
            start = at * SECTOR
            content.extend(bytes(max(0, start + len(piece) - len(content))))
            content[start : start + len(piece)] = piece
        return bytes(content)


class _Connection(sqlite3.Connection):
    """A connection whose writing statements go through its disk."""

    disk: Disk
    _synchronous: int | None = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """As the real one."""
        if not _is_write(sql):
            return super().execute(sql, parameters)
        return self.disk.write(self, sql, lambda: sqlite3.Connection.execute(self, sql, parameters))

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        """As the real one."""
        rows = list(parameters)
        if not rows:
            return super().executemany(sql, rows)
        return self.disk.write(self, sql, lambda: sqlite3.Connection.executemany(self, sql, rows))

    def roll_back(self) -> None:
        """Past the disk."""
        super().execute("ROLLBACK")

    def is_synced(self) -> bool:
        """Whether a commit of this connection is durable."""
        if self._synchronous is None:
            self._synchronous = super().execute("PRAGMA synchronous").fetchone()[0]
        return self._synchronous >= _SYNCHRONOUS_FULL


def _is_write(sql: str) -> bool:
    return sql.lstrip()[:6].upper() in _WRITES


def _database_files(folder: Path) -> Files:
    paths = sorted(folder.glob("*.db")) + sorted(folder.glob("*.db-wal"))
    return {path.name: path.read_bytes() for path in paths}


def _write_files(folder: Path, files: Files) -> None:
    for path in (*folder.glob("*.db"), *folder.glob("*.db-wal")):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
