"""A power that goes off at a named step: what the process had in memory is gone, what it had
committed stays.

Steps are the commits of a database, the files that are replaced whole, and the writes to a line;
each has a moment before and one behind it. Once the power is off, every further step of the dead
process fails the same way, so that no clean-up of ours can do what a dead process could not.
"""

import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class PowerCut(BaseException):
    """The process ends here."""


class Power:
    """Of one process. `steps` are those that were taken since `watch`; the power goes off at the
    step of the number that `light` said."""

    def __init__(self) -> None:
        self.is_off = False
        self.has_gone = False  # ever
        self.is_full = False  # the disk takes nothing more
        self.steps: list[str] = []
        self._is_watched = False
        self._fuse: int | None = None
        self._room: int | None = None  # steps that the disk still has room for
        self._made: list[sqlite3.Connection] = []

    def watch(self) -> None:
        """Notes the steps from now on."""
        self.steps = []
        self._is_watched = True

    def light(self, steps: int) -> None:
        """It goes off at the step after so many more."""
        self._fuse = steps

    def end_fuse(self) -> None:
        """It stays on."""
        self._fuse = None

    def fill_after(self, steps: int) -> None:
        """The disk is full behind so many more steps."""
        self._room = steps

    def step(self, name: str) -> None:
        """One step is taken, or the power is off."""
        if self._room is not None and name.startswith("before"):
            self._room -= 1
            if self._room < 0:
                self._room, self.is_full = None, True
        if self._is_watched:
            self.steps.append(name)
        if self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                self._fuse = None
                self.is_off = self.has_gone = True
        if self.is_off:
            raise PowerCut(name)

    def check_room(self) -> None:
        """As SQLite says it."""
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with a step before and one behind."""

        def taken(*arguments: Any, **more: Any) -> Any:
            self.step(f"before {name}")
            if self.is_full and name == "file":
                raise OSError(28, "No space left on device")
            answer = function(*arguments, **more)
            self.step(f"behind {name}")
            return answer

        return taken

    def sqlite(self) -> Any:
        """In the place of the module `sqlite3`."""
        names = {name: getattr(sqlite3, name) for name in dir(sqlite3) if name[0] != "_"}
        return SimpleNamespace(**names | {"connect": self._connect})

    def end(self) -> None:
        """The process is gone: what was not committed never was."""
        made, self._made = self._made, []
        for one in made:
            sqlite3.Connection.close(one)
        self.is_off, self._fuse = False, None

    def _connect(self, *arguments: Any, **more: Any) -> sqlite3.Connection:
        power = self

        class Connection(sqlite3.Connection):
            """One whose commits are steps."""

            def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
                word = sql.split(None, 1)[0].upper()
                if word in WRITES:
                    power.check_room()
                if word == "COMMIT" or (word in WRITES and not self.in_transaction):
                    power.step("before commit")
                    power.check_room()
                    found = super().execute(sql, *more)
                    power.step("behind commit")
                    return found
                if power.is_off:
                    raise PowerCut(sql)
                return super().execute(sql, *more)

        made = sqlite3.connect(*arguments, factory=Connection, **more)
        self._made.append(made)
        return made
