"""Modbus: decoding against pymodbus's own register decoder, and what read planning saves."""

import random
import statistics
import struct
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from pymodbus.client.mixin import ModbusClientMixin

from protocols.modbus.model import FLOATS, Model, Register, read_model
from protocols.modbus.plan import plan_spans
from protocols.modbus.values import Decoder

SEED = 502
ROUNDS = 31
SWEEPS = 40  # of each model in a round
FOLDER = Path(__file__).parents[2] / "protocols" / "meter_models"
_DATATYPE = ModbusClientMixin.DATATYPE


def measure() -> Iterator[tuple[str, float, str]]:
    """Both figures for all shipped models together, then each model's requests."""
    models = _models()
    yield "modbus_decode_speed_over_pymodbus", _decode_ratio(models), "ratio"
    registers = sum(len(model.registers) for model in models)
    requests = sum(map(_requests, models))
    yield "modbus_registers_per_request", registers / requests, "ratio"
    for model in models:
        yield f"modbus_requests_{model.name}_of_{len(model.registers)}", _requests(model), "count"


def _models() -> list[Model]:
    return [
        read_model(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.toml"))
    ]


def _requests(model: Model) -> int:
    return len(plan_spans(model.registers, model.gap_max, model.span_max))


def _decode_ratio(models: list[Model]) -> float:
    """Their time over ours for the same words, turn by turn. They make bare numbers of words that
    are at hand already; ours are readings, scaled, rounded and with their ratios."""
    source = random.Random(SEED)
    ratios = []
    for number in range(ROUNDS):
        seconds = {"ours": 0.0, "theirs": 0.0}
        for model in models:
            words = [_words(model, source) for _ in range(SWEEPS)]
            ours, theirs = _works(model, words)
            # Who goes first changes, so that a machine that gets busier favours neither.
            pair = [("ours", ours), ("theirs", theirs)]
            for who, work in pair if number % 2 else reversed(pair):
                seconds[who] += _seconds(work)
        ratios.append(seconds["theirs"] / seconds["ours"])
    return statistics.median(ratios)


def _works(
    model: Model, sweeps: list[dict[int, int]]
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Decoding all sweeps, by us and by pymodbus; both were asked for the same numbers before."""
    decoder = Decoder(model, model.registers)
    columns = [
        (_DATATYPE[one.type.upper()], [[words[at] for at in _addresses(one)] for words in sweeps])
        for one in model.registers
    ]
    convert = ModbusClientMixin.convert_from_registers
    order = model.word_order
    for at, words in enumerate(sweeps):
        readings = decoder.readings(words)
        assert len(readings) == len(model.registers)
        for one, (datatype, rows), reading in zip(model.registers, columns, readings, strict=True):
            if not one.times:
                theirs = convert(rows[at], datatype, order) * one.multiplier * 10.0**one.exponent
                shown = reading.quantity.value * 10.0**reading.quantity.scaler
                assert abs(theirs - shown) <= 0.51 * 10.0**reading.quantity.scaler

    def ours() -> None:
        for words in sweeps:
            decoder.readings(words)

    def theirs_all() -> None:
        for datatype, rows in columns:
            for row in rows:
                convert(row, datatype, order)

    return ours, theirs_all


def _words(model: Model, source: random.Random) -> dict[int, int]:
    """One sweep's words: each register shows a number as a meter does, another one each time."""
    words = {}
    for one in model.registers:
        if one.type in FLOATS:
            form, value = (">f" if one.type == "float32" else ">d"), source.uniform(1, 99999)
            raw = struct.pack(form, value)
        else:
            raw = source.randrange(1, 30_000).to_bytes(2 * one.words, "big")
        row = struct.unpack(f">{one.words}H", raw)
        words.update(
            zip(_addresses(one), row if model.word_order == "big" else row[::-1], strict=True)
        )
    return words


def _addresses(one: Register) -> range:
    return range(one.address, one.address + one.words)


def _seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
