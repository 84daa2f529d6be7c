"""Targets of the other parsers: captures that are explained, CJ/T 188, Modbus, the envelope.

The sentence is that of `targets`. The envelope's outer layers do not open for noise, so a second
target fuzzes what stands inside: bodies, which only a registered gateway or the head end can send.
"""

import json
import tomllib
from pathlib import Path

from edge.meters.modbus_rtu import RtuRead
from edge.meters.modbus_tcp import TcpRead
from protocols.cjt188.deframer import Deframer
from protocols.cjt188.dialect import (
    DI_ORDERS,
    FIRST_ENERGIES,
    HEAT,
    METER_TYPES,
    SETTLEMENT,
    UNIT_POSITIONS,
    Dialect,
)
from protocols.cjt188.exchange import read_present
from protocols.cjt188.frame import decode_frame
from protocols.cjt188.values import decode_present
from protocols.envelope.batch import decode_batch
from protocols.envelope.events import decode_events
from protocols.envelope.keys import KeySet
from protocols.envelope.seal import Context, open_sealed
from protocols.errors import (
    EnvelopeError,
    FrameError,
    RefusedError,
    ValueFormatError,
)
from protocols.messages import Ack, Config, Hello, Order, Receipt
from protocols.modbus.model import read_model
from protocols.modbus.plan import Span
from protocols.modbus.values import decode_registers
from protocols.readings import Reading
from provisioning.explain import explain, text
from tests.fuzz.target import Target
from tests.protocols.envelope.test_vectors import MESSAGES, PROVIDER, private_key
from tests.protocols.outcome import outcome
from tests.provisioning.vectors import CJT188_VECTORS, VECTORS

MODELS = [
    read_model(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    for path in sorted((Path(__file__).parents[2] / "protocols" / "meter_models").glob("*.toml"))
]
UNIT = 17
SPAN = Span(3, 100, 4)
_BODY_SIZE_MAX = 1 << 20


def check_explain(data: bytes) -> None:
    """Every byte of a capture belongs to at most one finding, and everything can be printed."""
    findings = explain(data)
    assert bool(findings) == bool(data)
    at = 0
    for finding in findings:
        assert finding.offset - finding.preamble >= at
        at = finding.offset + finding.size
        assert at <= len(data)
        assert finding.error is None or type(finding.error) is str
        json.dumps(finding.to_json())
    assert type(text(findings, len(data))) is str


def check_cjt188(data: bytes) -> None:
    """The first byte chooses the meter's dialect and how the rest is cut."""
    choice, stream = data[0] if data else 0, data[1:]
    types = sorted(METER_TYPES.values())
    meter_type = types[choice % len(types)]
    first = FIRST_ENERGIES[choice >> 3 & 1] if meter_type == HEAT else SETTLEMENT
    order, unit = DI_ORDERS[choice >> 1 & 1], UNIT_POSITIONS[choice >> 2 & 1]
    dialect = Dialect(meter_type, order, unit, first)
    whole = _frames([stream])
    step = 1 + choice % 17
    assert _frames([stream[at : at + step] for at in range(0, len(stream), step)]) == whole
    frame, reason = outcome(FrameError, decode_frame, stream)
    assert reason or whole == [frame]
    for one in whole:
        exchange = read_present(one.address if one.address.isdigit() else "0" * 14, dialect, choice)
        outcome(RefusedError, exchange.receive, one)
        found, _ = outcome(ValueFormatError, decode_present, one.data[3:], dialect)
        assert all(type(reading) is Reading for reading in found or ())
    outcome(ValueFormatError, decode_present, stream, dialect)


def _frames(pieces: list[bytes]) -> list[object]:
    deframer = Deframer()
    frames: list[object] = []
    for piece in pieces:
        frames += deframer.feed(piece)
        assert deframer.pending < 300
    frames += deframer.flush()
    assert deframer.pending == 0
    return frames


def check_modbus(data: bytes) -> None:
    """The first byte says whether RTU or TCP hears the rest, and how it is cut."""
    choice, stream = data[0] if data else 0, data[1:]
    read = TcpRead(UNIT, SPAN, 5) if choice & 1 else RtuRead(UNIT, SPAN)
    step = 1 + choice % 23
    for at in range(0, len(stream), step):
        done, reason = outcome(RefusedError, read.receive, stream[at : at + step])
        if done:
            words = read.read.words
            assert len(words) == SPAN.count
            assert all(0 <= word <= 0xFFFF for word in words.values())
        if done or reason:
            return
        assert len(read._buffer) <= 1024
    assert not read.flush()


def check_modbus_values(data: bytes) -> None:
    """Any words give readings of the model, or none; any PDU answers a write, or is refused."""
    model = MODELS[data[0] % len(MODELS)] if data else MODELS[0]
    words = {}
    for number, register in enumerate(model.registers):
        for at in range(register.words):
            place = 1 + 2 * (number + at)
            word = int.from_bytes(data[place : place + 2], "big")
            words[register.function << 16 | register.address + at] = word
            words[register.address + at] = word
    for reading in decode_registers(model, model.registers, words):
        assert type(reading) is Reading
        assert abs(reading.quantity.value) < 1 << 62


def check_envelope(data: bytes) -> None:
    """A message is opened or refused under one word, by whoever it may be for."""
    vector = MESSAGES[data[0] % len(MESSAGES)] if data else MESSAGES[0]
    signer, recipient = private_key(vector["signer"]), private_key(vector["recipient"])
    opened, reason = outcome(
        EnvelopeError,
        open_sealed,
        PROVIDER,
        {recipient.record.kid: recipient},
        KeySet((signer.record,)),
        vector["use"],
        vector["now"],
        Context(**vector["context"]),
        data[1:],
    )
    assert opened is None or data[1:] == bytes.fromhex(vector["message"])
    assert opened is not None or reason


def check_bodies(data: bytes) -> None:
    """What a registered sender may put inside: inflated, decoded, and judged by its schema."""
    body, _ = outcome(EnvelopeError, PROVIDER.inflate, data, _BODY_SIZE_MAX)
    for one in (data, body or b""):
        value, reason = outcome(EnvelopeError, PROVIDER.decode, one)
        if reason:
            continue
        outcome(EnvelopeError, decode_batch, value)
        outcome(EnvelopeError, decode_events, value)
        for message in (Hello, Ack, Order, Receipt, Config):
            outcome(EnvelopeError, message.from_body, value)


_RTU = RtuRead(UNIT, SPAN)
_TCP = TcpRead(UNIT, SPAN, 5)
_RTU_REPLY = bytes.fromhex("110308000100020003000422 2C".replace(" ", ""))

PACKAGES: dict[str, Target] = {
    "explain": Target(
        check_explain,
        [bytes.fromhex(one["hex"]) for one in VECTORS + CJT188_VECTORS],
    ),
    "cjt188": Target(
        check_cjt188,
        [bytes((n % 8,)) + bytes.fromhex(one["hex"]) for n, one in enumerate(CJT188_VECTORS)],
    ),
    "modbus": Target(
        check_modbus,
        [b"\x00" + _RTU_REPLY, b"\x00" + _RTU.request + _RTU_REPLY, b"\x00\x11\x83\x02\xc1\x34",
         b"\x01" + _TCP.request[:4] + bytes.fromhex("000b1103080001000200030004"),
         b"\x01" + _TCP.request[:4] + bytes.fromhex("0003118302")],
    ),
    "modbus_values": Target(
        check_modbus_values,
        [bytes((n,)) + bytes(range(256)) * 2 for n in range(len(MODELS))],
    ),
    "envelope": Target(
        check_envelope,
        [bytes((n,)) + bytes.fromhex(one["message"]) for n, one in enumerate(MESSAGES)],
    ),
    "bodies": Target(check_bodies, [bytes.fromhex(one["body"]) for one in MESSAGES]),
}  # fmt: skip
