"""Commands to frames and back: whom a command may address, and what a meter that hears it reads.

Both directions use one table (`controls.CONTROLS`) and one class a command (`commands`).
"""

from protocols.bcd import decode_bcd, decode_digits
from protocols.dlt645.clock import MeterTime, time_from_bytes
from protocols.dlt645.commands import (
    ANY_FIELD,
    LOAD_CLASS,
    PASSWORD_DI,
    RATE_BY_CODE,
    SECURED_CONTROL_SIZE,
    BroadcastTime,
    ChangePassword,
    ChangeRate,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Freeze,
    Read,
    ReadAddress,
    ReadMore,
    ReadRecords,
    Relay,
    SecuredControl,
    SecuredWrite,
    Security,
    Terminal,
    Write,
    WriteAddress,
)
from protocols.dlt645.controls import (
    ALL_METERS,
    ANY_METER,
    CONTROLS,
    EVERYDAY,
    METER,
    Control,
    Function,
)
from protocols.dlt645.credentials import (
    CIPHERED,
    CREDENTIALS_SIZE,
    LEVEL_MAX,
    SECURED_LEVELS,
    credentials_from_bytes,
)
from protocols.dlt645.frame import (
    ANY_ADDRESS,
    BROADCAST,
    END,
    PREAMBLE_SIZE,
    Frame,
    is_meter_address,
)
from protocols.dlt645.identifiers import identifier_text, items_of
from protocols.dlt645.relay import ACTION_NAMES, UNKNOWN_TERMS, RelayTerms
from protocols.dlt645.rows import (
    BITS,
    DIGITS,
    HEX,
    IDENTIFIER,
    SIGNED,
    UNSIGNED,
    WRITE_ONLY,
)
from protocols.dlt645.values import decode_item
from protocols.errors import CallerError, ValueFormatError

_PASSWORDS_SIZE = 12  # DI, old and new password with their levels
_RECORDS_SIZES = (5, 10)  # of a read: DI and number of blocks, then perhaps their start
_NAMED = {BROADCAST: ALL_METERS, ANY_ADDRESS: ANY_METER}
_READ_SIZE = 4  # data bytes of a read
_WHOLE_FORMS = (UNSIGNED, SIGNED, BITS, DIGITS, HEX, IDENTIFIER)  # whose value says every bit
_REMEMBERED_MAX = 1024  # meters and identifiers of a gateway
_ENDS = [bytes((checksum, END)) for checksum in range(256)]

_heads: dict = {}  # address -> what a read begins with, and its part of the checksum
_tails: dict = {}  # identifier -> its bytes as sent, and their part of the checksum


def request(
    address: str,
    command: object,
    permitted: tuple = EVERYDAY,
    terms: RelayTerms = UNKNOWN_TERMS,
) -> Frame:
    """The frame that brings `command` to `address`: 12 digits, BROADCAST, or for read address
    ANY_ADDRESS.

    `permitted` names the functions that the caller may send; without it those of everyday.
    `terms` is what the meter's model takes of relay control. CallerError, and no frame, for
    everything that must not exist.
    """
    function = command.function  # type: ignore[attr-defined]
    control = CONTROLS[function]
    if function not in permitted:
        raise CallerError(f"{control.name} is not permitted here")
    _check_address(address, control)
    if function == Function.RELAY:
        _check_terms(command, terms)
    return Frame(address, function, command.data())  # type: ignore[attr-defined]


def read_request(address: str, di: bytes) -> bytes:
    """The wire form of a read of one identifier (`di` in wire order), preamble included: what a
    gateway sends all day.

    The same bytes as the long way, put together from what is known of the meter and of the
    identifier. CallerError as for `request`."""
    try:
        head, head_sum = _heads[address]
        tail, tail_sum = _tails[di]
    except KeyError:
        return _learn_request(address, di)
    return head + tail + _ENDS[(head_sum + tail_sum) & 0xFF]


def _learn_request(address: str, di: bytes) -> bytes:
    wire = request(address, Read(identifier_text(di))).to_bytes(PREAMBLE_SIZE)
    at = len(wire) - 2 - _READ_SIZE
    if len(_heads) + len(_tails) >= _REMEMBERED_MAX:
        _heads.clear()  # rather than never learning again: meters come and go
        _tails.clear()
    # The preamble is outside the checksum.
    _heads[address] = (wire[:at], sum(wire[PREAMBLE_SIZE:at]))
    _tails[di] = (wire[at:-2], sum(wire[at:-2]))
    return wire


def _check_address(address: str, control: Control) -> None:
    kind = _NAMED.get(address) or (METER if is_meter_address(address) else "")
    if kind not in control.targets:
        raise CallerError(f"{control.name} may not be sent to {address!r}")


def _check_terms(command: object, terms: RelayTerms) -> None:
    if isinstance(command, SecuredControl):
        if not terms.secured:
            raise CallerError("this meter's model takes no secured relay control")
        return
    if not isinstance(command, Relay) or command.action not in ACTION_NAMES:
        raise CallerError("this is no relay action")
    if command.action not in terms.plain:
        name = ACTION_NAMES[command.action]
        raise CallerError(f"this meter's model does not take {name} with a password")
    if command.credentials.level not in terms.levels:
        level = command.credentials.level
        raise CallerError(f"this meter's model takes no relay control at level {level}")


def decode_command(frame: Frame) -> object:
    """What a request asks, as one of the commands; None for a reply and for a function that the
    table does not have. ValueFormatError when its data do not fit: a meter answers that with an
    error."""
    decode = _DECODERS.get(frame.control)
    return decode(bytes(frame.data)) if decode else None  # type: ignore[operator]


def _need(data: bytes, *sizes: int) -> None:
    if len(data) not in sizes:
        due = " or ".join([str(size) for size in sizes])
        raise ValueFormatError(f"{len(data)} bytes where {due} are due")


def _need_least(data: bytes, size: int) -> None:
    if len(data) < size:
        raise ValueFormatError(f"{len(data)} bytes where at least {size} are due")


def _read(data: bytes) -> object:
    if len(data) > 4 and data[3] == LOAD_CLASS:
        _need(data, *_RECORDS_SIZES)
        start = time_from_bytes(b"\x00" + data[5:]) if len(data) > 5 else None
        return ReadRecords(identifier_text(data), decode_bcd(data[4:5]), start)
    _need(data, 4)
    return Read(identifier_text(data))


def _read_more(data: bytes) -> object:
    _need(data, 5)
    return ReadMore(identifier_text(data), data[4])


def _read_address(data: bytes) -> object:
    _need(data, 0)
    return ReadAddress()


def _write(data: bytes) -> object:
    _need_least(data, 4 + CREDENTIALS_SIZE)
    di = identifier_text(data)
    level, body = data[4], data[4 + CREDENTIALS_SIZE :]
    if level in SECURED_LEVELS:
        return SecuredWrite(di, level, decode_digits(data[8:12]), body)
    credentials = credentials_from_bytes(data[4 : 4 + CREDENTIALS_SIZE])
    items = items_of(data[:4], len(body))
    if items and items[0].form == WRITE_ONLY:
        raise ValueFormatError("a password is set by its own command")
    if sum([item.size for item in items]) != len(body):
        return Write(di, (body,), credentials)  # of an identifier that the catalog does not have
    values = []
    at = 0
    for item in items:
        piece = body[at : at + item.size]
        quantity = decode_item(item, piece)
        # Characters and times say more on the wire (padding, weekday) than their text does.
        if quantity is None or item.form not in _WHOLE_FORMS:
            values.append(piece)
        else:
            values.append(quantity.value)
        at += item.size
    return Write(di, tuple(values), credentials)


def _write_address(data: bytes) -> object:
    _need(data, 6)
    return WriteAddress(decode_digits(data))


def _broadcast_time(data: bytes) -> object:
    _need(data, 6)
    return BroadcastTime(_moment(data))


def _freeze(data: bytes) -> object:
    _need(data, 4)
    minute, hour, day = [
        None if byte == ANY_FIELD else decode_bcd(bytes((byte,))) for byte in data[:3]
    ]
    if data[3] != ANY_FIELD:
        raise ValueFormatError("a freeze names no month")
    command = Freeze(day, hour, minute)
    try:
        command.data()
    except CallerError as error:
        raise ValueFormatError(str(error)) from error
    return command


def _change_rate(data: bytes) -> object:
    _need(data, 1)
    if data[0] not in RATE_BY_CODE:
        raise ValueFormatError(f"{data[0]:02X} is no rate: exactly one of bits 1 to 6 is set")
    return ChangeRate(RATE_BY_CODE[data[0]])


def _change_password(data: bytes) -> object:
    _need(data, _PASSWORDS_SIZE)
    if data[1:4] != PASSWORD_DI or not 1 <= data[0] <= 10 or data[0] - 1 != data[8]:
        raise ValueFormatError("the identifier is not that of the new password's level")
    if data[4] > LEVEL_MAX:
        raise ValueFormatError("no password of levels 00 to 09 stands here")
    return ChangePassword(data[8], decode_digits(data[9:12]), data[4], decode_digits(data[5:8]))


def _control(function: int, command: type) -> object:
    def decode(data: bytes) -> object:
        if _is_secured(data):
            return SecuredControl(function, decode_digits(data[4:8]), data[8:])
        _need(data, CREDENTIALS_SIZE)
        return command(credentials_from_bytes(data))

    return decode


def _is_secured(data: bytes) -> bool:
    size = CREDENTIALS_SIZE + SECURED_CONTROL_SIZE
    return len(data) == size and data[0] == CIPHERED


def _clear_events(data: bytes) -> object:
    if _is_secured(data):
        return SecuredControl(Function.CLEAR_EVENTS, decode_digits(data[4:8]), data[8:])
    _need(data, CREDENTIALS_SIZE + 4)
    credentials = credentials_from_bytes(data[:CREDENTIALS_SIZE])
    return ClearEvents(identifier_text(data[CREDENTIALS_SIZE:]), credentials)


def _relay(data: bytes) -> object:
    if _is_secured(data):
        return SecuredControl(Function.RELAY, decode_digits(data[4:8]), data[8:])
    _need(data, CREDENTIALS_SIZE + 8)
    credentials = credentials_from_bytes(data[:CREDENTIALS_SIZE])
    return Relay(data[8], time_from_bytes(data[10:]), credentials, data[9])


def _terminal(data: bytes) -> object:
    _need(data, 1)
    return Terminal(data[0])


def _security(data: bytes) -> object:
    _need_least(data, 8)
    return Security(identifier_text(data), decode_digits(data[4:8]), data[8:])


def _moment(data: bytes) -> MeterTime:
    moment = time_from_bytes(data)
    if moment is None:
        raise ValueFormatError("a time of zeros is no time")
    return moment


_DECODERS = {
    Function.SECURITY: _security,
    Function.BROADCAST_TIME: _broadcast_time,
    Function.READ: _read,
    Function.READ_MORE: _read_more,
    Function.READ_ADDRESS: _read_address,
    Function.WRITE: _write,
    Function.WRITE_ADDRESS: _write_address,
    Function.FREEZE: _freeze,
    Function.CHANGE_RATE: _change_rate,
    Function.CHANGE_PASSWORD: _change_password,
    Function.CLEAR_DEMAND: _control(Function.CLEAR_DEMAND, ClearDemand),
    Function.CLEAR_METER: _control(Function.CLEAR_METER, ClearMeter),
    Function.CLEAR_EVENTS: _clear_events,
    Function.RELAY: _relay,
    Function.TERMINAL: _terminal,
}
