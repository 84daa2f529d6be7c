"""The policy of each gateway: the permission to cut, and what it needs to judge a cut by itself.

* The permission is a lease. It is renewed while the head end runs and reaches the gateway; whoever
  stops the head end, or cuts the link, ends all cuts by doing nothing (I26).
* A policy goes out when a gateway has said hello (it answers that hello's nonce), each third of
  the lease, at once when the hold or the never-cut list has changed, and after a start of ours.
* Its counter mark is the highest counter that was signed for the gateway, less what the broker has
  not taken yet: an old SD card learns what it has forgotten, and no order in the queue is refused
  for it.
"""

import logging

from cloud.ingest.acks import Outbound
from cloud.orders.office import Office
from cloud.store import sql_orders as sql
from cloud.store.papers import PolicyRow
from cloud.store.rows import GatewayRow
from protocols.envelope.claims import EPOCH_SIZE, Claims
from protocols.errors import EnvelopeError
from protocols.messages import POLICY, Policy
from protocols.orders.policy import HELD, PROTECTED_MAX

log = logging.getLogger("cloud.orders")

LOOK_EVERY_MS = 10_000  # at all gateways; a hello or a hold is looked at on the next tick
HOUR_MS = 3_600_000
RENEWALS = 3  # of a lease while it lasts
_NO_EPOCH = bytes(EPOCH_SIZE)


class Lease:
    """Makes and publishes policies, in the open transaction."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._urgent: set[str] = set()  # gateways that said hello
        self._generation = 0  # of what policies say; a start is a new one
        self._told: dict[str, tuple[int, int]] = {}  # gateway -> (generation, UTC ms) it was sent
        self._next_look = 0

    def greeted(self, gateway_id: str) -> None:
        """A gateway said hello."""
        self._urgent.add(gateway_id)
        self._told.pop(gateway_id, None)

    def changed(self) -> None:
        """What policies say is not what holds any more."""
        self._generation += 1
        self._next_look = 0

    def connected(self) -> None:
        """A new connection: look at all gateways."""
        self._next_look = 0

    def publish(self) -> bool:
        """Hand out the policies that are due; False without a connection."""
        office, now = self._office, self._office.clock.utc_ms()
        names = sorted(self._urgent)
        is_full = now >= self._next_look or self._next_look - now > LOOK_EVERY_MS
        if is_full:
            names = office.store.gateway_ids()
        for gateway_id in names:
            gateway = office.store.find_gateway(gateway_id)
            if gateway is not None and self._is_due(gateway, now):
                if not self._send(gateway, now):
                    return False
            self._urgent.discard(gateway_id)
        if is_full:
            self._next_look = now + LOOK_EVERY_MS
        return True

    def _is_due(self, gateway: GatewayRow, now: int) -> bool:
        if gateway.nonce is None:
            return False
        generation, made_at = self._told.get(gateway.gateway_id, (-1, 0))
        is_told = generation == self._generation
        return not is_told or not 0 <= now - made_at < self._lease_ms() // RENEWALS

    def _send(self, gateway: GatewayRow, now: int) -> bool:
        """Whether it is on its way, or never will be."""
        office, name = self._office, gateway.gateway_id
        last = office.papers.policy(name)
        serial = max(now, last.serial + 1 if last else 0)
        policy = self._policy(gateway, serial, now)
        nonce = gateway.nonce or b""
        claims = Claims(serial, now, now + self._lease_ms(), nonce, _NO_EPOCH, POLICY.content_type)
        try:
            payload = office.sealer.seal(POLICY, name, claims, policy.to_body())
        except EnvelopeError as error:
            log.warning("policy_skipped gateway=%s reason=%s", name, error.reason)
            self._told[name] = (self._generation, now)
            return True
        topic = office.sealer.topic(POLICY, name)
        if not office.publisher.publish(Outbound(topic, payload, self._lease_ms() // 1000)):
            return False
        self._told[name] = (self._generation, now)
        office.store.begin()
        office.papers.put_policy(name, PolicyRow(serial, nonce, now, policy.cuts_until))
        return True

    def _policy(self, gateway: GatewayRow, serial: int, now: int) -> Policy:
        office, name = self._office, gateway.gateway_id
        rows = office.orders.db.execute(sql.SELECT_METERS_OF_GATEWAY, (name,)).fetchall()
        protected = sorted({meter for (meter,) in rows}.intersection(office.never_cut.protected()))
        # One that has more protected meters than a policy can name cuts nobody.
        is_held = office.papers.hold().is_held or len(protected) > PROTECTED_MAX
        waiting = office.orders.lowest_waiting(name)
        mark = gateway.order_counter if waiting is None else waiting - 1
        return Policy(
            serial,
            mark,
            HELD if is_held else now + self._lease_ms(),
            office.hours.known_until(),
            office.hours.days(now),
            0,
            0,
            tuple(protected[:PROTECTED_MAX]),
            office.policy.clock_correction_s,
        )

    def _lease_ms(self) -> int:
        return self._office.policy.lease_h * HOUR_MS
