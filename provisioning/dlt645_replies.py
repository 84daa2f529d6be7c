"""What a DL/T 645-2007 meter answers: one function per control code, and follow-up parts joined.

Values come from `protocols.dlt645.values` alone; a frame whose values are wrong keeps its frame and
loses its readings.
"""

from protocols.dlt645.exchange import PARTS_MAX
from protocols.dlt645.frame import FUNCTION_MASK, Function, error_names
from protocols.dlt645.identifiers import items_of
from protocols.dlt645.values import decode_values
from protocols.errors import ValueFormatError
from protocols.readings import Reading
from provisioning.dlt645_requests import (
    PASSWORDS,
    Explainer,
    counted,
    digits,
    explain_by,
    item_name,
    need_least,
    need_size,
    rate_of,
    take_identifier,
)
from provisioning.finding import ContentError, Finding

SECURITY_ERROR_BITS = (
    "other error",
    "recharged already",
    "verification by the security module failed",
    "identity authentication failed or expired",
    "customer number does not match",
    "purchase count wrong",
    "recharge exceeds the limit",
)


class Parts:
    """The open follow-up answers of a capture, by address and identifier.

    A part may cut inside an item, so parts mean something only when all of them are there in order.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[bytes]] = {}

    def begin(self, key: tuple[str, str], payload: bytes) -> None:
        """The first part, which has no number."""
        self._open[key] = [payload]

    def add(self, key: tuple[str, str], seq: int, payload: bytes) -> bytes | None:
        """The payload so far, this part included; None when the parts before it are not there."""
        parts = self._open.get(key)
        if parts is None:
            return None
        if 1 <= seq == len(parts) - 1 and parts[seq] == payload:
            return b"".join(parts)  # asked for and sent once more
        if seq != len(parts) or seq > PARTS_MAX:
            del self._open[key]
            return None
        parts.append(payload)
        return b"".join(parts)

    def end(self, key: tuple[str, str]) -> None:
        """The answer is complete, or given up."""
        self._open.pop(key, None)


def explain_reply(finding: Finding, parts: Parts) -> str:
    """What the reply says. ContentError when its content does not fit."""
    function = (finding.control or 0) & FUNCTION_MASK
    if finding.abnormal:
        return _refusal(finding, is_security=function == Function.SECURITY)
    if function == Function.READ:
        return _read(finding, parts)
    if function == Function.READ_MORE:
        return _read_more(finding, parts)
    return explain_by(_REPLIES, finding)


def _refusal(finding: Finding, *, is_security: bool) -> str:
    if is_security:
        need_size(finding, 2)
        code = finding.data[0] | finding.data[1] << 8
        names = tuple(name for bit, name in enumerate(SECURITY_ERROR_BITS) if code >> bit & 1)
        shown = f"{code:04X}"
    else:
        need_size(finding, 1)
        code = finding.data[0]
        names = error_names(code)
        shown = f"{code:02X}"
    finding.error_code = code
    finding.error_bits = names
    return f"refuses with error {shown}: {', '.join(names) or 'no known bit set'}"


def _read(finding: Finding, parts: Parts) -> str:
    need_least(finding, 4)
    di = take_identifier(finding)
    payload = bytes(finding.data[4:])
    key = (str(finding.address), str(finding.di))
    parts.end(key)
    name = f"{finding.di} ({item_name(di)})"
    if di[1:] == PASSWORDS:
        finding.hidden = (slice(4, None),)
    if not finding.more:
        _decode(finding, di, payload)
        return f"gives {name}" + _unknown(di, payload)
    parts.begin(key, payload)
    _decode(finding, di, payload, is_cut=True)
    return f"gives the first part of {name}; more parts follow" + _unknown(di, payload)


def _read_more(finding: Finding, parts: Parts) -> str:
    need_least(finding, 5)
    di = take_identifier(finding)
    finding.seq = finding.data[-1]
    key = (str(finding.address), str(finding.di))
    joined = parts.add(key, finding.data[-1], bytes(finding.data[4:-1]))
    if di[1:] == PASSWORDS:
        finding.hidden = (slice(4, None),)
    name = f"following part {finding.seq} of {finding.di} ({item_name(di)})"
    if joined is None:
        return (
            f"gives {name}; the parts before it are not in this capture, and a part may begin "
            "inside an item: no readings"
        )
    if finding.more:
        return f"gives {name}; more parts follow, readings come with the last one"
    parts.end(key)
    finding.details["joined_parts"] = finding.seq + 1
    _decode(finding, di, joined)
    return f"gives {name}, the last one; readings of all parts" + _unknown(di, joined)


def _decode(finding: Finding, di: bytes, payload: bytes, is_cut: bool = False) -> None:
    """The readings of a payload; of one that is cut, those of its complete items."""
    items = items_of(di, len(payload))
    if not items:
        return
    whole = items[0].size * len(items)
    count = len(items)
    if is_cut:
        # FF fill stands in for what is to come; the items that it completes are dropped below.
        count = min(len(payload) // items[0].size, len(items))
        payload = payload[: count * items[0].size].ljust(whole, b"\xff")
    if len(payload) != whole:
        raise ContentError(
            "length", f"{counted(len(payload), 'byte')} of values where {whole} are due"
        )
    try:
        values = decode_values(di + payload)[:count]
    except ValueFormatError as error:
        raise ContentError("value", f"the value is refused: {error}") from error
    finding.readings = [
        Reading(obis, quantity) for obis, quantity in values if quantity is not None
    ]
    finding.no_value = [obis for obis, quantity in values if quantity is None]


def _unknown(di: bytes, payload: bytes) -> str:
    if items_of(di, len(payload)):
        return ""
    return f": {counted(len(payload), 'byte')}, not decoded"


def _read_address(finding: Finding) -> str:
    need_size(finding, 6)
    address = digits(finding.data)
    finding.details["address"] = address
    note = "" if address == finding.address else ", which differs from the frame's own"
    return f"tells its address: {address}{note}"


def _write_address(finding: Finding) -> str:
    need_size(finding, 0, 6)
    if not finding.data:
        return "has taken its new address, which is this frame's"
    finding.details["new_address"] = digits(finding.data)
    return f"has taken the address {finding.details['new_address']}"


def _change_rate(finding: Finding) -> str:
    need_size(finding, 1)
    finding.details["baud"] = rate_of(finding.data)
    return f"changes to {finding.details['baud']} bit/s after this reply"


def _change_password(finding: Finding) -> str:
    need_size(finding, 4)
    finding.hidden = (slice(1, 4),)
    return f"has changed the password of level {finding.data[0]:02X}"


def _relay(finding: Finding) -> str:
    need_size(finding, 0, 2)
    finding.hidden = ()
    return "accepts the relay order; whether the relay moved, only a read of 04000503 tells"


def _security(finding: Finding) -> str:
    if len(finding.data) < 4:
        need_size(finding, 0)
        return "security module: accepted"
    take_identifier(finding)
    return f"security module, {finding.di}: {counted(len(finding.data) - 4, 'byte')}"


def _terminal(finding: Finding) -> str:
    need_size(finding, 1)
    return f"has set the multifunction terminal to {finding.data[0]:02X}"


def _done(what: str) -> Explainer:
    def done(finding: Finding) -> str:
        need_size(finding, 0)
        return what

    return done


_REPLIES: dict[int, Explainer] = {
    Function.SECURITY: _security,
    Function.BROADCAST_TIME: _done("answers a time broadcast, which no meter should"),
    Function.READ_ADDRESS: _read_address,
    Function.WRITE: _done("accepts the write"),
    Function.WRITE_ADDRESS: _write_address,
    Function.FREEZE: _done("has frozen its registers"),
    Function.CHANGE_RATE: _change_rate,
    Function.CHANGE_PASSWORD: _change_password,
    Function.CLEAR_DEMAND: _done("has cleared its maximum demand"),
    Function.CLEAR_METER: _done("has cleared itself"),
    Function.CLEAR_EVENTS: _done("has cleared its events"),
    Function.RELAY: _relay,
    Function.TERMINAL: _terminal,
}
