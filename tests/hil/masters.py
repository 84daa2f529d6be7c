"""A plain master for the tests of the virtual line: raw bytes on a tty, and a clock that obeys."""

import os
import select
import time
import tomllib
import tty
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

from hil.load import EPOCH_MS, Load
from hil.meter import Dlt645Meter
from hil.meter_port import MeterPort
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import DONE, Exchange
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.relay import ACTION_NAMES, RelayTerms
from protocols.dlt645.values import decode_items
from protocols.modbus.model import Model, read_model

DEADLINE_S = 5.0  # far above any answer of a test
QUIET_S = 0.15  # long enough to believe that an unpaced line stays silent

ADDRESS = "123456789012"
PASSWORD = "02563412"  # level 02, password 123456, low byte first
WHO = PASSWORD + "78563412"  # and operator 12345678
ALL_TERMS = RelayTerms(tuple(ACTION_NAMES), (2,), True)


class FakeClock:
    """UTC ms that only a test moves."""

    def __init__(self, now_ms: int = EPOCH_MS + 400 * 86_400_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Master:
    """An open tty, raw. `parts` are the reads of the last `ask`, with their arrival times."""

    def __init__(self, link: Path) -> None:
        self.tty = os.open(link, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.tty)
        self.started_s = 0.0
        self.last_s = 0.0

    def __enter__(self) -> "Master":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        os.close(self.tty)

    def send(self, request: bytes) -> None:
        self.started_s = time.monotonic()
        assert os.write(self.tty, request) == len(request)

    def hear(self, size: int, deadline_s: float = DEADLINE_S) -> bytes:
        """Up to `size` bytes; fewer when the deadline passes."""
        end_s = time.monotonic() + deadline_s
        heard = b""
        while len(heard) < size and (left_s := end_s - time.monotonic()) > 0:
            if select.select([self.tty], [], [], left_s)[0]:
                heard += os.read(self.tty, size - len(heard))
                self.last_s = time.monotonic()
        return heard

    def ask(self, request: bytes, size: int) -> bytes:
        self.send(request)
        return self.hear(size)

    def is_quiet(self) -> bool:
        """Whether nothing comes any more."""
        return self.hear(1, QUIET_S) == b""

    def exchange(self, exchange: Exchange, preamble: int = 4) -> bytes:
        """Runs a whole exchange, follow-up parts included; its data."""
        deframer = Deframer()
        end_s = time.monotonic() + DEADLINE_S
        self.send(exchange.request.to_bytes(preamble))
        while exchange.state != DONE:
            assert time.monotonic() < end_s, f"no answer; {deframer.discarded} bytes discarded"
            for frame in deframer.feed(self.hear(1, DEADLINE_S)):
                if exchange.receive(frame) == "more":
                    self.send(exchange.request.to_bytes(preamble))
        return exchange.data()


def make_meter(clock: Callable[[], int] | None = None, **options: Any) -> Dlt645Meter:
    """A meter that knows the password of WHO and lets it move the relay."""
    options = {"passwords": {2: "123456"}, "relay_terms": ALL_TERMS} | options
    return Dlt645Meter(ADDRESS, Load(1), clock or FakeClock(), **options)


def ask(meter: MeterPort, address: str, control: int, data: bytes | str = b"") -> Frame | None:
    """The meter's reply, without a line between; None for silence. `data` may be hex."""
    wire = bytes.fromhex(data) if isinstance(data, str) else data
    replies = meter.feed(Frame(address, control, wire).to_bytes())
    assert len(replies) <= 1
    return decode_frame(replies[0][1]) if replies else None


def order(meter: MeterPort, control: int, data: str, address: str = ADDRESS) -> str:
    """What the meter answers to data in hex: "silent", "err 04", or "ok" and the data in hex."""
    reply = ask(meter, address, control, data)
    if reply is None:
        return "silent"
    if reply.control == control | 0xC0:
        return f"err {reply.data.hex()}"
    assert reply.control == control | 0x80
    return f"ok {reply.data.hex()}".strip()


def shown(meter: MeterPort, di: str) -> list[Any]:
    """The values of an identifier of 2007; [] where the meter refuses it."""
    reply = ask(meter, meter.name, 0x11, identifier_bytes(di))
    assert reply is not None
    if reply.control == 0xD1:
        return []
    assert reply.control == 0x91
    return [quantity and quantity.value for _, quantity in decode_items(reply.data)]


def load_model(name: str) -> Model:
    """A meter model of the product."""
    file = files("protocols").joinpath("meter_models", f"{name}.toml")
    return read_model(name, tomllib.loads(file.read_text(encoding="utf-8")))
