"""protocols/dlt645/deframer.py: bytes in, frames out, over every kind of bad line."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import deframer as module
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import FRAME_SIZE_MAX, Frame
from tests.protocols.vectors import CLEAN, REJECTED, STREAMS, content, names, wire

SEED = 20261121
FRAME = Frame("123456789012", 0x91, bytes.fromhex("0000010026000000"))
LONG = Frame("681668166816", 0xB1, b"\x35\xe3\xcb" * 85)  # 68, 16 and FE on the wire


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


def scanned(data: bytes) -> tuple[list[tuple[str, int, bytes]], int]:
    """(frames, bytes that belong to none, FE left out): the rule, written once more and slowly."""
    found, lost, at = [], 0, 0
    while at < len(data):
        head = data[at : at + 10]
        stop = at + 12 + head[9] if len(head) == 10 else len(data) + 1
        body = data[at : stop - 2]
        if (
            stop <= len(data)
            and head[0] == head[7] == 0x68
            and data[stop - 1] == 0x16
            and data[stop - 2] == sum(body) % 256
        ):
            plain = bytes((byte - 0x33) % 256 for byte in body[10:])
            found.append((bytes(reversed(head[1:7])).hex().upper(), head[8], plain))
            at = stop
        else:
            lost += data[at] != 0xFE
            at += 1
    return found, lost


def noise(seed: int, size: int, without: bytes = b"") -> bytes:
    """`size` random bytes."""
    return bytes(b for b in random.Random(seed).randbytes(size) if b not in without)


def line_pieces() -> st.SearchStrategy[bytes]:
    """What stands on a bad line: whole and cut frames, start bytes, FE runs, noise."""
    frames = st.builds(
        Frame,
        st.sampled_from(("123456789012", "681668166816", "AAAAAAAAAAAA")),
        st.sampled_from((0x91, 0xB1, 0x11)),
        st.binary(max_size=12) | st.just(b"\x35" * 6),
    ).map(Frame.to_bytes)
    cut = st.tuples(frames, st.integers(0, 24)).map(lambda one: one[0][: one[1]])
    marks = st.sampled_from((b"\x68", b"\x16", b"\xfe", b"\xfe\xfe\xfe\xfe", b"\x68" * 8))
    return st.lists(frames | cut | marks | st.binary(max_size=9), max_size=8).map(b"".join)


HOSTILE = line_pieces()


# ---- the vectors over hostile transports -------------------------------------------------------


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_vector_fed_whole_gives_its_frame_at_once(vector: dict[str, Any]) -> None:
    """No flush is needed, nothing is left, nothing is lost."""
    assert fed([wire(vector)], final=False) == ([content(vector)], 0, 0)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_vector_fed_byte_by_byte_gives_its_frame(vector: dict[str, Any]) -> None:
    """The frame comes out with its last byte, not before."""
    deframer = Deframer()
    data = wire(vector)
    given = [deframer.feed(bytes((byte,))) for byte in data]
    assert given == [[]] * (len(data) - 1) + [[content(vector)]]
    assert (deframer.discarded, deframer.pending) == (0, 0)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
def test_a_vector_split_at_every_position_gives_its_frame(vector: dict[str, Any]) -> None:
    """Where the driver's read ends does not matter."""
    data = wire(vector)
    for cut in range(len(data) + 1):
        assert fed([data[:cut], data[cut:]], final=False) == ([content(vector)], 0, 0)


@pytest.mark.parametrize("vector", CLEAN, ids=names(CLEAN))
@pytest.mark.parametrize("run", [0, 1, 2, 3, 7, 40])
def test_a_vector_behind_any_run_of_preamble_bytes(vector: dict[str, Any], run: int) -> None:
    """FE bytes are passed over, also between frames and behind them, and are no noise."""
    data = b"\xfe" * run + wire(vector)
    assert fed([data + data + b"\xfe" * run]) == ([content(vector)] * 2, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_all_vectors_with_noise_around_them(seed: int) -> None:
    """Noise before, between and after costs no frame; each of its bytes is counted."""
    source = random.Random(SEED + seed)
    parts, expected, lost = [], [], 0
    for vector in source.sample(CLEAN, len(CLEAN)):
        # Noise without a start byte cannot be the beginning of anything.
        dirt = noise(source.randrange(1 << 30), source.randrange(30), without=b"\x68\xfe")
        parts += [dirt, wire(vector)]
        expected.append(content(vector))
        lost += len(dirt)
    data = b"".join(parts) + b"\x00\x16"
    cuts = [source.randrange(len(data)) for _ in range(200)]
    assert fed([data], final=False) == (expected, lost + 2, 0)
    assert fed(in_pieces(data, cuts), final=False) == (expected, lost + 2, 0)


@pytest.mark.parametrize("seed", range(4))
def test_all_vectors_between_false_starts(seed: int) -> None:
    """Noise with start bytes delays a frame, at worst to the flush, and never costs one."""
    source = random.Random(SEED - seed)
    for vector in source.sample(CLEAN, 40):
        before = noise(source.randrange(1 << 30), 20, b"\xfe") + b"\x68" * source.randrange(9)
        after = b"\x68" + noise(source.randrange(1 << 30), 12, b"\xfe")
        data = before + wire(vector) + after
        found, lost = scanned(data)
        assert content(vector) in found
        assert fed([data]) == (found, lost, 0)
        assert fed([bytes((byte,)) for byte in data]) == (found, lost, 0)


@pytest.mark.parametrize("vector", REJECTED, ids=names(REJECTED))
def test_a_broken_vector_gives_no_frame_and_hides_none(vector: dict[str, Any]) -> None:
    """It is discarded byte by byte, and the frame behind it comes out."""
    data = wire(vector)
    count = len(data) - vector["preamble"]
    assert fed([data]) == ([], count - data[vector["preamble"] :].count(0xFE), 0)
    frames, _, pending = fed([data + FRAME.to_bytes(4)])
    assert (frames, pending) == ([FRAME], 0)


@pytest.mark.parametrize("vector", STREAMS, ids=names(STREAMS))
def test_a_stream_gives_its_frames_in_order(vector: dict[str, Any]) -> None:
    """Whatever the size of the pieces, and without a flush."""
    expected = [
        (one["address"], int(one["control"], 16), bytes.fromhex(one["data_plain"]))
        for one in vector["expected"]["frames"]
    ]
    data = wire(vector)
    assert len(expected) == 2
    for size in range(1, len(data) + 1):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert fed(pieces, final=False) == (expected, 3, 0)


# ---- the fuzz sentence -------------------------------------------------------------------------


@given(HOSTILE, st.lists(st.integers(0), max_size=6))
def test_any_bytes_cut_anywhere_give_the_same_frames(data: bytes, cuts: list[int]) -> None:
    """Any bytes give frames or are discarded; fed whole or in pieces, the result is the same."""
    whole = fed([data])
    assert whole == (*scanned(data), 0)
    assert fed(in_pieces(data, cuts)) == whole
    assert fed([bytes((byte,)) for byte in data]) == whole


@given(HOSTILE)
def test_every_byte_is_in_a_frame_discarded_or_a_preamble(data: bytes) -> None:
    """Nothing disappears uncounted."""
    frames, discarded, pending = fed([data])
    used = sum(12 + len(frame.data) for frame in frames)
    assert pending == 0
    assert 0 <= len(data) - used - discarded <= data.count(0xFE)


@given(HOSTILE, st.lists(st.integers(0), max_size=4))
def test_a_flush_in_the_middle_forgets_what_was_pending(data: bytes, cuts: list[int]) -> None:
    """After a flush the deframer is as good as new."""
    deframer = Deframer()
    for piece in in_pieces(data, cuts):
        deframer.feed(piece)
        deframer.flush()
        assert deframer.pending == 0
    assert deframer.feed(FRAME.to_bytes()) == [FRAME]


@given(st.binary(max_size=200))
def test_random_bytes_and_a_frame_behind_them(data: bytes) -> None:
    """The frame is found, at the latest by the flush."""
    whole = data + FRAME.to_bytes(1)
    frames, lost, pending = fed([whole])
    assert (frames, lost, pending) == (*scanned(whole), 0)
    assert frames[-1] == FRAME


# ---- false starts ------------------------------------------------------------------------------


def test_a_frame_behind_a_false_start_is_found_at_once_when_bytes_disprove_it() -> None:
    """The eighth byte shows that the first 68 starts nothing; one byte is lost."""
    assert fed([b"\x68" + FRAME.to_bytes()], final=False) == ([FRAME], 1, 0)


def test_a_frame_within_a_false_starts_span_is_found_by_the_flush() -> None:
    """A false start that announces 255 bytes holds the true frame back, and gives it up."""
    false = bytes.fromhex("68 00 00 00 00 00 00 68 91 FF")
    deframer = Deframer()
    assert deframer.feed(false + FRAME.to_bytes()) == []
    assert deframer.pending == 10 + len(FRAME.to_bytes())
    assert deframer.flush() == [FRAME]
    assert (deframer.pending, deframer.discarded) == (0, 10)


def test_a_frame_within_a_false_starts_span_is_found_when_the_span_is_full() -> None:
    """Enough bytes show a wrong checksum, so no flush is needed."""
    false = bytes.fromhex("68 00 00 00 00 00 00 68 91 14")
    data = false + FRAME.to_bytes() + b"\x00" * 2
    assert fed([data], final=False) == ([FRAME], 12, 0)


def test_a_false_start_costs_one_byte() -> None:
    """Where the end byte should be stands the start of the next frame: that one is not lost."""
    cut = FRAME.to_bytes()[:-1]
    assert fed([cut + FRAME.to_bytes()], final=False) == ([FRAME], len(cut), 0)


def test_a_start_byte_inside_a_frame_does_not_start_another() -> None:
    """68, 16 and FE inside address and data are data."""
    assert min(LONG.to_bytes().count(byte) for byte in (0x68, 0x16, 0xFE)) >= 85
    assert fed([LONG.to_bytes()] * 3, final=False) == ([LONG] * 3, 0, 0)


def test_discarded_bytes_add_up_over_feeds_and_flushes() -> None:
    """The counter belongs to the line, not to one exchange."""
    deframer = Deframer()
    deframer.feed(b"\x00\x01\xfe\xfe")
    assert (deframer.discarded, deframer.pending) == (2, 0)
    deframer.feed(b"\x68\xfe\x02")
    assert (deframer.discarded, deframer.pending) == (2, 3)
    assert deframer.flush() == []
    assert (deframer.discarded, deframer.pending) == (4, 0)
    assert deframer.flush() == deframer.feed(b"") == []


# ---- limits ------------------------------------------------------------------------------------


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
    "start bytes": lambda size: b"\x68" * size,
    "noise": lambda size: noise(SEED, size),
    "longest false starts": lambda size: (
        bytes.fromhex("68 00 00 00 00 00 00 68 91 FF") * (size // 10)
    ),
    "preambles": lambda size: b"\xfe" * size,
    "end bytes": lambda size: b"\x16" * size,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_neither_kept_nor_slow(kind: str, work: Callable[[], int]) -> None:
    """1 MB of anything leaves at most one frame's bytes, and no byte is tested twice over."""
    chunk, size = 4096, 1_000_000
    data = FLOODS[kind](size)
    deframer = Deframer()
    kept = 0
    for at in range(0, len(data), chunk):
        assert deframer.feed(data[at : at + chunk]) == []
        kept = max(kept, deframer.pending)
    assert kept < FRAME_SIZE_MAX
    # One test a byte, and one more for each time a wait was taken up again.
    assert work() <= len(data) + len(data) // chunk + 1
    assert deframer.flush() == []
    assert deframer.pending == 0


@pytest.mark.parametrize("kind", ["start bytes", "longest false starts"])
def test_a_flood_byte_by_byte_costs_two_tests_a_byte(kind: str, work: Callable[[], int]) -> None:
    """The work grows with the bytes, not with their square."""
    deframer = Deframer()
    data = FLOODS[kind](20_000)
    for byte in data:
        deframer.feed(bytes((byte,)))
        assert deframer.pending < FRAME_SIZE_MAX
    assert work() <= 2 * len(data)


def test_noise_is_passed_over_in_one_search(work: Callable[[], int]) -> None:
    """Bytes that start nothing are not tested one by one."""
    assert fed([b"\x00" * 100_000 + FRAME.to_bytes()]) == ([FRAME], 100_000, 0)
    assert work() <= 3
