"""The head end's standing policy as this gateway holds it, and how fresh it is.

* The newest one counts, by its serial, which rises; the last is kept over a restart.
* It is attested only while it answers a nonce of this boot: what an old card or a broker brings
  again opens nothing. Without an attested policy the gateway observes only.
* The lease ends by the clock that does not jump as well as by UTC, counted from when its nonce was
  made: setting a clock back prolongs nothing.
* The policy's signed time bounds ours: a clock that lies outside of it is not trusted for a cut.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from edge.clock import Clock
from edge.timekeeping import Moment
from protocols.envelope.claims import SKEW_MS, Claims, check_times
from protocols.errors import EnvelopeError
from protocols.messages import Policy
from protocols.orders.policy import HELD
from protocols.readings import TimeQuality

log = logging.getLogger("edge.orders")


class _Held(NamedTuple):
    policy: Policy
    issued_at: int  # UTC ms, signed
    asked_at: int  # boot ms of its nonce; -1: it answers none of this boot
    heard_at: int  # boot ms


class Standing:
    """Any thread may ask; one takes. `keep(policy)` makes one durable, `raise_mark` the order
    counter's mark."""

    def __init__(
        self,
        clock: Clock,
        saved: Policy | None,
        keep: Callable[[Policy], None],
        raise_mark: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._raise_mark = raise_mark
        self._held = _Held(saved, 0, -1, 0) if saved is not None else None

    @property
    def policy(self) -> Policy | None:
        """The newest one; None when there never was one."""
        return self._held.policy if self._held is not None else None

    @property
    def is_attested(self) -> bool:
        """Whether it was made in this boot."""
        return self._held is not None and self._held.asked_at >= 0

    def is_protected(self, meter_id: str) -> bool:
        """Whether it says so of this meter, attested or not."""
        return self._held is not None and meter_id in self._held.policy.protected

    def take(
        self, claims: Claims, policy: Policy, utc_ms: int, nonce_ages: dict[bytes, int]
    ) -> None:
        """Takes a policy that opened; `utc_ms` is trusted UTC or 0. EnvelopeError when an earlier
        one is newer, or it expired. What it forbids holds at once, also when the disk refuses."""
        before = self._held
        if claims.sequence != policy.serial:
            raise EnvelopeError("schema", "the policy's serial is not its message's")
        if before is not None and policy.serial < before.policy.serial:
            raise EnvelopeError("replayed")
        boot_ms = self._clock.boot_ms()
        age = nonce_ages.get(claims.nonce)
        asked_at = boot_ms - age if age is not None else -1
        if asked_at < 0:
            if before is not None and policy.serial == before.policy.serial:
                raise EnvelopeError("replayed")
            if utc_ms:
                check_times(claims, utc_ms)
        # Not attested before its mark is durable: else an old card's orders could come between.
        self._held = _Held(policy, claims.issued_at, -1, boot_ms)
        self._raise_mark(policy.counter_mark)
        self._held = _Held(policy, claims.issued_at, asked_at, boot_ms)
        log.info("policy_taken serial=%d attested=%s", policy.serial, asked_at >= 0)
        if before is None or policy != before.policy:
            self._keep(policy)

    def lease_code(self, moment: Moment) -> str:
        """Why the head end's word does not permit to disconnect now; "" while it does."""
        held = self._held
        if held is None or held.asked_at < 0:
            return "no-policy"
        if held.policy.cuts_until == HELD:
            return "on-hold"
        left_ms = held.policy.cuts_until - held.issued_at
        if moment.boot_ms > held.asked_at + left_ms or moment.utc_ms > held.policy.cuts_until:
            return "lease-ended"
        return ""

    def lease_left_ms(self) -> int | None:
        """How long it still permits; 0 when it does not, None without an attested policy."""
        held = self._held
        if held is None or held.asked_at < 0:
            return None
        if held.policy.cuts_until == HELD:
            return 0
        ends_at: int = held.asked_at + held.policy.cuts_until - held.issued_at
        return max(ends_at - self._clock.boot_ms(), 0)

    def is_time_good(self, moment: Moment) -> bool:
        """Whether the clock is trusted, undisputed, and not outside of what the policy's signed
        time allows."""
        held = self._held
        if moment.quality < TimeQuality.NTP or moment.is_in_doubt:
            return False
        if held is None or held.asked_at < 0:
            return False
        earliest = held.issued_at + moment.boot_ms - held.heard_at
        latest = held.issued_at + moment.boot_ms - held.asked_at
        return earliest - SKEW_MS <= moment.utc_ms <= latest + SKEW_MS
