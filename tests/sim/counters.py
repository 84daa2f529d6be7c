"""The message counters: under one key, no two messages that left ever had the same number.

* A gateway counts its messages in one row, within an epoch, across its crashes.
* The head end counts acknowledgements and orders apart, for each gateway. An order that is made
  again after a commit that failed may have the number of the one that nobody ever saw.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from protocols.envelope.claims import Claims
from protocols.envelope.seal import Context
from protocols.messages import HEAD_END
from tests.sim.rows import BrokenError

_Key = tuple[str, bytes, str | bytes, int]  # sender, its key's id, recipient or epoch, number


class Counters:
    """All counters of a world. Only digests of the messages are kept."""

    def __init__(self) -> None:
        self._sealed: dict[bytes, _Key] = {}
        self._left: dict[_Key, bytes] = {}

    @property
    def count(self) -> int:
        """Different messages that left."""
        return len(self._left)

    def watch_seal(self, seal: Callable[..., bytes]) -> Callable[..., bytes]:
        """`seal`, and what it made noted."""

        def noted(
            provider: Any,
            signer: Any,
            kid: bytes,
            recipient: Any,
            context: Context,
            claims: Claims,
            body: bytes,
        ) -> bytes:
            message = seal(provider, signer, kid, recipient, context, claims, body)
            whose = context.recipient if context.sender == HEAD_END else claims.epoch
            self._sealed[_digest(message)] = (context.sender, kid, whose, claims.sequence)
            return message

        return noted

    def leaves(self, message: bytes) -> None:
        """Somebody hands this to its connection; the same message may go again."""
        digest = _digest(message)
        key = self._sealed[digest]
        if self._left.setdefault(key, digest) != digest:
            raise BrokenError(f"{key[0]} used the message counter {key[3]} twice")


def _digest(message: bytes) -> bytes:
    return blake2b(message, digest_size=16).digest()
