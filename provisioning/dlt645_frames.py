"""A DL/T 645 frame in words: which edition, who, what; the content is for other modules.

Both editions share the frame. They differ in the function codes, so the control byte tells them
apart but for 03, where the content helps: no identifier of the security module begins as one of
edition 1997 does.
"""

from protocols.dlt645.controls import (
    ALL_METERS,
    CONTROLS,
    FUNCTION_NAMES,
    FUNCTION_NAMES_1997,
    METER,
    Function,
)
from protocols.dlt645.frame import ANY_ADDRESS, BROADCAST, Frame, is_meter_address
from protocols.dlt645.identifiers import items_of
from provisioning.dlt645_1997 import explain_1997
from provisioning.dlt645_parts import Parts
from provisioning.dlt645_replies import explain_reply
from provisioning.dlt645_requests import explain_request
from provisioning.dlt645_secrets import EVERYTHING, READS_1997, hidden_parts, hidden_parts_1997
from provisioning.finding import (
    DLT645_1997,
    DLT645_2007,
    REPLY,
    REQUEST,
    ContentError,
    Finding,
)

_DI_SIZE_1997 = 2
FAULTS = {
    "start1": "the first start byte is not 68",
    "start2": "the second start byte is not 68",
    "truncated": "the frame ends too early",
    "checksum": "the checksum does not fit: some byte is damaged",
    "end": "the end byte is not 16",
}
VENDOR = "vendor function"
_TO_MANY = "; addressed to more than one meter, which such a request must never be"
_TO_SOME = "; several meters may answer at once"
_TO_ONE = "; addressed to one meter, though it is meant for all, so a meter may ignore it"


def explain(frame: Frame, finding: Finding, parts: Parts) -> None:
    """Fills in what a good frame says."""
    _explain_header(frame, finding)
    is_1997 = finding.protocol == DLT645_1997
    note = ""
    try:
        if is_1997:
            what = explain_1997(frame, finding, parts)
        elif frame.is_reply:
            what = explain_reply(frame, finding, parts)
        else:
            what = explain_request(frame, finding)
        note = "" if frame.is_reply else _wrong_target(frame, is_1997=is_1997)
    except ContentError as error:
        finding.error = error.reason
        what = str(error)
    hide = hidden_parts_1997 if is_1997 else hidden_parts
    finding.hidden = hide(frame, fits=finding.error is None)
    finding.meaning = f"{_who(frame, finding)}: {what}{note}"


def explain_damaged(frame: Frame | None, fault: str, finding: Finding, parts: Parts) -> None:
    """Fills in what can be made out of a damaged frame. No readings: any byte may be wrong."""
    finding.meaning = FAULTS[fault]
    finding.hidden = EVERYTHING
    parts.end_unnumbered()
    if frame is not None:
        _explain_header(frame, finding)


def edition_of(frame: Frame) -> str:
    """The edition that the control byte belongs to."""
    function, data = frame.function, frame.data
    if function == Function.READ_AGAIN_1997:
        if frame.is_reply and frame.is_abnormal:
            return DLT645_1997 if len(data) == 1 else DLT645_2007
        is_known = bool(items_of(data[:_DI_SIZE_1997], len(data) - _DI_SIZE_1997))
        is_1997 = len(data) == _DI_SIZE_1997 or (frame.is_reply and is_known)
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
    names = FUNCTION_NAMES if finding.protocol == DLT645_2007 else FUNCTION_NAMES_1997
    finding.function = names.get(frame.function, VENDOR)


def _who(frame: Frame, finding: Finding) -> str:
    """Whom a request means, or who answers."""
    address = frame.address
    exact = address.lstrip("A")
    if is_meter_address(address):
        who = f"meter {address}"
    elif frame.is_reply:
        who = f"address {address}, which is no single meter's,"
    elif address == BROADCAST:
        who = "all meters"
    elif address == ANY_ADDRESS:
        who = "any meter"
    elif len(exact) % 2 == 0 and exact.isdecimal():
        who = f"any meter whose address ends with {exact}"
    else:
        who = f"address {address}, which is no meter's"
    if not frame.is_reply:
        return who
    if not finding.abnormal:
        return f"{who} answers"
    return f"{who} refuses" + (f" the {finding.function}" if finding.function != VENDOR else "")


def _wrong_target(frame: Frame, *, is_1997: bool) -> str:
    """What is odd about the address of a request. Edition 1997 knows no request to all but 08."""
    control = None if is_1997 else CONTROLS.get(frame.function)
    targets = control.targets if control else (METER,) if is_1997 else ()
    if is_meter_address(frame.address):
        return _TO_ONE if targets == (ALL_METERS,) else ""
    if METER not in targets or (frame.address == BROADCAST and ALL_METERS in targets):
        return ""
    is_read = frame.function in (READS_1997 if is_1997 else (Function.READ,))
    return _TO_SOME if is_read else _TO_MANY
