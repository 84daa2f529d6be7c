"""A DL/T 645 frame in words: which edition, who, what; the content is for the other two modules.

Both editions share the frame. They differ in the function codes, so the control byte tells them
apart but for 03, where the length helps: 2007 has four bytes of identifier there.
"""

from protocols.dlt645.frame import (
    BROADCAST,
    FUNCTION_NAMES,
    FUNCTION_NAMES_1997,
    Frame,
    Function,
)
from provisioning.dlt645_replies import Parts, explain_reply
from provisioning.dlt645_requests import (
    WITH_PASSWORD,
    counted,
    explain_request,
    need_least,
    need_size,
)
from provisioning.finding import (
    DLT645_1997,
    DLT645_2007,
    REPLY,
    REQUEST,
    ContentError,
    Finding,
)

_RE_READ = 0x03  # edition 1997
_WRITE_1997 = 0x04
_READS_1997 = (0x01, 0x02, _RE_READ)
_IDENTIFIER_SIZE_1997 = 2
_ERROR_BITS_1997 = (
    "illegal data",
    "no requested data",
    "password wrong",
    "reserved",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved",
)
_FAULTS = {
    "start1": "the first start byte is not 68",
    "start2": "the second start byte is not 68",
    "truncated": "the frame ends too early",
    "checksum": "the checksum does not fit: some byte is damaged",
    "end": "the end byte is not 16",
}


def explain(frame: Frame, finding: Finding, parts: Parts) -> None:
    """Fills in what a good frame says."""
    _explain_header(frame, finding)
    try:
        if finding.protocol == DLT645_1997:
            finding.meaning = _explain_1997(frame, finding)
        elif frame.is_reply:
            finding.meaning = explain_reply(finding, parts)
        else:
            finding.meaning = explain_request(finding) + _to_many(frame)
    except ContentError as error:
        finding.fail(error)


def explain_damaged(frame: Frame | None, fault: str, finding: Finding) -> None:
    """Fills in what can be made out of a damaged frame. No readings: any byte may be wrong."""
    finding.meaning = _FAULTS[fault]
    if frame is not None:
        _explain_header(frame, finding)


def edition_of(frame: Frame) -> str:
    """The edition that the control byte belongs to."""
    function = frame.function
    if function == _RE_READ:
        size = len(frame.data)
        is_1997 = size == 1 if frame.is_abnormal else size == _IDENTIFIER_SIZE_1997
        return DLT645_1997 if is_1997 else DLT645_2007
    if 0 < function <= 0x10 and function != Function.BROADCAST_TIME:
        return DLT645_1997
    return DLT645_2007


def _explain_header(frame: Frame, finding: Finding) -> None:
    finding.protocol = edition_of(frame)
    finding.data = bytes(frame.data)
    finding.address = frame.address
    finding.control = frame.control
    finding.direction = REPLY if frame.is_reply else REQUEST
    finding.abnormal = frame.is_reply and frame.is_abnormal
    finding.more = frame.is_reply and frame.has_more
    if finding.protocol == DLT645_2007:
        finding.function = FUNCTION_NAMES.get(frame.function, "vendor function")
    elif frame.function == _RE_READ:
        finding.function = "read again"
    else:
        finding.function = FUNCTION_NAMES_1997.get(frame.function, "vendor function")


def _explain_1997(frame: Frame, finding: Finding) -> str:
    if frame.function not in _READS_1997:
        finding.hidden = (slice(None),)  # passwords stand at places of their own in this edition
    if frame.function not in FUNCTION_NAMES_1997 and frame.function != _RE_READ:
        return f"a vendor's own function {frame.function:02X}"
    if finding.abnormal:
        need_size(finding, 1)
        code = frame.data[0]
        names = tuple(name for bit, name in enumerate(_ERROR_BITS_1997) if code >> bit & 1)
        finding.error_code = code
        finding.error_bits = names
        return f"refuses with error {code:02X}: {', '.join(names) or 'no bit set'}"
    is_write = frame.function == _WRITE_1997 and not frame.is_reply
    if not is_write and frame.function not in _READS_1997:
        return f"{'answers to' if frame.is_reply else 'asks for'} {finding.function}"
    need_least(finding, _IDENTIFIER_SIZE_1997)
    finding.di = bytes(reversed(frame.data[:2])).hex().upper()
    size = counted(len(frame.data) - _IDENTIFIER_SIZE_1997, "byte")
    if is_write:
        return f"writes to {finding.di}: {size}, password included"
    if frame.is_reply:
        return f"gives {finding.di}: {size}, not decoded in edition 1997"
    need_size(finding, _IDENTIFIER_SIZE_1997)
    return f"asks for {finding.di}"


def _to_many(frame: Frame) -> str:
    has_wildcard = "AA" in (frame.address[at : at + 2] for at in range(0, 12, 2))
    if frame.function in WITH_PASSWORD and (has_wildcard or frame.address == BROADCAST):
        return "; addressed to more than one meter, which such a request must never be"
    return ""
