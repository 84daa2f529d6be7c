"""What the head end sends: signed with the key for its kind, sealed to the gateway's newest key."""

from cloud.identity.keyring import OwnKeys, Registry
from protocols.envelope.claims import Claims
from protocols.envelope.keys import Use
from protocols.envelope.seal import Context, seal
from protocols.envelope.suites import FileSigner, Provider
from protocols.messages import HEAD_END, MessageKind
from protocols.topics import Topic


class Sealer:
    """Seals messages to gateways."""

    def __init__(self, tenant: str, own: OwnKeys, registry: Registry, provider: Provider) -> None:
        self._tenant = tenant
        self._own = own
        self._registry = registry
        self._provider = provider
        self._signers: dict[bytes, FileSigner] = {}  # by key id: building one costs a signature

    def topic(self, kind: MessageKind, gateway_id: str) -> str:
        """Where a gateway listens for a kind of message."""
        return Topic(self._tenant, gateway_id, kind.suffix).text()

    def seal(self, kind: MessageKind, gateway_id: str, claims: Claims, value: object) -> bytes:
        """The sealed message of a body's value; EnvelopeError("unknown_key") without a valid key of
        ours or of the gateway's at the time of issue."""
        recipient = self._registry.keys().current(gateway_id, Use.OPEN, claims.issued_at)
        key = self._own.current(kind.use, claims.issued_at)
        signer = self._signers.get(key.record.kid)
        if signer is None:
            signer = self._provider.signer(key.record.algorithm, key.private)
            self._signers[key.record.kid] = signer
        return seal(
            self._provider,
            signer,
            key.record.kid,
            recipient,
            Context(kind.name, HEAD_END, gateway_id, self.topic(kind, gateway_id)),
            claims,
            self._provider.deflate(self._provider.encode(value)),
        )
