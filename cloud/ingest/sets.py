"""From a batch's body to what is stored: columns of numbers, one JSON text of values for each set.

There are two ways, and they give the same. `decode_batch` of protocols is the law: it makes a
Reading of every value. `BatchReader` does by whole columns what it does by values, six times
faster, for the batches that nearly all are: layouts that were seen before, numbers only. Whatever
it does not recognise at once it leaves to the law, faulty bodies included, so every refusal comes
from there.
"""

import json
from itertools import accumulate, chain, repeat
from operator import le
from typing import Any

from cloud.store.rows import SetBatch
from protocols.envelope.batch import (
    BOOT_ID_SIZE,
    SETS_MAX,
    TEXT_SIZE_MAX,
    VERSION,
    VERSION_MARKED,
    decode_batch,
)
from protocols.quantity import Kind
from protocols.readings import FLAGS_MAX, ORIGIN_NAMES, TIME_QUALITY_NAMES, Origin

LAYOUTS_KNOWN_MAX = 10_000  # layouts remembered; a meter model has a handful
_COUNT_MAX = (1 << 63) - 1
_VALUE_MAX = 1 << 62
_FIELDS = {VERSION: 13, VERSION_MARKED: 15}
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_INT = {int}  # bool is another type, and no number here


def json_text(value: Any) -> str:
    """The shortest JSON; ASCII, so that what a meter calls itself never breaks a tool."""
    return _ENCODER.encode(value)


def layout_text(layout: tuple[Any, ...]) -> str:
    """The stored text of ((Obis, scaler, unit, kind), ...)."""
    return json_text([[obis.text(), scaler, unit, kind] for obis, scaler, unit, kind in layout])


class BatchReader:
    """Reads bodies; remembers the layouts that `decode_batch` has accepted."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Any, ...], str] = {}  # flat layout, as on the wire -> stored text

    def read(self, body: object) -> tuple[int, SetBatch]:
        """(head, the sets in rising sequence); EnvelopeError("schema") for what is no batch."""
        return self._by_columns(body) or self._by_law(body)

    def _by_law(self, body: Any) -> tuple[int, SetBatch]:
        head, decoded = decode_batch(body)
        sets = [one for _, one in decoded]
        texts = [
            layout_text(tuple([(r.obis, *r.quantity[1:]) for r in one.readings])) for one in sets
        ]
        for text, at in zip(texts, body[7], strict=True):
            if len(self._texts) < LAYOUTS_KNOWN_MAX and Kind.TEXT not in body[4][at][3::4]:
                self._texts[tuple(body[4][at])] = text
        batch = SetBatch(
            [sequence for sequence, _ in decoded],
            [one.meter_id for one in sets],
            [one.read_at for one in sets],
            [one.boot_at for one in sets],
            [one.boot_id for one in sets],
            [one.quality for one in sets],
            texts,
            [json_text([r.quantity.value for r in one.readings]) for one in sets],
            [one.origin for one in sets],
            [one.flags for one in sets],
        )
        return head, batch

    def _by_columns(self, body: Any) -> tuple[int, SetBatch] | None:
        """The same, or None: then the law decides."""
        if not isinstance(body, list) or not body or type(body[0]) is not int:
            return None
        if len(body) != _FIELDS.get(body[0]):
            return None
        _, head, boots, meters, layouts, *columns, values = body
        if type(head) is not int or not _are_lists(body[2:]):
            return None
        count = len(columns[0])
        if not 0 < count <= SETS_MAX or any(len(column) != count for column in columns):
            return None
        if set(map(type, chain.from_iterable(columns))) != _INT:
            return None
        differences, meter_at, layout_at, boot_at, read_at, uptimes, qualities, *marks = columns
        sequences = list(accumulate(differences))
        read_at = list(accumulate(read_at))
        uptimes = list(accumulate(uptimes))
        if min(differences) < 1 or sequences[-1] > min(head, _COUNT_MAX) or head > _COUNT_MAX:
            return None
        if min(uptimes) < 0 or max(read_at) > _COUNT_MAX or not all(map(le, uptimes, read_at)):
            return None
        if not (
            _are_indexes(meter_at, len(meters))
            and _are_indexes(layout_at, len(layouts))
            and _are_indexes(boot_at, len(boots))
            and _are_indexes(qualities, len(TIME_QUALITY_NAMES))
            and (not marks or _are_marks(*marks))
            and _are_names(boots, meters)
        ):
            return None
        texts = self._known_texts(layouts)
        rows = None if texts is None else _value_rows(layouts, layout_at, meter_at, values)
        if texts is None or rows is None:
            return None
        batch = SetBatch(
            sequences,
            [meters[at] for at in meter_at],
            read_at,
            [at - uptime for at, uptime in zip(read_at, uptimes, strict=True)],
            [boots[at] for at in boot_at],
            qualities,
            [texts[at] for at in layout_at],
            rows,
            *(marks or (list(repeat(Origin.LIVE, count)), list(repeat(0, count)))),
        )
        return head, batch

    def _known_texts(self, layouts: list[Any]) -> list[str] | None:
        texts = []
        for flat in layouts:
            # 1, 1.0 and True are one key of a dict, and not one layout. An empty one, of sets that
            # were shed whole, is for the law.
            if not isinstance(flat, list) or set(map(type, flat[1::2])) != _INT:
                return None
            if set(map(type, flat[::4])) != {bytes} or set(map(type, flat[2::4])) != {str}:
                return None
            text = self._texts.get(tuple(flat))
            if text is None:
                return None
            texts.append(text)
        return texts


def _are_lists(values: list[Any]) -> bool:
    return all(type(value) is list for value in values)


def _are_indexes(indexes: list[int], count: int) -> bool:
    return min(indexes) >= 0 and max(indexes) < count


def _are_marks(origins: list[int], flags: list[int]) -> bool:
    return _are_indexes(origins, len(ORIGIN_NAMES)) and _are_indexes(flags, FLAGS_MAX + 1)


def _are_names(boots: list[Any], meters: list[Any]) -> bool:
    return all(type(boot) is bytes and len(boot) == BOOT_ID_SIZE for boot in boots) and all(
        type(meter) is str and 0 < len(meter) <= TEXT_SIZE_MAX for meter in meters
    )


def _value_rows(
    layouts: list[Any], layout_at: list[int], meter_at: list[int], columns: list[Any]
) -> list[str] | None:
    """The JSON text of each set's values; None when something is not as expected."""
    sizes = [len(flat) // 4 for flat in layouts]
    if len(columns) != sum(sizes) or not _are_lists(columns):
        return None
    if len(layouts) == 1:
        return _texts_of_layout(columns, meter_at)
    rows = [""] * len(layout_at)
    start = 0
    for layout, size in enumerate(sizes):
        sets = [n for n, at in enumerate(layout_at) if at == layout]
        meters = [meter_at[n] for n in sets]
        texts = _texts_of_layout(columns[start : start + size], meters)
        if texts is None:
            return None
        for n, text in zip(sets, texts, strict=True):
            rows[n] = text
        start += size
    return rows


def _texts_of_layout(columns: list[list[Any]], meters: list[int]) -> list[str] | None:
    count = len(meters)
    if not count:
        return None if any(columns) else []
    if any(len(column) != count for column in columns):
        return None
    if set(map(type, chain.from_iterable(columns))) != _INT:
        return None
    if len(set(meters)) < count:
        columns = [_sums(column, meters) for column in columns]
    if min(map(min, columns)) <= -_VALUE_MAX or max(map(max, columns)) >= _VALUE_MAX:
        return None
    # One call for all rows; only digits, signs, commas and brackets can stand in the text.
    text = json_text(list(zip(*columns, strict=True)))
    return [f"[{row}]" for row in text[2:-2].split("],[")]


def _sums(differences: list[int], meters: list[int]) -> list[int]:
    """Each meter's differences as values."""
    if len(set(meters)) == 1:
        return list(accumulate(differences))
    last: dict[int, int] = {}
    values = []
    for meter, difference in zip(meters, differences, strict=True):
        value = last[meter] = last.get(meter, 0) + difference
        values.append(value)
    return values
