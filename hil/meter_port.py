"""A DL/T 645 meter's ear and voice: bytes in, frames answered, whatever stands between."""

from collections.abc import Callable

from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame, is_meter_address
from protocols.dlt645.identifiers import Item
from protocols.errors import CallerError

PREAMBLE_MAX = 7  # more were never seen
Value = int | str | bytes | None
Log = Callable[[dict[str, object]], None]

BYTE_GAP_S = 0.5  # longest pause inside a frame
RESPONSE_DELAY_S = 0.04


def shown_record(
    t_ms: int, meter: str, di: str, item: Item | None, value: Value
) -> dict[str, object]:
    """What a log gets of one value that a meter answered; without an item, of bytes in hex."""
    shown = value.hex() if isinstance(value, bytes) else value
    record: dict[str, object] = {"t_ms": t_ms, "meter": meter, "di": di, "value": shown}
    if item is not None:
        record |= {"obis": item.obis.text(), "scaler": item.scaler, "unit": item.unit}
    return record


class MeterPort:
    """A station of the address `name`, which answers each request behind `preamble` FE bytes."""

    def __init__(self, name: str, response_delay_s: float, preamble: int) -> None:
        if not is_meter_address(name):
            raise CallerError(f"{name!r} is not the address of one meter")
        if not 0 <= preamble <= PREAMBLE_MAX:
            raise CallerError(f"preamble {preamble} is out of range")
        self.name = name
        self.response_delay_s = response_delay_s
        self.preamble = preamble
        self._deframer = Deframer()

    def feed(self, data: bytes, gap_s: float = 0.0) -> list[tuple[float, bytes]]:
        """(response delay in s, reply) for each request that `data` completes. `gap_s` is the
        silence on the line before `data`: a long one ends a frame that never completed."""
        if gap_s > BYTE_GAP_S:
            self._deframer.flush()
        replies = (self.answer(frame) for frame in self._deframer.feed(data))
        return [
            (self.response_delay_s, reply.to_bytes(self.preamble))
            for reply in replies
            if reply is not None
        ]

    def pin(self, di: str, value: Value) -> None:
        """Fixes an identifier: an int in the item's scale, digits in reading order, None for FF
        fill. CallerError or ValueFormatError when the value does not fit."""
        raise NotImplementedError

    def answer(self, frame: Frame) -> Frame | None:
        """The reply to one frame; None is silence."""
        raise NotImplementedError
