"""What a fuzz target is."""

from collections.abc import Callable
from typing import NamedTuple


class Target(NamedTuple):
    """`check(data)` raises when the sentence is broken; `seeds` are inputs that reach deep."""

    check: Callable[[bytes], None]
    seeds: list[bytes]
