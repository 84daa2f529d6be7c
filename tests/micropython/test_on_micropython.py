"""The meter part of protocols/ on real MicroPython: every runtime that this machine has.

The WebAssembly runtime is always there; the Unix port and the Cortex-M3 firmware are used when
`make micropython` has built them, and skipped with that sentence otherwise.
"""

import json
import re
import shutil
import struct
import tomllib
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.micropython.planted import (
    CLEAN,
    FAILS_ON_1_25,
    HIDDEN,
    ON_A_BOARD,
    PLANTED,
    REFUSED,
    SILENT,
)
from tests.micropython.portability import portable_files
from tests.micropython.runtimes import (
    HERE,
    ROOT,
    RUNTIMES,
    CortexM3,
    CPython,
    Runtime,
    ScriptError,
    Wasm,
    meter_part,
    module_name,
)
from tests.protocols.vectors import BY_ID, VECTORS, content, wire

IMPORT_ALL = """
import sys
faults = 0
for name in MODULES:
    try:
        __import__(name)
    except Exception as error:
        faults += 1
        print(name + ": " + type(error).__name__ + ": " + str(error))
assert not faults
"""
RUN_EACH = """
for kind, source in SOURCES:
    try:
        exec(source, {"REFUSED": REFUSED})
    except Exception:
        continue
    print(kind)
"""
LOOK_UP = """
import gc
from protocols.dlt645.identifiers import identifier_bytes, items_of

for code in CODES:
    items_of(identifier_bytes(code), 4)
gc.collect()
print(gc.mem_free())
"""
READ_WORDS = """
from protocols.modbus.model import read_model
from protocols.modbus.plan import plan_spans
from protocols.modbus.values import decode_registers

def readings(name, table, words):
    model = read_model(name, table)
    print([tuple(span) for span in plan_spans(model.registers)])
    for reading in decode_registers(model, model.registers, words):
        print(reading.obis.text(), tuple(reading.quantity), reading.quantity.shown())
"""
SEED = 20261121
HEAP_FREE_MIN = 24 * 1024  # bytes, of the 140 kB that the firmware has
READ = "11"  # control byte of a read, edition 2007


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, require: Callable[..., None]) -> Runtime:
    """Each runtime that this machine has."""
    found = RUNTIMES[request.param]
    if isinstance(found, Wasm):
        require("node", found.package)
    elif reason := found.lacks():
        pytest.skip(reason)
    return found


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder that holds the meter part and nothing else, as a board would."""
    put(tmp_path, meter_part(ROOT))
    return tmp_path


def put(stage: Path, files: list[Path]) -> None:
    """Copy files of this tree to the same place under `stage`."""
    for path in files:
        target = stage / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def rows(output: str) -> list[Any]:
    """One JSON value a line, numbers exact."""
    return [json.loads(line, parse_float=Decimal) for line in output.splitlines()]


# ---- what is there -----------------------------------------------------------------------------


def test_every_module_of_the_meter_part_is_imported(runtime: Runtime, stage: Path) -> None:
    """No module needs what MicroPython lacks, or what the manifest leaves out."""
    names = [module_name(ROOT, path) for path in meter_part(ROOT)]
    assert "protocols.dlt645.values" in names
    assert runtime.run(stage, f"MODULES = {names}", IMPORT_ALL) == ""


def test_a_module_that_cannot_be_imported_is_named(runtime: Runtime, stage: Path) -> None:
    """The test above fails on one; the firmware does not hold what is not frozen."""
    (stage / "protocols" / "bad.py").write_text("import dataclasses\n")
    with pytest.raises(ScriptError, match=r"protocols\.bad: ImportError"):
        runtime.run(stage, "MODULES = ['protocols.errors', 'protocols.bad']", IMPORT_ALL)


def test_the_rest_of_the_portable_code_is_imported(require: Callable, tmp_path: Path) -> None:
    """Envelope and messages run on MicroPython too, but for the binding to CPython's libraries."""
    require("node", Wasm.package)
    put(tmp_path, portable_files(ROOT))
    names = [module_name(ROOT, path) for path in portable_files(ROOT)]
    assert "protocols.envelope.seal" in names
    assert Wasm().run(tmp_path, f"MODULES = {names}", IMPORT_ALL) == ""


def test_the_firmware_holds_the_meter_part_and_nothing_else(stage: Path) -> None:
    """What is frozen is what the manifest names, module by module."""
    if reason := CortexM3().lacks():
        pytest.skip(reason)
    frozen = CortexM3().run(stage, "help('modules')").split()
    named = [str(path.relative_to(ROOT).with_suffix("")) for path in meter_part(ROOT)]
    assert sorted(word for word in frozen if word.startswith("protocols")) == sorted(named)


def test_the_meter_part_leaves_room_on_a_board(stage: Path) -> None:
    """All of it loaded, and every identifier of the vectors looked up: the rest is for the
    program that uses it."""
    if reason := CortexM3().lacks():
        pytest.skip(reason)
    names = [module_name(ROOT, path) for path in meter_part(ROOT)]
    codes = sorted({vector["di"] for vector in VECTORS if vector.get("di")})
    left = int(CortexM3().run(stage, f"MODULES, CODES = {names}, {codes}", IMPORT_ALL, LOOK_UP))
    print(f"{left} bytes of the heap are free")
    assert left > HEAP_FREE_MIN


# ---- DL/T 645 ----------------------------------------------------------------------------------


def test_every_vector_says_what_it_states(runtime: Runtime, stage: Path) -> None:
    """Frame, fault, pieces and values of all vectors, and no word that CPython does not say."""
    source = (HERE / "vectors.py").read_text()
    calls = [f"report({one['id']!r}, {wire(one).hex()!r})" for one in VECTORS]
    there = rows(runtime.run(stage, source, *calls))
    assert there == rows(CPython().run(stage, source, *calls))
    assert [row["id"] for row in there] == [vector["id"] for vector in VECTORS]
    for vector, row in zip(VECTORS, there, strict=True):
        judge_frame(vector, row)
    judged = sum(
        judge_values(vector, row.get("values", []))
        for vector, row in zip(VECTORS, there, strict=True)
    )
    assert judged >= 30  # replies of edition 2007 whose content the vectors state


def judge_frame(vector: dict[str, Any], row: dict[str, Any]) -> None:
    """The frames are those that the vector states, whatever the pieces, and so is the fault."""
    streams = [frames for frames, _, _ in row["stream"]]
    if vector["expect"] == "stream":
        stated = [list(content(frame)) for frame in vector["expected"]["frames"]]
    elif vector["expect"].startswith("reject:"):
        assert row["fault"] == vector["expect"].partition(":")[2], vector["id"]
        return
    else:
        stated = [list(content(vector))]
        assert row["wire"] == wire(vector)[vector["preamble"] :].hex()
        assert row["frame"] == [stated[0][0], stated[0][1], stated[0][2].hex()], vector["id"]
    assert streams == [[[a, c, d.hex()] for a, c, d in stated]] * len(streams), vector["id"]


def judge_values(vector: dict[str, Any], found: list[Any]) -> bool:
    """Whether the vector states values and they were decoded; wrong ones fail."""
    expected = vector["expected"]
    texts = [one for one in (expected.get(key) for key in ("text", "date", "time")) if one]
    numbers = expected.get("joined_values") or expected.get("values")
    if "value" in expected or "word" in expected:
        numbers = [expected.get("value", expected.get("word"))]
    if vector["expect"] != "accept" or not found or not (texts or numbers):
        return False
    shown = [one[2] for one in found]
    if texts:
        assert shown == texts, vector["id"]
    else:
        assert [one and Decimal(one) for one in shown] == [
            None if one is None else Decimal(one) for one in numbers
        ], vector["id"]
    return True


def recorded_reads() -> list[list[dict[str, Any]]]:
    """The recorded exchanges that begin with a read, each as request, reply, request, reply, …"""
    found: dict[str, list[dict[str, Any]]] = {}
    for vector in VECTORS:
        turns = found.setdefault(vector.get("pair", vector["id"]), [])
        if vector["direction"] == ("s2m" if len(turns) % 2 else "m2s"):
            turns.append(vector)
    return [turns for turns in found.values() if turns[1:] and turns[0].get("control") == READ]


def test_a_master_and_a_slave_talk(runtime: Runtime, stage: Path) -> None:
    """Every recorded read, cut at seeded places, with noise and a late answer: asked as recorded,
    answered with the stated values or refusal, and the late answer taken by nobody."""
    print("seed", SEED)
    reads = recorded_reads()
    late = wire(BY_ID["v151"]).hex()  # a good reply, but to no read
    calls = []
    for number, turns in enumerate(reads):
        table = {
            wire(asked)[asked["preamble"] :].hex(): wire(told).hex()
            for asked, told in zip(turns[::2], turns[1::2], strict=True)
        }
        first = turns[0]
        talk = (turns[-1]["id"], SEED + number, first["address"], first["di"], table, late)
        calls.append(f"talk{talk!r}")
    source = (HERE / "conversation.py").read_text()
    there = rows(runtime.run(stage, source, *calls))
    assert there == rows(CPython().run(stage, source, *calls))
    assert len(there) == len(reads) >= 20
    judged = 0
    for turns, row in zip(reads, there, strict=True):
        asked = [wire(one)[one["preamble"] :] for one in turns[::2]]
        assert [bytes.fromhex(one).lstrip(b"\xfe") for one in row["sent"]] == asked
        assert row["strays"] == 1
        refusal = turns[-1]["expected"].get("err")
        assert row["refused"] == (refusal and ["UnsupportedError", refusal])
        assert row["state"] == ("asked" if refusal else "done")
        judged += judge_values(turns[-1], row["values"])
    assert judged >= 16


# ---- Modbus, and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chint-dtsu666", "eastron-sdm630"])
def test_a_models_words_are_read(name: str, runtime: Runtime, stage: Path) -> None:
    """Every register of a shipped model, floats to the last digit."""
    path = ROOT / "protocols" / "meter_models" / f"{name}.toml"
    table = tomllib.loads(path.read_text())
    words: dict[int, int] = {}
    floats = {}
    for number, register in enumerate(table["register"]):
        value = [230.1, 0.1, 123456.78, -17.505, 1e-9][number % 5]
        if register["type"] == "float32":
            sent = struct.pack(">f", value)
            floats[register["obis"]] = (register, Fraction(*struct.unpack(">f", sent)))
        else:
            sent = struct.pack(">H", 10)  # a ratio: 10, or 1.0 where a digit is a decimal
        for at in range(0, len(sent), 2):
            words[register["address"] + at // 2] = int.from_bytes(sent[at : at + 2], "big")
    call = f"readings({name!r}, {table!r}, {words!r})"
    there = runtime.run(stage, READ_WORDS, call)
    assert there == CPython().run(stage, READ_WORDS, call)
    assert len(there.splitlines()) == 1 + len(table["register"])
    for register, value in floats.values():
        line = next(one for one in there.splitlines() if one.startswith(register["obis"] + "*"))
        given = re.search(r"\((-?\d+), (-?\d+), ", line)
        assert given, line
        assert exactly(register, value) == int(given[1]) * Fraction(10) ** int(given[2]), line


def exactly(register: dict[str, Any], value: Fraction) -> Fraction:
    """What a float register says: scaled, rounded half away from zero, times its ratio of 10."""
    step = Fraction(10) ** register["resolution"]
    steps = abs(value) * Fraction(10) ** register.get("exponent", 0) / step
    rounded = int(steps + Fraction(1, 2)) * step * (1 if value > 0 else -1)
    return rounded * register.get("multiplier", 1) * 10 ** ("ct_ratio" in register.get("times", ()))


NUMBERS = """bcd of 8 bytes: 9999999999999999
bcd of 2^31: 4836484721
bcd of 2^53 + 1: 9309745492190790
bcd too large: CallerError
bcd negative: CallerError
bcd digit above 9: ValueFormatError
energy of 8 digits: 123456.78
item too large: ValueFormatError
item negative: ValueFormatError
sum near 2^63: 9223372036854775806
text of 2^62 - 1: 46116860184273879.03
text of a large scaler: 4611686018427387903000000000000000000
control too large: FrameError
control negative: FrameError
data too long: FrameError
data longest: 267
wildcard address: CallerError
uint32 of 2^32 - 1: [4294967295]
int32 of -2^31: [-2147483648]
uint64 of 2^62 - 1: [4611686018427387903]
uint64 of 2^62: []
int64 of -2^62 + 1: [-4611686018427387903]
int32 times a million: [2147483647000000]
float32 of 12345678: [1234567800]
float32 of 0.1: [10]
float32 of 3.4e38: []
multiplier too large: SettingError
obis of 256: CallerError
"""


def test_numbers_are_exact_or_refused(runtime: Runtime, stage: Path) -> None:
    """Beyond 31, 53 and 62 bits nothing wraps, and no float is in between."""
    source = (HERE / "numbers.py").read_text()
    assert CPython().run(stage, source) == NUMBERS
    assert runtime.run(stage, source) == NUMBERS


# ---- the bans, and the runtimes themselves -----------------------------------------------------


def test_the_bans_are_true(runtime: Runtime, stage: Path) -> None:
    """Each planted fault runs on CPython and fails on MicroPython: on each, but for those that
    only a board or only an older release shows."""
    planted = {kind: source for kind, (source, _) in {**PLANTED, **HIDDEN}.items()} | SILENT
    sources = [*planted.items(), *ON_A_BOARD.items()]
    script = (REFUSED, f"SOURCES = {sources}", RUN_EACH)
    kinds = [kind for kind, _ in sources]
    assert CPython().run(stage, *script).splitlines() == kinds
    passed = set() if isinstance(runtime, CortexM3) else set(ON_A_BOARD)
    if isinstance(runtime, Wasm):
        passed |= FAILS_ON_1_25
    assert set(runtime.run(stage, *script).splitlines()) == passed


def test_what_is_permitted_works(runtime: Runtime, stage: Path) -> None:
    """The constructions that the portability test lets pass run on every interpreter."""
    assert CPython().run(stage, CLEAN) == ""
    assert runtime.run(stage, CLEAN) == ""


@pytest.mark.parametrize("source", ["1 / 0", "def f(:", "raise SystemExit(3)", "import nothing"])
def test_a_failing_script_fails_the_run(source: str, runtime: Runtime, stage: Path) -> None:
    """A traceback is never exit 0, which the WebAssembly package's own command line gets wrong."""
    with pytest.raises(ScriptError):
        runtime.run(stage, "print('before')", source)
