"""What holds for all orders of a gateway: the policy, and the stop.

* Both are signed with the order key. Their epoch claim is zero, like a configuration's: they are
  for the gateway, not for one of its journals. The policy's sequence claim is its serial.
* A policy that answers the nonce of this boot is fresh; a gateway that has no fresh one, or whose
  lease has ended, disconnects nobody (I26). Whatever changes something needs a policy of this
  boot (`no-policy`), a restore as well; the lease is asked of a cut alone. Reads need none.
* A stop is a fact that only grows: it may come twice, late, or before the order that it names
  (I24). It never stops a restore that it does not name.
"""

from collections import namedtuple

from protocols.envelope.claims import is_count
from protocols.envelope.fields import fields_of, is_bytes, is_text, require
from protocols.orders.calendar import is_day
from protocols.orders.order import ORDER_ID_SIZE

VERSION = 1
BLOCKED_DAYS_MAX = 400
PROTECTED_MAX = 1024  # meters; as many as a gateway has
STOPPED_MAX = 256  # orders of one stop; the rest follows with the next one
CLOCK_CORRECTION_S_MAX = 3600
HELD = 0  # `cuts_until` of a global hold


class Policy(
    namedtuple(
        "Policy",
        (
            "serial",
            "counter_mark",
            "cuts_until",
            "calendar_until",
            "blocked_days",
            "weather_blocked_until",
            "weather_known_until",
            "protected",
            "clock_correction",
        ),
    )
):
    """A gateway's standing policy. Times are UTC ms.

    `serial` rises: UTC ms of its making; a gateway takes none below the last. `counter_mark` the
    highest order counter that the head end has signed for this gateway: the gateway raises its own
    mark to it, so that an old SD card brings no old order back. `cuts_until` the end of the
    permission to disconnect, HELD (0) for none. `calendar_until` until when the `blocked_days`,
    a rising tuple of yyyymmdd, are known. `weather_blocked_until` no disconnecting before it;
    `weather_known_until` until when the weather was judged, 0: the head end does not judge it.
    `protected` a rising tuple of meter ids that are never disconnected. `clock_correction` by how
    many s a gateway may set a meter's clock without an order, 0: it may not.
    """

    def to_body(self) -> list:
        """The array on the wire."""
        days, protected = list(self.blocked_days), list(self.protected)
        head = [VERSION, self.serial, self.counter_mark, self.cuts_until, self.calendar_until]
        weather = [self.weather_blocked_until, self.weather_known_until]
        return head + [days] + weather + [protected, self.clock_correction]

    @classmethod
    def from_body(cls, body: object) -> "Policy":
        """EnvelopeError("schema") unless every field fits."""
        fields = fields_of(body, VERSION, 9, 9)
        serial, mark, cuts, calendar, days, blocked, known, protected, correction = fields
        require(all(is_count(one) for one in (serial, mark, cuts, calendar, blocked, known)))
        require(serial > 0)
        require(isinstance(days, list) and len(days) <= BLOCKED_DAYS_MAX)
        require(all(is_day(one) for one in days) and _rises(days))
        require(isinstance(protected, list) and len(protected) <= PROTECTED_MAX)
        require(all(is_text(one) for one in protected) and _rises(protected))
        require(is_count(correction) and correction <= CLOCK_CORRECTION_S_MAX)
        return cls(
            serial, mark, cuts, calendar, tuple(days), blocked, known, tuple(protected), correction
        )


class Stop(namedtuple("Stop", ("order_ids", "cuts_before"))):
    """What is cancelled wherever it is not sent yet: the orders of `order_ids`, a tuple of 16
    bytes each, and every order that cuts and was issued at or before `cuts_before` (UTC ms, 0:
    none)."""

    def to_body(self) -> list:
        """The array on the wire."""
        return [VERSION, list(self.order_ids), self.cuts_before]

    @classmethod
    def from_body(cls, body: object) -> "Stop":
        """EnvelopeError("schema") unless every field fits, and it stops something."""
        order_ids, cuts_before = fields_of(body, VERSION, 2, 2)
        require(isinstance(order_ids, list) and len(order_ids) <= STOPPED_MAX)
        require(all(is_bytes(one, ORDER_ID_SIZE) for one in order_ids))
        require(is_count(cuts_before) and (cuts_before > 0 or len(order_ids) > 0))
        return cls(tuple(order_ids), cuts_before)


def _rises(values: list) -> bool:
    return all(values[place - 1] < values[place] for place in range(1, len(values)))
