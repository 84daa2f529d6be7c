"""What one frame of a capture says, for a program (`to_json`) and for a person (`explain.text`)."""

from dataclasses import dataclass, field
from typing import Any

from protocols.obis import Obis
from protocols.readings import Reading

DLT645_2007 = "dlt645-2007"
DLT645_1997 = "dlt645-1997"
MODBUS_RTU = "modbus-rtu"
REQUEST = "request"
REPLY = "reply"
_DI_DIGITS = 8  # of an identifier of 2007


class ContentError(Exception):
    """A good frame whose content does not fit its function. `reason` is "length" or "value"."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass
class Finding:
    """One frame, good or damaged.

    `ok`: the framing is good. `error`: None, or one word for what is wrong; a good frame can have
    one too, when its content does not fit ("length", "value"). `data` is the content without any
    offset, `hidden` are the parts of it that a person is not shown.
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
    readings: list[Reading] = field(default_factory=list)
    no_value: list[Obis] = field(default_factory=list)
    meaning: str = ""
    preamble: int = 0  # FE bytes in front
    error_code: int | None = None  # of an abnormal reply
    error_bits: tuple[str, ...] = ()
    seq: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def fail(self, error: ContentError) -> None:
        """Keeps the frame and refuses its content."""
        self.error = error.reason
        self.meaning = f"{self.meaning}; {error}" if self.meaning else str(error)

    def to_json(self) -> dict[str, Any]:
        """Plain values. `data` is whole: it is the caller's own input less a constant, and a
        program that compares frames needs every byte. A person's text hides passwords, because it
        is what gets photographed and pasted into a ticket."""
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
            "data": self.data.hex().upper(),
            "readings": [reading.described() for reading in self.readings],
            "no_value": [obis.text() for obis in self.no_value],
            "meaning": self.meaning,
            "offset": self.offset,
            "size": self.size,
            "preamble": self.preamble,
            "error_code": self.error_code,
            "error_bits": list(self.error_bits),
            "seq": self.seq,
            "details": self.details,
        }

    def shown_data(self) -> str:
        """The data for a person: hidden bytes as **; of a damaged frame nothing, because where its
        password stands is anybody's guess."""
        if not self.ok:
            return ""
        shown = [f"{byte:02X}" for byte in self.data]
        for part in self.hidden:
            shown[part] = ["**"] * len(shown[part])
        return " ".join(shown)
