"""The body of an event message: events of one journal epoch, in rising sequence.

Body, version 1, an array:

    [ 1, lowest,
      [[sequence, kind, subject, at, boot_at, boot_id, quality, number, drift_s or null, detail,
        [[">" or "<", ms, bytes], ...]], ...] ]

Events have a sequence of their own, from 1 on in each epoch. `lowest` is the lowest sequence that
the gateway will still send, so the head end does not wait for one below it that it lacks: it is
told up to where it has the events, and without this a hole would have them sent for ever. A kind
that is not in EVENT_KINDS is taken, and shown as it is: the gateway is newer than the reader.
"""

from protocols.envelope.claims import is_count
from protocols.envelope.fields import fields_of, frames_of, is_bytes, is_within, require, rows_of
from protocols.events import (
    DETAIL_SIZE_MAX,
    DRIFT_S_MAX,
    EVENT_FRAME_SIZE_MAX,
    EVENT_FRAMES_MAX,
    SUBJECT_SIZE_MAX,
    Event,
    is_kind,
)
from protocols.readings import TIME_QUALITY_NAMES

VERSION = 1
EVENTS_MAX = 100  # of one message
_BOOT_ID_SIZE = 16
_FIELDS = 11


def encode_events(rows: list, lowest: int) -> list:
    """The body of `rows`, [(sequence, Event), ...] in rising sequence, `lowest` or above."""
    return [
        VERSION,
        lowest,
        [
            [sequence] + list(one[:9]) + [[list(frame) for frame in one.evidence]]
            for sequence, one in rows
        ],
    ]


def decode_events(body: object) -> tuple:
    """(lowest, [(sequence, Event), ...]) of a body, at least one event; EnvelopeError("schema") for
    anything else."""
    lowest, rows = fields_of(body, VERSION, 2, 2)
    require(is_count(lowest) and lowest > 0)
    found = []
    last = lowest - 1
    for row in rows_of(rows, 1, EVENTS_MAX, _FIELDS):
        require(is_count(row[0]) and row[0] > last)
        last = row[0]
        found.append((last, _event(row)))
    return lowest, found


def _event(row: list) -> Event:
    kind, subject, at, boot_at, boot_id, quality, number, drift_s, detail, evidence = row[1:]
    require(is_kind(kind))
    require(isinstance(subject, str) and len(subject) <= SUBJECT_SIZE_MAX)
    require(is_count(at) and is_count(boot_at) and is_bytes(boot_id, _BOOT_ID_SIZE))
    require(is_count(quality) and quality < len(TIME_QUALITY_NAMES) and is_count(number))
    require(drift_s is None or is_within(drift_s, DRIFT_S_MAX))
    require(isinstance(detail, str) and len(detail) <= DETAIL_SIZE_MAX)
    frames = frames_of(evidence, EVENT_FRAMES_MAX, EVENT_FRAME_SIZE_MAX)
    return Event(kind, subject, at, boot_at, boot_id, quality, number, drift_s, detail, frames)
