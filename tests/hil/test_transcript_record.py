"""A recorder between a gateway and a port, which here is a pty."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil import recorder
from hil.__main__ import main
from hil.pseudo_tty import open_pty
from hil.recorder import Recording
from hil.transcript import EVENT_SIZE_MAX, load_transcript
from protocols.errors import LineError
from tests.hil.masters import Master

pytestmark = pytest.mark.timeout(60)

EVERY_BYTE = bytes(range(256))


def recording(pause_s: float = 0.02) -> tuple[Recording, io.StringIO]:
    """One that starts at 100 s."""
    out = io.StringIO()
    return Recording(out, 0, 100.0, pause_s), out


def test_silence_and_direction_end_an_event() -> None:
    """It is written when it has ended, with the time of its first byte."""
    one, out = recording()
    one.note(">", b"\1", 100.5)
    one.note(">", b"\2", 100.519)
    one.note(">", b"\5", 100.525)
    assert (out.getvalue(), one.quiet_at()) == ("", pytest.approx(100.545))
    one.note("<", b"\3", 100.53)
    assert out.getvalue() == "500 > 01 02 05\n"
    one.note("<", b"\4", 100.551)
    one.end_event()
    assert out.getvalue() == "500 > 01 02 05\n530 < 03\n551 < 04\n"
    assert one.quiet_at() is None
    one.end_event()
    assert one.events == 3


def test_an_event_has_a_largest_size() -> None:
    """What is more is the next one."""
    one, out = recording()
    for _ in range(3):
        one.note("<", bytes(EVENT_SIZE_MAX - 1), 100.0)
    one.end_event()
    sizes = [len(line.split()) - 2 for line in out.getvalue().splitlines()]
    assert sizes == [EVENT_SIZE_MAX, EVENT_SIZE_MAX, EVENT_SIZE_MAX - 3]


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written behind it, not even something short."""
    monkeypatch.setattr(recorder, "FILE_SIZE_MAX", 20)
    one, out = recording()
    for data in (b"\1", bytes(9), b"\2"):
        one.note(">", data, 100.0)
        one.end_event()
    assert out.getvalue() == "0 > 01\n"
    assert (one.is_full, one.events) == (True, 1)


@pytest.mark.parametrize(("name", "value"), [("EVENTS_MAX", 1), ("MS_MAX", 50)])
def test_a_file_has_a_last_event(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """By their number, and by their time."""
    monkeypatch.setattr(recorder, name, value)
    one, out = recording()
    for now_s in (100.0, 100.051):
        one.note(">", b"\1", now_s)
        one.end_event()
    assert out.getvalue() == "0 > 01\n"
    assert one.is_full


def conversation(path: Path) -> list[tuple[str, bytes]]:
    """Who said what, however a busy machine cut it."""
    said: list[tuple[str, bytes]] = []
    for event in load_transcript(path).events:
        before = said.pop()[1] if said and said[-1][0] == event.direction else b""
        said.append((event.direction, before + event.data))
    return said


@pytest.fixture
def meter() -> Iterator[tuple[int, str]]:
    """The far end of the "real" port, and its path."""
    master, slave, path = open_pty()
    os.set_blocking(master, True)
    yield master, path
    for one in (master, slave):
        os.close(one)


@contextmanager
def start(path: str, folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`busbar-hil record` when it is ready."""
    line = [sys.executable, "-m", "hil", "record", path, "--link", str(folder / "tty")]
    line += ["--out", str(folder / "a.txt"), *(options or ("--parity", "N", "--baud", "9600"))]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            assert json.loads(one.stdout.readline())["ready"]
            yield one
        finally:
            one.kill()  # harmless when it has ended


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_every_byte_passes_both_ways_and_is_written_down(
    tmp_path: Path, meter: tuple[int, str], end: int
) -> None:
    """Unchanged, all 256 of them; the file is there before the end, and good after it."""
    master, path = meter
    with start(path, tmp_path) as one:
        with Master(tmp_path / "tty") as gateway:
            for turn in range(2):
                gateway.send(EVERY_BYTE)
                asked = b""
                while len(asked) < 256:
                    asked += os.read(master, 256)
                assert asked == EVERY_BYTE
                os.write(master, EVERY_BYTE[::-1])
                assert gateway.hear(256) == EVERY_BYTE[::-1]
                # Complete after each event, while the recorder still runs.
                while len(conversation(tmp_path / "a.txt")) < 2 * turn + 2:
                    assert gateway.is_quiet()
        one.send_signal(end)
        out, err = one.communicate(timeout=20)
    assert (one.returncode, err) == (0, "")
    found = load_transcript(tmp_path / "a.txt")
    assert json.loads(out) == {"events": len(found.events), "lost": 0}
    assert {**found.headers, "date": ""} == {
        "port": path,
        "baud": "9600",
        "parity": "N",
        "date": "",
    }
    assert conversation(tmp_path / "a.txt") == [(">", EVERY_BYTE), ("<", EVERY_BYTE[::-1])] * 2
    assert not (tmp_path / "tty").is_symlink()


def test_a_port_that_goes_away_ends_it_with_a_sentence(tmp_path: Path) -> None:
    """What was heard before is in the file."""
    master, slave, path = open_pty()
    with start(path, tmp_path) as one, Master(tmp_path / "tty") as gateway:
        os.write(master, b"\1")
        assert gateway.hear(1) == b"\1"
        for each in (slave, master):
            os.close(each)
        err = one.communicate(timeout=20)[1]
    assert one.returncode == 1
    assert err.startswith(f"busbar-hil: {path} went away: ")
    assert err.count("\n") == 1
    (event,) = load_transcript(tmp_path / "a.txt").events
    assert (event.direction, event.data) == ("<", b"\1")


def test_a_recording_never_replaces_one(
    tmp_path: Path, meter: tuple[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Golden files are lost on purpose only."""
    (tmp_path / "a.txt").write_text("golden")
    arguments = ["record", meter[1], "--link", str(tmp_path / "tty"), "--parity", "N"]
    assert main([*arguments, "--out", str(tmp_path / "a.txt")]) == 2
    assert "never replaces one" in capsys.readouterr().err
    assert (tmp_path / "a.txt").read_text() == "golden"


@pytest.mark.parametrize("port", ["no/such/port", "no://such.scheme"])
def test_a_port_that_cannot_be_opened_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: str
) -> None:
    """And no file is begun."""
    arguments = ["record", port, "--link", str(tmp_path / "tty"), "--out", str(tmp_path / "a.txt")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"busbar-hil: {port} cannot be opened: ")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_cannot_be_waited_for_is_refused() -> None:
    """pyserial's loop:// has no descriptor."""
    with pytest.raises(LineError) as caught:
        recorder.open_port("loop://", 9600, "N")
    assert str(caught.value) == (
        "loop:// cannot be recorded; it must be a device path or socket://"
    )
