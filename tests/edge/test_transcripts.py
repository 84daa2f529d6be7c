"""The gateway's own drivers in front of golden transcripts: captured meters, and strangers that
`busbar-hil record` listened to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dlt645 import MeterServerService, disable_logging
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.line.line import Line, Wire
from edge.line.port import SerialPort
from hil.line import Line as VirtualLine
from hil.replayer import Playback, serve
from hil.transcript import Transcript, load_transcript
from tests.edge.fakes import finish
from tests.transcripts import captures, expected

NAMES = sorted(expected.meters())
PTY_NAMES = ("dlt645-p01", "dlt645-p12", "dlt645-p34", "cjt188-p5", "modbus-pymodbus")
# A stranger and what it shows: the values are told to it and never go through our encoder.
MODBUS_VALUES = {0x0000: 230.14, 0x0034: -1234.5, 0x0046: 49.98, 0x0048: 1234.5}
DLT645_VALUES = {0x00010000: 123456.78, 0x02010100: 230.1, 0x02020100: -1.234}
COUNTS = {"times": "1"}  # the vectors' word, and our unit
WANTED = {
    "modbus-pymodbus": {"230.1 V", "-1.2345 kW", "49.98 Hz", "1234.500 kWh"},
    "dlt645-pypi": {"123456.78 kWh", "230.1 V", "-1.234 A"},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_reads_what_is_golden(name: str) -> None:
    """To change a golden result on purpose: make accept."""
    outcome = expected.outcome_of(name)
    assert expected.text_of(outcome) == expected.expected_path(name).read_text(encoding="utf-8")
    # Byte by byte what the captured master asked, all of it and nothing else.
    assert (outcome["unknown_requests"], outcome["requests_left"]) == (0, 0)


def test_every_transcript_has_its_meter_and_its_result() -> None:
    """And no result is left of one that is gone."""
    for suffix in (".txt", ".expected.json"):
        found = [path.name for path in expected.FOLDER.iterdir() if path.name.endswith(suffix)]
        assert sorted(found) == sorted(name + suffix for name in NAMES)


def test_the_captures_are_those_of_the_vectors() -> None:
    """`python -m tests.transcripts.captures` writes them; each pair of the vectors has one."""
    texts = captures.files()
    assert {path: path.read_text(encoding="utf-8") for path in texts} == texts
    paired = set()
    for name in captures.SETS:
        rows = json.loads((captures.VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        paired |= {row["id"] for row in rows["vectors"] if "pair" in row}
    assert {row["id"] for rows in captures.groups().values() for row in rows} == paired
    assert len(paired) == 92


def sourced_values() -> Iterator[tuple[str, Decimal, str]]:
    """(transcript, value, unit) where the vectors' source states one value for the answer."""
    for name, rows in captures.groups().items():
        stated = rows[-1]["expected"]
        if set(stated) == {"value", "unit"} and not expected.meters()[name].get("exchange"):
            yield name, Decimal(str(stated["value"])), COUNTS.get(stated["unit"], stated["unit"])


SOURCED = list(sourced_values())


@pytest.mark.parametrize(("name", "value", "unit"), SOURCED, ids=[one[0] for one in SOURCED])
def test_a_golden_result_says_what_the_source_says(name: str, value: Decimal, unit: str) -> None:
    """So `make accept` cannot make a wrong reading right."""
    golden = json.loads(expected.expected_path(name).read_text(encoding="utf-8"))
    ((reading,),) = golden["sweeps"]
    assert (Decimal(reading["value"]), reading["unit"]) == (value, unit)


def test_most_captured_answers_are_judged_by_their_source() -> None:
    """The test above is not empty."""
    assert len(SOURCED) >= 15


def test_accept_writes_the_golden_results_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which ones changed, and removes those of transcripts that are gone."""
    for name in ("dlt645-p01", "dlt645-p02"):
        (tmp_path / f"{name}.txt").write_text((expected.FOLDER / f"{name}.txt").read_text())
    good = expected.expected_path("dlt645-p01").read_text()
    (tmp_path / "dlt645-p01.expected.json").write_text(good)
    (tmp_path / "dlt645-p02.expected.json").write_text(good)
    (tmp_path / "old.expected.json").write_text(good)
    sections = {name: expected.meters()[name] for name in ("dlt645-p01", "dlt645-p02")}
    monkeypatch.setattr(expected, "FOLDER", tmp_path)
    monkeypatch.setattr(expected, "meters", lambda: sections)
    assert expected.main() == 0
    assert capsys.readouterr().out == (
        "gone: old.expected.json\nwritten: dlt645-p02.expected.json\n2 golden results\n"
    )
    assert "1.26" in (tmp_path / "dlt645-p02.expected.json").read_text()
    assert (tmp_path / "dlt645-p01.expected.json").read_text() == good


# ---- over a real tty ---------------------------------------------------------------------------


@contextmanager
def replayed(name: str, link: Path) -> Iterator[list[Playback]]:
    """`busbar-hil replay --no-pauses` in a thread; what it played, once it has ended."""
    stop, ready = os.eventfd(0), threading.Event()
    played: list[Playback] = []

    def work() -> None:
        transcript = expected.transcript_of(name)
        played.append(serve(transcript, link, stop, told.append, pace=0.0, ready=ready.set))

    told: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(10)
        yield played
    finally:
        os.eventfd_write(stop, 1)
        thread.join(10)
        os.close(stop)
    assert told == []


@contextmanager
def opened(link: Path, baud: int) -> Iterator[Line]:
    """The production line and port; a pty has no parity. Patient: an answer that a busy machine
    held up is no silence."""
    port = SerialPort(str(link), baud, "N", 1)
    line = Line("line", port, Wire(baud, "E", 1, 5000, 500, 1), time.monotonic)
    try:
        yield line
    finally:
        line.close()


@pytest.mark.parametrize("name", PTY_NAMES)
def test_the_gateway_reads_the_same_over_a_tty(name: str, tmp_path: Path) -> None:
    """With the production line and port, and the replayer as `busbar-hil replay` runs it."""
    transcript = expected.transcript_of(name)
    golden = json.loads(expected.expected_path(name).read_text(encoding="utf-8"))
    baud = int(transcript.headers["baud"])
    link = tmp_path / "tty"
    with replayed(name, link) as played, opened(link, baud) as line:
        driver = expected.driver_of(name, tmp_path)
        sweeps = [expected.described(finish(driver.sweep(line, 0))) for _ in golden["sweeps"]]
    assert sweeps == golden["sweeps"]
    assert (played[0].unknown, played[0].left()) == (0, [])


# ---- record, then replay -----------------------------------------------------------------------


@contextmanager
def pymodbus_meter(tty: str) -> Iterator[None]:
    """pymodbus's server with its own float encoding: an SDM630 to the gateway."""
    floats = [0.0] * 200
    for address, value in MODBUS_VALUES.items():
        floats[address // 2] = value
    device = SimDevice(id=7, simdata=[SimData(0, values=floats, datatype=DataType.FLOAT32)])
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        server = ModbusSerialServer(
            device, framer=FramerType.RTU, port=tty, baudrate=9600, parity="N"
        )
        await server.serve_forever(background=True)
        return server

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield
        asyncio.run_coroutine_threadsafe(server.shutdown(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def pypi_dlt645_meter(tty: str) -> Iterator[None]:
    """PyPI dlt645's meter; it takes its address low byte first."""
    disable_logging()
    meter = MeterServerService.new_rtu_server(tty, 8, 1, 9600, "N", 1.0)
    assert meter.set_address("129078563412")
    for di, value in DLT645_VALUES.items():
        assert (meter.set_00 if di < 0x01000000 else meter.set_02)(di, value)
    assert meter.start()
    try:
        yield
    finally:
        meter.stop()


@contextmanager
def recorded(port: Path, link: Path, out: Path) -> Iterator[None]:
    """`busbar-hil record` as a process; it must end well."""
    command = [sys.executable, "-m", "hil", "record", str(port), "--link", str(link)]
    command += ["--out", str(out), "--baud", "9600", "--parity", "N"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            assert "ready" in one.stdout.readline()
            yield
        finally:
            one.send_signal(signal.SIGINT)
            code = one.wait(20)
    assert code == 0


@pytest.mark.stranger
@pytest.mark.parametrize(
    ("name", "meter"),
    [("modbus-pymodbus", pymodbus_meter), ("dlt645-pypi", pypi_dlt645_meter)],
)
def test_a_stranger_is_recorded_and_replayed(
    tmp_path: Path, name: str, meter: Callable[[str], Any]
) -> None:
    """The gateway reads a foreign meter through the recorder, exactly, and then the recording: the
    same. (The golden transcripts of strangers were made by this very test.)"""
    out, link = tmp_path / f"{name}.txt", tmp_path / "recorder"
    with ExitStack() as stack:
        virtual = stack.enter_context(VirtualLine(tmp_path / "port", paced=False, baud=9600))
        stack.enter_context(meter(virtual.attach_external(name)))
        stack.enter_context(recorded(virtual.link, link, out))
        line = stack.enter_context(opened(link, 9600))
        driver = expected.driver_of(name, tmp_path / "a")
        live = [expected.described(finish(driver.sweep(line, 0))) for _ in range(2)]
    shown = {f"{one['value']} {one['unit']}" for one in live[0]}
    assert WANTED[name] <= shown
    line, playback = expected.playing_line(load_transcript(out))
    driver = expected.driver_of(name, tmp_path / "b")
    assert [expected.described(finish(driver.sweep(line, 0))) for _ in range(2)] == live
    assert (playback.unknown, playback.left()) == (0, [])
    assert said(load_transcript(out)) == said(expected.transcript_of(name))


def said(transcript: Transcript) -> list[tuple[str, bytes]]:
    """Who said what, however a busy machine cut it."""
    found: list[tuple[str, bytes]] = []
    for event in transcript.events:
        before = found.pop()[1] if found and found[-1][0] == event.direction else b""
        found.append((event.direction, before + event.data))
    return found
