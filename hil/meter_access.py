"""Who may tell a meter something: passwords by level, their lock-out, and the security module.

A level that heard too many wrong passwords is locked for a while, also for the right one. Numbers
differ from maker to maker: 3 within 24 h and 5 within 24 h are known.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from protocols.dlt645.commands import SecuredControl, SecuredWrite, Security
from protocols.dlt645.credentials import password_bytes

FAILURES_MAX = 3
LOCKOUT_S = 86_400
NOT_VERIFIED = 0x0004  # SERR: verification by the security module failed


class SecurityModule(Protocol):
    """What stands in for the meter's security chip; the real keys live elsewhere."""

    def answer(self, message: Security) -> bytes | int:
        """The payload behind the identifier of the reply to 03, or SERR."""

    def open_control(self, control: SecuredControl) -> bytes | None:
        """The plain text of a secured control, for 1C N1 N2 YY MM DD hh mm ss; None: refused."""

    def open_write(self, write: SecuredWrite) -> bytes | None:
        """The payload of a secured write; None: refused."""


class NoSecurity:
    """A meter whose chip trusts nobody."""

    def answer(self, message: Security) -> bytes | int:
        """SERR bit 2, always."""
        return NOT_VERIFIED

    def open_control(self, control: SecuredControl) -> bytes | None:
        """Nothing passes."""
        return None

    def open_write(self, write: SecuredWrite) -> bytes | None:
        """Nothing passes."""
        return None


class Access:
    """Passwords of six digits by level 0 to 9; a level without one lets nobody in. `clock` gives
    ms."""

    def __init__(
        self,
        passwords: Mapping[int, str],
        clock: Callable[[], int],
        failures_max: int = FAILURES_MAX,
        lockout_s: int = LOCKOUT_S,
    ) -> None:
        """CallerError for a password that cannot be one."""
        for level, password in passwords.items():
            password_bytes(level, password)
        self._passwords = dict(passwords)
        self._clock = clock
        self._failures_max = failures_max
        self._lockout_ms = 1000 * lockout_s
        self._failures: dict[int, int] = {}
        self._locked_until_ms: dict[int, int] = {}

    def is_locked(self, level: int) -> bool:
        """Whether the level lets nobody in for now."""
        return self._clock() < self._locked_until_ms.get(level, -1)

    def lets_in(self, level: int, password: str) -> bool:
        """Whether it is the level's password; a wrong one counts."""
        if self.is_locked(level):
            return False
        if level in self._passwords and self._passwords[level] == password:
            self._failures.pop(level, None)
            return True
        self._failures[level] = self._failures.get(level, 0) + 1
        if self._failures[level] >= self._failures_max:
            del self._failures[level]
            self._locked_until_ms[level] = self._clock() + self._lockout_ms
        return False

    def change(self, level: int, password: str) -> None:
        """Sets the level's password; it is no longer locked."""
        self._passwords[level] = password
        self._failures.pop(level, None)
        self._locked_until_ms.pop(level, None)
