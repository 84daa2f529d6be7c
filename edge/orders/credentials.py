"""Credentials that a meter refused: after the first refusal none of that meter and kind is tried
again, until somebody has looked (I21). A meter locks a level after three to five wrong ones, and
then nobody could restore.

Restoring has a credential of its own, so that a refused one for cutting blocks no restore (I4).
`mark` tells a credential from another without telling anything of it, such as when its file was
changed: with another one there is a new try.
"""

from collections.abc import Callable
from typing import Any

CUT, RESTORE = "cut", "restore"
SCOPE = "credential-refused"  # memos: "METER/CREDENTIAL" -> the mark of the refused one


class RefusedCredentials:
    """Any thread. `saved` are the memos of SCOPE; `keep(name, mark)` makes one durable, with None
    forgets it, and may take its time."""

    def __init__(self, saved: dict[str, Any], keep: Callable[[str, str | None], None]) -> None:
        self._refused = {name: str(mark) for name, mark in saved.items()}
        self._keep = keep

    def is_locked(self, meter_id: str, credential: str, mark: str = "") -> bool:
        """Whether the meter refused this one."""
        return self._refused.get(_name(meter_id, credential)) == mark

    def lock(self, meter_id: str, credential: str, mark: str = "") -> None:
        """The meter refused it."""
        name = _name(meter_id, credential)
        self._refused = {**self._refused, name: mark}
        self._keep(name, mark)

    def unlock(self, meter_id: str) -> list[str]:
        """Somebody looked; the credentials that may be tried again."""
        names = [one for one in self._refused if one.rpartition("/")[0] == meter_id]
        self._refused = {name: mark for name, mark in self._refused.items() if name not in names}
        for name in names:
            self._keep(name, None)
        return [name.rpartition("/")[2] for name in names]

    def names(self) -> list[str]:
        """All that are locked, as METER/CREDENTIAL."""
        return sorted(self._refused)


def _name(meter_id: str, credential: str) -> str:
    return f"{meter_id}/{credential}"
