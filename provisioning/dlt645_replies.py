"""What a DL/T 645 meter answers: one function per control code, and follow-up parts joined.

Values come from `protocols.dlt645` alone; a frame whose values are wrong keeps its frame and loses
its readings. What a read answers is the same in both editions but for the identifier's size.
"""

from collections.abc import Callable

from protocols.bcd import decode_digits
from protocols.dlt645.commands import RATE_BY_CODE
from protocols.dlt645.controls import Function, error_names, security_error_names
from protocols.dlt645.frame import Frame
from protocols.dlt645.identifiers import identifier_text
from protocols.dlt645.relay import ACCEPTED_BITS, REFUSED_BITS
from protocols.errors import ValueFormatError
from provisioning.dlt645_parts import Parts
from provisioning.dlt645_requests import VENDOR, output_words
from provisioning.dlt645_secrets import is_password
from provisioning.dlt645_security import security_words
from provisioning.dlt645_values import (
    content_error,
    counted,
    is_record,
    named,
    records_of,
    relay_words,
    told,
    values_of,
    values_of_part,
)
from provisioning.finding import MASK, ContentError, Finding

Explainer = Callable[[Finding], str]
_DI_SIZE_1997 = 2


def explain_reply(frame: Frame, finding: Finding, parts: Parts) -> str:
    """What the reply says. ContentError when its content does not fit."""
    if finding.abnormal:
        return _refusal(frame, finding)
    if frame.function == Function.READ:
        return explain_read(finding, parts, 4)
    if frame.function == Function.READ_MORE:
        return explain_read_more(finding, parts, 4)
    known = _REPLIES.get(frame.function)
    if known is None:
        size = counted(len(finding.data), "byte")
        return f"{VENDOR} {frame.function:02X} with {size}, not shown"
    return known(finding)


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
    try:
        return str(decode_digits(data))
    except ValueFormatError as error:
        raise content_error(error) from error


def refused(finding: Finding, code: int, names: tuple[str, ...]) -> str:
    """An error code in words."""
    finding.error_code = code
    finding.error_bits = names
    words = ", ".join(names) or "no bit set"
    return f"{words} (error {code:0{2 * len(finding.data)}X})"


def explain_read(finding: Finding, parts: Parts, di_size: int) -> str:
    """A reply to a read, or its first part."""
    need_least(finding, di_size)
    di, payload = finding.data[:di_size], finding.data[di_size:]
    finding.di = identifier_text(di, di_size)
    key = (str(finding.address), finding.di)
    parts.end(key)
    if not finding.more:
        return _content(finding, di, payload)
    parts.begin(key, payload, is_numbered=di_size != _DI_SIZE_1997)
    words = f"first part of {named(di)}"
    if not is_password(di) and not is_record(di):
        finding.values = values_of_part(di, payload)
        words += f", so far {counted(len(finding.values), 'value')}"
    return words + "; more parts follow"


def explain_read_more(finding: Finding, parts: Parts, di_size: int) -> str:
    """A following part; the last one brings the values of all."""
    is_numbered = di_size != _DI_SIZE_1997
    need_least(finding, di_size + is_numbered)
    di = finding.data[:di_size]
    finding.di = identifier_text(di, di_size)
    key = (str(finding.address), finding.di)
    payload = finding.data[di_size:]
    if is_numbered:
        payload, finding.seq = payload[:-1], payload[-1]
    seq = parts.next_number(key) if finding.seq is None else finding.seq
    joined = parts.add(key, seq, payload)
    words = f"following part{f' {finding.seq}' if is_numbered else ''} of {named(di)}"
    if joined is None:
        return (
            f"{words}; the parts before it are not in this capture, and a part may begin inside an "
            "item: no readings"
        )
    if finding.more:
        return f"{words}; more parts follow, readings come with the last one"
    parts.end(key)
    finding.details["joined_parts"] = seq + 1
    return f"the last part; all {seq + 1} joined: {_content(finding, di, joined)}"


def _content(finding: Finding, di: bytes, payload: bytes) -> str:
    """What a whole payload says."""
    name = named(di)
    if is_password(di):
        return f"{name} is {MASK}, which a meter must never tell"
    size = counted(len(payload), "byte")
    if is_record(di):
        finding.records = records_of(di, payload)
        return f"{name}: {counted(len(finding.records), 'record')}"
    finding.values = values_of(di, payload)
    if not finding.values:
        return f"{name}: {size}, not decoded"
    link = ": "
    if len(finding.values) == 1:
        link = " is " if finding.values[0].quantity else " has "
    return name + link + told(finding.values) + relay_words(di, finding.values)


def _refusal(frame: Frame, finding: Finding) -> str:
    is_security = frame.function == Function.SECURITY
    sizes = (1, 2) if frame.function == Function.RELAY else (2,) if is_security else (1,)
    need_size(finding, *sizes)
    code = int.from_bytes(finding.data, "little")
    if is_security:
        names = security_error_names(code)
    elif len(finding.data) == 1:
        names = error_names(code)
    else:
        names = _named_bits(code, REFUSED_BITS)
    return refused(finding, code, names)


def _named_bits(code: int, names: dict[int, str]) -> tuple[str, ...]:
    return tuple(names.get(bit, f"bit {bit}") for bit in range(16) if code >> bit & 1)


def _read_address(finding: Finding) -> str:
    need_size(finding, 6)
    address = digits(finding.data)
    finding.details["address"] = address
    note = "" if address == finding.address else ", which differs from the frame's own"
    return f"its address is {address}{note}"


def _write_address(finding: Finding) -> str:
    need_size(finding, 0, 6)
    if not finding.data:
        return "new address taken, which is this frame's"
    finding.details["new_address"] = digits(finding.data)
    return f"address {finding.details['new_address']} taken"


def _change_rate(finding: Finding) -> str:
    need_size(finding, 1)
    rate = RATE_BY_CODE.get(finding.data[0])
    if rate is None:
        raise ContentError("value", f"{finding.data[0]:02X} is no rate: one of bits 1 to 6 is set")
    finding.details["baud"] = rate
    return f"changing to {rate} bit/s after this reply"


def _change_password(finding: Finding) -> str:
    need_size(finding, 4)
    return f"password of level {finding.data[0]:02X} changed to {MASK}"


def _relay(finding: Finding) -> str:
    need_size(finding, 0, 2)
    words = "relay control accepted: told, not proven; only a read of 04000503 shows the contact"
    if finding.data:
        names = _named_bits(int.from_bytes(finding.data, "little"), ACCEPTED_BITS)
        finding.details["accepted"] = list(names)
        words += f" (the meter says: {', '.join(names) or 'no bit set'})"
    return words


def _security(finding: Finding) -> str:
    if not finding.data:
        return "security module: accepted"
    need_least(finding, 4)
    finding.di = identifier_text(finding.data)
    return security_words(finding, len(finding.data) - 4, is_reply=True)


def _terminal(finding: Finding) -> str:
    need_size(finding, 1)
    return f"{output_words(finding.data[0])} is on the multifunction terminal"


def _done(what: str) -> Explainer:
    def done(finding: Finding) -> str:
        need_size(finding, 0)
        return what

    return done


_REPLIES: dict[int, Explainer] = {
    Function.SECURITY: _security,
    Function.BROADCAST_TIME: _done("a reply to a time broadcast, which no meter should give"),
    Function.READ_ADDRESS: _read_address,
    Function.WRITE: _done("write accepted"),
    Function.WRITE_ADDRESS: _write_address,
    Function.FREEZE: _done("registers frozen, or the pattern taken"),
    Function.CHANGE_RATE: _change_rate,
    Function.CHANGE_PASSWORD: _change_password,
    Function.CLEAR_DEMAND: _done("maximum demands cleared"),
    Function.CLEAR_METER: _done("meter cleared"),
    Function.CLEAR_EVENTS: _done("events cleared"),
    Function.RELAY: _relay,
    Function.TERMINAL: _terminal,
}
