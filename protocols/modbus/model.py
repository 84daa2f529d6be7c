"""A Modbus meter model: a reviewed TOML file under this schema; adding one needs no Python.

value = raw x multiplier x 10^exponent unit, then times every register named in `times` (a current
transformer ratio, say). A float register is rounded to 10^resolution unit, because a reading is an
integer and a float carries digits that the meter never measured.
"""

from collections import namedtuple

from protocols.errors import CallerError, SettingError
from protocols.modbus.plan import GAP_REGISTERS_MAX, SPAN_REGISTERS_MAX
from protocols.obis import Obis
from protocols.quantity import KIND_BY_NAME, UNITS
from protocols.settings import REQUIRED, choice, matching, read_table, text, texts, whole

WORDS = {
    "uint16": 1,
    "int16": 1,
    "uint32": 2,
    "int32": 2,
    "uint64": 4,
    "int64": 4,
    "float32": 2,
    "float64": 4,
}
FLOATS = ("float32", "float64")
KINDS = ("cumulative", "interval", "instantaneous", "maximum", "status")
REGISTERS_MAX = 256  # of one model
WRITES_MAX = 16  # of one model
WRITE_NAMES = ("disconnect", "arm", "connect")  # IEC 61968-9, COSEM disconnect control
WRITE_COIL, WRITE_REGISTER, WRITE_REGISTERS = 5, 6, 16  # application protocol 1.1b3, 6.5, 6.6, 6.12
READ_COILS, READ_INPUTS = 1, 2  # 6.1, 6.2: bits, not words
_HEX = "0123456789ABCDEFabcdef"


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
            "function",
            "absent",
        ),
    )
):
    """One quantity of a model; `address` as sent on the wire (0-based), read with `function` 3 or
    4; `absent` are the raw numbers, as unsigned bits, that say "there is no value"."""

    @property
    def words(self) -> int:
        """Holding or input registers that it spans."""
        return WORDS[self.type]


class Write(
    namedtuple(
        "Write",
        (
            "name",
            "function",
            "address",
            "value",
            "state_function",
            "state_address",
            "state_mask",
            "state_value",
        ),
    )
):
    """One thing that can be done to a meter's relay, and how to see that it was done: the bits
    `state_mask` of what `state_function` reads at `state_address` are then `state_value`."""


class Model(
    namedtuple(
        "Model",
        (
            "name",
            "title",
            "function",
            "word_order",
            "registers",
            "span_max",
            "gap_max",
            "writes",
        ),
    )
):
    """A meter model: `function` 3 (holding) or 4 (input) of the registers that name none,
    `word_order` big or little, `span_max` registers of one request, `gap_max` unread ones between
    two."""


def _is_obis(value: str) -> bool:
    try:
        Obis.from_text(value)
    except CallerError:
        return False
    return True


def _is_hex(value: str) -> bool:
    return 0 < len(value) <= 16 and all(digit in _HEX for digit in value)


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
    whole("span_max", 1, SPAN_REGISTERS_MAX, SPAN_REGISTERS_MAX, "registers of one request"),
    whole(
        "gap_max",
        0,
        SPAN_REGISTERS_MAX - 2,
        GAP_REGISTERS_MAX,
        "unlisted registers that a request may read over",
    ),
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
    choice("function", (3, 4), None, "Modbus function of this register; without it, the model's"),
    texts(
        "absent",
        _is_hex,
        "hex numbers, 4 digits for each word",
        (),
        "raw numbers, highest digit first, that mean: no value",
    ),
)
WRITE_RULES = (
    choice("name", WRITE_NAMES, REQUIRED, "what it does to the relay"),
    choice(
        "function",
        (WRITE_COIL, WRITE_REGISTER, WRITE_REGISTERS),
        REQUIRED,
        "5 writes a coil, 6 and 16 a holding register",
    ),
    whole("address", 0, 65535, REQUIRED, "coil or register, as sent on the wire"),
    whole("value", 0, 65535, REQUIRED, "what is written; of a coil 0 or 1"),
    choice(
        "state_function",
        (READ_COILS, READ_INPUTS, 3, 4),
        REQUIRED,
        "how the relay's state is read: coil, discrete input, holding or input register",
    ),
    whole("state_address", 0, 65535, REQUIRED, "coil or register of the state"),
    whole("state_mask", 1, 65535, None, "the register's bits that count; without it, all"),
    whole("state_value", 0, 65535, REQUIRED, "those bits once it was done; of a coil 0 or 1"),
)


def read_model(name: str, table: dict) -> Model:
    """The checked model of a parsed TOML file; SettingError with one sentence when it is not
    one."""
    model, faults = check_model(name, table)
    if model is None:
        raise SettingError(faults[0])
    return model


def check_model(name: str, table: dict) -> tuple:
    """(model, []), or (None, a sentence for each fault that was found)."""
    where = f"meter model {name}"
    faults: list = []
    head = {key: value for key, value in table.items() if key not in ("register", "write")}
    settings = _read(head, MODEL_RULES, where, faults)
    rows = table.get("register")
    if not isinstance(rows, list) or not 0 < len(rows) <= REGISTERS_MAX:
        faults.append(f"{where}: [[register]] must stand 1 to {REGISTERS_MAX} times")
        rows = []
    function = settings["function"] if settings else None
    registers = [
        _read_register(row, function, f"{where}: register {n + 1}", faults)
        for n, row in enumerate(rows)
    ]
    write_rows = table.get("write", [])
    if not isinstance(write_rows, list) or len(write_rows) > WRITES_MAX:
        faults.append(f"{where}: [[write]] must stand 0 to {WRITES_MAX} times")
        write_rows = []
    writes = [
        _read_write(row, f"{where}: write {n + 1}", faults) for n, row in enumerate(write_rows)
    ]
    found = [one for one in registers if one]
    # A name whose row has another fault is there all the same: one fault, one sentence.
    faulty = [row.get("name") for row in rows if isinstance(row, dict)]
    _check_registers(found, faulty, where, faults)
    _check_writes([one for one in writes if one], where, faults)
    if settings:
        _check_widths(found, settings["span_max"], where, faults)
    if faults or not settings:
        return None, faults
    return Model(
        name,
        settings["title"],
        settings["function"],
        settings["word_order"],
        tuple(registers),
        settings["span_max"],
        settings["gap_max"],
        tuple(writes),
    ), []


def _read(table: object, rules: tuple, where: str, faults: list) -> "dict | None":
    """The settings of one table; None, and a sentence for each of its faults, otherwise."""
    try:
        return read_table(table, rules, where)
    except SettingError as error:
        if not isinstance(table, dict):
            faults.append(str(error))
            return None
    names = [rule.name for rule in rules]
    parts = [({key: table[key]}, rules) for key in table if key not in names]
    parts += [({key: table[key] for key in table if key == rule.name}, (rule,)) for rule in rules]
    for part, judges in parts:
        try:
            read_table(part, judges, where)
        except SettingError as error:
            faults.append(str(error))
    return None


def _read_register(row: object, function: object, where: str, faults: list) -> "Register | None":
    one = _read(row, REGISTER_RULES, where, faults)
    if one is None:
        return None
    before = len(faults)
    kind = one["type"]
    if kind in FLOATS and one["resolution"] is None:
        faults.append(f"{where}: resolution is missing; a {kind} register needs one")
    if kind not in FLOATS and one["resolution"] is not None:
        faults.append(f"{where}: resolution = {one['resolution']} is only for float registers")
    if one["address"] + WORDS[kind] > 65536:
        faults.append(f"{where}: address = {one['address']} leaves no room for {kind}")
    faults += [
        f"{where}: absent = {pattern!r} is not allowed; "
        f"a {kind} register takes {4 * WORDS[kind]} hex digits"
        for pattern in one["absent"]
        if len(pattern) != 4 * WORDS[kind]
    ]
    if len(faults) > before:
        return None
    return Register(
        one["name"],
        Obis.from_text(one["obis"]),
        one["address"],
        kind,
        one["multiplier"],
        one["exponent"],
        one["resolution"],
        one["unit"],
        KIND_BY_NAME[one["kind"]],
        tuple(one["times"]),
        one["function"] or function,
        tuple([int(pattern, 16) for pattern in one["absent"]]),
    )


def _read_write(row: object, where: str, faults: list) -> "Write | None":
    one = _read(row, WRITE_RULES, where, faults)
    if one is None:
        return None
    before = len(faults)
    if one["function"] == WRITE_COIL and one["value"] > 1:
        faults.append(f"{where}: value = {one['value']} is not allowed; a coil takes 0 or 1")
    is_bit = one["state_function"] in (READ_COILS, READ_INPUTS)
    if is_bit and one["state_mask"] is not None:
        faults.append(f"{where}: state_mask is only for registers; a coil is one bit")
    mask = 1 if is_bit else one["state_mask"] or 0xFFFF
    if one["state_value"] & ~mask:
        faults.append(
            f"{where}: state_value = {one['state_value']} is not allowed; "
            f"it has bits outside the mask {mask:04X}"
        )
    if len(faults) > before:
        return None
    return Write(
        one["name"],
        one["function"],
        one["address"],
        one["value"],
        one["state_function"],
        one["state_address"],
        mask,
        one["state_value"],
    )


def _check_registers(registers: list, all_names: list, where: str, faults: list) -> None:
    names = [register.name for register in registers]
    codes = [register.obis for register in registers]
    for n, register in enumerate(registers):
        if register.name in names[:n]:
            faults.append(f"{where}: name {register.name!r} stands twice; names must differ")
        if register.obis in codes[:n]:
            faults.append(f"{where}: obis {register.obis.text()} stands twice; codes must differ")
        if len(set(register.times)) < len(register.times):
            faults.append(f"{where}: times of {register.name} names a register twice")
        for factor in register.times:
            if factor not in all_names:
                faults.append(
                    f"{where}: times of {register.name} names {factor!r}, no register here"
                )
            elif factor in names and _is_no_factor(registers[names.index(factor)]):
                faults.append(
                    f"{where}: {factor} must be an integer register without times of its own"
                )


def _is_no_factor(register: Register) -> bool:
    return bool(register.times or register.type in FLOATS)


def _check_widths(registers: list, span_max: int, where: str, faults: list) -> None:
    faults += [
        f"{where}: span_max = {span_max} is not allowed; "
        f"{register.name} alone takes {register.words} registers"
        for register in registers
        if register.words > span_max
    ]


def _check_writes(writes: list, where: str, faults: list) -> None:
    for n, write in enumerate(writes):
        for other in writes[:n]:
            if write.name == other.name:
                faults.append(f"{where}: write {write.name!r} stands twice; names must differ")
            elif write[1:4] == other[1:4]:
                faults.append(f"{where}: {other.name} and {write.name} write the same")
            elif write[4:] == other[4:]:
                faults.append(
                    f"{where}: {other.name} and {write.name} leave the same state; "
                    "it must tell them apart"
                )
