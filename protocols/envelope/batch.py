"""A batch of reading sets as columns: each column holds small differences, and zlib does the rest.

Body, version 1, an array:

    [ 1, head,
      boots    [boot_id, ...],            16 bytes each
      meters   [meter_id, ...],
      layouts  [[obis, scaler, unit, kind, obis, scaler, ...], ...],
      sequences, meter index, layout index, boot index, read_at, uptime offset, quality,
      columns  [[values of layout 0 position 0], [position 1], ..., [layout 1 position 0], ...] ]

`head` is the highest sequence that the gateway had journaled when it sealed, so the head end
knows what it does not have yet. sequences, read_at and the uptime offset (read_at - boot_at) are
first value and differences. A column holds differences to the same meter's previous value in this
batch, a text column the texts. Every array has one entry per reading set; a register that gave no
value is not in its set's layout, so a missing value is never a number.

Version 2 is the same with two columns more behind the quality: origin and flags. A batch whose sets
are all live and not flagged goes as version 1. A set without readings is flagged as shed.
"""

from protocols.envelope.claims import is_count
from protocols.errors import EnvelopeError
from protocols.obis import Obis
from protocols.quantity import KIND_NAMES, SCALER_MAX, UNITS, VALUE_MAX, Kind, Quantity
from protocols.readings import (
    FLAGS_MAX,
    ORIGIN_NAMES,
    TIME_QUALITY_NAMES,
    Flag,
    Origin,
    Reading,
    ReadingSet,
)

VERSION = 1
VERSION_MARKED = 2  # with origins and flags
SETS_MAX = 2000  # of one batch
READINGS_MAX = 256  # of one set
TEXT_SIZE_MAX = 64  # characters of a meter id or a text value
BOOT_ID_SIZE = 16
_FIELDS = {VERSION: 13, VERSION_MARKED: 15}


def encode_batch(rows: list, head: int) -> list:
    """The body of `rows`, [(sequence, ReadingSet), ...] in rising sequence."""
    boots: list = []
    meters: list = []
    layouts: list = []
    columns: list = []
    first_column: list = []
    index: dict = {}
    meter_at, layout_at, boot_at, qualities = [], [], [], []
    previous: dict = {}
    for _, one in rows:
        meter_at.append(_index(index, meters, one.meter_id))
        boot_at.append(_index(index, boots, one.boot_id))
        qualities.append(one.quality)
        layout = tuple(
            [(r.obis, r.quantity.scaler, r.quantity.unit, r.quantity.kind) for r in one.readings]
        )
        known = len(layouts)
        number = _index(index, layouts, layout)
        if number == known:
            first_column.append(len(columns))
            columns.extend([[] for _ in layout])
        layout_at.append(number)
        base = first_column[number]
        for position, reading in enumerate(one.readings):
            value = reading.quantity.value
            column = columns[base + position]
            if isinstance(value, str):
                column.append(value)
            else:
                key = (meter_at[-1], base + position)
                column.append(value - previous.get(key, 0))
                previous[key] = value
    read_at = [one.read_at for _, one in rows]
    offsets = [one.read_at - one.boot_at for _, one in rows]
    marks = [[one.origin for _, one in rows], [one.flags for _, one in rows]]
    is_marked = any(marks[0]) or any(marks[1])
    body = [
        VERSION_MARKED if is_marked else VERSION,
        head,
        boots,
        meters,
        [_flat(layout) for layout in layouts],
        _differences([sequence for sequence, _ in rows]),
        meter_at,
        layout_at,
        boot_at,
        _differences(read_at),
        _differences(offsets),
        qualities,
    ]
    return body + (marks if is_marked else []) + [columns]


def decode_batch(body: object) -> tuple:
    """(head, [(sequence, ReadingSet), ...]) of a body; EnvelopeError("schema") for anything
    else."""
    fields = _checked(body)
    head, boots, meters, flat = fields[1:5]
    sequences, meter_at, layout_at, boot_at, read_at, offsets, qualities = fields[5:12]
    count = len(sequences)
    if not 0 < count <= SETS_MAX or any(len(column) != count for column in fields[6:-1]):
        raise EnvelopeError("schema", "batch columns differ in length")
    origins, flags = fields[12:-1] or ([Origin.LIVE] * count, [0] * count)
    _check_names(boots, meters)
    layouts = [_layout(one) for one in flat]
    sequences = _sums(sequences)
    read_at = _sums(read_at)
    offsets = _sums(offsets)
    _check_indexes(meter_at, len(meters))
    _check_indexes(layout_at, len(layouts))
    _check_indexes(boot_at, len(boots))
    _check_indexes(qualities, len(TIME_QUALITY_NAMES))
    _check_indexes(origins, len(ORIGIN_NAMES))
    _check_indexes(flags, FLAGS_MAX + 1)
    if (
        sequences[0] < 1
        or any(b <= a for a, b in zip(sequences, sequences[1:]))
        or head < sequences[-1]
    ):
        raise EnvelopeError("schema", "sequences do not rise up to the head")
    values = _Columns(layouts, fields[-1])
    rows = []
    for n in range(count):
        if not 0 <= offsets[n] <= read_at[n]:
            raise EnvelopeError("schema", "times")
        readings = values.take(layout_at[n], meter_at[n])
        if not readings and not flags[n] & Flag.SHED:
            raise EnvelopeError("schema", "a set without readings that was not shed")
        boot_ms = read_at[n] - offsets[n]
        meter, boot = meters[meter_at[n]], boots[boot_at[n]]
        one = ReadingSet(
            meter, read_at[n], boot_ms, boot, qualities[n], readings, origins[n], flags[n]
        )
        rows.append((sequences[n], one))
    values.check_empty()
    return head, rows


def _checked(body: object) -> list:
    """The body, when its version, its head and the number and type of its columns fit."""
    if (
        not isinstance(body, list)
        or not body
        or not is_count(body[0])  # true and 1.0 are no version
        or len(body) != _FIELDS.get(body[0])
        or not is_count(body[1])
    ):
        raise EnvelopeError("schema", "batch")
    for column in body[2:]:
        if not isinstance(column, list):
            raise EnvelopeError("schema", "batch")
    return body


class _Columns:
    """The value columns, read once from front to back."""

    def __init__(self, layouts: list, columns: list) -> None:
        if len(columns) != sum([len(layout) for layout in layouts]):
            raise EnvelopeError("schema", "columns do not fit the layouts")
        self._readings = []
        self._previous: dict = {}
        at = 0
        for layout in layouts:
            taken = []
            for obis, scaler, unit, kind in layout:
                if not isinstance(columns[at], list):
                    raise EnvelopeError("schema", "column")
                taken.append((obis, scaler, unit, kind, at, iter(columns[at])))
                at += 1
            self._readings.append(taken)

    def take(self, layout: int, meter: int) -> tuple:
        previous = self._previous
        readings = []
        for obis, scaler, unit, kind, at, column in self._readings[layout]:
            value = next(column, None)
            if kind == Kind.TEXT:
                if not isinstance(value, str) or len(value) > TEXT_SIZE_MAX:
                    raise EnvelopeError("schema", "value")
            else:
                if not _is_whole(value):
                    raise EnvelopeError("schema", "value")
                value += previous.get((meter, at), 0)
                if not -VALUE_MAX < value < VALUE_MAX:
                    raise EnvelopeError("schema", "value")
                previous[(meter, at)] = value
            readings.append(Reading(obis, Quantity(value, scaler, unit, kind)))
        return tuple(readings)

    def check_empty(self) -> None:
        for taken in self._readings:
            for row in taken:
                for _ in row[5]:
                    raise EnvelopeError("schema", "values left over")


def _index(index: dict, known: list, value: object) -> int:
    at = index.get(value)
    if at is None:
        at = len(known)
        index[value] = at
        known.append(value)
    return at


def _flat(layout: tuple) -> list:
    flat: list = []
    for obis, scaler, unit, kind in layout:
        flat.extend((obis.to_bytes(), scaler, unit, kind))
    return flat


def _layout(flat: object) -> list:
    if not isinstance(flat, list) or len(flat) % 4 or len(flat) > 4 * READINGS_MAX:
        raise EnvelopeError("schema", "layout")
    layout = []
    for at in range(0, len(flat), 4):
        obis, scaler, unit, kind = flat[at : at + 4]
        if not isinstance(obis, bytes) or len(obis) != 6 or unit not in UNITS:
            raise EnvelopeError("schema", "layout")
        if not _is_whole(scaler) or abs(scaler) > SCALER_MAX:
            raise EnvelopeError("schema", "layout")
        if not _is_whole(kind) or kind not in KIND_NAMES:
            raise EnvelopeError("schema", "layout")
        layout.append((Obis.from_bytes(obis), scaler, unit, kind))
    if len({row[0] for row in layout}) != len(layout):
        raise EnvelopeError("schema", "an OBIS code stands twice in a layout")
    return layout


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _differences(values: list) -> list:
    return values[:1] + [b - a for a, b in zip(values, values[1:])]


def _sums(differences: list) -> list:
    total = 0
    sums = []
    for difference in differences:
        if not _is_whole(difference):
            raise EnvelopeError("schema", "not a number")
        total += difference
        if not is_count(total):
            raise EnvelopeError("schema", "number out of range")
        sums.append(total)
    return sums


def _check_indexes(indexes: list, count: int) -> None:
    for one in indexes:
        if not _is_whole(one) or not 0 <= one < count:
            raise EnvelopeError("schema", "index")


def _check_names(boots: list, meters: list) -> None:
    if any(not isinstance(boot, bytes) or len(boot) != BOOT_ID_SIZE for boot in boots):
        raise EnvelopeError("schema", "boot id")
    if any(not isinstance(meter, str) or not 0 < len(meter) <= TEXT_SIZE_MAX for meter in meters):
        raise EnvelopeError("schema", "meter id")
