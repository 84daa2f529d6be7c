"""Who stood opposite our code, in which role, with what, and which tests decide.

A row passes when all its checks pass. Where the counterpart has a known fault, the checks assert
the fault, and the row says what it is: it differs as expected.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
HIL = "tests/hil/test_strangers.py::"
MODBUS = "tests/edge/test_strangers_modbus.py::"
SYSTEM = "tests/system/test_strangers.py::"
RECORDED = "tests/edge/test_transcripts.py::test_a_stranger_is_recorded_and_replayed"
PYPI = "tests/conformance/test_pypi_dlt645.py::"
RIGHT = PYPI + "test_what_it_does_right"
FAULT = PYPI + "test_its_known_faults_are_still_there"
REGISTERS = MODBUS + "test_every_register_that_is_there_is_read_and_no_other"
NEVER_RUN = "no registry has it"


class Row(NamedTuple):
    """`checks` are test names as pytest has them, parameters included where only some count, none
    where the counterpart cannot be had. `fault` is the counterpart's own."""

    counterpart: str
    role: str
    exercised: str
    checks: tuple[str, ...]
    fault: str = ""


METER, MASTER = "meter", "master"
ROWS = (
    Row("PyPI dlt645", METER, "read by our gateway: energies, U, I, P, power factor, frequency",
        (SYSTEM + "test_strangers_values_arrive_exactly",
         HIL + "test_a_foreign_meter_answers_on_our_line",
         RECORDED + "[dlt645-pypi-pypi_dlt645_meter]", PYPI + "test_our_master_reads_it")),
    Row("PyPI dlt645", METER, "written by our master: 14 with password and operator",
        (PYPI + "test_our_master_writes_to_it",)),
    Row("PyPI dlt645", METER, "refusal (ERR 02), read address (13), sign, preamble, damaged frame",
        (RIGHT,)),
    Row("PyPI dlt645", METER, "a frame for another address, or to AA or 99..99",
        tuple(f"{FAULT}[{one}]" for one in (
            "answers for another address", "answers AA as AA", "answers a read to 99..99")),
        "answers all three"),
    Row("PyPI dlt645", METER, "blocks and follow-up parts",
        (f"{FAULT}[has no blocks]", f"{FAULT}[has no follow-up (12)]"), "ERR 02, ERR 01"),
    Row("PyPI dlt645", METER, "relay (1C), clear meter (1A), security (03)",
        tuple(f"{FAULT}[{one}]" for one in (
            "has no relay (1C)", "wants an identifier in 1A", "has no security (03)")),
        "ERR 01 for all three"),
    Row("PyPI dlt645", METER, "9600 bit/s (17)", (f"{FAULT}[has no 9600 bit/s (17)]",),
        "takes the rate for BCD: ERR 08"),
    Row("PyPI dlt645", METER, "an answer sent to it", (f"{FAULT}[answers an answer (C=91)]",),
        "answers it"),
    Row("PyPI dlt645", MASTER, "reads our meter: values, signs, preambles, wire speed, address",
        (HIL + "test_a_foreign_master_reads_our_meter_exactly",
         HIL + "test_a_foreign_master_reads_our_meter_at_wire_speed")),
    Row("PyPI dlt645", MASTER, "our refusal (ERR 02)",
        (HIL + "test_a_foreign_master_takes_our_refusal_for_no_value",)),
    Row("PyPI dlt645", MASTER, "writes, freeze, clear events, new address: judged by our meter",
        (HIL + "test_a_foreign_master_writes_to_our_meter_and_orders_things",)),
    Row("PyPI dlt645", MASTER, "time (08), dated freeze (16), rate (17), clears, password (18)",
        (HIL + "test_a_foreign_master_writes_to_our_meter_and_orders_things",),
        "sends them in the wrong order or code; our meter does none of them"),
    Row("python-dlt645", MASTER, "finds and reads our meter",
        (HIL + "test_another_foreign_master_finds_and_reads_our_meter",)),
    Row("pymodbus", METER, "holding and input registers, holes; RTU and TCP",
        (f"{REGISTERS}[pymodbus-modbus]", f"{REGISTERS}[pymodbus-modbus-tcp]",
         RECORDED + "[modbus-pymodbus-pymodbus_meter]")),
    Row("pymodbus", METER, "through gateway and head end; RTU over TCP, and Modbus TCP",
        (SYSTEM + "test_strangers_values_arrive_exactly",)),
    Row("pymodbus", MASTER, "reads our virtual meter, which pymodbus serves: not independent",
        (HIL + "test_pymodbus_reads_our_modbus_meter_between_frames_of_the_other_protocol",)),
    Row("libmodbus", METER, "holding and input registers, holes; RTU and TCP",
        (f"{REGISTERS}[libmodbus-modbus]", f"{REGISTERS}[libmodbus-modbus-tcp]")),
    Row("libmodbus", METER, "exception 06; a connection that it closes",
        (MODBUS + "test_a_unit_that_is_busy_is_not_dropped",
         MODBUS + "test_a_unit_that_hangs_up_is_called_again")),
    Row("mbpoll", MASTER, "reads our virtual meter: floats, RTU",
        (HIL + "test_mbpoll_reads_our_modbus_meter",)),
    Row("mbpoll", MASTER, "reads our virtual meter: floats, exception 02, TCP",
        (HIL + "test_mbpoll_reads_our_modbus_meter_over_tcp",)),
    Row("glx-technologies/meter-dlt645", MASTER, "relay (1C); a frame of it is a vector", ()),
    Row("VaccariaSeed/go-dlt645-2007", MASTER, "follow-up parts; frames of it are vectors", ()),
    Row("olivenet-iot/ivy-4g-gateway", METER, "dials in; a frame of it is a vector", ()),
    Row("WKJay/DLT645", MASTER, "reads, both editions", ()),
)  # fmt: skip


def _package(name: str) -> Callable[[], str]:
    def find() -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""

    return find


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def _python_dlt645() -> str:
    """From the folder of its own that it lives in."""
    for path in (ROOT / "build" / "python-dlt645").glob("*.dist-info"):
        return _found(r"-([0-9][0-9.]*)\.dist-info$", path.name)
    return ""


def _libmodbus() -> str:
    header = Path("/usr/include/modbus/modbus-version.h")
    return _found(r'VERSION_STRING\s+"([^"]+)"', header.read_text()) if header.exists() else ""


def _mbpoll() -> str:
    """As Debian says; the program itself calls every release 1.0-0."""
    if shutil.which("mbpoll") is None or shutil.which("dpkg-query") is None:
        return ""
    command = ["dpkg-query", "-W", "-f", "${Version}", "mbpoll"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return _found(r"^([0-9][0-9.]*)", done.stdout)


VERSIONS: dict[str, Callable[[], str]] = {  # those of requirements/ are the same everywhere
    "PyPI dlt645": _package("dlt645"),
    "pymodbus": _package("pymodbus"),
    "python-dlt645": _python_dlt645,
    "libmodbus": _libmodbus,
    "mbpoll": _mbpoll,
}
LOCKED = ("PyPI dlt645", "pymodbus")
