"""When the log's checkpoints are made: each minute in which something was logged, and with each
order that is sealed, in the transaction that lets it out."""

from typing import Any

from cloud.audit import note
from cloud.audit.log import Checkpoints
from cloud.clock import Clock
from cloud.store.audit import AuditStore
from protocols.errors import CallerError

EVERY_MS = 60_000
LINE_SIZE_MAX = 1024  # characters of a witness's signature


class Promises:
    """Signs what the log holds, in the caller's transaction."""

    def __init__(self, checkpoints: Checkpoints, store: AuditStore, clock: Clock) -> None:
        self._checkpoints = checkpoints
        self._store = store
        self._clock = clock
        self._next_ms = 0  # monotonic

    def make(self) -> None:
        """Now."""
        self._checkpoints.make()
        self._next_ms = self._clock.monotonic_ms() + EVERY_MS

    def sweep(self) -> None:
        """If a minute has passed."""
        if self._clock.monotonic_ms() >= self._next_ms:
            self.make()

    def cosigned(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keeps a witness's line under a checkpoint; whether the witness's key made it is judged by
        who verifies. CallerError when it is no such line."""
        size, name, line = (request.get(key) for key in ("size", "witness", "line"))
        if not isinstance(size, int) or not isinstance(name, str) or not isinstance(line, str):
            raise CallerError("a cosignature has a size, a witness and a line")
        row = next((one for one in self._store.checkpoints() if one.size == size), None)
        if row is None or len(line) > LINE_SIZE_MAX:
            raise CallerError(f"there is no checkpoint over {size} entries")
        signers = note.split(row.note + line)[1]
        if line.count("\n") != 1 or signers[-1][0] != name:
            raise CallerError(f"this is no signature line of {name!r}")
        self._store.add_cosignature(size, name, line)
        return {"size": size, "witness": name}
