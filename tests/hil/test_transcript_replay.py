"""The meters' side of a transcript, played by its bytes alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hil.__main__ import main
from hil.replayer import Exchange, Playback, exchanges_of, serve
from hil.transcript import EVENT_SIZE_MAX, Transcript, read_transcript
from tests.hil.masters import Master

TEXT = """\
baud: 9600
5 < EE
10 > 01 02 03
40 < 0A 0B
90 < 0C
200 > 01 02
230 < 0D
300 > 07
400 > 01 02
430 < 0E
"""
TRANSCRIPT = read_transcript(TEXT, "x")


def test_a_transcript_falls_into_exchanges() -> None:
    """Delays count from the request's first byte; a request may have no answer."""
    assert exchanges_of(TRANSCRIPT) == [
        Exchange(b"\1\2\3", ((30, b"\x0a\x0b"), (80, b"\x0c"))),
        Exchange(b"\1\2", ((30, b"\x0d"),)),
        Exchange(b"\7", ()),
        Exchange(b"\1\2", ((30, b"\x0e"),)),
    ]


def test_in_order_each_request_is_answered_once_in_its_turn() -> None:
    """In pieces too; another one of the transcript does not count."""
    one = Playback(TRANSCRIPT)
    assert one.hear(b"\1\2") is None
    assert not one.is_silent()
    assert one.hear(b"\3") == ((30, b"\x0a\x0b"), (80, b"\x0c"))
    assert one.is_silent()
    assert one.hear(b"\7") is None
    assert one.fall_silent() == (None, b"\7")
    assert one.hear(b"\1\2") == ((30, b"\x0d"),)
    assert one.hear(b"\7") == ()
    assert one.left() == [b"\1\2"]
    assert one.hear(b"\1\2") == ((30, b"\x0e"),)
    assert one.left() == []
    assert one.hear(b"\1\2") is None
    assert one.fall_silent() == (None, b"\1\2")
    assert (one.answered, one.unknown) == (4, 2)


@pytest.mark.parametrize("wrong", [b"\1\2\4", b"\1\2", b"\0\1\2\3", b"\1\2\3\0"])
def test_a_request_must_be_the_same_to_the_byte(wrong: bytes) -> None:
    """One byte changed, missing, before or behind."""
    one = Playback(TRANSCRIPT)
    assert one.hear(wrong) is None
    assert one.fall_silent() == (None, wrong)
    assert one.fall_silent() == (None, b"")
    assert (one.answered, one.unknown) == (0, 1)


def test_in_any_order_a_request_may_come_again() -> None:
    """A short one that a longer one begins with is answered by the silence; recorded twice, it gets
    one answer after the other and then the last one for good."""
    one = Playback(TRANSCRIPT, any_order=True)
    heard = []
    for _ in range(3):
        assert one.hear(b"\1\2") is None
        heard.append(one.fall_silent())
    assert heard == [(((30, b"\x0d"),), b"")] + 2 * [(((30, b"\x0e"),), b"")]
    for _ in range(2):
        assert one.hear(b"\7") == ()
        assert one.hear(b"\1\2\3") == ((30, b"\x0a\x0b"), (80, b"\x0c"))
    assert one.hear(b"\7\7") is None
    assert one.fall_silent() == (None, b"\7\7")
    assert (one.answered, one.unknown) == (7, 1)


def test_a_flood_is_kept_within_bounds() -> None:
    """It is one unknown request."""
    one = Playback(TRANSCRIPT)
    for _ in range(100):
        assert one.hear(bytes(1000)) is None
    assert one.fall_silent() == (None, bytes(EVENT_SIZE_MAX + 1))
    assert one.unknown == 1


def await_true(condition: Callable[[], bool]) -> None:
    """Until it is, or the test's own time-out."""
    while not condition():
        time.sleep(0.01)


class Served:
    """A replay in a thread, and what it told."""

    def __init__(self, transcript: Transcript, link: Path, **options: Any) -> None:
        self.link = link
        self.told: list[str] = []
        self.playback: Playback | None = None
        self._stop = os.eventfd(0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(transcript, options))

    def _run(self, transcript: Transcript, options: dict[str, Any]) -> None:
        self.playback = serve(
            transcript, self.link, self._stop, self.told.append, ready=self._ready.set, **options
        )

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self._stop, 1)
        self._thread.join(5)
        os.close(self._stop)


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serving(transcript, ...)`: a replay that ends with the test."""
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(
            Served(*args, link=tmp_path / "tty", **more)
        )


def test_answers_come_at_their_times(serving: Callable[..., Served]) -> None:
    """Never before; the two parts apart."""
    with Master(serving(TRANSCRIPT).link) as master:
        assert master.ask(b"\1\2\3", 2) == b"\x0a\x0b"
        first_s = master.last_s - master.started_s
        assert master.hear(1) == b"\x0c"
        assert first_s >= 0.030
        assert 0.080 <= master.last_s - master.started_s < 5


@pytest.mark.parametrize(("pace", "least_s", "most_s"), [(0.0, 0.0, 2.0), (0.25, 2.5, 9.0)])
def test_the_pace_is_chosen(
    serving: Callable[..., Served], pace: float, least_s: float, most_s: float
) -> None:
    """A quarter of ten seconds, or none of them."""
    slow = read_transcript("0 > 01\n10000 < 02\n", "x")
    with Master(serving(slow, pace=pace).link) as master:
        master.send(b"\1")
        assert master.hear(1, 15) == b"\2"
        assert least_s <= master.last_s - master.started_s < most_s


def test_an_unknown_request_gets_silence_and_is_told(tmp_path: Path) -> None:
    """The next right one is answered."""
    with Served(TRANSCRIPT, tmp_path / "tty", pace=0.0) as served, Master(served.link) as master:
        master.send(b"\1\2\4")
        assert master.is_quiet()
        await_true(lambda: bool(served.told))
        assert served.told == ["not the next request of the transcript: 01 02 04; that is 01 02 03"]
        assert master.ask(b"\1\2\3", 3) == b"\x0a\x0b\x0c"
    assert not served.link.is_symlink()
    assert served.playback is not None
    assert (served.playback.answered, served.playback.unknown) == (1, 1)


@contextmanager
def command(file: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`busbar-hil replay` when it is ready."""
    link = file.with_name("tty")
    line = [sys.executable, "-m", "hil", "replay", str(file), "--link", str(link), *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            assert json.loads(one.stdout.readline()) == {"ready": True, "link": str(link)}
            yield one
        finally:
            one.kill()  # harmless when it has ended


@pytest.mark.parametrize(
    ("asked", "options", "code", "told", "totals"),
    [
        ([b"\1\2\3"], ("--any-order",), 0, "", {"answered": 1, "unknown": 0, "left": 0}),
        (
            [b"\1\2\3"],
            ("--no-pauses",),
            1,
            "busbar-hil: 3 requests were never sent, first 01 02\n",
            {"answered": 1, "unknown": 0, "left": 3},
        ),
        (
            [b"\1\2\3", b"\x09"],
            ("--any-order", "--speed", "2"),
            1,
            "busbar-hil: not in the transcript: 09\n",
            {"answered": 1, "unknown": 1, "left": 0},
        ),
    ],
)
def test_the_command_says_by_its_exit_code_whether_all_went_as_recorded(
    tmp_path: Path,
    asked: list[bytes],
    options: tuple[str, ...],
    code: int,
    told: str,
    totals: dict[str, int],
) -> None:
    """SIGTERM and Ctrl-C end it alike."""
    file = tmp_path / "a.txt"
    file.write_text(TEXT)
    with command(file, *options) as one:
        with Master(file.with_name("tty")) as master:
            assert master.ask(asked[0], 3) == b"\x0a\x0b\x0c"
            for request in asked[1:]:
                master.send(request)
                assert master.is_quiet()
        one.send_signal(signal.SIGTERM if code else signal.SIGINT)
        out, err = one.communicate(timeout=20)
    assert (one.returncode, err) == (code, told)
    assert json.loads(out) == totals
    assert not file.with_name("tty").is_symlink()


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("0 > 6\n", (), "line 1: '0 > 6' is no event"),
        ("0 < 68\n", (), "has no request"),
        (TEXT, ("--speed", "0"), "'0' is not allowed"),
        (TEXT, ("--speed", "nan"), "'nan' is not allowed"),
        (TEXT, ("--speed", "2", "--no-pauses"), "not allowed with"),
    ],
)
def test_wrong_use_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    options: tuple[str, ...],
    sentence: str,
) -> None:
    """Exit code 2, and no link was made."""
    file = tmp_path / "a.txt"
    file.write_text(text)
    arguments = ["replay", str(file), "--link", str(tmp_path / "tty"), *options]
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's own way
        code = int(str(end.code))
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "tty").exists()


def test_a_file_of_somebody_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the link should be."""
    file, link = tmp_path / "a.txt", tmp_path / "tty"
    file.write_text(TEXT)
    link.write_text("mine")
    assert main(["replay", str(file), "--link", str(link)]) == 1
    assert "is no symlink" in capsys.readouterr().err
    assert link.read_text() == "mine"


def test_no_codec_of_ours_takes_part() -> None:
    """Nor any part of the gateway: what is imported says so."""
    code = (
        "import sys, hil.recorder, hil.replayer\n"
        "print(sorted(one for one in sys.modules if one.partition('.')[0] in"
        " ('protocols', 'edge', 'cloud')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "['protocols', 'protocols.errors']\n"


def test_waiting_costs_nothing(serving: Callable[..., Served]) -> None:
    """No loop that spins while nobody asks."""
    serving(TRANSCRIPT)
    before_s = time.process_time()
    assert not threading.Event().wait(0.5)
    assert time.process_time() - before_s < 0.25
