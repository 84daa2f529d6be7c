"""What a message says of itself under its signature, and the rules that judge it.

Pure: the caller brings the time and what it remembers.

* `sequence` counts the sender's messages within `epoch`; an acknowledgement and an order have
  counters of their own, because they have keys of their own.
* A replay is a sequence seen before. Messages may overtake each other on the way up, so the
  receiver keeps a window; an order may not, so the gateway keeps the highest alone, durable
  before it acts.
* Times are checked where acting late does harm: on orders and acknowledgements. Data from a gateway
  whose clock is wrong is still data, and says how far its time can be trusted.
"""

from collections import namedtuple

from protocols.errors import EnvelopeError

SKEW_MS = 120_000  # how far ahead of ours a sender's clock may be
EPOCH_SIZE = 8
NONCE_SIZE = 16
REPLAY_WINDOW = 1024  # messages; far above the sender's own window of unacknowledged ones

_CLAIMS = _SEQUENCE, _ISSUED, _EXPIRES, _NONCE, _EPOCH, _TYPE = 1, 2, 3, 4, 5, 6
_UINT_MAX = (1 << 63) - 1


class Claims(
    namedtuple("Claims", ("sequence", "issued_at", "expires_at", "nonce", "epoch", "content_type"))
):
    """Signed claims. Times UTC ms (`expires_at` 0 = never), `epoch` 8 bytes, `nonce` 16 bytes or
    empty."""

    def to_map(self) -> dict:
        """The CBOR map."""
        claims = {
            _SEQUENCE: self.sequence,
            _ISSUED: self.issued_at,
            _EXPIRES: self.expires_at,
            _EPOCH: self.epoch,
            _TYPE: self.content_type,
        }
        if self.nonce:
            claims[_NONCE] = self.nonce
        return claims

    @classmethod
    def from_map(cls, claims: object) -> "Claims":
        """EnvelopeError("schema") unless the map is complete and in range."""
        # By type too: CBOR's true and 1.0 are other keys than 1.
        if not isinstance(claims, dict) or not all(is_count(k) and k in _CLAIMS for k in claims):
            raise EnvelopeError("schema", "claims")
        for key in (_SEQUENCE, _ISSUED, _EXPIRES, _TYPE):
            if not is_count(claims.get(key)):
                raise EnvelopeError("schema", "claims")
        epoch, nonce = claims.get(_EPOCH), claims.get(_NONCE, b"")
        if not isinstance(epoch, bytes) or len(epoch) != EPOCH_SIZE:
            raise EnvelopeError("schema", "claims")
        if not isinstance(nonce, bytes) or len(nonce) not in (0, NONCE_SIZE):
            raise EnvelopeError("schema", "claims")
        return cls(
            claims[_SEQUENCE], claims[_ISSUED], claims[_EXPIRES], nonce, epoch, claims[_TYPE]
        )


def is_count(value: object) -> bool:
    """Whether `value` is an integer of 0..2^63-1 (a bool is none): what SQLite can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _UINT_MAX


class ReplayWindow(namedtuple("ReplayWindow", ("highest", "seen"))):
    """Which of the last REPLAY_WINDOW sequences arrived: bit n of `seen` is `highest - n`."""

    def accept(self, sequence: int) -> "ReplayWindow":
        """The window with `sequence` in it; EnvelopeError("replayed") if it was there, or is too
        old to tell (then the sender's own retry brings the content under a new sequence)."""
        ahead = sequence - self.highest
        if ahead > 0:
            kept = self.seen << ahead if ahead < REPLAY_WINDOW else 0
            return ReplayWindow(sequence, (kept | 1) & ((1 << REPLAY_WINDOW) - 1))
        if -ahead >= REPLAY_WINDOW or self.seen >> -ahead & 1:
            raise EnvelopeError("replayed")
        return ReplayWindow(self.highest, self.seen | 1 << -ahead)


def check_times(claims: Claims, now: int) -> None:
    """EnvelopeError: not_yet (issued in the future beyond the skew), expired."""
    if claims.issued_at - SKEW_MS > now:
        raise EnvelopeError("not_yet")
    if claims.expires_at and now > claims.expires_at:
        raise EnvelopeError("expired")


def check_order(claims: Claims, last_sequence: int, now: int, nonce_ages: dict) -> None:
    """Whether a gateway may take this order up.

    `now` is UTC ms when the gateway's clock can be trusted, else 0; `nonce_ages` holds, for each
    nonce that this boot announced, how long ago in ms. Without a trusted clock the order must
    answer such a nonce and be young enough that it cannot have expired: it was issued after the
    nonce. EnvelopeError: replayed, expired, not_yet, clock_untrusted.
    """
    if claims.sequence <= last_sequence:
        raise EnvelopeError("replayed")
    if not claims.expires_at or claims.expires_at <= claims.issued_at:
        raise EnvelopeError("expired", "an order must say how long it holds")
    if now:
        check_times(claims, now)
        return
    age = nonce_ages.get(claims.nonce)
    if age is None:
        raise EnvelopeError("clock_untrusted")
    if age > claims.expires_at - claims.issued_at:
        raise EnvelopeError("expired")
