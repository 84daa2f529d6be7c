"""Meters whose every value says which meter, which register and which second it is of.

Their frames are put together here byte by byte, apart from the product's encoders.
"""

import struct
from collections.abc import Callable

from protocols.bcd import encode_bcd
from tests.edge.fakes import Answer, FakeClock, FakePort
from tests.edge.test_drivers_modbus import crc

DELAY_MS = 50.0
FINEST_S = 2e-6  # of fake time
ENERGY_DI, RETURNED_DI, VOLTAGE_DI, CURRENT_DI = "00010000", "00020000", "02010100", "02020100"
SIZES = {ENERGY_DI: 4, RETURNED_DI: 4, VOLTAGE_DI: 2, CURRENT_DI: 3}
MODEL = """
title = "Energy and voltage"
function = 3
word_order = "big"
source = "test"

[[register]]
name = "voltage"
obis = "1-0:32.7.0"
address = 0
type = "uint32"
exponent = -1
unit = "V"
kind = "instantaneous"

[[register]]
name = "energy"
obis = "1-0:1.8.0"
address = 100
type = "uint32"
exponent = 1
unit = "Wh"
kind = "cumulative"
"""
VOLTAGE_AT, ENERGY_AT = 0, 100  # registers of MODEL


class Meter:
    """Meter `number`: what its registers hold at an instant, how it answers, and how late."""

    def __init__(self, number: int, clock: FakeClock) -> None:
        self.number = number
        self.clock = clock
        self.is_silent = False
        self.delay_ms: Callable[[], float] = lambda: DELAY_MS
        self.energy_off = 0  # a glitch of the register, in counts
        self.asked = 0

    def energy(self, boot_ms: int) -> int:
        """10 Wh; one count a second, so that a value tells when it was read."""
        return self.number * 100_000 + boot_ms // 1000 + self.energy_off

    def voltage(self) -> int:
        """0.1 V; every meter has its own."""
        return 2_000 + self.number

    def hear(self, request: bytes) -> Answer:
        """The answer to a request that is meant for it."""
        reply = self._reply(request)
        if reply is None:
            return []
        self.asked += 1
        return [] if self.is_silent else [(self.delay_ms(), reply)]

    def _reply(self, request: bytes) -> bytes | None:
        raise NotImplementedError


class Dlt645(Meter):
    """Of DL/T 645-2007. `lacks`: identifiers that it does not have."""

    def __init__(self, number: int, clock: FakeClock, address: str = "") -> None:
        super().__init__(number, clock)
        self.address = address or f"{160 + number:012d}"
        self.lacks: set[str] = set()

    def value(self, di: str) -> int:
        """In the digits of the register."""
        values = {
            ENERGY_DI: self.energy(self.clock.boot_ms()),
            RETURNED_DI: self.number,
            VOLTAGE_DI: self.voltage(),
            CURRENT_DI: self.number,
        }
        return values[di]

    def _reply(self, request: bytes) -> bytes | None:
        frame = request.lstrip(b"\xfe")
        if frame[:1] != b"\x68" or bytes(reversed(frame[1:7])).hex() != self.address:
            return None
        if frame[8] != 0x11:
            return None
        di = bytes(reversed([byte - 0x33 & 255 for byte in frame[10:14]])).hex().upper()
        if di in self.lacks:
            return frame_645(self.address, 0xD1, b"\x02")
        data = bytes(reversed(bytes.fromhex(di)))
        return frame_645(self.address, 0x91, data + encode_bcd(self.value(di), SIZES[di]))


def frame_645(address: str, control: int, data: bytes) -> bytes:
    """A DL/T 645 frame."""
    coded = bytes(byte + 0x33 & 255 for byte in data)
    whole = b"\x68" + bytes(reversed(bytes.fromhex(address))) + b"\x68"
    whole += bytes((control, len(coded))) + coded
    return whole + bytes((sum(whole) & 255, 0x16))


class Modbus(Meter):
    """Of MODEL; its unit is its number."""

    def words(self, at: int) -> tuple[int, int]:
        """Two registers."""
        value = self.voltage() if at == VOLTAGE_AT else self.energy(self.clock.boot_ms())
        return value >> 16, value & 0xFFFF

    def _reply(self, request: bytes) -> bytes | None:
        if len(request) != 8 or crc(request[:6]) != request[6:] or request[0] != self.number:
            return None
        unit, function, at, count = struct.unpack(">BBHH", request[:6])
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *self.words(at))
        return body + crc(body)


class Bus:
    """The meters of one line; `answer` is what its port asks."""

    def __init__(self, *meters: Meter) -> None:
        self.meters = meters
        self.requests: list[bytes] = []

    def answer(self, request: bytes) -> Answer:
        """What comes back, of whichever meter feels addressed."""
        self.requests.append(request)
        return [piece for meter in self.meters for piece in meter.hear(request)]


class BusPort(FakePort):
    """A port that knows its characters; `configured` holds those of each opening."""

    def __init__(self, clock: FakeClock, answer: Callable[[bytes], Answer]) -> None:
        super().__init__(clock, answer=answer)
        self.characters: tuple[int, str, int] | None = None  # until they are set: the line's
        self.configured: list[tuple[int, str, int]] = []

    def configure(self, *characters: int | str) -> None:
        """Of the next opening."""
        self.characters = characters  # type: ignore[assignment]
        self.configured.append(characters)  # type: ignore[arg-type]

    def read(self, timeout_s: float) -> bytes:
        """A wait so short that fake time does not know it would be begun again for ever."""
        return super().read(max(timeout_s, FINEST_S) if timeout_s > 0 else timeout_s)

    def count(self, what: str) -> int:
        """How often it was opened, closed, written to or read."""
        return sum(one == what for one, _, _ in self.trace)
