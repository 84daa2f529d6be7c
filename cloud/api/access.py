"""Who asks: a bearer token on every request, and nothing without one.

* A good token is always served, whatever else comes from its address: a flood of bad ones must not
  lock out whoever wants to stop an order or to restore supply. Guessing is no way in (256 bits), so
  what the limit guards is the log and our time.
* Bad tokens are counted by address; beyond the limit they are told to stay away, and the log has
  one line a minute of each address instead of one for each.
"""

import logging
import threading
from collections import OrderedDict
from typing import NamedTuple

from cloud.api.errors import ApiError
from cloud.clock import Clock
from cloud.people.people import People, Person

log = logging.getLogger("cloud.api")

FAILURES_MAX = 10  # bad tokens of one address within a window
WINDOW_MS = 60_000
ADDRESSES_MAX = 1000  # remembered; the oldest is forgotten first


class Failures:
    """Bad tokens by address; used by many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, tuple[int, int]] = OrderedDict()  # (since, count)
        self.total = 0

    def add(self, address: str) -> int:
        """Count one; how many there are in this window."""
        now = self._clock.monotonic_ms()
        with self._lock:
            since, count = self._windows.pop(address, (now, 0))
            if now - since >= WINDOW_MS:
                since, count = now, 0
            self._windows[address] = (since, count + 1)
            while len(self._windows) > ADDRESSES_MAX:
                self._windows.popitem(last=False)
            self.total += 1
            return count + 1


class Access:
    """Finds the person of a request."""

    def __init__(self, people: People, clock: Clock) -> None:
        self._people = people
        self.failures = Failures(clock)

    def person(self, authorization: str, address: str) -> Person:
        """Whose token it is; ApiError otherwise. The token goes nowhere else."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and token:
            person = self._people.of_token(token.strip())
            if person is not None:
                return person
        count = self.failures.add(address)
        if count <= FAILURES_MAX:
            log.warning("token_refused address=%s count=%d", address, count)
        if count == FAILURES_MAX:
            log.warning(
                "tokens_refused address=%s more_are_not_logged_for_s=%d", address, WINDOW_MS // 1000
            )
        if count > FAILURES_MAX:
            raise ApiError("too_many_failures", "too many requests without a good token; wait")
        raise ApiError("no_token", "a bearer token of a known person is needed")


class Asking(NamedTuple):
    """Who asks, as the guard found out, for the routes."""

    request_id: str
    person: Person
