"""`busbar-provision explain`: what a capture of a line says, frame by frame.

* Any bytes give findings; what can not be understood is said so, nothing raises.
* `ok` is about the framing. A good frame with a content that does not fit keeps `ok` and has an
  `error` ("length", "value") and no readings.
* Bytes between frames that look like no frame are noise and give no finding; their number is told
  to a person. Without a single frame one finding says what is wrong.
* Exit code: 0 when at least one frame was recognised, damaged ones included, for they were
  explained; 1 when none was; 2 when the input is no capture.
* No password is told, neither to a person nor to a program: each of its bytes is ••.
"""

import json
import sys
from collections.abc import Sequence

from protocols.cjt188.frame import Frame as Cjt188Frame
from protocols.errors import SettingError
from provisioning import cjt188_frames, dlt645_frames, modbus_frames
from provisioning.capture import NOISE, TEXT_SIZE_MAX, parse_hex, preamble_before, split
from provisioning.dlt645_parts import Parts
from provisioning.finding import (
    CJT188,
    DLT645_1997,
    DLT645_2007,
    MODBUS_RTU,
    REQUEST,
    Finding,
    Value,
)
from provisioning.modbus_frames import ModbusFrame

STANDARD_INPUT = "-"
RECOGNISED = 0
NOT_RECOGNISED = 1
_TITLES = {
    DLT645_2007: "DL/T 645-2007",
    DLT645_1997: "DL/T 645-1997",
    CJT188: "CJ/T 188",
    MODBUS_RTU: "Modbus RTU",
}


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
            finding.meaning = "no frame of DL/T 645, CJ/T 188 or Modbus RTU"
        elif isinstance(frame, Cjt188Frame):
            _explain_cjt188(frame, piece.fault, finding)
        elif piece.fault or frame is None:
            dlt645_frames.explain_damaged(frame, piece.fault, finding, parts)
        else:
            dlt645_frames.explain(frame, finding, parts)
        findings.append(finding)
    return findings


def text(findings: Sequence[Finding], size: int) -> str:
    """The findings of a capture of `size` bytes, for a person."""
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
        _print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(text(findings, len(data)))
    return RECOGNISED if is_recognised(findings) else NOT_RECOGNISED


def _print(words: str) -> None:
    """On a terminal that has no bullet a mask becomes ??."""
    encoding = sys.stdout.encoding or "utf-8"
    print(words.encode(encoding, "replace").decode(encoding))


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


def _explain_cjt188(frame: Cjt188Frame, fault: str, finding: Finding) -> None:
    if fault:
        cjt188_frames.explain_header(frame, finding)
        finding.meaning = dlt645_frames.FAULTS[fault]
    else:
        cjt188_frames.explain(frame, finding)


def _block(number: int, finding: Finding) -> str:
    lines = [f"{number}. {_header(finding)}"]
    if not finding.ok:
        lines.append(f"DAMAGED ({finding.error}): {finding.meaning}")
    elif finding.error:
        lines.append(f"CONTENT REFUSED ({finding.error}): {finding.meaning}")
    else:
        lines.append(finding.meaning)
    lines += [line for value in finding.values for line in _value_lines(value)]
    for record in finding.records:
        lines.append(f"record of {record.time or 'no stated time'}: {record.fault or 'good'}")
        lines += [f"  {line}" for value in record.values for line in _value_lines(value)]
    if finding.ok and finding.data:
        lines.append(f"data: {' '.join(finding.shown_bytes())}")
    return "\n   ".join(lines)


def _value_lines(value: Value) -> list[str]:
    return [
        f"{value.name}: {value.shown}  [{value.obis.text()}]",
        *(f"  {word}" for word in value.words),
    ]


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
