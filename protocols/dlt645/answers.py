"""The meter's side of an exchange: whom a request means, and the frames that answer it."""

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import ABNORMAL_BIT, DATA_SIZE_MAX, MORE_BIT, REPLY_BIT, Frame
from protocols.errors import CallerError

CUT_SIZE = 195  # with identifier and SEQ the base text's 200 data bytes of one reply
CUT_SIZE_MAX = DATA_SIZE_MAX - 5


def is_addressed(asked: str, own: str) -> bool:
    """Whether a request to `asked` means the meter `own`: its full address, or an abbreviated one
    with AA in the high bytes only, contiguous from A5 downwards, and the remaining digits exact."""
    exact = asked.lstrip("A")
    wild = len(asked) - len(exact)
    return wild % 2 == 0 and own[wild:] == exact


def accepted(request: Frame, own: str, data: bytes = b"", more: bool = False) -> Frame:
    """The normal reply of the meter `own`; `more` when parts follow."""
    return Frame(own, request.function | REPLY_BIT | (MORE_BIT if more else 0), data)


def refused(request: Frame, own: str, code: int) -> Frame:
    """The abnormal reply: one error byte, two for the security function (low byte first)."""
    size = 2 if request.function == Function.SECURITY else 1
    if not 0 <= code < 1 << 8 * size:
        raise CallerError(f"error {code} does not fit into {size} bytes")
    return Frame(own, request.function | REPLY_BIT | ABNORMAL_BIT, code.to_bytes(size, "little"))


class Answer:
    """A payload that may be too long for one reply: the first part, and those that are asked for
    with 12. All parts are of one instant, and may cut inside an item."""

    def __init__(self, di: bytes, payload: bytes, cut: int = CUT_SIZE) -> None:
        if not 1 <= cut <= CUT_SIZE_MAX:
            raise CallerError(f"{cut} bytes are not allowed; a part has 1 to {CUT_SIZE_MAX}")
        self.di = di
        self._parts = [payload[at : at + cut] for at in range(0, len(payload), cut)] or [b""]

    def first(self, request: Frame, own: str) -> Frame:
        """The reply to the read: no number, D5 set when more follow."""
        return accepted(request, own, self.di + self._parts[0], len(self._parts) > 1)

    def following(self, request: Frame, own: str, sequence: int) -> "Frame | None":
        """The reply to 12 with this number, which it repeats as its last byte; None when there is
        no such part."""
        if not 1 <= sequence < len(self._parts):
            return None
        data = self.di + self._parts[sequence] + bytes((sequence,))
        return accepted(request, own, data, sequence + 1 < len(self._parts))
