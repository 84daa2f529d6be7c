"""A plain master for the tests of the virtual line: raw bytes on a tty, and a clock that obeys."""

import os
import select
import time
import tomllib
import tty
from importlib.resources import files
from pathlib import Path
from types import TracebackType

from hil.load import EPOCH_MS
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import DONE, Exchange
from protocols.modbus.model import Model, read_model

DEADLINE_S = 5.0  # far above any answer of a test
QUIET_S = 0.15  # long enough to believe that an unpaced line stays silent


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


def load_model(name: str) -> Model:
    """A meter model of the product."""
    file = files("protocols").joinpath("meter_models", f"{name}.toml")
    return read_model(name, tomllib.loads(file.read_text(encoding="utf-8")))
