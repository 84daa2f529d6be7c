"""What systemd is told: when all is well, when something hangs, and why the agent started."""

import os
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge import health as health_module
from edge.agent import Agent
from edge.clock import SystemClock
from edge.health import (
    LINE_MS_MIN,
    STATUS_SIZE_MAX,
    UPLINK_MS,
    WRITER_MS,
    Health,
    Notifier,
    Part,
    Progress,
    WriterProbe,
    line_part,
    session_part,
    writer_part,
)
from edge.journal.follow import Follower, LastRun
from edge.line.line import Wire
from edge.restarts import (
    CRASHED,
    FIRST,
    REBOOTED,
    STOPPED,
    STOPPED_AND_REBOOTED,
    UNKNOWN,
    UNKNOWN_BOOT,
    cause_of,
)
from edge.settings import load_settings
from tests.edge.fakes import BOOT_ID, FakeClock, InlineWriter
from tests.edge.head_end import HeadEnd
from tests.edge.test_agent import config_of, unlock
from tests.edge.test_poller import Bench

OTHER_BOOT = bytes(reversed(BOOT_ID))


class Systemd:
    """Its end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(10)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[list[str]]:
        """The messages that came so far, as lines."""
        found = []
        self._socket.setblocking(False)
        try:
            while True:
                found.append(self._socket.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found

    def wait(self) -> list[str]:
        """The next message."""
        self._socket.settimeout(10)
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        """No longer there."""
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Any:
    """A path in the file system."""
    one = Systemd(str(tmp_path / "notify"))
    yield one
    one.close()


# ---- the notifier -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_abstract", [False, True])
def test_messages_reach_a_path_and_an_abstract_name(tmp_path: Path, is_abstract: bool) -> None:
    """The latter is written with @."""
    name = f"@busbar-test-{os.getpid()}-{id(tmp_path)}" if is_abstract else str(tmp_path / "n")
    systemd = Systemd(name)
    Notifier(systemd.environment).tell("READY=1", "STATUS=fine")
    assert systemd.heard() == [["READY=1", "STATUS=fine"]]
    systemd.close()


def test_without_a_socket_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no thread begins, whatever the watchdog's time says."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier({"WATCHDOG_USEC": "60000000"})
    assert (notifier.is_on, notifier.watchdog_ms) == (False, 0)
    monkeypatch.setattr(health_module.socket, "socket", lambda *_: pytest.fail("a socket"))
    health = Health(notifier, list, lambda: "fine", lambda: 0)
    health.start()
    assert not health._thread.is_alive()
    health.stop()
    assert not Notifier().is_on


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "60000000"}, 60_000),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60_000),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({"WATCHDOG_USEC": "-5"}, 0),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(more: dict[str, str], wanted: int) -> None:
    """sd_watchdog_enabled(3)."""
    assert Notifier({"NOTIFY_SOCKET": "/run/x", **more}).watchdog_ms == wanted


def test_a_socket_that_refuses_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And stops nothing."""
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    for _ in range(3):
        notifier.tell("WATCHDOG=1")
    assert caplog.text.count("notify_refused") == 1


# ---- progress -----------------------------------------------------------------------------------


class Marks:
    """Parts whose marks the test moves."""

    def __init__(self, clock: FakeClock, *names: str) -> None:
        self.at = dict.fromkeys(names, 0)
        self.progress = Progress(clock.boot_ms)

    def parts(self) -> list[Part]:
        """Each with a bound of 30 s."""
        return [
            Part(name, lambda name=name: self.at[name], lambda: 30_000)  # type: ignore[misc]
            for name in self.at
        ]


def test_who_stands_still_is_named_with_its_time(clock: FakeClock) -> None:
    """From its bound on; one that moves in between is fine."""
    marks = Marks(clock, "line a", "line b")
    assert marks.progress.stuck(marks.parts()) == []
    clock.advance(30_000)
    marks.at["line b"] += 1
    assert marks.progress.stuck(marks.parts()) == []
    clock.advance(1)
    assert marks.progress.stuck(marks.parts()) == ["line a stands still for 30 s"]
    clock.advance(40_000)
    assert len(marks.progress.stuck(marks.parts())) == 2
    marks.at["line a"] += 1
    assert marks.progress.stuck(marks.parts()) == ["line b stands still for 40 s"]


def test_a_part_that_is_new_has_its_whole_bound(clock: FakeClock) -> None:
    """A line that was configured anew, also under its old name after a time away."""
    marks = Marks(clock, "line a")
    marks.progress.stuck(marks.parts())
    marks.progress.stuck([])
    clock.advance(100_000)
    assert marks.progress.stuck(marks.parts()) == []
    clock.advance(30_001)
    assert len(marks.progress.stuck(marks.parts())) == 1


def test_a_line_makes_progress_by_its_exchanges() -> None:
    """A long sweep is one turn, and each exchange of it counts; so does a port that is lost."""
    bench = Bench(2)
    part = line_part(bench.worker)
    assert part.name == "line line-1"
    marks = [part.mark()]
    bench.worker.turn()
    marks.append(part.mark())
    bench.worker.line.counters.exchanges += 1
    marks.append(part.mark())
    bench.worker.line.counters.port_losses += 1
    marks.append(part.mark())
    assert len(set(marks)) == 4
    assert part.mark() == marks[-1]


def test_a_line_may_take_as_long_as_its_longest_exchange() -> None:
    """At least 30 s; a slow meter with a long time-out has more."""
    bench = Bench(1)
    part = line_part(bench.worker)
    assert part.bound_ms() == LINE_MS_MIN
    slow = Wire(600, "E", 1, 60_000, 5_000, 1_000)
    bench.worker.watches["m-0"].wire = slow
    assert part.bound_ms() == pytest.approx(66_000 + 1000 * (512 + 300) * 11 / 600, abs=1)
    bench.worker.watches.clear()
    assert part.bound_ms() == LINE_MS_MIN


def test_the_writer_makes_progress_by_the_calls_that_it_carries_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Also while the disk refuses; not when nobody takes them, or it takes no more."""
    writer = InlineWriter(tmp_path, clock)
    writer.start()
    probe = WriterProbe(writer.call)
    assert [probe.mark() for _ in range(3)] == [0, 1, 2]
    writer.trouble = "disk is full"
    assert probe.mark() == 3
    writer.stop()
    assert [probe.mark() for _ in range(3)][1:] == [4, 4]
    pending: list[Future[Any]] = []

    def stuck(_: Any) -> Future[Any]:
        pending.append(Future())
        return pending[-1]

    probe = WriterProbe(stuck)
    assert [probe.mark() for _ in range(5)] == [0] * 5
    assert len(pending) == 1  # it waits for that one, and piles up none
    pending[0].set_result(None)
    assert probe.mark() == 1
    part = writer_part(probe)
    assert part.bound_ms() == WRITER_MS
    assert part.mark() == 1


def test_the_uplink_makes_progress_by_its_turns() -> None:
    """Connected or not."""
    session = SimpleNamespace(progress_at=5, is_connected=False)
    part = session_part(session)  # type: ignore[arg-type]
    assert (part.mark(), part.bound_ms()) == (5, UPLINK_MS)
    session.progress_at = 6
    assert part.mark() == 6


# ---- feeding ------------------------------------------------------------------------------------


def test_the_watchdog_is_fed_while_all_go_on_and_not_when_one_hangs(
    systemd: Systemd, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once in the log, at each look in the status; fed again when it goes on."""
    marks = Marks(clock, "line a", "line b")
    status = ["4 of 4 meters answer\nand " + "x" * 300]
    health = Health(Notifier(systemd.environment), marks.parts, lambda: status[0], clock.boot_ms)
    health.look()
    ((first, line),) = systemd.heard()
    assert first == "WATCHDOG=1"
    assert line.startswith("STATUS=4 of 4 meters answer and xxx")
    assert len(line) == len("STATUS=") + STATUS_SIZE_MAX
    for _ in range(2):
        clock.advance(31_000)
        marks.at["line b"] += 1
        health.look()
    assert systemd.heard() == [
        ["STATUS=line a stands still for 31 s"],
        ["STATUS=line a stands still for 62 s"],
    ]
    assert caplog.text.count("watchdog_withheld reason='line a stands still for 31 s'") == 1
    marks.at["line a"] += 1
    health.look()
    assert systemd.heard()[0][0] == "WATCHDOG=1"


def test_a_line_thread_that_is_stuck_stops_the_feeding(systemd: Systemd, clock: FakeClock) -> None:
    """The worker of a real line hangs in its port; nothing else of it moves."""
    bench = Bench(1)
    hangs, released = threading.Event(), threading.Event()

    def hang(_: float) -> bytes:
        hangs.set()
        released.wait(30)
        return b""

    bench.port.read = hang  # type: ignore[method-assign]
    health = Health(
        Notifier(systemd.environment), lambda: [line_part(bench.worker)], str, clock.boot_ms
    )
    thread = threading.Thread(target=bench.worker.turn)
    thread.start()
    assert hangs.wait(10)
    health.look()
    clock.advance(LINE_MS_MIN + 1)
    health.look()
    released.set()
    thread.join(10)
    assert not thread.is_alive()
    assert [one[0] for one in systemd.heard()] == [
        "WATCHDOG=1", "STATUS=line line-1 stands still for 30 s",
    ]  # fmt: skip


def test_a_fault_of_ours_feeds_nothing(systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    """A look that fails is no look; the next one is taken."""
    answers: list[Any] = [KeyError("ours"), []]
    looked = threading.Event()

    def parts() -> list[Part]:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        if not answers:
            looked.set()
        return list(answer)

    environment = systemd.environment | {"WATCHDOG_USEC": "20000"}
    health = Health(Notifier(environment), parts, str, lambda: 0)
    health.start()
    assert looked.wait(10)
    assert [systemd.wait()[0] for _ in range(2)] == ["READY=1", "WATCHDOG=1"]
    health.stop()
    assert not health._thread.is_alive()
    assert systemd.heard()[-1] == ["STOPPING=1", "STATUS=stopping"]
    assert "look_failed" in caplog.text


# ---- the agent ----------------------------------------------------------------------------------


@pytest.fixture
def head_end(tmp_path: Path) -> HeadEnd:
    """Its keys are on the gateway."""
    one = HeadEnd()
    one.write_files(tmp_path / "identity")
    return one


def test_an_agent_tells_that_it_is_ready_feeds_and_stops(
    tmp_path: Path, head_end: HeadEnd, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own parts: all of them make progress."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.environment["NOTIFY_SOCKET"])
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    agent = Agent(load_settings(config_of(tmp_path)), SystemClock())
    assert systemd.heard() == []
    agent.start()
    ready = systemd.wait()
    fed = [systemd.wait() for _ in range(3)]
    parts = {part.name for part in agent._face._health._parts()}
    agent.stop()
    unlock(agent)
    assert ready[0] == "READY=1"
    assert {one[0] for one in fed} == {"WATCHDOG=1"}
    assert fed[0][1].startswith("STATUS=0 of 1 meters answer, 0 of 1 lines are down, broker NOT")
    assert parts == {"line line-1", "the journal's writer", "the uplink"}
    assert ["STOPPING=1", "STATUS=stopping"] in systemd.heard()


@pytest.mark.parametrize(
    ("last", "wanted"),
    [
        (None, FIRST),
        (LastRun(True, BOOT_ID), STOPPED),
        (LastRun(False, BOOT_ID), CRASHED),
        (LastRun(True, OTHER_BOOT), STOPPED_AND_REBOOTED),
        (LastRun(False, OTHER_BOOT), REBOOTED),
        (LastRun(True, b""), STOPPED),
        (LastRun(False, b""), UNKNOWN_BOOT),
        (LastRun(None, BOOT_ID), UNKNOWN),
    ],
)
def test_the_cause_of_a_start_follows_from_journal_and_boot(
    last: LastRun | None, wanted: str
) -> None:
    """Each case in its own words."""
    assert cause_of(last, BOOT_ID) == wanted


def test_starts_and_stops_are_events_with_their_cause(tmp_path: Path, head_end: HeadEnd) -> None:
    """First start, after a stop, after a crash, and after a power cut."""
    settings = load_settings(config_of(tmp_path))

    def live(boot_id: bytes, is_crash: bool) -> None:
        clock = SystemClock()
        clock.boot_id = boot_id
        agent = Agent(settings, clock)
        agent.start()
        if is_crash:  # what the card holds when the process dies with all that is committed
            agent._writer.call(agent._writer.work, True).result(10)
            agent._journal.close = agent._journal.abandon  # type: ignore[method-assign]
        agent.stop()
        unlock(agent)

    live(BOOT_ID, False)
    live(BOOT_ID, True)
    live(BOOT_ID, True)
    live(OTHER_BOOT, False)
    live(BOOT_ID, False)
    reader = Follower(tmp_path / "state" / "journal.db")
    told = [one.detail.partition("; ")[2] for _, one in reader.events_after(0, 100)
            if one.kind == "started"]  # fmt: skip
    stops = [one for _, one in reader.events_after(0, 100) if one.kind == "stopped"]
    reader.close()
    assert told == [FIRST, STOPPED, CRASHED, REBOOTED, STOPPED_AND_REBOOTED]
    assert len(stops) == 5
