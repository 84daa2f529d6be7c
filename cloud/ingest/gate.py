"""The checks that need no memory: from a topic and bytes to an opened, signed message of a known
kind.

Order: topic -> size cap -> strict CBOR -> key known -> open -> signature -> claims -> content type.
Replay, inflation and schema come after, because they need what the store remembers.
"""

from typing import NamedTuple

from cloud.clock import Clock
from cloud.identity.keyring import OwnKeys, Registry
from protocols import topics
from protocols.envelope.claims import Claims
from protocols.envelope.seal import BODY_SIZE_MAX, Context, open_sealed
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import HEAD_END, UPLINK_BY_SUFFIX, MessageKind


class Passed(NamedTuple):
    """A message that passed the gate; `body` is still compressed."""

    kind: MessageKind
    gateway_id: str
    claims: Claims
    body: bytes


class Gate:
    """Opens what gateways send."""

    def __init__(
        self, tenant: str, own: OwnKeys, registry: Registry, provider: Provider, clock: Clock
    ) -> None:
        self._tenant = tenant
        self._own = own
        self._registry = registry
        self._provider = provider
        self._clock = clock

    def parse(self, topic: str) -> topics.Topic:
        """The parts of a topic of our tenant; EnvelopeError("topic") otherwise."""
        try:
            parsed = topics.Topic.from_text(topic)
        except CallerError as error:
            raise EnvelopeError("topic") from error
        if parsed.tenant != self._tenant:
            raise EnvelopeError("topic")
        return parsed

    def is_known(self, gateway_id: str) -> bool:
        """Whether the registry has keys of this gateway."""
        self._registry.keys()
        return self._registry.is_gateway(gateway_id)

    def age(self) -> None:
        """A transaction has ended: look for changed keys."""
        self._registry.age()

    def open(self, topic: topics.Topic, payload: bytes) -> Passed:
        """The opened message; EnvelopeError with the reason otherwise."""
        kind = UPLINK_BY_SUFFIX.get(topic.suffix)
        if kind is None:
            raise EnvelopeError("topic")
        context = Context(kind.name, topic.gateway, HEAD_END, topic.text())
        opened = open_sealed(
            self._provider,
            self._own.opening,
            self._registry.keys(),
            kind.use,
            self._clock.utc_ms(),
            context,
            payload,
        )
        if opened.claims.content_type != kind.content_type:
            raise EnvelopeError("content_type")
        return Passed(kind, topic.gateway, opened.claims, opened.body)

    def body(self, passed: Passed) -> object:
        """The body's value, inflated within its bound; EnvelopeError otherwise."""
        return self._provider.decode_signed(self._provider.inflate(passed.body, BODY_SIZE_MAX))
