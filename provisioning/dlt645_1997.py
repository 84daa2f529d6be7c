"""A frame of edition 1997 in words: its functions, its identifiers of two bytes, its errors.

A write has no operator, and what a password change carries in which order no two sources tell: that
one stays opaque. So does the rate code.
"""

from protocols.dlt645.controls import (
    ERROR_BITS_1997,
    FUNCTION_NAMES_1997,
    Function,
    error_names,
)
from protocols.dlt645.frame import Frame
from protocols.dlt645.identifiers import identifier_text
from provisioning.dlt645_parts import Parts
from provisioning.dlt645_replies import (
    digits,
    explain_read,
    explain_read_more,
    need_least,
    need_size,
    refused,
)
from provisioning.dlt645_requests import VENDOR
from provisioning.dlt645_secrets import WRITE_1997, is_password
from provisioning.dlt645_values import counted, named, told, values_of
from provisioning.finding import MASK, ContentError, Finding

_WRITE_ADDRESS, _CHANGE_RATE = 0x0A, 0x0C
_DI_SIZE = 2
_HEAD_SIZE = 6  # of a write: identifier, level, password
_LEVEL_MAX = 9
_READS = {
    Function.READ_1997: "read",
    Function.READ_MORE_1997: "read what follows of",
    Function.READ_AGAIN_1997: "read again",
}


def explain_1997(frame: Frame, finding: Finding, parts: Parts) -> str:
    """What the frame says. ContentError when its content does not fit."""
    if frame.function not in FUNCTION_NAMES_1997:
        return f"{VENDOR} {frame.function:02X} with {counted(len(frame.data), 'byte')}, not shown"
    if finding.abnormal:
        need_size(finding, 1)
        code = frame.data[0]
        return refused(finding, code, error_names(code, ERROR_BITS_1997))
    if frame.is_reply:
        return _reply(frame, finding, parts)
    if frame.function in _READS:
        need_size(finding, _DI_SIZE)
        finding.di = identifier_text(frame.data, _DI_SIZE)
        return f"{_READS[frame.function]} {named(frame.data)}"
    if frame.function == WRITE_1997:
        return _write(frame, finding)
    if frame.function == _WRITE_ADDRESS:
        need_size(finding, 6)
        finding.details["new_address"] = digits(frame.data)
        return f"take the address {finding.details['new_address']}"
    if frame.function == _CHANGE_RATE:
        need_size(finding, 1)
        return f"change the line's rate (code {frame.data[0]:02X})"
    return f"{finding.function}, {counted(len(frame.data), 'byte')} with the password {MASK}"


def _reply(frame: Frame, finding: Finding, parts: Parts) -> str:
    if frame.function == Function.READ_MORE_1997:
        return explain_read_more(finding, parts, _DI_SIZE)
    if frame.function in _READS:
        return explain_read(finding, parts, _DI_SIZE)
    return f"{finding.function} accepted"


def _write(frame: Frame, finding: Finding) -> str:
    need_least(finding, _HEAD_SIZE)
    di, level, body = frame.data[:_DI_SIZE], frame.data[_DI_SIZE], frame.data[_HEAD_SIZE:]
    if level > _LEVEL_MAX:
        raise ContentError("value", "no password of levels 00 to 09 stands here")
    finding.di = identifier_text(di, _DI_SIZE)
    finding.details["level"] = f"{level:02X}"
    what = f"write {named(di)}"
    if is_password(di):
        what += f" = {MASK}"
    else:
        finding.values = values_of(di, body)
        size = counted(len(body), "byte")
        what += f" = {told(finding.values)}" if finding.values else f", {size} that are not shown"
    return f"{what}, password {MASK} of level {level:02X}"
