"""The meters' passwords: a file of the installer's, read anew for each order, shown to nobody.

`meter-credentials.json` in the identity folder, mode 0600:

    {"default": {"restore": {"level": "04", "password": "123456", "operator": "00000001"}},
     "meters": {"m-1": {"cut": {"level": "02", "password": "…", "operator": "00000001"}}}}

* A meter's own entry goes before the default one.
* A restore never uses the entry of a cut, nor the other way round: who can only restore holds only
  that (I4), and a meter that locks the one level still restores by the other (I21).
* No error and no text of it ever holds a password.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from protocols.dlt645.credentials import Credentials
from protocols.errors import CallerError, SettingError
from protocols.orders.kinds import Action

FILE_NAME = "meter-credentials.json"
FILE_SIZE_MAX = 4_000_000  # bytes; 1024 meters need about 400 kB
OPEN_BITS = 0o077  # of its mode: nobody else reads it


class CredentialUse:
    """What an entry is for."""

    CUT = "cut"
    RESTORE = "restore"
    SETTINGS = "settings"


USES = (CredentialUse.CUT, CredentialUse.RESTORE, CredentialUse.SETTINGS)
USE_OF = {  # action -> the entry that it may use; every other one writes a parameter
    Action.DISCONNECT: CredentialUse.CUT,
    Action.KEEP_POWER_OFF: CredentialUse.CUT,
    Action.ARM: CredentialUse.RESTORE,
    Action.CONNECT: CredentialUse.RESTORE,
    Action.KEEP_POWER_ON: CredentialUse.RESTORE,
    Action.ALARM_ON: CredentialUse.SETTINGS,
    Action.ALARM_OFF: CredentialUse.SETTINGS,
}
_KEYS = ("level", "password", "operator")


def use_of(action: str) -> str:
    """Which entry an action uses."""
    return USE_OF.get(action, CredentialUse.SETTINGS)


class CredentialFile:
    """The file at `path`; it need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"CredentialFile({self._path})"

    def find(self, meter_id: str, use: str) -> Credentials | None:
        """The entry of a meter for a use; None when there is none. SettingError with one sentence
        when the file is not what it must be."""
        tables = self._read()
        for entries in (_entries(tables.get("meters"), meter_id), tables.get("default")):
            entry = _entries(entries, use)
            if entry is not None:
                return self._credentials(entry, meter_id, use)
        return None

    def mark(self) -> str:
        """Tells the file as it is from what it was before, and nothing of what stands in it."""
        try:
            return f"{self._path.stat().st_mtime_ns:x}"
        except OSError:
            return ""

    def _read(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if stat.S_IMODE(mode) & OPEN_BITS:
                    raise self._error(f"has mode {stat.S_IMODE(mode):04o} and must have 0600")
                data = file.read(FILE_SIZE_MAX + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from None
        try:
            found = json.loads(data) if len(data) <= FILE_SIZE_MAX else None
        except (ValueError, RecursionError):
            found = None  # the parser's own words might quote the file
        if not isinstance(found, dict) or not set(found) <= {"default", "meters"}:
            raise self._error("must be a JSON object with default and meters")
        return found

    def _credentials(self, entry: Any, meter_id: str, use: str) -> Credentials:
        where = f"{use} of meter {meter_id}"
        if not isinstance(entry, dict) or set(entry) != set(_KEYS):
            raise self._error(f"{where} must have level, password and operator, and nothing else")
        level, password, operator = (entry[key] for key in _KEYS)
        is_level = isinstance(level, str) and level.isascii() and level.isdecimal()
        if not is_level or not isinstance(password, str) or not isinstance(operator, str):
            raise self._error(f"{where} must have texts, the level of two digits")
        found = Credentials(int(level), password, operator)
        try:
            found.to_bytes()
        except CallerError:  # whose words quote what may be a password in a wrong place
            raise self._error(
                f"{where} must have a level of 00 to 09, a password of six digits and an operator"
                " of eight"
            ) from None
        return found

    def _error(self, words: str) -> SettingError:
        return SettingError(f"{self._path}: {words}")


def _entries(table: Any, key: str) -> Any:
    return table.get(key) if isinstance(table, dict) else None
