"""The text form of what went over a line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil import transcript
from hil.transcript import (
    EVENT_SIZE_MAX,
    MS_MAX,
    Event,
    Transcript,
    load_transcript,
    read_transcript,
    silence_s,
    transcript_text,
)
from protocols.errors import SettingError

TEXT = """\
# a comment
port: /dev/ttyUSB0
baud: 2400
parity: E
date: 2026-02-02T12:00:00Z
0 > FE FE 68
118 < 00 1A
118 < FF
"""
EVENTS = (Event(0, ">", b"\xfe\xfe\x68"), Event(118, "<", b"\x00\x1a"), Event(118, "<", b"\xff"))
HEADERS = {
    "port": "/dev/ttyUSB0",
    "baud": "2400",
    "parity": "E",
    "date": "2026-02-02T12:00:00Z",
}


def test_a_transcript_is_what_a_person_reads() -> None:
    """Both ways, byte by byte."""
    assert read_transcript(TEXT, "x") == Transcript(HEADERS, EVENTS)
    assert transcript_text(Transcript(HEADERS, EVENTS), ["a comment"]) == TEXT


def test_comments_empty_lines_case_and_line_ends_mean_nothing() -> None:
    """As an editor may leave them."""
    text = TEXT.replace("\n", "\r\n").replace("118 < FF", "\n # no\n118 < ff").replace(" # ", "# ")
    assert read_transcript(text, "x") == Transcript(HEADERS, EVENTS)
    assert read_transcript("", "x") == Transcript({}, ())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 > 6", "line 1: '0 > 6' is no event; it must be like '120 < 68 1A'"),
        ("0 > 68  1A", "line 1: '0 > 68  1A' is no event"),
        ("0 >", "line 1: '0 >' is no event"),
        ("0 = 68", "line 1: '0 = 68' is no event"),
        ("0.5 > 68", "line 1: '0.5 > 68' is no event"),
        ("٣ > 68", "line 1: '٣ > 68' is not allowed; an event, a comment or a header"),
        ("\n5 > 68\n4 < 68", "line 3: 4 ms is before the event above at 5 ms"),
        (f"{MS_MAX + 1} > 68", f"at most {MS_MAX} is allowed"),
        ("0 > " + "68 " * EVENT_SIZE_MAX + "68", f"{EVENT_SIZE_MAX} are allowed"),
        ("0 > 68\nbaud: 2400", "line 2: the header 'baud' must stand before the first event"),
        ("baud: 2400\nbaud: 2400", "line 2: the header 'baud' stands there twice"),
        ("colour: red", "'colour: red' is not allowed; an event, a comment or a header must"),
        ("port: " + "x" * 300, "of up to 255 characters"),
        ("baud: fast", "line 1: baud = 'fast' is not allowed; baud is a whole number"),
        ("baud: 0", "baud = '0' is not allowed"),
        ("parity: none", "parity one of N, E, O, M, S"),
    ],
)
def test_a_fault_is_told_in_one_sentence_with_its_line(text: str, sentence: str) -> None:
    """Where, what, and what is allowed."""
    with pytest.raises(SettingError) as caught:
        read_transcript(text, "file")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("file: line ")
    assert "\n" not in str(caught.value)


def test_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in events; and it is text."""
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    assert load_transcript(path) == Transcript(HEADERS, EVENTS)
    monkeypatch.setattr(transcript, "EVENTS_MAX", 2)
    with pytest.raises(SettingError) as caught:
        load_transcript(path)
    assert str(caught.value) == f"{path}: line 8: one event too many; at most 2 are allowed"
    monkeypatch.setattr(transcript, "FILE_SIZE_MAX", len(TEXT) - 1)
    with pytest.raises(SettingError) as caught:
        load_transcript(path)
    assert str(caught.value) == f"{path}: has more than the {len(TEXT) - 1} bytes that are allowed"
    path.write_bytes(b"port: \xff\n")
    with pytest.raises(SettingError) as caught:
        load_transcript(path)
    assert str(caught.value) == f"{path}: is no UTF-8 text from byte 6 on"


def test_silence_is_of_the_line_and_longer_than_an_adapter_sleeps() -> None:
    """3.5 characters of 11 bits where that is long, else 20 ms."""
    assert silence_s(300) == pytest.approx(0.12833, abs=1e-5)
    assert silence_s(9600) == 0.02


events = st.lists(
    st.tuples(
        st.integers(0, MS_MAX), st.sampled_from("<>"), st.binary(min_size=1, max_size=40)
    ).map(lambda one: Event(*one)),
    max_size=20,
).map(lambda some: tuple(sorted(some, key=lambda one: one.ms)))
headers = st.fixed_dictionaries(
    {},
    optional={"port": st.just("/dev/x"), "baud": st.just("9600"), "parity": st.sampled_from("NEO")},
)


@given(headers, events)
def test_what_is_written_is_read_again(head: dict[str, str], some: tuple[Event, ...]) -> None:
    """And written the same."""
    one = Transcript(head, some)
    text = transcript_text(one, ["é"])
    assert read_transcript(text, "x") == one
    assert transcript_text(read_transcript(text, "x"), ["é"]) == text


@given(st.one_of(st.text(), st.text(alphabet="0123456789ABCDEF<> #:\r\nbaudport", max_size=60)))
def test_any_text_is_a_transcript_or_a_sentence(text: str) -> None:
    """And a transcript that was accepted stays the same when it is written."""
    sentence = ""
    one = Transcript({}, ())
    try:
        one = read_transcript(text, "x")
    except SettingError as error:
        sentence = str(error)
    assert not sentence or (sentence.startswith("x: line ") and len(sentence) < 400)
    assert read_transcript(transcript_text(one), "x") == one
