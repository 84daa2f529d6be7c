"""Where a password stands in a DL/T 645 frame, or may stand: these bytes nobody is shown.

* A function that carries a password hides it; when its content does not fit, everything.
* A vendor's own function hides everything, and so does a write to an identifier whose layout nobody
  tells: it may set a password.
* A damaged frame hides everything: the byte that is wrong may be the control byte.
"""

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import REPLY_BIT, Frame
from protocols.dlt645.identifiers import items_of
from protocols.dlt645.rows import WRITE_ONLY

EVERYTHING = (slice(None),)
_CLEARS_AND_RELAY = (
    Function.CLEAR_DEMAND,
    Function.CLEAR_METER,
    Function.CLEAR_EVENTS,
    Function.RELAY,
)
WITH_PASSWORD = (Function.WRITE, Function.CHANGE_PASSWORD, *_CLEARS_AND_RELAY)
_READS = (Function.READ, Function.READ_MORE)
_OPEN = (  # nothing secret in any form of them
    Function.SECURITY,
    Function.BROADCAST_TIME,
    Function.READ_ADDRESS,
    Function.WRITE_ADDRESS,
    Function.FREEZE,
    Function.CHANGE_RATE,
    Function.TERMINAL,
)
READS_1997 = (Function.READ_1997, Function.READ_MORE_1997, Function.READ_AGAIN_1997)
_OPEN_1997 = (0x0A, 0x0C)  # write address, change rate
WRITE_1997 = 0x04


def is_password(di: bytes) -> bool:
    """Whether an identifier (wire order) holds a password: 04000C0x, and C212 of 1997."""
    return di[1:] == b"\x0c\x00\x04" or any(item.form == WRITE_ONLY for item in items_of(di, 0))


def hidden_parts(frame: Frame, *, fits: bool) -> tuple[slice, ...]:
    """The hidden parts of a good 2007 frame's data; `fits`: its content was understood."""
    function, data = frame.function, frame.data
    if function in _OPEN or _is_error(frame):
        return ()
    if function in _READS:
        return (slice(4, None),) if frame.control & REPLY_BIT and is_password(data[:4]) else ()
    if function not in WITH_PASSWORD:
        return EVERYTHING
    if not fits:
        return EVERYTHING
    if frame.is_reply:
        return (slice(1, 4),) if function == Function.CHANGE_PASSWORD else ()
    if function in _CLEARS_AND_RELAY:
        return (slice(1, 4),)
    if function == Function.CHANGE_PASSWORD:
        return (slice(5, 8), slice(9, 12))
    return (slice(5, 8), *_body(data, 4, 12))


def hidden_parts_1997(frame: Frame, *, fits: bool) -> tuple[slice, ...]:
    """The same for a good frame of edition 1997."""
    function, data = frame.function, frame.data
    if function in _OPEN_1997 or _is_error(frame):
        return ()
    if function in READS_1997:
        return (slice(2, None),) if frame.is_reply and is_password(data[:2]) else ()
    if function != WRITE_1997 or frame.is_reply:
        return EVERYTHING
    return (slice(3, 6), *_body(data, 2, 6)) if fits else EVERYTHING


def _is_error(frame: Frame) -> bool:
    """One error byte, or two of relay control, hold no password."""
    most = 2 if frame.function == Function.RELAY else 1
    return frame.is_reply and frame.is_abnormal and len(frame.data) <= most


def _body(data: bytes, di_size: int, at: int) -> tuple[slice, ...]:
    """What a write carries from `at` on, unless the catalog says that it is no password."""
    di = data[:di_size]
    is_known = bool(items_of(di, len(data) - at)) and not is_password(di)
    return () if is_known else (slice(at, None),)
