"""The kit itself: bench.toml and its page, what pytest makes of a bench, the real one on ptys."""

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.meters.dlt645_driver import Dlt645Conversation
from hil.line import Line
from hil.pseudo_tty import open_pty, read_waiting
from hil.scenario import DLT645
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import BroadcastTime
from protocols.dlt645.frame import BROADCAST
from protocols.dlt645.requests import request
from protocols.errors import SettingError
from tests.bench_kit import vm
from tests.bench_kit.bench import WallClock
from tests.bench_kit.bench_file import RULES, read_bench_file
from tests.bench_kit.features import FEATURES
from tests.bench_kit.interlock import InterlockError
from tests.bench_kit.meters import make_meter
from tests.bench_kit.real import RealBench, features_of
from tests.test_docs import row

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bench.md").read_text()
RUN_S_MAX = 110


def run_pytest(folder: Path, *words: str) -> tuple[int, str]:
    """A pytest of its own; its exit code and what it said."""
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
        text=True,
        timeout=RUN_S_MAX,
    )
    return done.returncode, done.stdout + done.stderr


# --- bench.toml ---------------------------------------------------------------------------------

LINE = '[line]\nport = "/dev/a"\n'
METER = '[[meter]]\nprotocol = "dlt645-2007"\naddress = "000000000161"\n'


@pytest.mark.parametrize("table", RULES)
def test_every_setting_is_documented_as_it_is(table: str) -> None:
    """Name, allowed values, default and meaning, under the heading of its section."""
    section = PAGE.split(f"### {table}\n")[1].split("\n### ")[0].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == [row(rule) for rule in RULES[table]]


def test_every_feature_is_documented_as_it_is() -> None:
    """The words that a test may need."""
    section = PAGE.split("## Features\n")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert [line.split(" | ")[0] for line in found] == [f"| `{word}`" for word in FEATURES]
    assert all(f"| {meaning} |" in section for meaning in FEATURES.values())


@pytest.mark.parametrize("number", range(PAGE.count("```toml\n")))
def test_the_examples_are_good(number: int, tmp_path: Path) -> None:
    """Each passes the check that it is an example of."""
    path = tmp_path / "bench.toml"
    path.write_text(PAGE.split("```toml\n")[number + 1].split("```")[0])
    assert read_bench_file(path).line["port"].startswith("/dev/serial/by-id/")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x", "is not TOML"),
        ("[mater]\n", "unknown key 'mater'; allowed are line, meter"),
        ("[line]\n", "line: port is missing"),
        (LINE, "has neither answers_on nor a [[meter]]"),
        (LINE + "baud = 2401\n" + METER, "line: baud = 2401 is not allowed; it must be one of"),
        (LINE + 'answers_on = "/dev/b"\n' + METER, "meter 1 is not allowed; with answers_on"),
        (LINE + 'answers_on = "/dev/a"\n', "answers_on is the port"),
        (LINE + METER + 'allows = ["relay control"]\n', "it needs sacrificial = true"),
        (LINE + METER + 'sacrificial = true\nallows = ["relay"]\n', "it must be a list of functi"),
        (LINE + METER + 'sacrificial = "no"\n', "it must be true or false"),
        (LINE + METER + METER, "meter 2: 000000000161 stands twice"),
        (LINE + METER.replace("161", "16"), "address = '00000000016' is not allowed"),
        (LINE + METER.replace("000000000161", "999999999999"), "not the broadcast"),
        (LINE + METER.replace("dlt645-2007", "mbus"), "protocol = 'mbus' is not allowed"),
        (LINE + '[[meter]]\naddress = "1"\n', "protocol is missing"),
        (LINE + '[[meter]]\nprotocol = "modbus"\naddress = "248"\n', "a unit from '1' to '247'"),
        ("meter = 3\n" + LINE, "[[meter]] must stand at most"),
    ],
)
def test_a_wrong_file_gets_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    """Which file, which key, what is allowed."""
    path = tmp_path / "bench.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as caught:
        read_bench_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Says so."""
    with pytest.raises(SettingError, match="cannot be read"):
        read_bench_file(tmp_path / "bench.toml")


# --- pytest -------------------------------------------------------------------------------------

PROBE = """
import pytest
def test_name(bench):
    assert bench.name == WANTED
@pytest.mark.needs("virtual-time")
def test_virtual(bench):
    assert bench.clock.advance(3600) is None
@pytest.mark.needs("parity")
def test_parity(bench):
    assert bench.name == "real"
def test_without():
    assert True
"""


def test_every_report_says_which_bench_a_result_comes_from(tmp_path: Path) -> None:
    """In the header, in the name of the test, in a line a bench, and in the XML."""
    (tmp_path / "test_probe.py").write_text(PROBE.replace("WANTED", '"sim"'))
    code, text = run_pytest(
        tmp_path, "-p", "tests.bench_kit.plugin", "-v", "--junitxml=out.xml", "test_probe.py"
    )
    assert code == 1
    assert "bench: sim, pty" in text
    assert "test_name[sim] PASSED" in text
    assert "bench sim: 2 passed, 0 failed, 1 skipped\n    bench sim lacks parity\n" in text
    assert "bench pty: 0 passed, 1 failed, 2 skipped\n    bench pty lacks parity\n" in text
    assert "    bench pty lacks virtual-time\n" in text
    xml = (tmp_path / "out.xml").read_text()
    assert xml.count('<property name="bench" value="pty"') == 3
    assert xml.count('<property name="bench" value="sim"') == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--bench", "head"), "bench head is reserved for the MicroPython serial head"),
        (("--bench", "real"), "--bench real needs --bench-file FILE"),
        (("--bench", "real", "--bench-file", "none.toml"), "none.toml: cannot be read"),
        (("--bench", "lab"), "invalid choice: 'lab'"),
    ],
)
def test_a_bench_that_is_not_there(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    """One sentence."""
    (tmp_path / "test_probe.py").write_text(PROBE)
    _, text = run_pytest(tmp_path, "-p", "tests.bench_kit.plugin", *words, "-rs", "test_probe.py")
    assert sentence in text
    assert "passed" not in text.replace("1 passed, 3 skipped", "").replace("0 passed", "")


def test_a_word_that_is_no_feature_ends_the_run(tmp_path: Path) -> None:
    """It would skip its test for ever."""
    (tmp_path / "test_probe.py").write_text(PROBE.replace("parity", "partiy"))
    code, text = run_pytest(tmp_path, "-p", "tests.bench_kit.plugin", "test_probe.py")
    assert code == 4
    assert "needs 'partiy'; allowed are virtual-time," in text


def test_a_guest_that_cannot_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is missing, and where to read on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(vm.KERNEL_VARIABLE, str(tmp_path))
    results = vm.run_in_guest(ROOT, [])
    assert results.outcomes == {}
    assert results.reason == (
        "bench vm needs qemu-system-x86_64, busybox, a Debian kernel (BUSBAR_VM_KERNEL); "
        "see docs/bench.md"
    )


# --- the real bench, on ptys --------------------------------------------------------------------


@pytest.fixture
def crossed() -> Iterator[tuple[str, str]]:
    """Two ttys back to back, as two adapters on one pair of wires are."""
    ends = [open_pty(), open_pty()]
    masters = [end[0] for end in ends]
    stop, stopping = os.pipe()

    def carry() -> None:
        while True:
            ready = select.select([*masters, stop], [], [])[0]
            if stop in ready:
                return
            for one, other in (masters, masters[::-1]):
                if one in ready:
                    os.write(other, read_waiting(one))

    thread = threading.Thread(target=carry)
    thread.start()
    yield ends[0][2], ends[1][2]
    os.close(stopping)
    thread.join()
    os.close(stop)
    for master, slave, _ in ends:
        os.close(master)
        os.close(slave)


def test_two_adapters_back_to_back_run_the_same_tests(
    crossed: tuple[str, str], tmp_path: Path
) -> None:
    """Virtual meters of every protocol behind the second tty, orders included."""
    path = tmp_path / "bench.toml"
    path.write_text(
        f'[line]\nport = "{crossed[0]}"\nanswers_on = "{crossed[1]}"\nparity = "N"\npaced = false\n'
        "response_timeout_ms = 300\ngap_ms = 100\n"
    )
    words = "each_protocol or not_there or checksum or broadcast or relay or in_parts"
    code, text = run_pytest(
        ROOT, "tests/hil/test_on_bench.py", "--bench", "real", "--bench-file", str(path),
        "-k", words,
    )  # fmt: skip
    assert code == 0, text
    assert "bench real: 15 passed, 0 failed, 0 skipped" in text


@pytest.fixture
def street(tmp_path: Path) -> Iterator[tuple[Path, Line]]:
    """bench.toml of a line with two meters: one is sacrificial, the other is paid by."""
    line = Line(tmp_path / "line1", baud=9600)
    with line:
        for address in ("000000000161", "000000000162"):
            line.attach(make_meter(DLT645, address, WallClock().utc_ms, {}).station)
        other = METER.replace("161", "162")
        orders = 'sacrificial = true\nallows = ["relay control"]\npassword = "2:123456"\n'
        path = tmp_path / "bench.toml"
        settings = 'baud = 9600\nparity = "N"\nresponse_timeout_ms = 300\n'
        path.write_text(LINE.replace("/dev/a", str(line.link)) + settings + other + METER + orders)
        yield path, line


def test_real_meters_are_read_and_only_the_marked_one_is_switched(
    street: tuple[Path, Line],
) -> None:
    """Nothing for which nobody wired a meter is tried; the broadcast would reach the other one."""
    code, text = run_pytest(
        ROOT, "tests/hil/test_on_bench.py", "--bench", "real", "--bench-file", str(street[0]),
        "-rs", "-k", "not search",
    )  # fmt: skip
    assert code == 0, text
    assert "bench real: 4 passed, 0 failed" in text  # read, silence, clock, relay
    for reason in (
        "bench real has no modbus meter",
        "bench real has no dlt645-2007 meter that allows broadcast time",
        "bench real lacks faults",
        "bench real lacks parity",
    ):
        assert f"    {reason}" in text


def test_the_interlock_is_below_the_line(street: tuple[Path, Line], tmp_path: Path) -> None:
    """Whatever a test sends: through the line, through the port, whole or in pieces."""
    path, wire = street
    bench = RealBench(tmp_path, read_bench_file(path))
    assert features_of(bench.file) == {"paced", "sacrificial-meter"}
    line = bench.line()
    time = BroadcastTime(MeterTime(2026, 2, 2, 12, 0, 0))
    line.port.open()
    with pytest.raises(InterlockError, match="not sacrificial"):
        line.port.write(request(BROADCAST, time).to_bytes())
    line.port.close()
    before = wire.statistics()
    paid = dlt645.read("000000000162", "00010000")
    paid.request = paid.request._replace(control=0x1C)
    with pytest.raises(InterlockError, match="000000000162, which is not sacrificial"):
        line.master.converse(Dlt645Conversation(paid))
    assert wire.statistics().bytes_out == before.bytes_out == 0
    bench.close()
