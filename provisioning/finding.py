"""What one frame of a capture says, for a program (`to_json`) and for a person (`explain.text`)."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from protocols.obis import Obis
from protocols.quantity import Kind, Quantity

DLT645_2007 = "dlt645-2007"
DLT645_1997 = "dlt645-1997"
CJT188 = "cjt188"
MODBUS_RTU = "modbus-rtu"
REQUEST = "request"
REPLY = "reply"
MASK = "••"  # stands for one byte of a password, or of what may be one
_DI_DIGITS = 8  # of an identifier of 2007


class ContentError(Exception):
    """A good frame whose content does not fit its function. `reason` is "length" or "value"."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class Value(NamedTuple):
    """One value of a frame. `quantity` is None where the meter has none; `shown` is how a person
    reads it, `words` what the bits of a status word say."""

    name: str
    obis: Obis
    quantity: Quantity | None
    shown: str
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, of a word also what it says; only for a value that is there."""
        assert self.quantity is not None  # noqa: S101 - see above
        value, unit = self.quantity.shown()
        row = {"obis": self.obis.text(), "name": self.name, "value": value, "unit": unit}
        return row | {"words": list(self.words)} if self.quantity.kind == Kind.STATUS else row


class Kept(NamedTuple):
    """A record of the meter's memory: its local time, its values, "" or why it has none."""

    time: str | None
    values: tuple[Value, ...]
    fault: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"time": self.time, "fault": self.fault or None, "readings": rows(self.values)}


def rows(values: "tuple[Value, ...] | list[Value]") -> list[dict[str, Any]]:
    """The values that are there, for a program."""
    return [value.to_json() for value in values if value.quantity is not None]


@dataclass(repr=False)
class Finding:
    """One frame, good or damaged.

    `ok`: the framing is good. `error`: None, or one word for what is wrong; a good frame can have
    one too, when its content does not fit ("length", "value"). `data` is the content without any
    offset; `hidden` are the parts of it that nobody is shown, neither person nor program.
    """

    offset: int  # of the first byte in the capture, behind the preamble
    size: int  # bytes
    protocol: str | None = None
    ok: bool = False
    error: str | None = None
    address: str | None = None
    control: int | None = None
    function: str | None = None
    direction: str | None = None
    abnormal: bool = False
    more: bool = False
    di: str | None = None
    data: bytes = b""
    hidden: tuple[slice, ...] = ()
    values: list[Value] = field(default_factory=list)
    records: list[Kept] = field(default_factory=list)
    meaning: str = ""
    preamble: int = 0  # FE bytes in front
    error_code: int | None = None  # of an abnormal reply
    error_bits: tuple[str, ...] = ()
    seq: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Finding({self.to_json()!r})"

    def fail(self, error: ContentError) -> None:
        """Keeps the frame and refuses its content."""
        self.error = error.reason
        self.meaning = f"{self.meaning}; {error}" if self.meaning else str(error)

    def to_json(self) -> dict[str, Any]:
        """Plain values; each hidden byte of `data` is a mask as long as its two digits."""
        details = self.details
        if self.records:
            details = details | {"records": [record.to_json() for record in self.records]}
        if self.direction == REQUEST and self.values:
            details = details | {"written": rows(self.values)}
        read = self.values if self.direction == REPLY else []
        return {
            "protocol": self.protocol,
            "ok": self.ok,
            "error": self.error,
            "address": self.address,
            "control": None if self.control is None else f"{self.control:02X}",
            "function": self.function,
            "direction": self.direction,
            "abnormal": self.abnormal,
            "more": self.more,
            # Programs were promised eight digits or null; an identifier of 1997 has four.
            "di": self.di if self.di and len(self.di) == _DI_DIGITS else None,
            "identifier": self.di,
            "data": "".join(self.shown_bytes()),
            "readings": rows(read),
            "no_value": [value.obis.text() for value in read if value.quantity is None],
            "meaning": self.meaning,
            "offset": self.offset,
            "size": self.size,
            "preamble": self.preamble,
            "error_code": self.error_code,
            "error_bits": list(self.error_bits),
            "seq": self.seq,
            "details": details,
        }

    def shown_bytes(self) -> list[str]:
        """The data, two characters a byte."""
        shown = [f"{byte:02X}" for byte in self.data]
        for part in self.hidden:
            shown[part] = [MASK] * len(shown[part])
        return shown
