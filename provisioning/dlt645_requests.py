"""What a master asks of a DL/T 645-2007 meter: one function per control code.

Each takes a finding that has header and data, fills in identifier and details, and gives one
sentence. ContentError when the content does not fit. No password gets into a sentence or a detail.
"""

from collections.abc import Callable

from protocols.dlt645.exchange import identifier_text
from protocols.dlt645.frame import FUNCTION_MASK, Function
from protocols.dlt645.identifiers import ALL, items_of
from provisioning.finding import ContentError, Finding

# N1 of a relay order. Vendors disagree about 1D and 1E: nobody may rest an order on them.
RELAY_COMMANDS = {
    0x1A: "disconnect",
    0x1B: "arm: the consumer may connect at the meter",
    0x1C: "connect, with nobody at the meter",
    0x1D: "a command that vendors define differently (1D)",
    0x1E: "a command that vendors define differently (1E)",
    0x2A: "raise the alarm",
    0x2B: "end the alarm",
    0x3A: "keep the power on whatever happens",
    0x3B: "no longer keep the power on",
}
SECURED_LEVELS = (0x98, 0x99)  # the ESAM judges these, the password is ignored
Explainer = Callable[[Finding], str]
_SECURED_SIZE = 28  # level, password, operator, 16 bytes of ciphertext and 4 of MAC
PASSWORDS = bytes.fromhex("0C0004")  # identifiers 04000C0x, DI1 first: the passwords themselves
_RATES = {0x02: 600, 0x04: 1200, 0x08: 2400, 0x10: 4800, 0x20: 9600, 0x40: 19200}
_ANY = 0x99  # in a freeze pattern


def need_size(finding: Finding, *sizes: int) -> None:
    """ContentError unless the data has one of these sizes."""
    if len(finding.data) not in sizes:
        due = " or ".join(str(size) for size in sizes)
        raise ContentError(
            "length", f"{counted(len(finding.data), 'data byte')} where {due} are due"
        )


def need_least(finding: Finding, least: int) -> None:
    """ContentError unless the data has at least this size."""
    if len(finding.data) < least:
        count = counted(len(finding.data), "data byte")
        raise ContentError("length", f"{count} where {least} or more are due")


def digits(data: bytes) -> str:
    """A number in reading order; ContentError when it is not decimal digits."""
    text = bytes(reversed(data)).hex()
    if not text.isdecimal():
        raise ContentError("value", f"{text.upper()} is not decimal digits")
    return text


def instant(data: bytes) -> str:
    """ss mm hh DD MM YY as a date and time; ContentError when there is no such one."""
    second, minute, hour, day, month, year = (digits(data[at : at + 1]) for at in range(6))
    text = f"20{year}-{month}-{day} {hour}:{minute}:{second}"
    in_range = "01" <= month <= "12" and "01" <= day <= "31"
    if not in_range or hour > "23" or minute > "59" or second > "59":
        raise ContentError("value", f"{text} is no date and time")
    return text


def rate_of(data: bytes) -> int:
    """The rate in bit/s that a rate byte means: exactly one bit."""
    if data[0] not in _RATES:
        raise ContentError("value", f"rate byte {data[0]:02X} does not have exactly one known bit")
    return _RATES[data[0]]


def item_name(di: bytes) -> str:
    """An identifier in words, or that it is not in the tables."""
    is_block = ALL in di[:3]
    items = items_of(di, 4)
    if not items:
        return "not in the tables"
    name: str = items[0].obis.name()
    return f"block: {name} and so on" if is_block else name


def explain_request(finding: Finding) -> str:
    """What the request asks for."""
    return explain_by(_REQUESTS, finding)


def explain_by(table: dict[int, Explainer], finding: Finding) -> str:
    """What the row of the finding's function says."""
    function = (finding.control or 0) & FUNCTION_MASK
    known = table.get(function)
    if known is None or function in WITH_PASSWORD:
        # Until the content proves to fit, a password may stand anywhere.
        finding.hidden = (slice(None),)
    if known is None:
        return f"a vendor's own function {function:02X}"
    return known(finding)


def counted(number: int, noun: str) -> str:
    """The number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def take_identifier(finding: Finding, at: int = 0) -> bytes:
    """The identifier at `at`, in wire order."""
    di = bytes(finding.data[at : at + 4])
    finding.di = identifier_text(di)
    return di


def take_authority(finding: Finding, at: int) -> str:
    """Level and operator at `at`; the password between them is hidden and never told."""
    level = finding.data[at]
    operator = digits(finding.data[at + 4 : at + 8])
    finding.details["level"] = f"{level:02X}"
    finding.details["operator"] = operator
    finding.hidden = (slice(at + 1, at + 4),)
    if level in SECURED_LEVELS:
        return f"operator {operator}, secured (level {level:02X})"
    return f"operator {operator}, password level {level:02X}"


def _read(finding: Finding) -> str:
    need_least(finding, 4)
    di = take_identifier(finding)
    more = (
        f" with a selection of {counted(len(finding.data) - 4, 'byte')}"
        if len(finding.data) > 4
        else ""
    )
    return f"asks for {finding.di} ({item_name(di)}){more}"


def _read_more(finding: Finding) -> str:
    need_least(finding, 5)
    di = take_identifier(finding)
    if len(finding.data) > 5:
        return f"asks for what follows of {finding.di} ({item_name(di)}), by block"
    finding.seq = finding.data[4]
    return f"asks for following part {finding.seq} of {finding.di} ({item_name(di)})"


def _read_address(finding: Finding) -> str:
    need_size(finding, 0)
    return "asks the only meter on the line for its address"


def _write(finding: Finding) -> str:
    need_least(finding, 12)
    di = take_identifier(finding)
    who = take_authority(finding, 4)
    if finding.data[4] in SECURED_LEVELS or di[1:] == PASSWORDS:
        finding.hidden = (*finding.hidden, slice(12, None))
    size = counted(len(finding.data) - 12, "byte")
    return f"writes {size} to {finding.di} ({item_name(di)}): {who}"


def _write_address(finding: Finding) -> str:
    need_size(finding, 6)
    finding.details["new_address"] = digits(finding.data)
    return f"gives the meter the address {finding.details['new_address']}"


def _freeze(finding: Finding) -> str:
    need_size(finding, 4)
    minute, hour, day, month = (digits(finding.data[at : at + 1]) for at in range(4))
    pattern = f"{month}-{day} {hour}:{minute}"
    finding.details["freeze_at"] = pattern
    if finding.data.count(_ANY) == 4:
        return "freezes the registers now"
    return f"freezes the registers at {pattern} (month-day hour:minute, 99 = every)"


def _change_rate(finding: Finding) -> str:
    need_size(finding, 1)
    finding.details["baud"] = rate_of(finding.data)
    return f"changes the line's rate to {finding.details['baud']} bit/s"


def _change_password(finding: Finding) -> str:
    need_size(finding, 12)
    take_identifier(finding)
    finding.hidden = (slice(5, 8), slice(9, 12))
    return f"changes the password of level {finding.data[8]:02X}, as level {finding.data[4]:02X}"


def _clear(what: str) -> Explainer:
    def clear(finding: Finding) -> str:
        need_size(finding, 8, _SECURED_SIZE)
        return f"clears {what}: {take_authority(finding, 0)}"

    return clear


def _clear_events(finding: Finding) -> str:
    need_size(finding, 12, _SECURED_SIZE)
    who = take_authority(finding, 0)
    if len(finding.data) == _SECURED_SIZE:
        return f"clears events: {who}"
    take_identifier(finding, 8)
    what = "all events" if finding.di == "FFFFFFFF" else f"the events {finding.di}"
    return f"clears {what}: {who}"


def _relay(finding: Finding) -> str:
    need_size(finding, 16, _SECURED_SIZE)
    who = take_authority(finding, 0)
    if len(finding.data) == _SECURED_SIZE:
        return f"relay order, encrypted: {who}; command and expiry are for the meter alone"
    n1 = finding.data[8]
    command = RELAY_COMMANDS.get(n1, f"an unknown command ({n1:02X})")
    finding.details["n1"] = f"{n1:02X}"
    finding.details["n2"] = f"{finding.data[9]:02X}"
    finding.details["command"] = command
    expiry = None if not any(finding.data[10:16]) else instant(finding.data[10:16])
    finding.details["expiry"] = expiry
    until = "no expiry given" if expiry is None else f"valid until {expiry} by the meter's clock"
    return f"relay order: {command}; {who}; {until}"


def _terminal(finding: Finding) -> str:
    need_size(finding, 1)
    outputs = {0: "clock seconds", 1: "the demand period", 2: "the tariff switch"}
    what = outputs.get(finding.data[0], f"output {finding.data[0]:02X}")
    return f"puts {what} on the multifunction terminal"


def _security(finding: Finding) -> str:
    need_least(finding, 8)
    take_identifier(finding)
    finding.details["operator"] = digits(finding.data[4:8])
    fields = counted(len(finding.data) - 8, "byte")
    return f"security module, {finding.di}: operator {finding.details['operator']}, {fields}"


def _broadcast_time(finding: Finding) -> str:
    need_size(finding, 6)
    finding.details["time"] = instant(finding.data)
    return f"sets the meter clock to {finding.details['time']}; no meter replies"


_REQUESTS: dict[int, Explainer] = {
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
    Function.CLEAR_DEMAND: _clear("the maximum demand"),
    Function.CLEAR_METER: _clear("the whole meter"),
    Function.CLEAR_EVENTS: _clear_events,
    Function.RELAY: _relay,
    Function.TERMINAL: _terminal,
}
WITH_PASSWORD = (
    Function.WRITE,
    Function.CHANGE_PASSWORD,
    Function.CLEAR_DEMAND,
    Function.CLEAR_METER,
    Function.CLEAR_EVENTS,
    Function.RELAY,
)
