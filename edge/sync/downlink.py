"""Opens what comes down: the checks that need neither the journal nor a decision.

Order: topic -> kind -> retained -> our key, signer, signature and claims -> content type -> body.
"""

from typing import NamedTuple

from edge.sync.identity import Identity
from edge.sync.transport import Arrived
from protocols import topics
from protocols.envelope.claims import Claims
from protocols.envelope.seal import BODY_SIZE_MAX, Context, open_sealed
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import DOWNLINK_BY_SUFFIX, HEAD_END, ORDER, POLICY, MessageKind

# A stop is none of them: what forbids may come in any way.
NEVER_RETAINED = (ORDER, POLICY)


class Opened(NamedTuple):
    """A message from the head end; `body` is what it holds, not judged yet."""

    kind: MessageKind
    claims: Claims
    body: object


class Downlink:
    """Opens messages for one gateway."""

    def __init__(self, identity: Identity, provider: Provider) -> None:
        self._identity = identity
        self._provider = provider

    def open(self, message: Arrived, now: int) -> Opened:
        """EnvelopeError with the reason when it is not one for us. `now` is trusted UTC or 0."""
        kind = self._kind_of(message.topic)
        if message.retained and kind in NEVER_RETAINED:
            raise EnvelopeError("retained", "an order must not wait in the broker")
        identity = self._identity
        opened = open_sealed(
            self._provider,
            identity.own_keys,
            identity.trusted,
            kind.use,
            now,
            Context(kind.name, HEAD_END, identity.gateway_id, message.topic),
            message.payload,
        )
        if opened.claims.content_type != kind.content_type:
            raise EnvelopeError("content_type")
        body = self._provider.decode(self._provider.inflate(opened.body, BODY_SIZE_MAX))
        return Opened(kind, opened.claims, body)

    def _kind_of(self, text: str) -> MessageKind:
        try:
            topic = topics.Topic.from_text(text)
        except CallerError:
            raise EnvelopeError("topic") from None
        here = (self._identity.tenant, self._identity.gateway_id)
        kind = DOWNLINK_BY_SUFFIX.get(topic.suffix)
        if kind is None or (topic.tenant, topic.gateway) != here:
            raise EnvelopeError("topic")
        return kind
