"""One question to one meter and its whole answer, follow-up parts joined.

A meter's late answer to an earlier question looks perfectly valid; only the match tells it apart:

* The reply's address is the one asked; asked with AA digits, the remaining digits agree.
* Its function is the one asked and bit D7 is set.
* A data reply repeats the identifier asked; a follow-up reply also repeats SEQ as its last byte.
  An error reply carries neither: address and function must do.
* The first reply has no SEQ. A reply with D5 set is followed by request 12 with SEQ 1, 2, ...;
  a lost part is asked for again with the same SEQ; parts are joined before decoding, because a
  part may end inside an item.

States, in one table (`now` -> event -> next):

    ASKED   reply, D5 clear    -> DONE
    ASKED   reply, D5 set      -> MORE     (ask for the next part)
    ASKED   abnormal reply     -> raises RefusedError or UnsupportedError
    ASKED   anything else      -> ASKED    (counted in `strays`)
    MORE    is ASKED again with the follow-up request
    DONE    anything           -> DONE     (counted in `strays`)
"""

from protocols.dlt645.frame import (
    ANY_ADDRESS,
    REPLY_BIT,
    Frame,
    Function,
    error_names,
    is_meter_address,
)
from protocols.errors import CallerError, LineError, RefusedError, UnsupportedError

ASKED = "asked"
MORE = "more"
DONE = "done"

PARTS_MAX = 64  # follow-up parts of one answer; 64 x 200 bytes is more than any known item
_NO_DATA_BIT = 1  # of the error byte


def identifier_bytes(di: str) -> bytes:
    """Wire form (DI0 first) of an identifier such as "00010000"; CallerError when it is none."""
    if len(di) != 8 or any(digit not in "0123456789ABCDEFabcdef" for digit in di):
        raise CallerError(repr(di) + " is not a data identifier of 8 hex digits")
    return bytes(reversed(bytes.fromhex(di)))


def identifier_text(wire: bytes) -> str:
    """The identifier as printed, DI3 first."""
    return bytes(reversed(bytes(wire[:4]))).hex().upper()


class Exchange:
    """A read of one identifier, or of the address. `request` is the frame to send now."""

    def __init__(self, address: str, function: int, di: str = "") -> None:
        self.address = address
        self.strays = 0  # well-formed frames that did not answer this question
        self.state = ASKED
        self.answered_by = ""  # the meter's own address, as its reply gave it
        self._di = identifier_bytes(di) if di else b""
        self._sequence = 0
        self._parts = bytearray()
        self.request = Frame(address, function, self._di)

    def receive(self, frame: Frame) -> str:
        """The new state. Raises RefusedError or UnsupportedError for the meter's own no, and
        LineError when the answer has too many parts."""
        if self.state == DONE or not self._answers(frame):
            self.strays += 1
            return self.state
        self.answered_by = frame.address
        if frame.is_abnormal:
            raise _refusal(frame)
        self._parts.extend(self._payload(frame))
        if not frame.has_more:
            self.state = DONE
            return self.state
        self._sequence += 1
        if self._sequence > PARTS_MAX:
            raise LineError(f"the answer has more than {PARTS_MAX} parts")
        self.request = Frame(self.address, Function.READ_MORE, self._di + bytes((self._sequence,)))
        self.state = MORE
        return self.state

    def data(self) -> bytes:
        """Identifier and joined payload of a DONE exchange (the address, for read address)."""
        return self._di + bytes(self._parts)

    def _answers(self, frame: Frame) -> bool:
        if not frame.control & REPLY_BIT or frame.function != self.request.function:
            return False
        if not matches_address(self.address, frame.address):
            return False
        if frame.is_abnormal:
            return len(frame.data) == 1
        if not frame.data.startswith(self._di):
            return False
        if self._sequence:
            return len(frame.data) > 4 and frame.data[-1] == self._sequence
        return True

    def _payload(self, frame: Frame) -> bytes:
        end = len(frame.data) - 1 if self._sequence else len(frame.data)
        return bytes(frame.data[len(self._di) : end])


def read(address: str, di: str) -> Exchange:
    """A read (11) of one identifier from one meter; no wildcard, so no two meters can answer."""
    if not is_meter_address(address):
        raise CallerError(repr(address) + " is not the address of one meter")
    return Exchange(address, Function.READ, di)


def read_address() -> Exchange:
    """A read of the address (13) of the only meter on a line."""
    return Exchange(ANY_ADDRESS, Function.READ_ADDRESS)


def matches_address(asked: str, answered: str) -> bool:
    """Whether a reply from `answered` may answer a request to `asked`: A digits match anything."""
    return len(asked) == len(answered) and all(
        wanted in ("A", given) for wanted, given in zip(asked, answered)
    )


def _refusal(frame: Frame) -> RefusedError:
    code = frame.data[0]
    names = error_names(code)
    message = (
        f"meter {frame.address} refused with error {code:02X} ({', '.join(names) or 'no bit set'})"
    )
    if code >> _NO_DATA_BIT & 1:
        return UnsupportedError(message, code, names)
    return RefusedError(message, code, names)
