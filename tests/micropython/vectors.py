"""Decode every DL/T 645 vector, one JSON line each. Runs on MicroPython and on CPython alike.

usage: vectors.py, with `protocols/` and `dlt645.json` in the working directory
"""

import json

from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import Exchange, identifier_text
from protocols.dlt645.frame import Frame, Function, decode_frame, error_names, function_name
from protocols.dlt645.values import decode_reply, decode_values
from protocols.errors import BusbarError, FrameError

IDENTIFIER_SIZE = 4
PIECES = (1, 7)  # bytes fed at once, besides all


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
    if frame.is_reply and frame.function == Function.READ and not frame.is_abnormal:
        row["values"] = values(frame)
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


def values(frame: Frame) -> list:
    """The items of a read reply, or why there are none."""
    try:
        decoded = decode_values(frame.data)
    except BusbarError as error:
        return [type(error).__name__, str(error)]
    return [[obis.text(), list(quantity) if quantity else None] for obis, quantity in decoded]


def exchange(frame: Frame) -> "list | None":
    """What the question that fits this reply makes of it."""
    if len(frame.data) < IDENTIFIER_SIZE:
        return None
    asked = Exchange(frame.address, Function.READ, identifier_text(frame.data))
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


def main() -> None:
    """One line for each vector: its id and the results."""
    with open("dlt645.json") as file:
        vectors = json.loads(file.read())["vectors"]
    for vector in vectors:
        data = bytes.fromhex(vector["hex"])
        row = alone(data)
        row["id"] = vector["id"]
        row["stream"] = [streamed(data, size) for size in PIECES + (len(data),)]
        print(json.dumps(row))


main()
