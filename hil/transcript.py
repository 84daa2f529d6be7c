"""What went over a line, as plain text that a person reads and a diff shows.

    # comments begin with a number sign
    port: /dev/ttyUSB0
    baud: 2400
    parity: E
    date: 2026-02-02T12:00:00Z
    0 > FE FE FE FE 68 61 01 00 00 00 00 68 11 04 33 33 34 33 14 16
    181 < 68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 33 33 8A 16

* A header line is a name, a colon and a text; each name stands at most once, before the events.
* An event is milliseconds since the start, `>` for master to meter or `<` for meter to master, and
  bytes in hex. Its time is that of its first byte. Times never fall.
* Comments and empty lines may stand anywhere and mean nothing.

The format knows nothing of any protocol.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from protocols.errors import SettingError

TO_METER, TO_MASTER = ">", "<"
HEADERS = {  # name -> what its text may be
    "port": re.compile(r".+"),
    "baud": re.compile(r"[1-9][0-9]{1,6}"),
    "parity": re.compile(r"[NEOMS]"),
    "date": re.compile(r".+"),
}
FILE_SIZE_MAX = 16 * 1024 * 1024  # bytes
EVENTS_MAX = 100_000  # a day of a busy line
EVENT_SIZE_MAX = 4096  # bytes; a pty holds no more, and no frame is as long
MS_MAX = 31 * 86_400_000  # a month
HEADER_SIZE_MAX = 255  # characters
BITS_PER_BYTE = 11  # start, 8 data, parity, stop
SILENCE_BYTES = 3.5  # a longer pause ends an event
SILENCE_S_MIN = 0.02  # a USB adapter hands over what it has every 16 ms: no silence of the line

_EVENT = re.compile(r"([0-9]{1,10}) ([<>]) ([0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2})*)")
_HEADER = re.compile(r"([a-z]+): (\S(?:.*\S)?)")


class Event(NamedTuple):
    """Bytes without a silence in between: `ms` since the start, TO_METER or TO_MASTER."""

    ms: int
    direction: str
    data: bytes


class Transcript(NamedTuple):
    """Header texts by name, and the events in order."""

    headers: dict[str, str]
    events: tuple[Event, ...]


def silence_s(baud: int) -> float:
    """Seconds of silence that end an event on a line at `baud`."""
    return max(SILENCE_BYTES * BITS_PER_BYTE / baud, SILENCE_S_MIN)


def event_line(event: Event) -> str:
    """One event as a line, line end included."""
    return f"{event.ms} {event.direction} {event.data.hex(' ').upper()}\n"


def head_lines(headers: dict[str, str], comments: Iterable[str] = ()) -> str:
    """What stands before the events: comments, then headers in their order."""
    about = "".join(f"# {one}\n" for one in comments)
    return about + "".join(f"{name}: {headers[name]}\n" for name in HEADERS if name in headers)


def transcript_text(transcript: Transcript, comments: Iterable[str] = ()) -> str:
    """A whole file."""
    return head_lines(transcript.headers, comments) + "".join(map(event_line, transcript.events))


def load_transcript(path: Path) -> Transcript:
    """The transcript in a file; SettingError (one sentence, with the line) when it is none."""
    with path.open("rb") as file:
        raw = file.read(FILE_SIZE_MAX + 1)
    if len(raw) > FILE_SIZE_MAX:
        raise SettingError(f"{path}: has more than the {FILE_SIZE_MAX} bytes that are allowed")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: is no UTF-8 text from byte {error.start} on") from None
    return read_transcript(text, str(path))


def read_transcript(text: str, where: str) -> Transcript:
    """The transcript in a text; SettingError (one sentence, with the line) when it is none."""
    headers: dict[str, str] = {}
    events: list[Event] = []
    for number, line in enumerate(text.split("\n"), 1):
        row = line.removesuffix("\r")
        if not row.strip() or row.startswith("#"):
            continue
        try:
            if row[0] in "0123456789":
                events.append(_event(row, events))
            else:
                name, value = _header(row, headers, bool(events))
                headers[name] = value
        except ValueError as error:
            raise SettingError(f"{where}: line {number}: {error}") from None
    return Transcript(headers, tuple(events))


def _event(row: str, before: list[Event]) -> Event:
    found = _EVENT.fullmatch(row)
    if found is None:
        raise ValueError(f"{_shown(row)} is no event; it must be like '120 < 68 1A'")
    event = Event(int(found[1]), found[2], bytes.fromhex(found[3]))
    if event.ms > MS_MAX:
        raise ValueError(f"{event.ms} ms is too late; at most {MS_MAX} is allowed")
    if before and event.ms < before[-1].ms:
        raise ValueError(f"{event.ms} ms is before the event above at {before[-1].ms} ms")
    if len(event.data) > EVENT_SIZE_MAX:
        raise ValueError(
            f"{len(event.data)} bytes in one event; at most {EVENT_SIZE_MAX} are allowed"
        )
    if len(before) == EVENTS_MAX:
        raise ValueError(f"one event too many; at most {EVENTS_MAX} are allowed")
    return event


def _header(row: str, before: dict[str, str], is_late: bool) -> tuple[str, str]:
    found = _HEADER.fullmatch(row)
    if found is None or found[1] not in HEADERS or len(row) > HEADER_SIZE_MAX:
        raise ValueError(
            f"{_shown(row)} is not allowed; an event, a comment or a header must stand there,"
            f" one of {', '.join(HEADERS)}, of up to {HEADER_SIZE_MAX} characters"
        )
    if HEADERS[found[1]].fullmatch(found[2]) is None:
        raise ValueError(
            f"{found[1]} = {_shown(found[2])} is not allowed; baud is a whole number from 10 to"
            " 9999999, parity one of N, E, O, M, S"
        )
    if is_late:
        raise ValueError(f"the header {found[1]!r} must stand before the first event")
    if found[1] in before:
        raise ValueError(f"the header {found[1]!r} stands there twice")
    return found[1], found[2]


def _shown(row: str) -> str:
    return repr(row if len(row) <= 40 else row[:40] + "…")
