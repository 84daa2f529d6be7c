"""The bytes of a UTC day, for SIM cards that are paid by the byte: pure counting.

* The backlog stops at BACKLOG_PERCENT of the day's bytes, so that what is read now still goes; live
  readings and events stop at all of them. Greetings, receipts and alarms always go, and count.
* A message counts with its topic and MESSAGE_OVERHEAD. Keepalives, handshakes and what comes down
  do not count.
* The count outlives a restart. It is written ahead by a hundredth of the day's bytes at a time, so
  a crash makes it too high by at most that, and too low by the one message under way.
* A day begins by the gateway's UTC. An untrusted clock that goes back begins none.
"""

import json
from typing import Any

MESSAGE_OVERHEAD = 150  # MQTT, TLS, TCP and IP around a message, and the broker's answer
BACKLOG_PERCENT = 80
DAY_MS = 86_400_000
_OPEN, _NO_BACKLOG, _SPENT = 0, 1, 2
_WORDS = {
    _NO_BACKLOG: f"{BACKLOG_PERCENT} % of {{}} bytes: the backlog waits for the next UTC day",
    _SPENT: "all of {} bytes: greetings, receipts, audit entries and alarms alone go until the next"
    " UTC day",
}


class Allowance:
    """`saved` is the memo that `memo` gave, or None."""

    def __init__(self, bytes_per_day: int, saved: Any = None) -> None:
        self.is_unsaved = False
        self._most = bytes_per_day
        self._day, self._bytes, self._told, most = _parsed(saved)
        if most != bytes_per_day:
            self._told = _OPEN
        self._level = self._told
        self._ahead = self._bytes  # what is written down

    @property
    def bytes_today(self) -> int:
        """Sent in this UTC day, with what surrounds the messages."""
        return self._bytes

    @property
    def takes_backlog(self) -> bool:
        """Whether old rows may go."""
        return self._level < _NO_BACKLOG

    @property
    def takes_live(self) -> bool:
        """Whether new rows and events of any severity may go."""
        return self._level < _SPENT

    def look(self, utc_ms: int, is_trusted: bool) -> None:
        """What day it is."""
        day = utc_ms // DAY_MS
        if day > self._day or (is_trusted and day != self._day):
            self._day, self._bytes, self._ahead = day, 0, 0
            self._level = self._told = _OPEN
            self.is_unsaved = self._most > 0

    def fits(self, size: int, is_backlog: bool) -> bool:
        """Whether a message of rows may go; one that does not ends the day for its kind."""
        most = self._most * BACKLOG_PERCENT // 100 if is_backlog else self._most
        if not self._most or self._bytes + size + MESSAGE_OVERHEAD <= most:
            return True
        self._close(_NO_BACKLOG if is_backlog else _SPENT)
        return False

    def add(self, size: int) -> None:
        """A message went."""
        self._bytes += size + MESSAGE_OVERHEAD
        if not self._most:
            return
        if self._bytes >= self._most * BACKLOG_PERCENT // 100:
            self._close(_SPENT if self._bytes >= self._most else _NO_BACKLOG)
        if self._bytes > self._ahead:
            self._ahead = self._bytes + self._most // 100
            self.is_unsaved = True

    def news(self) -> str:
        """Words for a person when a level was reached that was not told yet, else ""."""
        if self._told >= self._level:
            return ""
        self._told = self._level
        self.is_unsaved = True
        return _WORDS[self._level].format(self._most)

    def memo(self, is_exact: bool = False) -> str:
        """What is to be kept over a restart: ahead of the count, or the count itself."""
        self.is_unsaved = False
        if is_exact:
            self._ahead = self._bytes
        return json.dumps([self._day, self._ahead, self._told, self._most])

    def _close(self, level: int) -> None:
        if level > self._level:
            self._level = level
            self.is_unsaved = True


def _parsed(saved: Any) -> tuple[int, int, int, int]:
    """Day, bytes, level told and the day's bytes; without a memo a day before all others."""
    try:
        day, count, told, most = json.loads(saved)
    except (TypeError, ValueError):
        return -1, 0, _OPEN, 0
    return day, count, told, most
