"""The console's door: what works on the head end itself, without anybody's token."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.ingest.mailbox import Mailbox, Request, Stop
from cloud.orders.control import ControlServer
from tests.cloud.commands.test_asking import ENDED, HOLD, ORDER
from tests.cloud.console import Console
from tests.cloud.world import World

WHY = ("--reason", "storm")
CONSOLE = {"name": "console", "roles": ["console"], "areas": []}


class Writer:
    """Stands in for the service behind the control socket."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.mailbox = Mailbox(10)

    def work(self) -> None:
        while not isinstance(event := self.mailbox.take(1000), Stop):
            if isinstance(event, Request):
                self.asked.append(event.body)
                event.reply(self.answer(event.body))

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        answers: dict[str, dict[str, Any]] = {
            "hold_set": {"hold": HOLD},
            "hold_get": {"hold": HOLD},
            "orders_stop": ENDED,
            "order_propose": {"order": ORDER},
        }
        found = answers.get(body["op"], {"error": "not allowed: the console may not"})
        return {**found, "final": True}


@pytest.fixture
def writer(world: World) -> Iterator[Writer]:
    state = world.settings().state_dir
    state.mkdir()
    writer = Writer()
    control = ControlServer(state, writer.mailbox)
    thread = threading.Thread(target=writer.work)
    thread.start()
    control.start()
    yield writer
    control.stop()
    writer.mailbox.put(Stop())
    thread.join()


@pytest.mark.parametrize(
    ("words", "asked", "code"),
    [
        (("hold", "on", *WHY), {"op": "hold_set", "reason": "storm"}, 0),
        (("hold", "status"), {"op": "hold_get"}, 1),
        (
            ("stop", "--all-cuts", *WHY),
            {"op": "orders_stop", "all_cuts": True, "reason": "storm"},
            0,
        ),
        (
            ("order", "arm", "m", *WHY, "--idempotency-key", "k1"),
            {
                "op": "order_propose",
                "action": "arm",
                "meter": "m",
                "reason": "storm",
                "submit": True,
                "key": "k1",
            },
            0,
        ),
    ],
)
def test_the_console_breaks_the_glass(
    words: tuple[str, ...], asked: dict[str, Any], code: int, writer: Writer, console: Console
) -> None:
    """For stops, the hold and restores; as the console, whatever the environment says."""
    assert console(*words, code=code)
    assert writer.asked == [{**asked, "person": CONSOLE}]


def test_what_the_console_may_not_do_is_refused(writer: Writer, console: Console) -> None:
    """By the service itself; the tool only asks."""
    assert "not allowed" in console.refused("hold", "off", *WHY)


def test_nobody_approves_at_the_console(
    writer: Writer, world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command does not even know that door."""
    from cloud.__main__ import main  # noqa: PLC0415

    with pytest.raises(SystemExit) as refused:
        main(["approve", "abab", "--key", str(tmp_path / "k"), "--config", str(world.config)])
    assert refused.value.code == 2 and writer.asked == []
    capsys.readouterr()


def test_the_environment_does_not_take_the_consoles_place(
    writer: Writer, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the command counts."""
    monkeypatch.setenv("BUSBAR_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BUSBAR_TOKEN_FILE", "/nowhere")
    assert "HELD" in console("hold", "on", *WHY)
