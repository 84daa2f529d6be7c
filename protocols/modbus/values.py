"""Register words to readings: word order, sign, scale and IEEE 754 floats, all in integers."""

from protocols.errors import ValueFormatError
from protocols.modbus.model import FLOATS, Model, Register
from protocols.quantity import SCALER_MAX, VALUE_MAX, Quantity
from protocols.readings import Reading

# IEEE 754: bits of the mantissa, bits of the exponent.
_FLOATS = {"float32": (23, 8), "float64": (52, 11)}
_FUNCTION_SHIFT = 16  # a key of `words`: function, address
_ADDRESS_MAX = 65535


class Decoder:
    """Makes readings of `registers`, sweep after sweep: what the model says about each register is
    worked out once."""

    def __init__(self, model: Model, registers: tuple) -> None:
        self._keyed = _Rows(model, registers, True)
        own = tuple([one for one in registers if one.function == model.function])
        self._bare = _Rows(model, own, False)

    def readings(self, words: dict) -> list:
        """The readings from `words`, `words_of(…, function)` of all replies; bare addresses as keys
        stand for the model's own function, and for nothing else.

        A register whose words are missing, or whose float is not a number, gives no reading, nor
        does a pattern that the meter fills in for "no value"; one whose factor has no value gives
        none either, because an unscaled value would be a wrong one. Nor does a number that no
        message carries: it is a fill pattern or damage, and would spoil its batch.
        """
        for key in words:
            return (self._keyed if key > _ADDRESS_MAX else self._bare).readings(words)
        return []


class _Rows:
    """The work for one kind of keys: with the function in them, or without."""

    def __init__(self, model: Model, registers: tuple, is_keyed: bool) -> None:
        factors = []
        self._ratios: list = []  # each set of factors that a register here has
        for register in registers:
            factors.extend(register.times)
            if register.times and register.times not in self._ratios:
                self._ratios.append(register.times)
        self._rows = [_row(register, model.word_order, is_keyed) for register in registers]
        self._factors = [
            (registers[n].name, row)
            for n, row in enumerate(self._rows)
            if registers[n].name in factors
        ]

    def readings(self, words: dict) -> list:
        """See `Decoder`."""
        numbers = {}
        for name, row in self._factors:
            numbers[name] = (_number(row, words), row[7])
        ratios = {times: _ratio(times, numbers) for times in self._ratios}
        readings = []
        for row in self._rows:
            high, low, _, absent, decode, times, obis, scaler, unit, kind = row
            if high is None:
                value = _number(row, words)
            elif high in words and low in words:
                raw = words[high] << 16 | words[low]
                value = None if raw in absent else decode(raw)
            else:
                continue
            if times and value is not None:
                ratio = ratios[times]
                if ratio is None:
                    continue
                value *= ratio[0]
                if ratio[1]:
                    value, scaler = _trimmed(value, scaler + ratio[1], scaler)
            if value is not None and -VALUE_MAX < value < VALUE_MAX:
                if -SCALER_MAX <= scaler <= SCALER_MAX:
                    readings.append(Reading(obis, Quantity(value, scaler, unit, kind)))
        return readings


def decode_registers(model: Model, registers: tuple, words: dict) -> list:
    """The readings of `registers` from one sweep's `words`, as a `Decoder` makes them."""
    return Decoder(model, registers).readings(words)


def words_of(data: bytes, address: int, function: int = 0) -> dict:
    """Address -> word of a read reply's register bytes; with `function` the keys say who read it,
    so that replies of functions 3 and 4 may stand in one dict. ValueFormatError on an odd count."""
    if len(data) % 2:
        raise ValueFormatError("register bytes come in pairs")
    key = function << _FUNCTION_SHIFT | address
    return {key + n // 2: data[n] << 8 | data[n + 1] for n in range(0, len(data), 2)}


def _row(register: Register, word_order: str, is_keyed: bool) -> tuple:
    """(high word's key, low word's key, all keys from the highest word, absent patterns, how to
    decode, times, obis, scaler, unit, kind); the first two only for a register of two words, which
    nearly all are."""
    first = register.address | (register.function << _FUNCTION_SHIFT if is_keyed else 0)
    keys = list(range(first, first + register.words))
    if word_order == "little":
        keys.reverse()
    is_pair = len(keys) == 2
    is_float = register.type in FLOATS
    return (
        keys[0] if is_pair else None,
        keys[1] if is_pair else None,
        tuple(keys),
        register.absent,
        _float_decoder(register) if is_float else _integer_decoder(register),
        register.times,
        register.obis,
        register.resolution if is_float else register.exponent,
        register.unit,
        register.kind,
    )


def _number(row: tuple, words: dict) -> "int | None":
    """The register's number in its last digit; None when there is none."""
    raw = 0
    for key in row[2]:
        word = words.get(key)
        if word is None:
            return None
        raw = raw << 16 | word
    return None if raw in row[3] else row[4](raw)


def _integer_decoder(register: Register):  # type: ignore[no-untyped-def]
    """Raw bits -> the number in the register's last digit."""
    multiplier = register.multiplier
    sign = 1 << (16 * register.words - 1) if register.type[0] == "i" else 0

    def decode(raw: int) -> int:
        return ((raw ^ sign) - sign) * multiplier

    return decode


def _float_decoder(register: Register):  # type: ignore[no-untyped-def]
    """Raw bits -> the float x multiplier x 10^(exponent - resolution), rounded half away from zero;
    None for NaN and infinity.

    Zero and subnormal numbers have no case of their own: below 1.2e-38, times the 10^24 that the
    schema allows at most, all of them round to 0.
    """
    size, exponent_size = _FLOATS[register.type]
    exponent_max = (1 << exponent_size) - 1
    sign = 1 << (size + exponent_size)
    hidden = 1 << size
    mask = hidden - 1
    shift_max = (exponent_max >> 1) + size
    ten = register.exponent - register.resolution
    top = 2 * register.multiplier * 10 ** max(ten, 0)
    bottom = 10 ** max(-ten, 0)

    def decode(raw: int) -> "int | None":
        exponent = raw >> size & exponent_max
        if exponent == exponent_max:
            return None
        mantissa = raw & mask | hidden
        shift = shift_max - exponent
        if shift >= 0:
            half = bottom << shift
            value: int = (mantissa * top + half) // (half << 1)
        else:
            value = ((mantissa * top << -shift) + bottom) // (bottom << 1)
        return -value if raw & sign else value

    return decode


def _ratio(times: tuple, numbers: dict) -> "tuple | None":
    """(value, scaler) of the product of these factors; None when one has no value. A ratio of 0 is
    a meter that nobody set up: no value, rather than an energy of 0."""
    value, scaler = 1, 0
    for name in times:
        number, digits = numbers.get(name, (None, 0))
        if not number:
            return None
        value, scaler = value * number, scaler + digits
    return _trimmed(value, scaler, 0)


def _trimmed(value: int, scaler: int, scaler_max: int) -> tuple:
    """The same number without zeros at its end, as far as `scaler_max`: a ratio of 1.0 must not add
    digits."""
    while value % 10 == 0 and scaler < scaler_max:
        value, scaler = value // 10, scaler + 1
    return value, scaler
