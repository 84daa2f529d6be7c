"""Acknowledgements: what the head end has stored, sealed to the gateway. Nothing else empties an
outbox there, so one is built only from what is committed.

An acknowledgement says the truth of this moment, so any number of them may be lost or repeated.
Its counter is saved with the transaction that it reports, so it never goes back.
"""

import logging
from typing import NamedTuple, Protocol

from cloud.clock import Clock
from cloud.faults import fault_words
from cloud.identity.sealing import Sealer
from cloud.store.rows import EpochRow, GatewayRow
from protocols.envelope.claims import Claims
from protocols.errors import EnvelopeError
from protocols.messages import ACK, RANGES_MAX, RECEIPTS_MAX, Ack

log = logging.getLogger("cloud.acks")

VALIDITY_MS = 86_400_000  # an older acknowledgement tells nothing that a new one does not


class Outbound(NamedTuple):
    """A message for the broker. `expiry_s`: how long it may wait there (MQTT 5 only)."""

    topic: str
    payload: bytes
    expiry_s: int


class Publisher(Protocol):
    """What the head end sends through."""

    def publish(self, message: Outbound) -> bool:
        """Hand a message to the broker's connection; False when there is none (send it later)."""

    def publish_tracked(self, message: Outbound, token: bytes) -> bool:
        """The same, and `token` comes back as a `Published` event when the broker took it."""

    def renew(self) -> None:
        """Connect anew, so that the broker delivers again what was not acknowledged."""


class Wanted:
    """What one gateway's epoch is to be told with the next commit."""

    def __init__(self) -> None:
        self.nonce = b""
        self.receipts: dict[tuple[int, str], None] = {}  # in order, each once


class Prepared(NamedTuple):
    """An acknowledgement with its counter taken, to be sealed after the commit."""

    gateway_id: str
    counter: int
    ack: Ack


def prepare(gateway: GatewayRow, epoch: EpochRow, wanted: Wanted, now: int) -> list[Prepared]:
    """The acknowledgements that tell what is wanted: one, or more when there are many receipts.
    Takes counters from `gateway`; the caller saves the row before anything is published."""
    receipts = list(wanted.receipts)
    nonce = wanted.nonce
    prepared = []
    while True:
        some, receipts = receipts[:RECEIPTS_MAX], receipts[RECEIPTS_MAX:]
        gateway.ack_counter += 1
        ack = Ack(
            epoch.epoch,
            epoch.ledger.contiguous(),
            tuple(epoch.ledger.above(RANGES_MAX)),
            now,
            nonce,
            tuple(some),
            epoch.events,
            epoch.audit,
        )
        prepared.append(Prepared(gateway.gateway_id, gateway.ack_counter, ack))
        if not receipts:
            return prepared
        nonce = b""


class AckSender:
    """Seals and publishes acknowledgements."""

    def __init__(self, sealer: Sealer, publisher: Publisher, clock: Clock) -> None:
        self._sealer = sealer
        self._publisher = publisher
        self._clock = clock

    def send(self, prepared: list[Prepared]) -> int:
        """Publish; how many the broker's connection took. One without a key is logged and left out:
        the gateway keeps what it has."""
        sent = 0
        for one in prepared:
            try:
                message = self._sealed(one)
            except EnvelopeError as error:
                log.warning("ack_skipped gateway=%s reason=%s", one.gateway_id, error.reason)
                continue
            except Exception as error:  # noqa: BLE001 -- the commit holds; the next ack tells it too
                log.error("ack_failed gateway=%s error=%s", one.gateway_id, fault_words(error))
                continue
            sent += self._publisher.publish(message)
        return sent

    def _sealed(self, one: Prepared) -> Outbound:
        now = self._clock.utc_ms()
        epoch = one.ack.epoch
        claims = Claims(one.counter, now, now + VALIDITY_MS, b"", epoch, ACK.content_type)
        payload = self._sealer.seal(ACK, one.gateway_id, claims, one.ack.to_body())
        return Outbound(self._sealer.topic(ACK, one.gateway_id), payload, VALIDITY_MS // 1000)
