"""`busbar-provision explain`: what a capture of a line says, frame by frame.

* Any bytes give findings; what can not be understood is said so, nothing raises.
* `ok` is about the framing. A good frame with a content that does not fit keeps `ok` and has an
  `error` ("length", "value") and no readings.
* Bytes between frames that look like no frame are noise and give no finding; their number is told
  to a person. Without a single frame one finding says what is wrong.
* Exit code: 0 when at least one frame was recognised, damaged ones included, for they were
  explained; 1 when none was; 2 when the input is no capture.
"""

import json
import sys
from collections.abc import Sequence

from protocols.errors import SettingError
from protocols.quantity import Kind
from protocols.readings import Reading
from provisioning import dlt645_frames, modbus_frames
from provisioning.capture import NOISE, TEXT_SIZE_MAX, parse_hex, preamble_before, split
from provisioning.dlt645_replies import Parts
from provisioning.finding import MODBUS_RTU, REQUEST, Finding
from provisioning.modbus_frames import ModbusFrame

STANDARD_INPUT = "-"
RECOGNISED = 0
NOT_RECOGNISED = 1
_TITLES = {"dlt645-2007": "DL/T 645-2007", "dlt645-1997": "DL/T 645-1997", MODBUS_RTU: "Modbus RTU"}


def explain(data: bytes) -> list[Finding]:
    """What the frames of a capture say, in their order; at least one for at least one byte."""
    findings: list[Finding] = []
    parts = Parts()
    asked: ModbusFrame | None = None
    floor = 0
    for piece in split(data) if data else ():
        finding = Finding(piece.offset, piece.size, ok=not piece.fault, error=piece.fault or None)
        finding.preamble = preamble_before(data, piece.offset, floor)
        floor = piece.offset + piece.size
        frame = piece.frame
        if isinstance(frame, ModbusFrame):
            _explain_modbus(frame, finding, asked)
            asked = frame if finding.ok and frame.direction == REQUEST else None
        elif piece.fault == NOISE:
            finding.meaning = "no frame of DL/T 645 or Modbus RTU"
        elif piece.fault or frame is None:
            dlt645_frames.explain_damaged(frame, piece.fault, finding)
        else:
            dlt645_frames.explain(frame, finding, parts)
        findings.append(finding)
    return findings


def text(findings: Sequence[Finding], size: int) -> str:
    """The findings of a capture of `size` bytes, for a person; passwords are shown as **."""
    blocks = [_block(number, finding) for number, finding in enumerate(findings, 1)]
    told = sum(finding.size + finding.preamble for finding in findings)
    if is_recognised(findings):
        count = len(findings)
        last = f"{count} frame{'s' if count > 1 else ''}"
        if size > told:
            last += f", and {size - told} bytes that belong to none"
        blocks.append(last)
    return "\n\n".join(blocks)


def is_recognised(findings: Sequence[Finding]) -> bool:
    """Whether there is a frame among them, good or damaged."""
    return any(finding.error != NOISE for finding in findings)


def run(arguments: Sequence[str], *, as_json: bool) -> int:
    """The exit code; SettingError when the arguments are no capture."""
    data = parse_hex(_gather(arguments))
    findings = explain(data)
    if as_json:
        rows = [finding.to_json() for finding in findings]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print(text(findings, len(data)))
    return RECOGNISED if is_recognised(findings) else NOT_RECOGNISED


def _gather(arguments: Sequence[str]) -> str:
    """All arguments as one text; `-` stands for what comes on standard input."""
    parts = []
    for argument in arguments:
        if argument != STANDARD_INPUT:
            parts.append(argument)
            continue
        try:
            parts.append(sys.stdin.read(TEXT_SIZE_MAX + 1))
        except UnicodeDecodeError as error:
            raise SettingError("standard input is not text: give the capture in hex") from error
    return " ".join(parts)


def _explain_modbus(frame: ModbusFrame, finding: Finding, asked: ModbusFrame | None) -> None:
    modbus_frames.explain(frame, finding, asked)
    if not finding.ok:
        finding.meaning = "the CRC does not fit: some byte is damaged"


def _block(number: int, finding: Finding) -> str:
    lines = [f"{number}. {_header(finding)}"]
    if not finding.ok:
        lines.append(f"DAMAGED ({finding.error}): {finding.meaning}")
    elif finding.error:
        lines.append(f"CONTENT REFUSED ({finding.error}): {finding.meaning}")
    else:
        lines.append(finding.meaning)
    for reading in finding.readings:
        row = reading.described()
        unit = f" {row['unit']}" if row["unit"] not in ("", "1") else ""
        bits = _bits(reading) if reading.quantity.kind == Kind.STATUS else ""
        lines.append(f"{row['name']}: {row['value']}{unit}{bits}  [{row['obis']}]")
    lines += [f"{obis.name()}: no value  [{obis.text()}]" for obis in finding.no_value]
    shown = finding.shown_data()
    if shown:
        lines.append(f"data: {shown}")
    return "\n   ".join(lines)


def _bits(reading: Reading) -> str:
    value: int = reading.quantity.value
    found = [str(bit) for bit in range(value.bit_length()) if value >> bit & 1]
    return f" (bits set: {', '.join(found) or 'none'})"


def _header(finding: Finding) -> str:
    where = f"byte {finding.offset}, {finding.size} long"
    if finding.protocol is None:
        return f"unknown ({where})"
    words = [_TITLES[finding.protocol]]
    if finding.direction:
        of = "unit" if finding.protocol == MODBUS_RTU else "meter"
        link = "to" if finding.direction == REQUEST else "from"
        words.append(f"{finding.direction} {link} {of} {finding.address}")
    if finding.control is not None:
        words.append(f"{finding.control:02X} {finding.function}")
    return f"{', '.join(words)} ({where})"
