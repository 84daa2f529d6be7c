"""A Modbus meter model: a reviewed TOML file under this schema; adding one needs no Python.

value = raw x multiplier x 10^exponent unit, then times every register named in `times` (a current
transformer ratio, say). A float register is rounded to 10^resolution unit, because a reading is an
integer and float32 carries digits that the meter never measured.
"""

from collections import namedtuple

from protocols.errors import CallerError, SettingError
from protocols.obis import Obis
from protocols.quantity import KIND_BY_NAME, UNITS
from protocols.settings import REQUIRED, choice, matching, read_table, text, texts, whole

WORDS = {"uint16": 1, "int16": 1, "uint32": 2, "int32": 2, "uint64": 4, "int64": 4, "float32": 2}
KINDS = ("cumulative", "interval", "instantaneous", "maximum", "status")
REGISTERS_MAX = 256  # of one model


class Register(
    namedtuple(
        "Register",
        (
            "name",
            "obis",
            "address",
            "type",
            "multiplier",
            "exponent",
            "resolution",
            "unit",
            "kind",
            "times",
        ),
    )
):
    """One quantity of a model; `address` as sent on the wire (0-based)."""

    @property
    def words(self) -> int:
        """Holding or input registers that it spans."""
        return WORDS[self.type]


class Model(namedtuple("Model", ("name", "title", "function", "word_order", "registers"))):
    """A meter model: `function` 3 (holding) or 4 (input), `word_order` big or little."""


def _is_obis(value: str) -> bool:
    try:
        Obis.from_text(value)
    except CallerError:
        return False
    return True


MODEL_RULES = (
    text("title", REQUIRED, "maker and types, for people"),
    choice("function", (3, 4), REQUIRED, "Modbus function that reads the registers"),
    choice(
        "word_order",
        ("big", "little"),
        REQUIRED,
        "which 16-bit word of a wide register comes first",
    ),
    text("source", REQUIRED, "where the map was read, and what is not confirmed", 1000),
)
REGISTER_RULES = (
    text("name", REQUIRED, "the field's name of the quantity"),
    matching("obis", _is_obis, "an OBIS code such as 1-0:1.8.0", REQUIRED, "key of the quantity"),
    whole("address", 0, 65535, REQUIRED, "first register, as sent on the wire"),
    choice("type", tuple(WORDS), REQUIRED, "how the words hold the number"),
    whole("multiplier", 1, 1000000, 1, "raw x multiplier x 10^exponent is in `unit`"),
    whole("exponent", -9, 9, 0, "power of ten of the raw number in `unit`"),
    whole("resolution", -9, 9, None, "float registers: rounded to 10^resolution `unit`"),
    choice("unit", UNITS, REQUIRED, "base unit"),
    choice("kind", KINDS, REQUIRED, "what the value is over time"),
    texts(
        "times", lambda one: True, "register names", (), "registers whose values multiply this one"
    ),
)


def read_model(name: str, table: dict) -> Model:
    """The checked model of a parsed TOML file; SettingError with one sentence when it is not
    one."""
    where = f"meter model {name}"
    head = {key: value for key, value in table.items() if key != "register"}
    settings = read_table(head, MODEL_RULES, where)
    rows = table.get("register")
    if not isinstance(rows, list) or not 0 < len(rows) <= REGISTERS_MAX:
        raise SettingError(f"{where}: [[register]] must stand 1 to {REGISTERS_MAX} times")
    registers = tuple(
        [_read_register(row, f"{where}: register {n + 1}") for n, row in enumerate(rows)]
    )
    _check_together(registers, where)
    return Model(name, settings["title"], settings["function"], settings["word_order"], registers)


def _read_register(row: object, where: str) -> Register:
    one = read_table(row, REGISTER_RULES, where)
    if one["type"] == "float32" and one["resolution"] is None:
        raise SettingError(f"{where}: resolution is missing; a float32 register needs one")
    if one["type"] != "float32" and one["resolution"] is not None:
        raise SettingError(
            f"{where}: resolution = {one['resolution']} is only for float32 registers"
        )
    if one["address"] + WORDS[one["type"]] > 65536:
        raise SettingError(f"{where}: address = {one['address']} leaves no room for {one['type']}")
    return Register(
        one["name"],
        Obis.from_text(one["obis"]),
        one["address"],
        one["type"],
        one["multiplier"],
        one["exponent"],
        one["resolution"],
        one["unit"],
        KIND_BY_NAME[one["kind"]],
        tuple(one["times"]),
    )


def _check_together(registers: tuple, where: str) -> None:
    names = [register.name for register in registers]
    codes = [register.obis for register in registers]
    for register in registers:
        if names.count(register.name) > 1:
            raise SettingError(f"{where}: name {register.name!r} stands twice; names must differ")
        if codes.count(register.obis) > 1:
            raise SettingError(
                f"{where}: obis {register.obis.text()} stands twice; codes must differ"
            )
        for factor in register.times:
            if factor not in names:
                raise SettingError(
                    f"{where}: times of {register.name} names {factor!r}, no register here"
                )
            if (
                registers[names.index(factor)].times
                or registers[names.index(factor)].type == "float32"
            ):
                raise SettingError(
                    f"{where}: {factor} must be an integer register without times of its own"
                )
