"""CJ/T 188 and DL/T 645 on one line: both begin with 68, end with 16 and have the same sum.

Frame of DL/T 645 (12 + L bytes)   68 A0 A1 A2 A3 A4 A5 68 C  L  D0 ...
as one of CJ/T 188 (13 + L')       68 T  A0 A1 A2 A3 A4 A5 A6 C' L'

So one frame is one of both when the lengths agree: D0 (as sent) = L - 1, and the other way round
A5 = 68, C = L + 1. Then neither length nor sum decides, but control and match do.
"""

from typing import Any

import pytest

from protocols.cjt188.deframer import Deframer
from protocols.cjt188.dialect import AFTER, METER_TYPES, SETTLEMENT, Dialect
from protocols.cjt188.exchange import ASKED, Exchange, read_present
from protocols.cjt188.frame import REPLY_BIT, Frame, decode_frame
from protocols.cjt188.values import decode_present
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.commands import ReadAddress
from protocols.dlt645.deframer import Deframer as Dlt645Deframer
from protocols.dlt645.frame import Frame as Dlt645Frame
from protocols.dlt645.requests import request as dlt645_request
from protocols.errors import FrameError, ValueFormatError
from tests.protocols import vectors as dlt645_vectors
from tests.protocols.cjt188.vectors import CLEAN, VECTORS, names
from tests.protocols.outcome import outcome

DLT645 = dlt645_vectors.VECTORS
METER = "123456789012"


def heard(deframer: Any, data: bytes) -> list[Any]:
    """All frames in it, at the latest by the flush."""
    return [*deframer.feed(data), *deframer.flush()]


@pytest.mark.parametrize("vector", DLT645, ids=dlt645_vectors.names(DLT645))
def test_no_dlt645_vector_is_a_frame_of_ours(vector: dict[str, Any]) -> None:
    """All of them, the damaged ones too; a frame of ours behind it comes out."""
    data = dlt645_vectors.wire(vector)
    assert heard(Deframer(), data) == []
    ours = bytes.fromhex(CLEAN[0]["hex"])
    assert heard(Deframer(), data + ours) == [decode_frame(ours)]


@pytest.mark.parametrize("vector", VECTORS, ids=names(VECTORS))
def test_no_vector_of_ours_is_a_dlt645_frame(vector: dict[str, Any]) -> None:
    """All of them; a DL/T 645 frame behind it comes out."""
    data = bytes.fromhex(vector["hex"])
    assert heard(Dlt645Deframer(), data) == []
    behind = Dlt645Frame(METER, 0x91, bytes.fromhex("0000010026000000"))
    assert heard(Dlt645Deframer(), data + behind.to_bytes(4)) == [behind]


# ---- frames that are both ----------------------------------------------------------------------


def test_a_reply_that_is_a_frame_of_both_protocols() -> None:
    """DL/T 645 control 91, L = 81h, first data byte on the wire 80h: the bytes 81 80 are control
    81 and L = 128 of CJ/T 188. Both deframers take it; only the one that asked believes it."""
    data = bytes.fromhex("4D") + b"\x55" * 128
    both = Dlt645Frame("901234567810", 0x91, data).to_bytes()
    (theirs,) = heard(Dlt645Deframer(), both)
    assert theirs == ("901234567810", 0x91, data)
    (ours,) = heard(Deframer(), both)
    assert ours == (0x10, "91689012345678", 0x81, b"\x88" * 128)
    # No meter of ours is asked for 8888; were it, its 128 bytes are no present values.
    dialect = Dialect(METER_TYPES["cold-water"], "901F", AFTER, SETTLEMENT)
    exchange = read_present("91689012345678", dialect, 0x88)
    assert (exchange.receive(ours), exchange.strays) == (ASKED, 1)


def test_an_address_with_68_at_its_place_makes_both() -> None:
    """A5 = 68h: a reply 81 with 128 bytes is a DL/T 645 frame of control A6 and L = 81h."""
    ours = Frame(0x10, "91689012345678", 0x81, bytes.fromhex("901F00") + bytes(125))
    both = ours.to_bytes()
    assert heard(Deframer(), both) == [ours]
    (theirs,) = heard(Dlt645Deframer(), both)
    assert theirs[:2] == ("901234567810", 0x91)
    asked = dlt645.read("901234567810", "00010000")
    assert (asked.receive(theirs), asked.strays) == (dlt645.ASKED, 1)


def test_a_request_that_is_a_frame_of_both_protocols_asks_nothing() -> None:
    """Control 01 needs no data then, and a read has three bytes; control 03 needs two."""
    for control, size in ((0x01, 0), (0x03, 2)):
        both = Frame(0x10, "00680000000000", control, bytes(size)).to_bytes()
        (theirs,) = heard(Dlt645Deframer(), both)
        assert theirs.control == 0x00
        assert len(theirs.data) == control
    for control in (0x01, 0x03):
        real = Frame(0x10, "00680000000000", control, b"\x90\x1f\x00").to_bytes()
        assert heard(Dlt645Deframer(), real) == []


@pytest.mark.parametrize("size", [0x13, 0x2B])
def test_present_values_are_never_a_dlt645_frame(size: int) -> None:
    """Their control 81 makes L = 129 there, and they have 22 or 46 bytes; what is behind them in
    the same breath is held back until the flush, and not lost."""
    ours = Frame(0x10, "00680000000000", 0x81, bytes.fromhex("901F00") + bytes(size)).to_bytes()
    deframer = Dlt645Deframer()
    behind = Dlt645Frame(METER, 0x91, bytes.fromhex("0000010026000000"))
    assert deframer.feed(ours + behind.to_bytes(4)) == []
    assert deframer.flush() == [behind]


def test_no_everyday_dlt645_request_is_a_frame_of_ours() -> None:
    """Reads have L = 4 and would need the first identifier byte D0h; an address request has no
    data, so its sum is taken for our L."""
    for first in range(256):
        request = Dlt645Frame(METER, 0x11, bytes((first, 0, 1, 0))).to_bytes()
        assert [one.control for one in heard(Deframer(), request)] == (
            [0x04] if first == 0xD0 else []
        )
    assert heard(Deframer(), dlt645_request("A" * 12, ReadAddress()).to_bytes(4)) == []


def test_a_dlt645_frame_never_has_the_control_of_a_short_answer() -> None:
    """As a frame of ours it has the control L: 81 or 83 only with 129 or 131 data bytes, and then
    one byte less; present values have 22 or 46, an address has 3."""
    for size in range(1, 256):
        data = bytes((size - 1 - 0x33 & 0xFF,)) + bytes(size - 1)
        frame, _ = outcome(FrameError, decode_frame, Dlt645Frame(METER, 0x91, data).to_bytes())
        assert frame is not None
        assert (frame.control, len(frame.data)) == (size, size - 1)
        is_answer_of_ours = (frame.control, len(frame.data)) in {(0x81, 22), (0x81, 46), (0x83, 3)}
        assert not is_answer_of_ours


def test_an_exchange_takes_no_answer_of_the_other_size() -> None:
    """Even with the right identifier and SER inside, the 128 bytes are no present values: the match
    passes, the value does not."""
    dialect = Dialect(METER_TYPES["cold-water"], "901F", AFTER, SETTLEMENT)
    plain = bytes((0x4D, 0x90 - 0x33, (0x1F - 0x33) & 0xFF, (0x07 - 0x33) & 0xFF)) + bytes(125)
    both = Dlt645Frame("901234567810", 0x91, plain).to_bytes()
    exchange: Exchange = read_present("91689012345678", dialect, 7)
    (ours,) = heard(Deframer(), both)
    assert ours.control == exchange.request.control | REPLY_BIT
    exchange.receive(ours)
    assert exchange.state == "done"
    with pytest.raises(ValueFormatError, match="125 bytes where 19 are due"):
        decode_present(exchange.data(), dialect)
