"""The safety interlock: what every byte to a real adapter passes, below tests, drivers and line.

The rules; whatever breaks one raises InterlockError before a byte goes out:

* Only whole frames leave: DL/T 645 and CJ/T 188 behind any number of FE, Modbus RTU requests of
  known functions. A frame may come in pieces; they are held until it is whole. Bytes that begin no
  frame, or stand behind one, are refused, and so is a read while a piece is held.
* A read is allowed to everybody. The reads are listed; everything else is none, vendor functions,
  unknown ones and replies included.
* Anything else goes to a meter of the bench file alone, which is marked sacrificial and allows that
  very function. At an address that more than one meter may hear (broadcast, any AA, unit 0), every
  meter of the line must be sacrificial, and every one of that protocol must allow it.
* A frame inside a frame, or across two, counts as one: a meter that missed a byte may hear it.
  Bytes that are frames of two protocols must be allowed as both.

The interlock knows the meters that the file names, and no others: docs/bench.md says what follows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pymodbus.framer.rtu import FramerRTU

from edge.line.port import Port
from hil.scenario import CJT188, DLT645, DLT645_1997, MODBUS
from protocols.cjt188 import frame as cjt188
from protocols.dlt645 import frame as dlt645
from protocols.dlt645.controls import FUNCTION_NAMES, FUNCTION_NAMES_1997
from protocols.errors import BusbarError

DLT645_FAMILY, CJT188_FAMILY, MODBUS_FAMILY = "DL/T 645", "CJ/T 188", "Modbus"
FAMILIES = {
    DLT645: DLT645_FAMILY,
    DLT645_1997: DLT645_FAMILY,
    CJT188: CJT188_FAMILY,
    MODBUS: MODBUS_FAMILY,
}
READS = {
    DLT645_FAMILY: (0x01, 0x02, 0x11, 0x12, 0x13),  # 03 reads in 1997, and is security in 2007
    CJT188_FAMILY: (0x01, 0x03),
    MODBUS_FAMILY: (1, 2, 3, 4),
}
_MODBUS_ORDERS = {
    0x05: "write single coil",
    0x06: "write single register",
    0x0F: "write multiple coils",
    0x10: "write multiple registers",
}
_CJT188_ORDERS = {0x04: "write"}


def _orders(names: dict[int, str], family: str) -> dict[str, int]:
    return {name: code for code, name in names.items() if code not in READS[family]}


# What `allows` of the bench file may say, by protocol.
ORDERS = {
    DLT645: _orders(FUNCTION_NAMES, DLT645_FAMILY),
    DLT645_1997: _orders(FUNCTION_NAMES_1997, DLT645_FAMILY),
    CJT188: _orders(_CJT188_ORDERS, CJT188_FAMILY),
    MODBUS: _orders(_MODBUS_ORDERS, MODBUS_FAMILY),
}
# Size of a Modbus request, or where its count of bytes stands and what comes on top (Modbus
# application protocol 1.1b3, clause 6).
_FIXED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 0x08: 8, 0x16: 10}
_COUNTED = {0x0F: (6, 9), 0x10: (6, 9), 0x15: (2, 5), 0x17: (10, 13)}
_MODBUS_SIZE_MAX = 256  # Modbus over serial line 1.02, 2.5.1
_TAIL_SIZE = dlt645.FRAME_SIZE_MAX + cjt188.FRAME_SIZE_MAX
_SMALLEST = {DLT645_FAMILY: dlt645.OVERHEAD, CJT188_FAMILY: cjt188.OVERHEAD}


class InterlockError(BusbarError):
    """Nothing was sent: what was to be written might harm a meter that is not ours to harm."""


class Known(NamedTuple):
    """A meter of the line, as the bench file marks it."""

    protocol: str
    address: str
    is_sacrificial: bool
    allows: frozenset[int]


class _Found(NamedTuple):
    """A frame in the bytes to send: where it ends, whom it names, what it asks."""

    family: str
    end: int
    address: str
    control: int


class Interlock:
    """A Port over `port` for a line with `meters`; `allow` adds one."""

    def __init__(self, port: Port, meters: Iterable[Known] = ()) -> None:
        self._port = port
        self._meters = list(meters)
        self._held = b""
        self._sent = b""  # the last bytes that went out

    def allow(self, meter: Known) -> None:
        """One more meter stands on the line."""
        self._meters.append(meter)

    def open(self) -> None:
        """As the port."""
        self._port.open()

    def close(self) -> None:
        """As the port; a held piece is forgotten."""
        self._held = b""
        self._port.close()

    def read(self, timeout_s: float) -> bytes:
        """As the port; InterlockError when what was written is no whole frame yet."""
        if self._held:
            raise self._refusal(f"{self._held.hex(' ')} is a piece of a frame")
        return self._port.read(timeout_s)

    def write(self, data: bytes) -> None:
        """Passes whole frames on that are allowed. After InterlockError nothing is held."""
        held, self._held = self._held + bytes(data), b""
        if not held:
            return
        state = _state(held)
        if state == "none":
            raise self._refusal(f"{held.hex(' ')} is no frame")
        stream = self._sent + held
        for found in _frames(stream):
            if found.end > len(self._sent):
                self._judge(found)
        if state == "piece":
            self._held = held
            return
        self._port.write(held)
        self._sent = stream[-_TAIL_SIZE:]

    def _judge(self, found: _Found) -> None:
        if found.control in READS[found.family]:
            return
        words = f"{found.family} function {found.control:02X} to {found.address}"
        same = [one for one in self._meters if FAMILIES[one.protocol] == found.family]
        if _is_open(found):
            if not all(one.is_sacrificial for one in self._meters):
                raise self._refusal(f"{words}, and a meter of the line is not sacrificial")
            targets = same
        else:
            targets = [one for one in same if one.address == found.address]
            if not all(one.is_sacrificial for one in targets):
                raise self._refusal(f"{words}, which is not sacrificial")
        if not targets:
            raise self._refusal(f"{words}, which the bench file does not name")
        if not all(found.control in one.allows for one in targets):
            raise self._refusal(f"{words}, which does not allow it")

    @staticmethod
    def _refusal(what: str) -> InterlockError:
        return InterlockError(f"nothing was sent: {what}")


def _is_open(found: _Found) -> bool:
    """Whether more than one meter may hear it."""
    if found.family == MODBUS_FAMILY:
        return found.address == "0"
    return "A" in found.address or found.address == dlt645.BROADCAST


def _state(held: bytes) -> str:
    """Whether `held` is one "whole" frame, a "piece" of one, or "none"."""
    body = held.lstrip(bytes((dlt645.PREAMBLE,)))
    states = [_modbus_state(held)]
    if not body:
        states.append("piece")
    for codec, family in ((dlt645, DLT645_FAMILY), (cjt188, CJT188_FAMILY)):
        fault = codec.fault_at(body, 0) if body else "truncated"
        if fault == "truncated":
            states.append("piece")
        elif not fault:
            is_all = codec.frame_size(body, 0) == len(body) >= _SMALLEST[family]
            states.append("whole" if is_all else "none")
    return next((one for one in ("whole", "piece") if one in states), "none")


def _modbus_size(data: bytes, at: int) -> int:
    """Size of the request that may begin at `at`; 0 for none, above the rest for one that lacks
    bytes."""
    if len(data) - at < 2:
        return _MODBUS_SIZE_MAX
    function = data[at + 1]
    if function in _FIXED:
        return _FIXED[function]
    if function not in _COUNTED:
        return 0
    place, overhead = _COUNTED[function]
    if len(data) - at <= place:
        return _MODBUS_SIZE_MAX
    return overhead + data[at + place]


def _modbus_state(held: bytes) -> str:
    size = _modbus_size(held, 0)
    if not size or held[0] == dlt645.PREAMBLE:
        return "none"
    if len(held) < size:
        return "piece"
    return "whole" if len(held) == size and _has_crc(held) else "none"


def _has_crc(frame: bytes) -> bool:
    return FramerRTU.compute_CRC(frame[:-2]).to_bytes(2, "big") == frame[-2:]


def _frames(stream: bytes) -> Iterator[_Found]:
    """Every frame that begins anywhere in `stream`, those inside others included."""
    for at in range(len(stream)):
        if stream[at] == dlt645.START:
            if not dlt645.fault_at(stream, at):
                one = dlt645.frame_at(stream, at)
                end = at + dlt645.frame_size(stream, at)
                yield _Found(DLT645_FAMILY, end, one.address, one.control)
            if not cjt188.fault_at(stream, at):
                other = cjt188.frame_at(stream, at)
                end = at + cjt188.frame_size(stream, at)
                yield _Found(CJT188_FAMILY, end, other.address, other.control)
        size = _modbus_size(stream, at)
        if size and at + size <= len(stream) and _has_crc(stream[at : at + size]):
            unit, function = stream[at : at + 2]
            yield _Found(MODBUS_FAMILY, at + size, str(unit), function)
