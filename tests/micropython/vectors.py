"""Decode a DL/T 645 vector and print what came out, as JSON. Runs on every interpreter.

`report(name, wire)` is called by test_on_micropython.py, once for each vector.
"""

import json

from protocols.dlt645.controls import Function, error_names, function_name
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import read
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_text
from protocols.dlt645.values import decode_items, decode_reply
from protocols.errors import BusbarError, FrameError

IDENTIFIER_SIZES = {Function.READ: 4, Function.READ_1997: 2}
PIECES = (1, 7, 1000)  # bytes fed at once


def frame_row(frame: Frame) -> list:
    """A frame as JSON can hold it."""
    return [frame.address, frame.control, frame.data.hex()]


def alone(data: bytes) -> dict:
    """What the bytes are when they must be exactly one frame."""
    try:
        frame = decode_frame(data)
    except FrameError as error:
        return {"fault": error.reason}
    row: dict = {"frame": frame_row(frame), "function": function_name(frame.control)}
    row["wire"] = frame.to_bytes().hex()
    if frame.is_abnormal and frame.data:
        row["errors"] = list(error_names(frame.data[0]))
    size = IDENTIFIER_SIZES.get(frame.function, 0)
    if frame.is_reply and size and not frame.is_abnormal:
        row["values"] = values(frame, size)
        if len(frame.data) >= size and frame.function == Function.READ:
            row["exchange"] = exchange(frame)
    row["short"] = short(data)
    return row


def short(data: bytes) -> "list | None":
    """What the short way of everyday replies says, twice: it learns a head at the first sight."""
    replies = []
    for reply in (decode_reply(data), decode_reply(data)):
        if reply is None:
            replies.append(None)
        else:
            rows = [[one.obis.text(), list(one.quantity)] for one in reply[2]]
            replies.append([reply[0], reply[1].hex(), rows])
    return replies


def values(frame: Frame, di_size: int) -> list:
    """[name, quantity, the text that a person sees] of a read reply's items, or why none."""
    try:
        decoded = decode_items(frame.data, di_size)
    except BusbarError as error:
        return [type(error).__name__, str(error)]
    rows: list = []
    for item, quantity in decoded:
        if quantity is None:
            rows.append([item.name, None, None])
        else:
            rows.append([item.name, list(quantity), str(quantity.shown()[0])])
    return rows


def exchange(frame: Frame) -> list:
    """What the question that fits this reply makes of it."""
    asked = read(frame.address, identifier_text(frame.data))
    return [asked.receive(frame), asked.strays, asked.data().hex(), frame_row(asked.request)]


def streamed(data: bytes, size: int) -> list:
    """The frames of a stream that arrives in pieces, and what belonged to none."""
    deframer = Deframer()
    frames = []
    for at in range(0, len(data), size):
        frames += deframer.feed(data[at : at + size])
    pending = deframer.pending
    frames += deframer.flush()
    return [[frame_row(frame) for frame in frames], deframer.discarded, pending]


def report(name: str, wire: str) -> None:
    """One line for one vector: its id and the results."""
    data = bytes.fromhex(wire)
    row = alone(data)
    row["id"] = name
    row["stream"] = [streamed(data, size) for size in PIECES]
    print(json.dumps(row))
