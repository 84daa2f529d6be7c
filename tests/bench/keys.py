"""Fresh keys for one gateway and one head end, in memory."""

from typing import NamedTuple

from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.provider import Signer
from protocols.envelope.seal import Context, seal
from protocols.envelope.suites import Provider
from protocols.messages import DATA, HEAD_END
from protocols.topics import Topic

GATEWAY, TENANT = "gw1", "t1"
TOPIC = Topic(TENANT, GATEWAY, DATA.suffix).text()
CONTEXT = Context(DATA.name, GATEWAY, HEAD_END, TOPIC)
EPOCH = b"epoch-01"
_FOREVER = 1 << 60


class Bench(NamedTuple):
    """All that sealing and opening a batch needs."""

    provider: Provider
    gateway_key: PrivateKey
    signer: Signer
    head_end_key: PrivateKey
    trusted: KeySet

    def seal(self, counter: int, body: object, now: int = 1_763_700_000_000) -> bytes:
        """The sealed batch."""
        claims = Claims(counter, now, 0, b"", EPOCH, DATA.content_type)
        packed = self.provider.deflate(self.provider.encode(body))
        kid, recipient = self.gateway_key.record.kid, self.head_end_key.record
        return seal(self.provider, self.signer, kid, recipient, CONTEXT, claims, packed)


def make_bench() -> Bench:
    """Both parties, each with what it needs of the other."""
    provider = Provider()
    gateway = private_key(provider, GATEWAY, Use.SIGN_DATA, ESP256)
    head_end = private_key(provider, HEAD_END, Use.OPEN, HPKE_X25519)
    signer = provider.signer(ESP256, gateway.private)
    return Bench(provider, gateway, signer, head_end, KeySet((gateway.record,)))


def private_key(provider: Provider, owner: str, use: str, algorithm: int) -> PrivateKey:
    """A fresh key that is valid for ever."""
    private, public = provider.generate(algorithm)
    record = KeyRecord(provider.kid(public), owner, use, algorithm, public, 0, _FOREVER, 0)
    return PrivateKey(record, private)
