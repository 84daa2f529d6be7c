"""Faults of portability, planted: each runs on CPython, and fails on MicroPython.

Which gate catches which is a claim, and each claim is a test:

* `PLANTED`: the walk over the syntax tree (portability.py), `kind: (source, what it must say)`.
* `HIDDEN`: the tree does not show them, their types do (test_stubs.py), `kind: (source, mypy's
  words)`.
* `SILENT`: neither does; the runtime computes something else, or fails, only when it gets there.
* `ON_A_BOARD`: the same, where words and floats have 32 bits; no desktop build shows it.

They themselves run on every runtime, so that no ban here is hearsay.
"""

PLANTED = {
    "import": ("import dataclasses", "imports dataclasses"),
    "import from": ("from typing import Any", "imports typing.Any"),
    "import future": ("from __future__ import annotations", "imports __future__.annotations"),
    "import of a missing part": ("from collections import Counter", "imports collections.Counter"),
    "slice with a step": ("b'abcd'[::-1]", "slice with a step"),
    "deletion of a slice": ("x = bytearray(4)\ndel x[:2]", "deletion of a slice"),
    "deletion from a bytearray": ("x = bytearray(4)\ndel x[0]", "deletion from a bytearray"),
    "bytearray method": ("x = bytearray(4)\nx.pop()", "bytearray has no .pop"),
    "bytearray extended by a tuple": (
        "x = bytearray(4)\nx.extend((1, 2))",
        "bytearray.extend() takes bytes only",
    ),
    "match": ("match 1:\n    case 1:\n        pass", "match statement"),
    "except*": ("try:\n    pass\nexcept* ValueError:\n    pass", "except*"),
    "asynchronous comprehension": (
        "async def f(items):\n    return [item async for item in items]",
        "asynchronous comprehension",
    ),
    "several bases": ("class E(ValueError, KeyError):\n    pass", "class E has several bases"),
    "metaclass": ("class A(metaclass=type):\n    pass", "class A has the keyword metaclass"),
    "hook": (
        (
            "class A:\n    seen = 0\n    def __init_subclass__(cls):\n        cls.seen = 1\n"
            "class B(A):\n    pass\nassert B.seen"
        ),
        "__init_subclass__ is never called",
    ),
    "positional-only": ("def f(a, /):\n    pass", "positional-only parameters"),
    "missing method": ("(5).bit_length()", "there is no .bit_length"),
    "missing text method": ("'5'.zfill(3)", "there is no .zfill"),
    "missing hash method": (
        "import hashlib\nhashlib.sha256(b'').hexdigest()",
        "there is no .hexdigest",
    ),
    "missing namedtuple method": (
        "from collections import namedtuple\nnamedtuple('A', 'x')(1)._replace(x=2)",
        "there is no ._replace",
    ),
    "missing attribute": ("ValueError().__cause__", "there is no .__cause__"),
    "missing module attribute": ("import struct\nstruct.error", "there is no struct.error"),
    "missing name": ("TimeoutError", "there is no TimeoutError"),
    "keyword to from_bytes": (
        "int.from_bytes(b'a', byteorder='big')",
        "from_bytes() takes no keyword byteorder",
    ),
    "keyword to zip": ("zip([], [], strict=True)", "zip() takes no keyword strict"),
    "keyword to dumps": (
        "import json\njson.dumps({}, indent=1)",
        "dumps() takes no keyword indent",
    ),
    "native struct format": (
        "import struct\nstruct.pack('?', True)",
        "struct format '?': a byte order first, no blank and no '?'",
    ),
    "codec": (
        "b'\\xff'.decode('latin-1')",
        "decode() knows ASCII and UTF-8 only, and no error handling",
    ),
    "deque without length": (
        "from collections import deque\ndeque()",
        "deque() needs an iterable and a length",
    ),
    "type alias": ("X = dict[str, int]", "dict[…] is evaluated"),
    "union alias": ("X = int | None", "a union of types is evaluated"),
    "unpacking in a list": ("x = [1]\ny = [*x]", "unpacking inside a display"),
    "unpacking in a return": ("def f(*x):\n    return 1, *x", "unpacking inside a display"),
    "unpacking in a dictionary": ("x = {}\ny = {**x}", "unpacking inside a display"),
    "parenthesised with": (
        (
            "class C:\n    def __enter__(self):\n        pass\n    def __exit__(self, *error):\n"
            "        pass\nwith (C() as a, C() as b):\n    pass"
        ),
        "with and parentheses",
    ),
}

# Banned for the boards in the field: release 1.25, which Debian's source is, fails on them, and the
# newer release behind the WebAssembly runtime does not.
FAILS_ON_1_25 = {"bytearray extended by a tuple"}

HIDDEN = {
    "bytearray method behind a function": (
        "def f() -> bytearray:\n    return bytearray(4)\nf().pop()",
        '"bytearray" has no attribute "pop"',
    ),
    "bytearray method of a parameter's part": (
        "def f(parts: 'list[bytearray]') -> None:\n    parts[0].insert(0, 1)\nf([bytearray(4)])",
        '"bytearray" has no attribute "insert"',
    ),
    "text method off the list": ("'A'.istitle()", '"str" has no attribute "istitle"'),
    "deque method": (
        "from collections import deque\nx: 'deque[int]' = deque((), 3)\nx.rotate(1)",
        '"deque[int]" has no attribute "rotate"',
    ),
    "OrderedDict method": (
        "from collections import OrderedDict\nx = OrderedDict([(1, 2)])\nx.move_to_end(1)",
        'has no attribute "move_to_end"',
    ),
}

# What the stubs let pass: types say nothing of values, and the grammar is CPython's.
SILENT = {
    "struct wraps a byte": "import struct\nREFUSED(lambda: struct.pack('>B', 300))",
    "struct wraps a negative number": "import struct\nREFUSED(lambda: struct.pack('>H', -1))",
    "struct takes a buffer that is too long": (
        "import struct\nREFUSED(lambda: struct.unpack('>H', b'abc'))"
    ),
    "bytearray wraps": "x = bytearray(1)\ndef f():\n    x[0] = 300\nREFUSED(f)",
    "to_bytes wraps a negative number": "REFUSED(lambda: (-1).to_bytes(2, 'big'))",
    "true is no integer": "assert isinstance(True, int)",
    "a dictionary forgets its order": (
        "names = ['n%d' % n for n in range(40)]\nassert list({n: 1 for n in names}) == names"
    ),
    "slots are not enforced": (
        "class A:\n    __slots__ = ()\nREFUSED(lambda: setattr(A(), 'x', 1))"
    ),
    "range has no methods": "range(3).count(1)",
    "a repetition in a pattern": "import re\nassert re.match('a{2}$', 'aa')",
}
ON_A_BOARD = {
    "a float of 32 bits": "assert str(12345678 / 100) == '123456.78'",
    "an integer lost in a float": "assert int(float(16777217)) == 16777217",
}
REFUSED = """
def REFUSED(action):
    try:
        action()
    except Exception:
        return
    assert False, "taken"
"""

CLEAN = '''
"""Clean: what the portable code may use."""

import hashlib
import struct
from collections import deque, namedtuple

from protocols.errors import CallerError

LIMIT: int = 5
NAMES: dict[int, str] = {1: "one"}


class Pair(namedtuple("Pair", ("left", "right"))):
    """Two numbers."""

    @classmethod
    def from_bytes(cls, data: bytes) -> "Pair":
        """Undo to_bytes."""
        left, right = struct.unpack_from(">HH", data, 0)
        return cls(left=left, right=right)

    def to_bytes(self) -> bytes:
        """Four bytes."""
        return self.left.to_bytes(2, "big") + self.right.to_bytes(2, "big")


class BadError(ValueError):
    """One base."""


def work(data: "bytes | None", *, limit: int | None = None) -> dict[str, int]:
    """Uses the permitted constructions."""
    buffer = bytearray(data or b"")
    buffer[:1] = b""
    queue = deque((), 4)
    first, *rest = [3, 4, 5]
    queue.append(first)
    stack = [1]
    stack.pop()
    table = {1: 2}
    del table[1]
    if (size := len(buffer)) > (limit or LIMIT):
        raise BadError(f"{size:02d} {rest!r}") from None
    with_hash = hashlib.sha256(bytes(reversed(buffer))).digest().hex(" ")
    return {"n": len(with_hash.split(" ", 1)), "flags": 1 | 2}


assert Pair.from_bytes(Pair(1, 2).to_bytes()) == Pair(1, 2)
assert work(b"abc") == {"n": 2, "flags": 3}
assert CallerError
'''
