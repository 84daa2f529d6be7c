"""Numbers at the edges: each line is a name and a result. Runs on every interpreter.

Small integers have 31 bits on a board, floats 32, and `struct` and bytearrays wrap without a word:
what must be exact or refused is tried here.
"""

from protocols.bcd import decode_bcd, encode_bcd
from protocols.dlt645.exchange import read
from protocols.dlt645.frame import Frame
from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.dlt645.values import decode_items, encode_value
from protocols.errors import BusbarError
from protocols.modbus.model import read_model
from protocols.modbus.values import decode_registers, words_of
from protocols.obis import Obis
from protocols.quantity import VALUE_MAX, Kind, Quantity, decimal_text

ADDRESS = "000000000001"


def say(name: str, action: object) -> None:
    """The result of `action()`, or the name of our error; any other error ends the script."""
    try:
        result = str(action())  # type: ignore[operator]
    except BusbarError as error:
        result = type(error).__name__
    print(name + ": " + result)


def register(kind: str, words: str, multiplier: int = 1) -> list:
    """The readings of one register of type `kind`, as values."""
    row = {"name": "a", "obis": "1-0:1.8.0", "address": 65000, "type": kind, "unit": "Wh"}
    row["kind"] = "cumulative"
    row["multiplier"] = multiplier
    if kind == "float32":
        row["resolution"] = -2
    table = {"title": "t", "function": 3, "word_order": "big", "source": "s", "register": [row]}
    model = read_model("a", table)
    readings = decode_registers(
        model, model.registers, words_of(bytes.fromhex(words), row["address"])
    )
    return [reading.quantity.value for reading in readings]


def energy(payload: str) -> object:
    """What a person sees of an energy reply."""
    return decode_items(identifier_bytes("00010000") + bytes.fromhex(payload))[0][1].shown()[0]


def total() -> object:
    """The sum of the two largest values that a message carries."""
    half = Quantity(VALUE_MAX - 1, 0, "Wh", Kind.CUMULATIVE)
    return (half + half).value


def item() -> object:
    """An unsigned item of four bytes."""
    return items_of(identifier_bytes("00010000"), 4)[0]


say("bcd of 8 bytes", lambda: decode_bcd(b"\x99" * 8))
say("bcd of 2^31", lambda: encode_bcd(1 << 31, 5).hex())
say("bcd of 2^53 + 1", lambda: encode_bcd((1 << 53) + 1, 8).hex())
say("bcd too large", lambda: encode_bcd(100**4, 4))
say("bcd negative", lambda: encode_bcd(-1, 4))
say("bcd digit above 9", lambda: decode_bcd(b"\x00\x0a"))
say("energy of 8 digits", lambda: energy("78563412"))
say("item too large", lambda: encode_value(item(), 100**4))
say("item negative", lambda: encode_value(item(), -1))
say("sum near 2^63", total)
say("text of 2^62 - 1", lambda: decimal_text(VALUE_MAX - 1, -2))
say("text of a large scaler", lambda: decimal_text(VALUE_MAX - 1, 18))
say("control too large", lambda: Frame(ADDRESS, 0x111, b"").to_bytes())
say("control negative", lambda: Frame(ADDRESS, -1, b"").to_bytes())
say("data too long", lambda: Frame(ADDRESS, 0x11, bytes(256)).to_bytes())
say("data longest", lambda: len(Frame(ADDRESS, 0x11, bytes(255)).to_bytes()))
say("wildcard address", lambda: read("AAAAAAAAAAAA", "00010000"))
say("uint32 of 2^32 - 1", lambda: register("uint32", "ffffffff"))
say("int32 of -2^31", lambda: register("int32", "80000000"))
say("uint64 of 2^62 - 1", lambda: register("uint64", "3fffffffffffffff"))
say("uint64 of 2^62", lambda: register("uint64", "4000000000000000"))
say("int64 of -2^62 + 1", lambda: register("int64", "c000000000000001"))
say("int32 times a million", lambda: register("int32", "7fffffff", 1000000))
say("float32 of 12345678", lambda: register("float32", "4b3c614e"))
say("float32 of 0.1", lambda: register("float32", "3dcccccd"))
say("float32 of 3.4e38", lambda: register("float32", "7f7fffff"))
say("multiplier too large", lambda: register("uint16", "0001", 1 << 31))
say("obis of 256", lambda: Obis.from_text("1-0:256.8.0"))
