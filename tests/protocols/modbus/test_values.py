"""protocols/modbus/values.py: register words to exact readings."""

import math
import struct
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.envelope.batch import decode_batch, encode_batch
from protocols.errors import ValueFormatError
from protocols.modbus.model import FLOATS, WORDS, Model, Register
from protocols.modbus.values import Decoder, decode_registers, words_of
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading, ReadingSet

WORD = st.integers(0, 0xFFFF)
LARGEST = 1 << 62  # what a batch, a receipt and SQLite carry


def register(name: str = "x", **keys: Any) -> Register:
    """A register at address 0 of one word, whole units."""
    fields = {
        "name": name, "obis": Obis(1, 0, 12, 7, 0, 255), "address": 0, "type": "uint16",
        "multiplier": 1, "exponent": 0, "resolution": None, "unit": "V", "kind": Kind.INSTANTANEOUS,
        "times": (), "function": 3, "absent": (), **keys,
    }  # fmt: skip
    return Register(**fields)


def model(*registers: Register, word_order: str = "big") -> Model:
    """A model of these registers."""
    return Model("m", "a meter", 3, word_order, registers, 125, 8, ())


def decoded(
    words: dict[int, int], *registers: Register, word_order: str = "big"
) -> dict[Obis, Quantity]:
    """OBIS -> quantity of what the registers give."""
    readings = decode_registers(model(*registers, word_order=word_order), registers, words)
    assert {type(reading) for reading in readings} <= {Reading}
    assert {type(reading.quantity) for reading in readings} <= {Quantity}
    return dict(readings)


def only(words: dict[int, int], one: Register, word_order: str = "big") -> Quantity | None:
    """What a single register gives."""
    found = decoded(words, one, word_order=word_order)
    assert list(found) in ([], [one.obis])
    return found.get(one.obis)


def rounded(exact: Fraction, resolution: int) -> int:
    """`exact` in units of 10^resolution, half away from zero."""
    scaled = abs(exact) / Fraction(10) ** resolution
    whole = math.floor(scaled + Fraction(1, 2))
    return -whole if exact < 0 else whole


# ---- float32 -----------------------------------------------------------------------------------


@given(
    st.integers(0, 0xFFFFFFFF),
    st.integers(-4, 4),
    st.integers(-4, 1),
    st.sampled_from((1, 2, 7, 1000)),
)
@example(0x00000000, 0, 0, 1)
@example(0x80000000, 0, 0, 1)
@example(0x00000001, 0, -4, 1000)  # the smallest subnormal
@example(0x807FFFFF, 4, -4, 1000)  # the largest subnormal
@example(0x00800000, 0, 0, 1)
@example(0x7F7FFFFF, 0, 0, 1)  # the largest number
@example(0x7F800000, 0, 0, 1)
@example(0xFF800000, 0, 0, 1)
@example(0x7FC00000, 0, 0, 1)
@example(0x7F800001, 0, 0, 1)
@example(0x3F000000, 0, 0, 1)  # 0.5, away from zero
@example(0xBF000000, 0, 0, 1)
@example(0x3DCCCCCD, 0, -1, 1)
@example(0x4B7FFFFF, 0, 0, 1)  # the last number with a fraction of nothing: 2^24 - 1
@example(0x4B800001, 0, 0, 1)  # the first one in steps of two
@example(0xDD7FFFFF, 0, 0, 1)  # -1.15e18, near the largest that is carried
def test_a_float_is_rounded_exactly_from_any_bit_pattern(
    bits: int, exponent: int, resolution: int, multiplier: int
) -> None:
    """Oracle: the platform's float32 and rational arithmetic. No number, no reading."""
    one = register(type="float32", exponent=exponent, resolution=resolution, multiplier=multiplier)
    quantity = only({0: bits >> 16, 1: bits & 0xFFFF}, one)
    (value,) = struct.unpack(">f", bits.to_bytes(4, "big"))
    if math.isnan(value) or math.isinf(value):
        assert quantity is None
        return
    exact = rounded(Fraction(value) * multiplier * Fraction(10) ** exponent, resolution)
    if abs(exact) < LARGEST:
        assert quantity == Quantity(exact, resolution, "V", Kind.INSTANTANEOUS)
    else:
        assert quantity is None


@given(st.floats(-1e6, 1e6, width=32), st.integers(-4, 2))
def test_a_float_is_rounded_as_decimal_arithmetic_does(value: float, resolution: int) -> None:
    """A second oracle, another arithmetic: half up in the magnitude."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    quantity = only({0: high, 1: low}, register(type="float32", resolution=resolution))
    with localcontext(prec=200):
        expected = Decimal(value).quantize(Decimal(1).scaleb(resolution), ROUND_HALF_UP)
        assert quantity is not None
        assert Decimal(quantity.value).scaleb(quantity.scaler) == expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (230.1, "230.1"),
        (0.0, "0.0"),
        (-0.04, "0.0"),
        (-0.05, "-0.1"),
        (0.25, "0.3"),
        (1e6, "1000000.0"),
    ],
)
def test_a_float_shows_no_digit_that_the_meter_never_measured(value: float, shown: str) -> None:
    """230.1 is 230.1000061 as a float32; a tenth of a volt is what it means."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    quantity = only({0: high, 1: low}, register(type="float32", resolution=-1))
    assert quantity is not None
    assert quantity.shown() == (shown, "V")


@given(
    st.integers(0, (1 << 64) - 1),
    st.integers(-4, 4),
    st.integers(-4, 1),
    st.sampled_from((1, 2, 7, 1000)),
)
@example(0x0000000000000000, 0, 0, 1)
@example(0x8000000000000000, 0, 0, 1)
@example(0x0000000000000001, 0, -4, 1000)  # the smallest subnormal
@example(0x800FFFFFFFFFFFFF, 4, -4, 1000)  # the largest subnormal
@example(0x0010000000000000, 0, 0, 1)
@example(0x7FEFFFFFFFFFFFFF, 0, 0, 1)  # the largest number
@example(0x7FF0000000000000, 0, 0, 1)
@example(0xFFF0000000000000, 0, 0, 1)
@example(0x7FF8000000000000, 0, 0, 1)
@example(0x7FF0000000000001, 0, 0, 1)
@example(0x3FE0000000000000, 0, 0, 1)  # 0.5, away from zero
@example(0xBFE0000000000000, 0, 0, 1)
@example(0x4340000000000000, 0, 0, 1)  # 2^53
@example(0x433FFFFFFFFFFFFF, 0, 0, 1)  # 2^53 - 1
@example(0xC3CFFFFFFFFFFFFF, 0, 0, 1)  # just inside what is carried
@example(0x43D0000000000000, 0, 0, 1)  # 2^62: just outside
def test_a_double_is_rounded_exactly_from_any_bit_pattern(
    bits: int, exponent: int, resolution: int, multiplier: int
) -> None:
    """Oracle: the platform's double and rational arithmetic. No number, no reading."""
    one = register(type="float64", exponent=exponent, resolution=resolution, multiplier=multiplier)
    words = struct.unpack(">4H", bits.to_bytes(8, "big"))
    quantity = only(dict(enumerate(words)), one)
    assert quantity == only(dict(enumerate(reversed(words))), one, "little")
    (value,) = struct.unpack(">d", bits.to_bytes(8, "big"))
    if math.isnan(value) or math.isinf(value):
        assert quantity is None
        return
    exact = rounded(Fraction(value) * multiplier * Fraction(10) ** exponent, resolution)
    if abs(exact) < LARGEST:
        assert quantity == Quantity(exact, resolution, "V", Kind.INSTANTANEOUS)
    else:
        assert quantity is None


# ---- integers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in WORDS if kind not in FLOATS])
@pytest.mark.parametrize("word_order", ["big", "little"])
@given(source=st.data())
def test_an_integer_is_read_by_its_type_and_word_order(
    kind: str, word_order: str, source: st.DataObject
) -> None:
    """Oracle: int.from_bytes, signed or not, first word high or low."""
    words = source.draw(st.lists(WORD, min_size=WORDS[kind], max_size=WORDS[kind]))
    at = source.draw(st.integers(0, 65536 - len(words)))
    multiplier = source.draw(st.integers(1, 1000))
    ordered = words if word_order == "big" else list(reversed(words))
    raw = int.from_bytes(struct.pack(f">{len(words)}H", *ordered), "big", signed=kind[0] == "i")
    one = register(type=kind, address=at, multiplier=multiplier, exponent=-2)
    given_words = {at + n: word for n, word in enumerate(words)}
    expected = Quantity(raw * multiplier, -2, "V", Kind.INSTANTANEOUS)
    found = only(given_words, one, word_order)
    assert found == (expected if abs(expected.value) < LARGEST else None)


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        ("uint16", [0xFFFF], 65535),
        ("int16", [0xFFFF], -1),
        ("int16", [0x8000], -32768),
        ("int16", [0x7FFF], 32767),
        ("uint32", [0x0001, 0x0000], 65536),
        ("int32", [0xFFFF, 0xFFFE], -2),
        ("int32", [0x8000, 0x0000], -(1 << 31)),
        ("uint64", [0, 0, 0, 5], 5),
        ("int64", [0xFFFF] * 4, -1),
    ],
)
def test_a_sign_is_the_top_bit_of_a_signed_type(kind: str, words: list[int], value: int) -> None:
    """By hand, at the edges."""
    quantity = only(dict(enumerate(words)), register(type=kind))
    assert quantity is not None
    assert (quantity.value, type(quantity.value)) == (value, int)


def test_float_words_follow_the_word_order_too() -> None:
    """Some firmware lets it be changed."""
    high, low = struct.unpack(">HH", struct.pack(">f", 230.1))
    one = register(type="float32", resolution=-1)
    assert only({0: high, 1: low}, one, "big") == only({0: low, 1: high}, one, "little")
    assert only({0: low, 1: high}, one, "big") != only({0: low, 1: high}, one, "little")


# ---- missing words -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WORDS)
def test_a_register_with_a_missing_word_gives_no_reading(kind: str) -> None:
    """Half a value is none; zero is a value."""
    one = register(type=kind, address=10, resolution=0 if kind in FLOATS else None)
    words = dict.fromkeys(range(10, 10 + one.words), 0)
    assert only(words, one) == Quantity(0, 0, "V", Kind.INSTANTANEOUS)
    for left_out in words:
        assert only({at: 0 for at in words if at != left_out}, one) is None
    assert only({}, one) is None


def test_the_other_registers_still_count() -> None:
    """One refused span does not cost the sweep."""
    a, b = register("a", obis=Obis(1, 0, 1, 8, 0, 255)), register("b", address=1)
    assert decoded({1: 7}, a, b) == {b.obis: Quantity(7, 0, "V", Kind.INSTANTANEOUS)}


# ---- fill patterns and functions ---------------------------------------------------------------


@pytest.mark.parametrize("word_order", ["big", "little"])
@pytest.mark.parametrize("kind", WORDS)
def test_a_fill_pattern_is_no_reading(kind: str, word_order: str) -> None:
    """Compared with all bits of the register, in the model's word order; its neighbours count."""
    bits = 16 * WORDS[kind]
    pattern = (1 << bits - 1) - 1 if kind[0] == "i" else 0x4000 << bits - 16
    resolution = 0 if kind in FLOATS else None
    one = register(type=kind, resolution=resolution, absent=(pattern, 5))
    for raw in (pattern, 5, pattern - 1, pattern + 1):
        words = list(struct.unpack(f">{WORDS[kind]}H", raw.to_bytes(bits // 8, "big")))
        given_words = dict(enumerate(words if word_order == "big" else reversed(words)))
        found = only(given_words, one, word_order)
        without = only(given_words, one._replace(absent=()), word_order)
        assert found == (None if raw in (pattern, 5) else without)


def test_registers_of_both_functions_stand_in_one_model() -> None:
    """Holding and input register 6 are two; a ratio of one scales a value of the other."""
    ratio = register("ratio", address=6, function=3, obis=Obis(1, 0, 0, 4, 2, 255), unit="1")
    volts = register("volts", address=6, function=4, times=("ratio",))
    words = words_of(b"\x00\x02", 6, 3) | words_of(b"\x00\x73", 6, 4)
    assert decoded(words, ratio, volts)[volts.obis].value == 230
    assert decoded(words_of(b"\x00\x73", 6, 4), ratio, volts) == {}
    # Bare addresses are the model's own function (3 here), and nobody else's.
    assert list(decoded({6: 2}, ratio, volts)) == [ratio.obis]


def test_a_decoder_serves_many_sweeps() -> None:
    """Nothing of one sweep stays for the next."""
    volts = register("volts", exponent=-1, times=("pt",))
    decoder = Decoder(model(volts, PT), (volts, PT))
    assert [one.quantity.value for one in decoder.readings({0: 2301, 2: 10})] == [2301, 10]
    assert [one.quantity.value for one in decoder.readings({0: 2302, 2: 20})] == [4604, 20]
    assert decoder.readings({0: 2301}) == []
    assert decoder.readings({}) == []


# ---- ratios ------------------------------------------------------------------------------------

CT = register("ct", obis=Obis(1, 0, 0, 4, 2, 255), address=1, unit="1")
PT = register("pt", obis=Obis(1, 0, 0, 4, 3, 255), address=2, unit="1", exponent=-1)
POWER = register("power", address=0, type="int16", exponent=-1, unit="W", times=("ct", "pt"))


@given(st.integers(-0x8000, 0x7FFF), st.integers(1, 0xFFFF), st.integers(1, 0xFFFF))
def test_a_ratio_multiplies_exactly(raw: int, ct: int, pt: int) -> None:
    """Raw value times both ratios, at no more digits than the product has."""
    found = decoded({0: raw & 0xFFFF, 1: ct, 2: pt}, POWER, CT, PT)
    power = found[POWER.obis]
    exact = Fraction(raw, 10) * ct * Fraction(pt, 10)
    assert power.value * Fraction(10) ** power.scaler == exact
    assert (power.unit, power.kind) == ("W", Kind.INSTANTANEOUS)
    assert power.scaler in (-2, -1)
    assert power.scaler == -1 or power.value % 10 != 0
    assert found[CT.obis] == Quantity(ct, 0, "1", Kind.INSTANTANEOUS)
    assert found[PT.obis] == Quantity(pt, -1, "1", Kind.INSTANTANEOUS)


@pytest.mark.parametrize(
    ("raw", "pt", "shown"),
    [
        (2301, 10, "230.1"),
        (2301, 1000, "23010.0"),
        (2301, 15, "345.15"),
        (0, 10, "0.0"),
        (0, 15, "0.0"),
    ],
)
def test_a_ratio_of_one_adds_no_digits(raw: int, pt: int, shown: str) -> None:
    """1.0 times 230.1 is 230.1, not 230.10."""
    volts = register("volts", exponent=-1, times=("pt",))
    assert decoded({0: raw, 2: pt}, volts, PT)[volts.obis].shown() == (shown, "V")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_value_without_its_ratio_is_no_value(missing: int) -> None:
    """An unscaled value would be a wrong one."""
    words = {0: 100, 1: 40, 2: 10}
    del words[missing]
    found = decoded(words, POWER, CT, PT)
    assert POWER.obis not in found
    assert len(found) == 2 if missing == 0 else len(found) == 1


@pytest.mark.parametrize("ratios", [{1: 0, 2: 10}, {1: 40, 2: 0}])
def test_a_ratio_of_zero_gives_no_value(ratios: dict[int, int]) -> None:
    """A meter that nobody set up: its energy is not 0, it is not known."""
    assert POWER.obis not in decoded({0: 100, **ratios}, POWER, CT, PT)


def test_a_ratio_that_was_not_asked_for_is_missing() -> None:
    """The driver adds factors to what is wanted; without them nothing is guessed."""
    assert decoded({0: 100, 1: 40, 2: 10}, POWER) == {}


# ---- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (register(type="uint64"), [0xFFFF] * 4),
        (register(type="uint64"), [0x4000, 0, 0, 0]),
        (register(type="int64"), [0x8000, 0, 0, 0]),
        (register(type="int64"), [0xC000, 0, 0, 0]),
        (register(type="uint64", multiplier=1000), [0x0020, 0, 0, 0]),
        (register(type="float32", resolution=-3), [0x7149, 0xF2CA]),  # 1e30
        (register(type="float32", resolution=-3), [0xFF61, 0xB1E6]),  # -3e38
    ],
)
def test_a_number_that_no_message_can_carry_gives_no_reading(
    one: Register, words: list[int]
) -> None:
    """All ones, or a damaged float: one such value must not spoil the batch that it travels in."""
    assert only(dict(enumerate(words)), one) is None
    other = register("other", address=9, obis=Obis(1, 0, 1, 8, 0, 255))
    assert list(decoded({**dict(enumerate(words)), 9: 1}, one, other)) == [other.obis]


def test_a_scale_that_no_message_can_carry_gives_no_reading() -> None:
    """Ratios bring their own power of ten; the finest that is carried is 10^-18."""
    fine = {
        n: register(f"f{n}", address=n, exponent=-9, obis=Obis(1, 0, n, 4, 0, 255)) for n in (1, 2)
    }
    for times, scaler in ((("f1",), -18), (("f1", "f2"), None)):
        one = register("one", address=3, exponent=-9, times=times)
        found = decoded({1: 3, 2: 3, 3: 3}, one, *fine.values())
        assert (one.obis in found) == (scaler is not None)
        assert scaler is None or found[one.obis] == Quantity(9, scaler, "V", Kind.INSTANTANEOUS)


def test_a_product_that_no_message_can_carry_gives_no_reading() -> None:
    """The ratios count too."""
    big = register("big", type="uint64", address=10, times=("ct",))
    words = {10: 0x1000, 11: 0, 12: 0, 13: 0}
    assert list(decoded({**words, 1: 1}, big, CT)) == [big.obis, CT.obis]
    assert list(decoded({**words, 1: 10}, big, CT)) == [CT.obis]


@given(
    st.lists(st.tuples(st.sampled_from(sorted(WORDS)), st.integers(-9, 9)), min_size=1, max_size=6),
    st.data(),
)
def test_any_words_give_readings_that_a_batch_carries(
    kinds: list[tuple[str, int]], source: st.DataObject
) -> None:
    """The fuzz sentence: whatever a meter puts into its registers, the head end takes the batch."""
    registers = [
        register(
            f"r{n}",
            obis=Obis(1, 0, n, 7, 0, 255),
            address=4 * n,
            type=kind,
            exponent=exponent,
            resolution=exponent if kind in FLOATS else None,
        )
        for n, (kind, exponent) in enumerate(kinds)
    ]
    words = source.draw(st.dictionaries(st.integers(0, 4 * len(kinds)), WORD | st.just(0xFFFF)))
    readings = decode_registers(model(*registers), tuple(registers), words)
    if readings:
        one = ReadingSet("m1", 1_763_700_000_000, 1000, bytes(16), 2, tuple(readings), 0, 0)
        assert decode_batch(encode_batch([(1, one)], 1)) == (1, [(1, one)])


# ---- bytes -------------------------------------------------------------------------------------


@given(st.lists(WORD, max_size=125), st.integers(0, 65535))
def test_register_bytes_become_words_by_address(words: list[int], address: int) -> None:
    """Two bytes a word, high byte first, in rising addresses."""
    found = words_of(struct.pack(f">{len(words)}H", *words), address)
    assert found == {address + n: word for n, word in enumerate(words)}


@pytest.mark.parametrize("size", [1, 3, 249])
def test_an_odd_number_of_register_bytes_is_refused(size: int) -> None:
    """Half a word is damage."""
    with pytest.raises(ValueFormatError, match="come in pairs"):
        words_of(bytes(size), 0)
