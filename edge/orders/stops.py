"""Stops: orders that must not be carried out, whether they are here yet or not (I24).

A stop holds from the moment it is heard, also when the disk refuses it; then it stays with the
broker and comes again. Names outlive a restart and a journal that is put aside; the oldest go when
there are too many, and none that an order could still answer to.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from protocols.messages import Order, Stop
from protocols.orders.kinds import Effect

SCOPE = "stop"  # memos: order id in hex -> its place in the order of arrival
CUTS_BEFORE = "cuts-before"
NAMES_MAX = 8192

Keep = Callable[[dict[str, int], Iterable[str]], None]  # memos to write, and to clear


class Stops:
    """Any thread may ask; one takes. `saved` are the memos of SCOPE."""

    def __init__(self, saved: dict[str, Any], keep: Keep) -> None:
        self._cuts_before = int(saved.get(CUTS_BEFORE, 0))
        named = sorted((at, name) for name, at in saved.items() if name != CUTS_BEFORE)
        self._named = {name: int(at) for at, name in named}  # the oldest first
        self._next = max(self._named.values(), default=0) + 1
        self._keep = keep
        self._lock = threading.Lock()

    def take(self, stop: Stop) -> None:
        """Durable when it returns; in force before."""
        with self._lock:
            fresh = {}
            for order_id in stop.order_ids:
                name = order_id.hex()
                if name not in self._named:
                    self._named[name] = fresh[name] = self._next
                    self._next += 1
            if stop.cuts_before > self._cuts_before:
                self._cuts_before = fresh[CUTS_BEFORE] = stop.cuts_before
            gone = list(self._named)[: max(len(self._named) - NAMES_MAX, 0)]
            for name in gone:
                del self._named[name]
        # All that it names, also what is not new: the disk may have refused it before.
        known = {one.hex(): self._named[one.hex()] for one in stop.order_ids}
        self._keep({**known, **fresh, CUTS_BEFORE: self._cuts_before}, gone)

    def is_stopped(self, order: Order, issued_at: int) -> bool:
        """Whether a stop names it, or it cuts and was issued at or before a stop of all cuts."""
        if order.kind.effect == Effect.CUTS and issued_at <= self._cuts_before:
            return True
        return order.order_id.hex() in self._named
