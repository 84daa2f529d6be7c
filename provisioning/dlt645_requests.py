"""What a master asks of a DL/T 645-2007 meter: the core reads the command, here it gets its words.

Each command gives one sentence and its details. ContentError when the content does not fit. No
password gets into a sentence or a detail.
"""

from collections.abc import Callable
from typing import Any

from protocols.dlt645 import commands
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import EVERY_EVENT, SECURED_CONTROL_SIZE
from protocols.dlt645.controls import Function
from protocols.dlt645.credentials import (
    CIPHERED,
    SECURED_LEVELS,
    Credentials,
    credentials_from_bytes,
)
from protocols.dlt645.frame import Frame
from protocols.dlt645.identifiers import entry_of, identifier_bytes, identifier_text
from protocols.dlt645.relay import ACTION_NAMES, DELAYED, RelayAction
from protocols.dlt645.requests import decode_command
from protocols.errors import ValueFormatError
from provisioning.dlt645_secrets import WITH_PASSWORD, is_password
from provisioning.dlt645_security import security_words
from provisioning.dlt645_values import content_error, counted, named, told, values_of
from provisioning.finding import MASK, ContentError, Finding

VENDOR = "a vendor's own function"
_HEAD_SIZE = 12  # of a write: identifier, level, password, operator
_DELAY_STEP = 5  # minutes of N2
_RELAY_WORDS = {
    RelayAction.DISCONNECT: "trip relay",
    RelayAction.ARM: "arm relay (it closes when somebody presses the button at the meter)",
    RelayAction.CONNECT: "connect relay (it closes with nobody at the meter)",
    RelayAction.DELAYED_CONNECT: "delayed connect (1D, which makers read differently)",
    RelayAction.DELAYED_ARM: "delayed arm (1E, which makers read differently)",
    RelayAction.ALARM_ON: "raise the alarm",
    RelayAction.ALARM_OFF: "end the alarm",
    RelayAction.KEEP_POWER_ON: "keep the power on whatever happens",
    RelayAction.KEEP_POWER_OFF: "no longer keep the power on",
}
_SECURED_WORDS = {
    Function.CLEAR_DEMAND: "clear the maximum demands",
    Function.CLEAR_METER: "clear the whole meter",
    Function.CLEAR_EVENTS: "clear events",
    Function.RELAY: "control the relay",
}
_OUTPUTS = {0: "clock seconds", 1: "the demand period", 2: "the tariff switch"}


def explain_request(frame: Frame, finding: Finding) -> str:
    """What the request asks for."""
    try:
        command = _command(frame)
    except ValueFormatError as error:
        raise _without_bytes(frame, finding, content_error(error)) from None
    if command is None:
        return f"{VENDOR} {frame.function:02X} with {counted(len(frame.data), 'byte')}, not shown"
    di = getattr(command, "di", None)
    finding.di = di and di.upper()
    return _SENTENCES[type(command)](finding, command)


def _command(frame: Frame) -> Any:
    data = frame.data
    is_plain_write = frame.function == Function.WRITE and len(data) >= _HEAD_SIZE
    if is_plain_write and is_password(data[:4]) and data[4] not in SECURED_LEVELS:
        # A meter takes no password so, and the core reads none; who tries is worth telling.
        credentials = credentials_from_bytes(data[4:_HEAD_SIZE])
        return commands.Write(identifier_text(data), (data[_HEAD_SIZE:],), credentials)
    return decode_command(frame)


def time_words(moment: MeterTime) -> str:
    """`2026-11-21 10:15:00`."""
    return str(moment.text().replace("T", " "))


def _without_bytes(frame: Frame, finding: Finding, error: ContentError) -> ContentError:
    """The error, which must not repeat a byte of what may be a password."""
    sentence = str(error)
    if frame.function in WITH_PASSWORD and error.reason != "length":
        sentence = "its level, its password, its operator or what follows is not as it should be"
    return ContentError(error.reason, f"{finding.function}: {sentence}")


def _authority(finding: Finding, credentials: Credentials) -> str:
    finding.details["level"] = f"{credentials.level:02X}"
    finding.details["operator"] = credentials.operator
    return f"password {MASK} of level {credentials.level:02X}"


def _read(_: Finding, command: commands.Read) -> str:
    return f"read {named(identifier_bytes(command.di))}"


def _read_records(finding: Finding, command: commands.ReadRecords) -> str:
    finding.details["blocks"] = command.blocks
    since = f", from {time_words(command.start)[:-3]} on" if command.start else ""
    return (
        f"read {counted(command.blocks, 'block')} of {named(identifier_bytes(command.di))}{since}"
    )


def _read_more(finding: Finding, command: commands.ReadMore) -> str:
    finding.seq = command.sequence
    return f"read following part {command.sequence} of {named(identifier_bytes(command.di))}"


def _read_address(*_: object) -> str:
    return "read the address"


def _write(finding: Finding, command: commands.Write) -> str:
    who = _authority(finding, command.credentials)
    di = identifier_bytes(command.di)
    body = finding.data[_HEAD_SIZE:]
    what = f"write {named(di)}"
    if is_password(di):
        what += f" = {MASK}"
    else:
        finding.values = values_of(di, body)
        size = counted(len(body), "byte")
        what += f" = {told(finding.values)}" if finding.values else f", {size} that are not shown"
    return f"{what}, operator {command.credentials.operator}, {who}"


def _secured_write(finding: Finding, command: commands.SecuredWrite) -> str:
    finding.details["level"] = f"{command.level:02X}"
    finding.details["operator"] = command.operator
    form = "encrypted" if command.level == CIPHERED else "plain with an authentication code"
    return (
        f"write {named(identifier_bytes(command.di))}, operator {command.operator}, through the "
        f"security module (level {command.level:02X}, {form}): {counted(len(command.body), 'byte')}"
    )


def _write_address(finding: Finding, command: commands.WriteAddress) -> str:
    finding.details["new_address"] = command.address
    return f"take the address {command.address}"


def _broadcast_time(finding: Finding, command: commands.BroadcastTime) -> str:
    finding.details["time"] = time_words(command.time)
    return f"set the clock to {finding.details['time']}; no meter replies"


def _freeze(finding: Finding, command: commands.Freeze) -> str:
    day, hour, minute = command
    if minute is None:
        when = "now"
    elif hour is None:
        when = f"every hour at minute {minute:02d}"
    elif day is None:
        when = f"every day at {hour:02d}:{minute:02d}"
    else:
        when = f"every month on day {day} at {hour:02d}:{minute:02d}"
    finding.details["freeze_at"] = when
    return f"freeze the registers {when}"


def _change_rate(finding: Finding, command: commands.ChangeRate) -> str:
    finding.details["baud"] = command.rate
    return f"change the line's rate to {command.rate} bit/s"


def _change_password(finding: Finding, command: commands.ChangePassword) -> str:
    finding.di = identifier_text(finding.data)
    finding.details["level"] = f"{command.old_level:02X}"
    return (
        f"change the password of level {command.level:02X} to {MASK}, "
        f"by the password {MASK} of level {command.old_level:02X}"
    )


def _clear(what: str) -> Callable[[Finding, Any], str]:
    def clear(finding: Finding, command: commands.ClearDemand | commands.ClearMeter) -> str:
        who = _authority(finding, command.credentials)
        return f"clear {what}, operator {command.credentials.operator}, {who}"

    return clear


def _clear_events(finding: Finding, command: commands.ClearEvents) -> str:
    who = _authority(finding, command.credentials)
    what = "all events"
    if command.di != EVERY_EVENT:
        entry = entry_of(b"\x01" + identifier_bytes(command.di)[1:])  # its latest record
        name = entry.name.partition(",")[0] + " " if entry else ""
        what = f"the events {name}({command.di})"
    return f"clear {what}, operator {command.credentials.operator}, {who}"


def _relay(finding: Finding, command: commands.Relay) -> str:
    who = _authority(finding, command.credentials)
    n1, n2 = command.action, command.parameter
    expiry = time_words(command.expiry) if command.expiry else None
    finding.details |= {"n1": f"{n1:02X}", "n2": f"{n2:02X}", "expiry": expiry}
    finding.details["action"] = ACTION_NAMES.get(n1)
    what = _RELAY_WORDS.get(n1, f"an unknown relay action ({n1:02X})")
    if n1 in DELAYED:
        what += f" after {n2 * _DELAY_STEP} min"
    elif n2:
        what += f" with parameter {n2:02X}"
    until = "NO EXPIRY, though such a request must have one"
    if expiry:
        until = f"valid until {expiry}"
    return f"{what}, operator {command.credentials.operator}, {until}, {who}"


def _secured_control(finding: Finding, command: commands.SecuredControl) -> str:
    finding.details["level"] = f"{finding.data[0]:02X}"
    finding.details["operator"] = command.operator
    return (
        f"{_SECURED_WORDS[command.function]}, operator {command.operator}, encrypted "
        f"({SECURED_CONTROL_SIZE} bytes): what exactly is for the meter's security module alone"
    )


def _terminal(_: Finding, command: commands.Terminal) -> str:
    return f"put {output_words(command.output)} on the multifunction terminal"


def output_words(output: int) -> str:
    """What a multifunction terminal gives out."""
    return _OUTPUTS.get(output, f"output {output:02X}")


def _security(finding: Finding, command: commands.Security) -> str:
    finding.details["operator"] = command.operator
    words = security_words(finding, len(command.body), is_reply=False)
    return f"{words}, operator {command.operator}"


_SENTENCES: dict[type, Callable[[Finding, Any], str]] = {
    commands.Read: _read,
    commands.ReadRecords: _read_records,
    commands.ReadMore: _read_more,
    commands.ReadAddress: _read_address,
    commands.Write: _write,
    commands.SecuredWrite: _secured_write,
    commands.WriteAddress: _write_address,
    commands.BroadcastTime: _broadcast_time,
    commands.Freeze: _freeze,
    commands.ChangeRate: _change_rate,
    commands.ChangePassword: _change_password,
    commands.ClearDemand: _clear("the maximum demands"),
    commands.ClearMeter: _clear("the whole meter"),
    commands.ClearEvents: _clear_events,
    commands.Relay: _relay,
    commands.SecuredControl: _secured_control,
    commands.Terminal: _terminal,
    commands.Security: _security,
}
