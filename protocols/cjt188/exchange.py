"""One question to one meter and its answer.

A late answer to an earlier question looks perfectly valid; only the match tells it apart:

* The address is the one asked; asked with AA, any one meter's.
* T is the one asked, or both are of the heat meters 2x; asked with AA, any.
* Control is the one asked with D7 set (81, 83), or with D7 and D6: the meter refuses. What a
  refusal carries no two public sources tell, so address, T and control must do.
* Identifier and serial number SER come back as they were sent. Give each question another SER.
* D5, "more follows", no public source shows how to ask for: such a frame answers nothing.

    ASKED   reply            -> DONE
    ASKED   abnormal reply   -> raises RefusedError
    ASKED   anything else    -> ASKED   (counted in `strays`)
    DONE    anything         -> DONE    (counted in `strays`)
"""

from protocols.cjt188.dialect import ADDRESS, PRESENT, Dialect, answers_for, identifier_bytes
from protocols.cjt188.frame import (
    ABNORMAL_BIT,
    ANY_ADDRESS,
    ANY_TYPE,
    READ,
    READ_ADDRESS,
    REPLY_BIT,
    Frame,
    is_meter_address,
)
from protocols.errors import CallerError, RefusedError

ASKED = "asked"
DONE = "done"
_HEAD_SIZE = 3  # identifier and SER


class Exchange:
    """`request` is the frame to send; give every frame that is heard to `receive`."""

    def __init__(self, request: Frame) -> None:
        self.request = request
        self.state = ASKED
        self.strays = 0  # well-formed frames that did not answer this question
        self.answered_by = ""  # the meter's own address, as its reply gave it
        self.answered_type = 0  # T of the reply
        self._payload = b""

    def receive(self, frame: Frame) -> str:
        """The new state. RefusedError is the meter's own no."""
        if self.state == DONE or not self._answers(frame):
            self.strays += 1
            return self.state
        self.answered_by, self.answered_type = frame.address, frame.meter_type
        if frame.control & ABNORMAL_BIT:
            message = (
                f"meter {frame.address} refused with data {frame.data.hex().upper() or '(none)'}"
            )
            raise RefusedError(message, int.from_bytes(frame.data, "little"))
        self._payload = frame.data[_HEAD_SIZE:]
        self.state = DONE
        return self.state

    def data(self) -> bytes:
        """What stood behind identifier and SER in the answer of a DONE exchange."""
        return self._payload

    def _answers(self, frame: Frame) -> bool:
        asked = self.request
        if asked.meter_type != ANY_TYPE and not answers_for(asked.meter_type, frame.meter_type):
            return False
        if not is_meter_address(frame.address):
            return False
        if asked.address not in (ANY_ADDRESS, frame.address):
            return False
        if frame.control == asked.control | REPLY_BIT | ABNORMAL_BIT:
            return True
        if frame.control != asked.control | REPLY_BIT:
            return False
        if asked.control == READ_ADDRESS:
            return bool(frame.data == asked.data)
        return bool(frame.data[:_HEAD_SIZE] == asked.data[:_HEAD_SIZE])


def read_present(address: str, dialect: Dialect, serial: int) -> Exchange:
    """A read (01) of the present values 901F from one meter; `serial` is 0 to 255. CallerError when
    the address is not that of one meter."""
    if not is_meter_address(address):
        raise CallerError(repr(address) + " is not the address of one meter")
    data = identifier_bytes(PRESENT, dialect.di_order) + bytes((serial,))
    return Exchange(Frame(dialect.meter_type, address, READ, data))


def read_address(di_order: str, serial: int, meter_type: int = ANY_TYPE) -> Exchange:
    """A read (03) of the address of the only meter on a line; the reply's header carries it, see
    `Exchange.answered_by`. Meters may be silent to a T that is not theirs."""
    data = identifier_bytes(ADDRESS, di_order) + bytes((serial,))
    return Exchange(Frame(meter_type, ANY_ADDRESS, READ_ADDRESS, data))
