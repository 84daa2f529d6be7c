"""Decoding against the one decoder that the field can install, and the size of a sealed reading."""

import random
import statistics
import struct
import time
from collections.abc import Callable, Iterator

import dlt645
from dlt645.protocol.protocol import DLT645Protocol

from protocols.bcd import encode_bcd
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import PREAMBLE_SIZE, REPLY_BIT, Frame, address_bytes
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.requests import read_request
from protocols.dlt645.values import decode_reply
from protocols.envelope.batch import encode_batch
from tests.bench.keys import make_bench
from tests.bench.sets import numbered, reading_sets

SEED = 645
ROUNDS = 61
FRAMES = 100  # of each identifier; a round stays in the processor's cache, as what just came in is
ADDRESS = "123456789012"
# Forward active energy, voltage A, current A, active power: identifier, bytes, highest value. The
# other library takes the top bit of every item for a sign, so none goes beyond 79… here.
EVERYDAY = (
    ("00010000", 4, 79_999_999),
    ("02010100", 2, 7_999),
    ("02020100", 3, 799_999),
    ("02030000", 3, 799_999),
)


def measure_decode() -> Iterator[tuple[str, float, str]]:
    """Frames of the everyday identifiers, bytes to value, each library turn by turn.

    No value comes twice in a round and no round repeats another, so nothing can be remembered but
    what replies have in common.
    """
    dlt645.disable_logging()
    client = dlt645.MeterClientService.new_tcp_client("127.0.0.1", 1, 0.1)
    assert client.set_address(address_bytes(ADDRESS).hex())

    def theirs(wires: list[bytes]) -> None:
        for wire in wires:
            assert client.handle_response(DLT645Protocol.deserialize(wire))

    def ours(wires: list[bytes]) -> None:
        for wire in wires:
            assert decode_reply(wire)

    source = random.Random(SEED)
    ratios = []
    for number in range(ROUNDS):
        wires = _replies(source)
        for wire in wires[: 2 * len(EVERYDAY)]:
            item = client.handle_response(DLT645Protocol.deserialize(wire))
            _, _, (reading,) = decode_reply(wire)
            assert float(reading.quantity.shown()[0]) == item.value
        # Who goes first changes, so that a machine that gets busier favours neither.
        pair = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {work: _seconds(work, wires) for work in pair}
        ratios.append(seconds[theirs] / seconds[ours])
    yield "decode_speed_over_dlt645", statistics.median(ratios), "ratio"


def measure_encode() -> Iterator[tuple[str, float, str]]:
    """Read requests, meter and identifier to bytes, each library turn by turn.

    A gateway asks its meters for their identifiers over and over: every pair of a round comes once,
    and ours checks the address, which theirs leaves to its caller.
    """
    identifiers = [f"0{table}{item:02X}{tariff:02X}00" for table in (0, 1) for item in range(1, 9)
                   for tariff in range(4)]  # fmt: skip
    meters = [f"{number:012d}" for number in range(1, 33)]
    asked = [(meter, identifier_bytes(di)) for meter in meters for di in identifiers]
    packed = [(address_bytes(meter), int.from_bytes(di, "little")) for meter, di in asked]

    def theirs(_: list[bytes]) -> None:
        for address, di in packed:
            assert DLT645Protocol.build_frame(address, Function.READ, struct.pack("<I", di))

    def ours(_: list[bytes]) -> None:
        for address, di in asked:
            assert read_request(address, di)

    for (meter, di), (address, number) in zip(asked, packed, strict=True):
        wire = DLT645Protocol.build_frame(address, Function.READ, struct.pack("<I", number))
        assert read_request(meter, di) == bytes(wire)
    ratios = []
    for number in range(ROUNDS):
        pair = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {work: _seconds(work, []) for work in pair}
        ratios.append(seconds[theirs] / seconds[ours])
    yield "encode_speed_over_dlt645", statistics.median(ratios), "ratio"


def measure_envelope() -> Iterator[tuple[str, float, str]]:
    """Sealed bytes per reading of full batches of 500 readings."""
    bench = make_bench()
    for meters, polls in ((10, 5), (50, 1)):
        rows = numbered(reading_sets(meters, polls))
        message = bench.seal(1, encode_batch(rows, rows[-1][0]))
        readings = sum(len(one.readings) for _, one in rows)
        yield f"sealed_bytes_per_reading_{meters}x{polls}", len(message) / readings, "B"


def _replies(source: random.Random) -> list[bytes]:
    """One round: the identifiers take turns, each time with another value."""
    columns = [
        [
            Frame(
                ADDRESS, Function.READ | REPLY_BIT, identifier_bytes(di) + encode_bcd(value, size)
            ).to_bytes(PREAMBLE_SIZE)
            for value in source.sample(range(1, highest + 1), FRAMES)
        ]
        for di, size, highest in EVERYDAY
    ]
    return [wire for row in zip(*columns, strict=True) for wire in row]


def _seconds(work: Callable[[list[bytes]], None], wires: list[bytes]) -> float:
    started = time.process_time()
    work(wires)
    return time.process_time() - started
