"""What a master asks, as typed values; nobody composes raw bytes.

`data()` of each is the data of its request; CallerError when a field does not fit.
`requests` brings a command to an address, and reads one out of a frame.
"""

from collections import namedtuple

from protocols.dlt645.controls import Function
from protocols.dlt645.credentials import SECURED_LEVELS, operator_bytes, password_bytes
from protocols.dlt645.frame import address_bytes, is_meter_address
from protocols.dlt645.identifiers import entry_of, identifier_bytes, items_of
from protocols.dlt645.values import encode_value
from protocols.errors import CallerError, ValueFormatError

RATES = {600: 0x02, 1200: 0x04, 2400: 0x08, 4800: 0x10, 9600: 0x20, 19200: 0x40}
RATE_BY_CODE = {code: rate for rate, code in RATES.items()}
EVERY_EVENT = "FFFFFFFF"
SECURED_CONTROL_SIZE = 20  # 16 bytes of ciphertext and 4 of authentication code
SEQUENCE_MAX = 255
BLOCKS_MAX = 99
PASSWORD_DI = b"\x0c\x00\x04"  # behind DI0 of a password's identifier, wire order
LOAD_CLASS = 0x06  # highest byte of an identifier of load records
ANY_FIELD = 0x99  # of a freeze: every month, day or hour
_SECURED_FUNCTIONS = (
    Function.CLEAR_DEMAND,
    Function.CLEAR_METER,
    Function.CLEAR_EVENTS,
    Function.RELAY,
)


class Read(namedtuple("Read", ("di",))):
    """Read one identifier or block (11)."""

    function = Function.READ

    def data(self) -> bytes:
        return _wire(self.di)


class ReadRecords(namedtuple("ReadRecords", ("di", "blocks", "start"))):
    """Read `blocks` load records (11), from `start` on, or without one as the identifier's last
    byte says: 00 the earliest, 02 the latest. Seconds do not travel."""

    function = Function.READ

    def data(self) -> bytes:
        di = _wire(self.di)
        if di[3] != LOAD_CLASS:
            raise CallerError(f"{self.di} holds no load records")
        if not 1 <= self.blocks <= BLOCKS_MAX:
            raise CallerError(f"{self.blocks} blocks are not allowed; it must be 1 to {BLOCKS_MAX}")
        count = bytes((self.blocks // 10 << 4 | self.blocks % 10,))
        start = self.start.to_bytes()[1:] if self.start else b""
        return di + count + start


class ReadMore(namedtuple("ReadMore", ("di", "sequence"))):
    """Read a following part (12); the first is number 1."""

    function = Function.READ_MORE

    def data(self) -> bytes:
        if not 1 <= self.sequence <= SEQUENCE_MAX:
            raise CallerError(f"part {self.sequence} is not allowed; it must be 1 to 255")
        return _wire(self.di) + bytes((self.sequence,))


class ReadAddress(namedtuple("ReadAddress", ())):
    """Ask the only meter of a line for its address (13)."""

    function = Function.READ_ADDRESS

    def data(self) -> bytes:
        return b""


class Write(namedtuple("Write", ("di", "values", "credentials"))):
    """Write one identifier (14): `values` for its items, as `values.encode_value` takes them."""

    function = Function.WRITE

    def data(self) -> bytes:
        di = _wire(self.di)
        entry = entry_of(di)
        if entry is None or "W" not in entry.access or entry.access == "W":
            raise CallerError(f"{self.di} cannot be written")
        items = _items_for(di, len(self.values))
        if not items:
            raise CallerError(f"{self.di} cannot be written: nobody tells the layout of its data")
        if len(items) != len(self.values):
            raise CallerError(f"{self.di} has {len(items)} items, not {len(self.values)}")
        try:
            payload = [encode_value(item, one) for item, one in zip(items, self.values)]
        except ValueFormatError as error:
            raise CallerError(f"{self.di}: {error}") from error
        return di + self.credentials.to_bytes() + b"".join(payload)


class SecuredWrite(namedtuple("SecuredWrite", ("di", "level", "operator", "body"))):
    """Write with the security module's blessing (14): `level` 98 or 99, `body` what an external
    signer made, passed on as it is."""

    function = Function.WRITE

    def data(self) -> bytes:
        return _wire(self.di) + _secured_head(self.level, self.operator) + self.body


class WriteAddress(namedtuple("WriteAddress", ("address",))):
    """Give a meter another address (15). The standard sends it to any meter; this one names the
    meter by its present address."""

    function = Function.WRITE_ADDRESS

    def data(self) -> bytes:
        if not is_meter_address(self.address):
            raise CallerError(f"{self.address!r} is not the address of one meter")
        return address_bytes(self.address)


class BroadcastTime(namedtuple("BroadcastTime", ("time",))):
    """Set the clocks of all meters of a line (08). A meter ignores what it does not like without a
    word: more than 5 min off, a second time that day, near midnight."""

    function = Function.BROADCAST_TIME

    def data(self) -> bytes:
        return self.time.to_bytes()


class Freeze(namedtuple("Freeze", ("day", "hour", "minute"))):
    """Freeze now (all None) or set the daily, hourly or monthly moment (16): minute alone is
    hourly, hour and minute daily, all three monthly."""

    function = Function.FREEZE

    def data(self) -> bytes:
        fields = ((self.minute, 59), (self.hour, 23), (self.day, 31))
        out = b""
        is_open = False
        for value, most in fields:
            if value is None:
                is_open = True
                out += bytes((ANY_FIELD,))
                continue
            if is_open or not (value == 0 or 0 < value <= most) or (most == 31 and not value):
                raise CallerError(f"{value} is not allowed in this place of a freeze")
            out += bytes((value // 10 << 4 | value % 10,))
        return out + bytes((ANY_FIELD,))


FREEZE_NOW = Freeze(None, None, None)


class ChangeRate(namedtuple("ChangeRate", ("rate",))):
    """Change the line's rate in bit/s (17); the reply still comes at the old one."""

    function = Function.CHANGE_RATE

    def data(self) -> bytes:
        if self.rate not in RATES:
            allowed = ", ".join([str(one) for one in sorted(RATES)])
            raise CallerError(f"rate {self.rate} is not allowed; it must be one of {allowed}")
        return bytes((RATES[self.rate],))


class ChangePassword(
    namedtuple("ChangePassword", ("level", "password", "old_level", "old_password"))
):
    """Set the password of `level` (18), by right of a level that is as powerful or more so. Its
    text never shows a password."""

    function = Function.CHANGE_PASSWORD

    def __repr__(self) -> str:
        return f"ChangePassword(level={self.level}, password=••, old_level={self.old_level})"

    __str__ = __repr__

    def data(self) -> bytes:
        old = password_bytes(self.old_level, self.old_password)
        new = password_bytes(self.level, self.password)
        if self.old_level > self.level:
            raise CallerError(f"level {self.old_level} may not set the password of {self.level}")
        return bytes((self.level + 1,)) + PASSWORD_DI + old + new


class ClearDemand(namedtuple("ClearDemand", ("credentials",))):
    """Clear the maximum demands (19). No identifier travels."""

    function = Function.CLEAR_DEMAND

    def data(self) -> bytes:
        return self.credentials.to_bytes()


class ClearMeter(namedtuple("ClearMeter", ("credentials",))):
    """Clear energies, demands and most events (1A). No identifier travels."""

    function = Function.CLEAR_METER

    def data(self) -> bytes:
        return self.credentials.to_bytes()


class ClearEvents(namedtuple("ClearEvents", ("di", "credentials"))):
    """Clear the records of one event, its identifier ending with FF, or EVERY_EVENT (1B)."""

    function = Function.CLEAR_EVENTS

    def data(self) -> bytes:
        if self.di[-2:].upper() != "FF":
            raise CallerError(f"{self.di} is not allowed; an event's identifier ends with FF here")
        return self.credentials.to_bytes() + _wire(self.di)


class Relay(namedtuple("Relay", ("action", "expiry", "credentials", "parameter"))):
    """Relay, alarm or keep-power control with a password (1C): `action` a RelayAction, `expiry` the
    last MeterTime at which the meter may still act, `parameter` N2 (of a delayed form, x 5 min)."""

    function = Function.RELAY

    def data(self) -> bytes:
        if self.expiry is None:
            raise CallerError("a relay control needs an expiry: without one it would stay valid")
        if not 0 <= self.parameter <= 255:
            raise CallerError(f"parameter {self.parameter} is not allowed; it must be 0 to 255")
        head = bytes((self.action, self.parameter))
        return self.credentials.to_bytes() + head + self.expiry.to_bytes()


class SecuredControl(namedtuple("SecuredControl", ("function", "operator", "body"))):
    """19, 1A, 1B or 1C with ciphertext (PA = 98): 20 bytes as an external signer made them, already
    in the order of the wire."""

    def data(self) -> bytes:
        if self.function not in _SECURED_FUNCTIONS or len(self.body) != SECURED_CONTROL_SIZE:
            raise CallerError("a secured control is 19, 1A, 1B or 1C with 20 bytes")
        return _secured_head(SECURED_LEVELS[0], self.operator) + self.body


class Terminal(namedtuple("Terminal", ("output",))):
    """What the multifunction output gives (1D): 0 clock seconds, 1 demand period, 2 tariff
    switch."""

    function = Function.TERMINAL

    def data(self) -> bytes:
        if self.output not in (0, 1, 2):
            raise CallerError(f"output {self.output} is not allowed; it must be 0, 1 or 2")
        return bytes((self.output,))


class Security(namedtuple("Security", ("di", "operator", "body"))):
    """A message for the meter's security module (03): `body` passed on as an external signer made
    it."""

    function = Function.SECURITY

    def data(self) -> bytes:
        return _wire(self.di) + operator_bytes(self.operator) + self.body


def _wire(di: str) -> bytes:
    """The four bytes of an identifier; those of 1997 have two, and commands of their own."""
    wire = identifier_bytes(di)
    if len(wire) != 4:
        raise CallerError(f"{di} is an identifier of edition 1997, this command is of 2007")
    return wire


def _secured_head(level: int, operator: str) -> bytes:
    if level not in SECURED_LEVELS:
        raise CallerError(f"level {level:02X} is not allowed; it must be 98 or 99")
    return bytes((level, 0, 0, 0)) + operator_bytes(operator)


def _items_for(di: bytes, count: int) -> tuple:
    """The items of `di`, `count` of them where it has as many as one likes."""
    items = items_of(di, 0)
    if 0 < len(items) < count:
        each = sum([item.size for item in items])
        items = items_of(di, count // len(items) * each)
    return items
