"""protocols/cjt188/deframer.py: bytes in, frames out, over every kind of bad line."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cjt188 import deframer as module
from protocols.cjt188.deframer import Deframer
from protocols.cjt188.frame import FRAME_SIZE_MAX, Frame
from tests.protocols.cjt188.vectors import CLEAN, REJECTED, content, names, wire

SEED = 20261121
FRAME = Frame(0x10, "78330011223344", 0x81, bytes.fromhex("901F00"))
LONG = Frame(0x68, "68166816681668", 0x81, b"\x68\x16\xfe" * 85)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at these positions."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def fed(pieces: list[bytes], final: bool = True) -> tuple[list[Frame], int, int]:
    """(frames, discarded, pending) after these pieces, and a flush if `final`."""
    deframer = Deframer()
    frames = [frame for piece in pieces for frame in deframer.feed(piece)]
    if final:
        frames += deframer.flush()
    return frames, deframer.discarded, deframer.pending


def scanned(data: bytes) -> tuple[list[tuple[int, str, int, bytes]], int]:
    """(frames, bytes that belong to none, FE left out): the rule, written once more and slowly."""
    found, lost, at = [], 0, 0
    while at < len(data):
        head = data[at : at + 11]
        stop = at + 13 + head[10] if len(head) == 11 else len(data) + 1
        if (
            stop <= len(data)
            and head[0] == 0x68
            and data[stop - 1] == 0x16
            and data[stop - 2] == sum(data[at : stop - 2]) % 256
        ):
            address = bytes(reversed(head[2:9])).hex().upper()
            found.append((head[1], address, head[9], data[at + 11 : stop - 2]))
            at = stop
        else:
            lost += data[at] != 0xFE
            at += 1
    return found, lost


def line_pieces() -> st.SearchStrategy[bytes]:
    """What stands on a bad line: whole and cut frames, start bytes, FE runs, noise."""
    frames = st.builds(
        Frame,
        st.sampled_from((0x10, 0x20, 0x68)),
        st.sampled_from(("78330011223344", "68166816681668", "AAAAAAAAAAAAAA")),
        st.sampled_from((0x81, 0x01, 0xC1)),
        st.binary(max_size=12) | st.just(b"\x68" * 6),
    ).map(Frame.to_bytes)
    cut = st.tuples(frames, st.integers(0, 24)).map(lambda one: one[0][: one[1]])
    marks = st.sampled_from((b"\x68", b"\x16", b"\xfe", b"\xfe\xfe\xfe\xfe", b"\x68" * 11))
    return st.lists(frames | cut | marks | st.binary(max_size=9), max_size=8).map(b"".join)


HOSTILE = line_pieces()


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_vector_in_pieces_is_the_vector_whole(vector: dict[str, Any]) -> None:
    """At once with its last byte, split at every position, and byte by byte."""
    data = wire(vector["id"])
    for cut in range(len(data) + 1):
        assert fed([data[:cut], data[cut:]], final=False) == ([content(vector)], 0, 0)
    deframer = Deframer()
    given = [deframer.feed(bytes((byte,))) for byte in data]
    assert given == [[]] * (len(data) - 1) + [[content(vector)]]


@pytest.mark.parametrize("seed", range(4))
def test_all_vectors_with_noise_around_them(seed: int) -> None:
    """Noise before, between and after costs no frame; each of its bytes is counted."""
    source = random.Random(SEED + seed)
    parts, expected, lost = [], [], 0
    for vector in source.sample(CLEAN, len(CLEAN)):
        dirt = bytes(b for b in source.randbytes(source.randrange(30)) if b not in (0x68, 0xFE))
        parts += [dirt, b"\xfe" * source.randrange(5), wire(vector["id"])]
        expected.append(content(vector))
        lost += len(dirt)
    data = b"".join(parts)
    cuts = [source.randrange(len(data)) for _ in range(200)]
    print("seed", SEED + seed)
    assert fed([data], final=False) == (expected, lost, 0)
    assert fed(in_pieces(data, cuts), final=False) == (expected, lost, 0)


@pytest.mark.parametrize("vector", REJECTED, ids=names(REJECTED))
def test_a_broken_vector_gives_no_frame_and_hides_none(vector: dict[str, Any]) -> None:
    """The frame behind it comes out."""
    data = wire(vector["id"])
    assert fed([data]) == ([], len(data), 0)
    assert fed([data + FRAME.to_bytes(4)]) == ([FRAME], len(data), 0)


@given(HOSTILE, st.lists(st.integers(0), max_size=6))
def test_any_bytes_cut_anywhere_give_the_same_frames(data: bytes, cuts: list[int]) -> None:
    """Any bytes give frames or are discarded; fed whole or in pieces, the result is the same."""
    whole = fed([data])
    assert whole == (*scanned(data), 0)
    assert fed(in_pieces(data, cuts)) == whole
    assert fed([bytes((byte,)) for byte in data]) == whole


@given(HOSTILE, st.lists(st.integers(0), max_size=4))
def test_a_flush_in_the_middle_forgets_what_was_pending(data: bytes, cuts: list[int]) -> None:
    """After a flush the deframer is as good as new."""
    deframer = Deframer()
    for piece in in_pieces(data, cuts):
        deframer.feed(piece)
        deframer.flush()
        assert deframer.pending == 0
    assert deframer.feed(FRAME.to_bytes()) == [FRAME]


def test_a_false_start_costs_one_byte() -> None:
    """A frame that begins inside a false start's span is found at once when the sum disproves it,
    and else by the flush."""
    false = b"\x68" + FRAME.to_bytes()
    assert fed([false])[0] == [FRAME]
    cut = FRAME.to_bytes()[:-1]
    assert fed([cut + FRAME.to_bytes()], final=False) == ([FRAME], len(cut), 0)
    deframer = Deframer()
    longest = bytes.fromhex("68 00 00 00 00 00 00 00 00 81 FF")
    assert deframer.feed(longest + FRAME.to_bytes()) == []
    assert deframer.flush() == [FRAME]
    assert (deframer.pending, deframer.discarded) == (0, 11)


def test_a_start_byte_inside_a_frame_does_not_start_another() -> None:
    """68, 16 and FE inside address and data are data."""
    assert fed([LONG.to_bytes()] * 3, final=False) == ([LONG] * 3, 0, 0)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts how often a position is tested; each test reads at most one frame's bytes."""
    count = 0
    real = module.fault_at

    def counted(buffer: bytes, at: int) -> str:
        nonlocal count
        count += 1
        return real(buffer, at)

    monkeypatch.setattr(module, "fault_at", counted)
    return lambda: count


FLOODS = {
    "start bytes": b"\x68",
    "longest false starts": bytes.fromhex("68 00 00 00 00 00 00 00 00 81 FF"),
    "preambles": b"\xfe",
    "end bytes": b"\x16",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_neither_kept_nor_slow(kind: str, work: Callable[[], int]) -> None:
    """Much of anything leaves at most one frame's bytes, and no byte is tested twice over."""
    chunk, size = 4096, 400_000
    data = FLOODS[kind] * (size // len(FLOODS[kind]))
    deframer = Deframer()
    for at in range(0, len(data), chunk):
        assert deframer.feed(data[at : at + chunk]) == []
        assert deframer.pending < FRAME_SIZE_MAX
    # One test a byte, and one more for each time a wait was taken up again.
    assert work() <= len(data) + len(data) // chunk + 1
    assert deframer.flush() == []
    assert deframer.pending == 0
