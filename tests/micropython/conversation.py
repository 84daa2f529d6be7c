"""A DL/T 645 master and a slave talk over a bad line. Runs on every interpreter.

The slave answers from a table of recorded frames and encodes nothing, so it cannot share a mistake
with our decoder. The line cuts both directions at seeded places, puts noise in front of a reply,
and lets a late answer to somebody else's question through first.

`talk(...)` is called by test_on_micropython.py, once for each recorded exchange.
"""

import json

from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import DONE, read
from protocols.dlt645.frame import PREAMBLE_SIZE, START
from protocols.dlt645.values import decode_items
from protocols.errors import RefusedError

TURNS_MAX = 8
CUT_SIZE_MAX = 9
NOISE_SIZE_MAX = 5


class Line:
    """Cuts and noise that follow from the seed alone, the same on every interpreter."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 16) % limit

    def cut(self, data: bytes) -> list:
        """The same bytes in pieces."""
        pieces = []
        while data:
            size = 1 + self.below(CUT_SIZE_MAX)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def noise(self) -> bytes:
        """A few bytes, now and then with a false start among them."""
        noise = [self.below(256) for _ in range(self.below(NOISE_SIZE_MAX + 1))]
        if self.below(4) == 0:
            noise.append(START)
        return bytes(noise)


class Slave:
    """Answers each request frame of its table, and is silent at any other."""

    def __init__(self, table: dict) -> None:
        self._table = table  # request without preamble -> reply as on the line, both hex
        self._ears = Deframer()

    def hear(self, data: bytes) -> list:
        """The replies to the requests that `data` completes."""
        known = [self._table.get(frame.to_bytes().hex()) for frame in self._ears.feed(data)]
        return [bytes.fromhex(reply) for reply in known if reply is not None]


def talk(name: str, seed: int, address: str, di: str, table: dict, late: str) -> None:
    """Ask one question until it is answered; one line of JSON says how it went."""
    line = Line(seed)
    slave = Slave(table)
    ears = Deframer()
    asked = read(address, di)
    row: dict = {"id": name, "sent": [], "values": [], "refused": None}
    before = bytes.fromhex(late)
    for _ in range(TURNS_MAX):
        request = asked.request.to_bytes(PREAMBLE_SIZE)
        row["sent"].append(request.hex())
        heard = []
        for piece in line.cut(request):
            for reply in slave.hear(piece):
                for part in line.cut(before + line.noise() + reply):
                    heard += ears.feed(part)
                before = b""
        heard += ears.flush()
        try:
            for frame in heard:
                asked.receive(frame)
        except RefusedError as error:
            row["refused"] = [type(error).__name__, error.code]
            break
        if asked.state == DONE or not heard:
            break
    if asked.state == DONE:
        for item, quantity in decode_items(asked.data()):
            shown = None if quantity is None else str(quantity.shown()[0])
            row["values"].append([item.name, None, shown])
    row["state"] = asked.state
    row["strays"] = asked.strays
    print(json.dumps(row))
