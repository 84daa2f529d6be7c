"""One question to one meter and its whole answer, follow-up parts joined.

A meter's late answer to an earlier question looks perfectly valid; only the match tells it apart:

* The reply's address is the one asked; asked with AA digits, the remaining digits agree.
* Its function is the one asked and bit D7 is set.
* What it carries is what the table of functions says: the identifier asked and data, a follow-up
  part also its SEQ as last byte, what was asked once more, or nothing. An error reply carries none
  of this: address and function must do.
* The first reply has no SEQ. A reply with D5 set is followed by request 12 with SEQ 1, 2, ...;
  a lost part is asked for again with the same SEQ; parts are joined before decoding, because a
  part may end inside an item. Edition 1997 has no SEQ: a lost part ends the exchange.

States, in one table (`now` -> event -> next):

    ASKED   reply, D5 clear    -> DONE
    ASKED   reply, D5 set      -> MORE     (ask for the next part)
    ASKED   abnormal reply     -> raises RefusedError or UnsupportedError
    ASKED   anything else      -> ASKED    (counted in `strays`)
    MORE    is ASKED again with the follow-up request
    DONE    anything           -> DONE     (counted in `strays`)
"""

from protocols.dlt645.commands import SEQUENCE_MAX, Read, ReadAddress
from protocols.dlt645.controls import (
    CONTROLS,
    ECHO,
    ERROR_BITS,
    ERROR_BITS_1997,
    IDENTIFIED,
    NO_DATA_BIT,
    NO_REPLY,
    NUMBERED,
    OWN_ADDRESS,
    Function,
    error_names,
    security_error_names,
)
from protocols.dlt645.frame import (
    ANY_ADDRESS,
    BROADCAST,
    REPLY_BIT,
    Frame,
    address_bytes,
    is_meter_address,
)
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.requests import request as frame_for
from protocols.errors import CallerError, LineError, RefusedError, UnsupportedError

ASKED = "asked"
MORE = "more"
DONE = "done"

PARTS_MAX = 64  # follow-up parts of one answer; 64 x 200 bytes is more than any known item
_READS_1997 = (Function.READ_1997, Function.READ_MORE_1997)
_ECHO_SIZES = {Function.CHANGE_PASSWORD: 4}  # the new password, of all that was asked
# Bytes of a reply that carries nothing, beyond none: the relay's extended answer. One source
# expects the new address behind 95.
_EXTRA_SIZES = {Function.RELAY: 2}


class Exchange:
    """`request` is the frame to send now; give every frame that is heard to `receive`."""

    def __init__(self, request: Frame) -> None:
        self.address = request.address
        self.strays = 0  # well-formed frames that did not answer this question
        self.answered_by = ""  # the meter's own address, as its reply gave it
        self.request = request
        self.is_1997 = request.function in _READS_1997
        control = CONTROLS.get(request.function)
        self._reply = IDENTIFIED if self.is_1997 or control is None else control.reply
        # Nobody answers a broadcast: what is heard then is a stray.
        is_answered = self._reply != NO_REPLY and request.address != BROADCAST
        self.state = ASKED if is_answered else DONE
        self._di = b""
        if self._reply == IDENTIFIED:
            self._di = request.data[: 2 if self.is_1997 else 4]
        self._sequence = 0
        if self._reply == NUMBERED:  # a part asked for on its own, as in a capture
            self._reply = IDENTIFIED
            self._di, self._sequence = request.data[:4], int.from_bytes(request.data[4:5], "little")
        self._sequence_max = min(self._sequence + PARTS_MAX, SEQUENCE_MAX)
        self._parts = bytearray()

    def receive(self, frame: Frame) -> str:
        """The new state. Raises RefusedError or UnsupportedError for the meter's own no, and
        LineError when the answer has too many parts."""
        if self.state == DONE or not self._answers(frame):
            self.strays += 1
            return self.state
        self.answered_by = frame.address
        if frame.is_abnormal:
            raise self._refusal(frame)
        self._parts.extend(self._payload(frame))
        if not frame.has_more:
            self.state = DONE
            return self.state
        self._sequence += 1
        if self._sequence > self._sequence_max:
            raise LineError(f"the answer has more than {PARTS_MAX} parts")
        self.request = self._next_request()
        self.state = MORE
        return self.state

    def data(self) -> bytes:
        """Identifier and joined payload of a DONE exchange; without an identifier the data alone
        (an address, an echo, the relay's extended answer)."""
        return self._di + bytes(self._parts)

    def _next_request(self) -> Frame:
        if self.is_1997:
            return Frame(self.address, Function.READ_MORE_1997, self._di)
        more = self._di + bytes((self._sequence,))
        return Frame(self.address, Function.READ_MORE, more)

    def _answers(self, frame: Frame) -> bool:
        if not frame.control & REPLY_BIT or frame.function != self.request.function:
            return False
        if not matches_address(self._due_address(frame), frame.address):
            return False
        if frame.is_abnormal:
            return len(frame.data) == (2 if frame.function == Function.SECURITY else 1)
        if frame.has_more and self._reply != IDENTIFIED:
            return False
        if self._reply == OWN_ADDRESS:
            return len(frame.data) == 6 and frame.data == address_bytes(frame.address)
        if self._reply == ECHO:
            asked = self.request.data
            return frame.data == asked[-_ECHO_SIZES.get(frame.function, len(asked)) :]
        if self._reply == IDENTIFIED:
            return self._is_part(frame)
        if frame.function == Function.WRITE_ADDRESS and frame.data:
            return frame.data == self.request.data
        return len(frame.data) in (0, _EXTRA_SIZES.get(frame.function, 0))

    def _due_address(self, frame: Frame) -> str:
        """Whose reply is awaited: a new address answers for itself."""
        if frame.function == Function.WRITE_ADDRESS and not frame.is_abnormal:
            return bytes(reversed(self.request.data)).hex()
        return self.address

    def _is_part(self, frame: Frame) -> bool:
        if not frame.data.startswith(self._di):
            return False
        if self._sequence and not self.is_1997:
            return len(frame.data) > 4 and frame.data[-1] == self._sequence
        return True

    def _payload(self, frame: Frame) -> bytes:
        has_sequence = self._sequence and not self.is_1997
        end = len(frame.data) - 1 if has_sequence else len(frame.data)
        return bytes(frame.data[len(self._di) : end])

    def _refusal(self, frame: Frame) -> RefusedError:
        code = int.from_bytes(frame.data, "little")
        is_no_data = bool(code >> NO_DATA_BIT & 1)
        if frame.function == Function.SECURITY:
            names = security_error_names(code)
            is_no_data = False
        else:
            names = error_names(code, ERROR_BITS_1997 if self.is_1997 else ERROR_BITS)
        digits = "".join([f"{byte:02X}" for byte in reversed(frame.data)])
        message = (
            f"meter {frame.address} refused with error {digits} "
            f"({', '.join(names) or 'no bit set'})"
        )
        refusal = UnsupportedError if is_no_data else RefusedError
        return refusal(message, code, names)


def read(address: str, di: str) -> Exchange:
    """A read (11) of one identifier from one meter; no wildcard, so no two meters can answer."""
    return Exchange(frame_for(address, Read(di)))


def read_1997(address: str, di: str) -> Exchange:
    """A read (01) of one identifier of edition 1997 from one meter."""
    if not is_meter_address(address):
        raise CallerError(repr(address) + " is not the address of one meter")
    return Exchange(Frame(address, Function.READ_1997, identifier_bytes(di)))


def read_address() -> Exchange:
    """A read of the address (13) of the only meter on a line."""
    return Exchange(frame_for(ANY_ADDRESS, ReadAddress()))


def matches_address(asked: str, answered: str) -> bool:
    """Whether a reply from `answered` may answer a request to `asked`: A digits match anything."""
    return len(asked) == len(answered) and all(
        wanted in ("A", given) for wanted, given in zip(asked, answered)
    )
