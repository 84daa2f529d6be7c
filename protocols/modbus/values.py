"""Register words to readings: word order, sign, scale and float32, all in integers."""

from protocols.errors import ValueFormatError
from protocols.modbus.model import Model, Register
from protocols.quantity import SCALER_MAX, VALUE_MAX, Quantity
from protocols.readings import Reading

_BIAS = 127 + 23  # IEEE 754 binary32: exponent bias and mantissa bits
_HIDDEN = 1 << 23


def decode_registers(model: Model, registers: tuple, words: dict) -> list:
    """The readings of `registers` from `words` (address -> 16-bit word).

    A register whose words are missing, or whose float is not a number, gives no reading; one whose
    factor has no value gives none either, because an unscaled value would be a wrong one. Nor does
    a number that no message carries: it is a fill pattern or damage, and would spoil its batch.
    """
    by_name = {}
    for register in registers:
        quantity = _decode(register, model.word_order, words)
        if quantity is not None:
            by_name[register.name] = quantity
    readings = []
    for register in registers:
        quantity = by_name.get(register.name)
        for factor in register.times:
            ratio = by_name.get(factor)
            # A ratio of 0 is a meter that nobody set up: no value, rather than an energy of 0.
            if quantity is not None:
                quantity = _times(quantity, ratio) if ratio is not None and ratio.value else None
        if quantity is not None and _is_carried(quantity):
            readings.append(Reading(register.obis, quantity))
    return readings


def _is_carried(quantity: Quantity) -> bool:
    return abs(quantity.value) < VALUE_MAX and abs(quantity.scaler) <= SCALER_MAX


def _times(quantity: Quantity, ratio: Quantity) -> Quantity:
    value, scaler = quantity.value * ratio.value, quantity.scaler + ratio.scaler
    while value % 10 == 0 and scaler < quantity.scaler:  # a ratio of 1.0 must not add digits
        value, scaler = value // 10, scaler + 1
    return Quantity(value, scaler, quantity.unit, quantity.kind)


def _decode(register: Register, word_order: str, words: dict) -> "Quantity | None":
    raw = 0
    addresses = range(register.address, register.address + register.words)
    for address in addresses if word_order == "big" else reversed(addresses):
        word = words.get(address)
        if word is None:
            return None
        raw = raw << 16 | word
    scaler = register.exponent
    if register.type == "float32":
        value = _rounded_float(raw, register)
        if value is None:
            return None
        scaler = register.resolution
    else:
        bits = 16 * register.words
        value = raw - (1 << bits) if register.type[0] == "i" and raw >> (bits - 1) else raw
        value *= register.multiplier
    return Quantity(value, scaler, register.unit, register.kind)


def _rounded_float(raw: int, register: Register) -> "int | None":
    """binary32 x multiplier x 10^(exponent - resolution), rounded half away from zero; None for NaN
    and infinity."""
    exponent = raw >> 23 & 0xFF
    if exponent == 0xFF:
        return None
    mantissa = (raw & (_HIDDEN - 1)) | (_HIDDEN if exponent else 0)
    two = (exponent or 1) - _BIAS
    ten = register.exponent - register.resolution
    top = mantissa * register.multiplier * 2 ** max(two, 0) * 10 ** max(ten, 0)
    bottom = 2 ** max(-two, 0) * 10 ** max(-ten, 0)
    value = (2 * top + bottom) // (2 * bottom)
    return -value if raw >> 31 else value


def words_of(data: bytes, address: int) -> dict:
    """Address -> word of a read reply's register bytes; ValueFormatError on an odd count."""
    if len(data) % 2:
        raise ValueFormatError("register bytes come in pairs")
    return {address + n // 2: data[n] << 8 | data[n + 1] for n in range(0, len(data), 2)}
