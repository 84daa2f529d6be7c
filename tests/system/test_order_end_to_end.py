"""An order from the person who asks to the meter that obeys, with real processes, a real broker and
a line at its real speed: people with tokens and keys of their own, a cut, a restore that ends with
the meter ready, and somebody who presses its button."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.deployment import GATEWAY, Approver, Deployment, MeterPlan, Plan, section
from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.world import utc_ms
from protocols.dlt645.relay import ACTION_BY_NAME, RelayTerms
from protocols.orders.states import FINAL_STATES, OrderState

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

ADDRESS, METER = "202611000042", "house-1"
PASSWORDS = {2: "020637", 3: "446655"}
OPERATOR = "00000001"
ACTIONS = ["disconnect", "arm", "connect"]
RELAY_FRAME = "68" + bytes(reversed(bytes.fromhex(ADDRESS))).hex() + "681c"
PASSWORD_ON_WIRE = bytes((one + 0x33) & 0xFF for one in reversed(bytes.fromhex("020637"))).hex()
CREDENTIALS = {
    "default": {
        "cut": {"level": "02", "password": PASSWORDS[2], "operator": OPERATOR},
        "restore": {"level": "03", "password": PASSWORDS[3], "operator": OPERATOR},
    }
}
APPROVERS = ("zhao", "qian")
ALWAYS = {"windows": ["Mon-Sun 00:00-24:00"], "block_eves": False}
EMPTY_PLAN = Plan(
    lines={},
    meters=(
        MeterPlan(
            METER,
            "line1",
            {},
            {
                "protocol": "dlt645-2007",
                "address": ADDRESS,
                "edition": "2007",
                "quantities": ["1-0:1.8.0"],
                "period_s": 20,
                "control.plain": ACTIONS,
                "control.levels": ["02", "03"],
            },
        ),
    ),
    journal={"commit_interval_ms": 100},
    uplink={"linger_ms": 200, "ack_timeout_ms": 2_000},
    ingest={"commit_interval_ms": 20},
    reconnect_s_max=1,
    approvers=APPROVERS,
)


class Town:
    """The deployment, its one meter, and its people."""

    def __init__(self, deployment: Deployment, meter: Dlt645Meter, url: str) -> None:
        self.deployment, self.meter, self.url = deployment, meter, url

    def run(self, person: str, *words: str, approver: Approver | None = None) -> str:
        """A `busbar-cloud` command as somebody with a token; its output."""
        folder = self.deployment.folder
        own = ("--url", self.url, "--token-file", str(folder / f"{person}.token"))
        if approver is not None:
            own += ("--key", str(approver.key), "--yes", "--passphrase-file",
                    str(approver.passphrase))  # fmt: skip
        command = [sys.executable, "-m", "cloud", *words, *own]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert result.returncode == 0, (words, result.stdout, result.stderr)
        return result.stdout

    def ask(self, *words: str) -> str:
        """The order's id."""
        shown = self.run("olga", "order", *words, METER, "--reason", "arrears", "--json")
        order_id: str = json.loads(shown)["order"]
        return order_id

    def show(self, order_id: str) -> dict[str, Any]:
        """The whole story."""
        story: dict[str, Any] = json.loads(self.run("olga", "order", "show", order_id, "--json"))
        return story

    def end(self, order_id: str) -> dict[str, Any]:
        """Waits for its end."""
        self.deployment.await_true(
            lambda: self.show(order_id)["state"] in FINAL_STATES, f"order {order_id}", 90
        )
        return self.show(order_id)


@pytest.fixture
def town(tmp_path: Path, deploy: Callable[[Plan], Deployment]) -> Iterator[Town]:
    """Everything runs, and the gateway has the head end's policy."""
    tty = tmp_path / "tty"
    meter = Dlt645Meter(
        ADDRESS,
        Load(7, phases=1, power_w=(500, 3_000), utc_offset_ms=480 * 60_000),
        utc_ms,
        utc_offset_ms=480 * 60_000,
        passwords=PASSWORDS,
        relay_terms=RelayTerms(tuple(ACTION_BY_NAME[one] for one in ACTIONS), (2, 3), False),
    )
    line = Line(tty, baud=2400)
    line.attach(meter)
    with line:
        deployment = deploy(EMPTY_PLAN._replace(foreign_lines={"line1": str(tty)}))
        port = _free_port()
        _configure(deployment, port)
        deployment.start()
        town = Town(deployment, meter, f"http://127.0.0.1:{port}")
        deployment.await_true(
            lambda: bool(deployment.status().get("orders", {}).get("is_attested")), "the policy", 40
        )
        yield town


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _configure(deployment: Deployment, port: int) -> None:
    """What people and installers add: permissions, credentials, a calendar, tokens."""
    folder = deployment.folder
    with deployment.edge_config.open("a") as file:
        file.write(section("orders", ALWAYS | {"allow_cuts": True}))
    (folder / "calendar.json").write_text('{"until": "2099-12-31", "blocked": []}')
    with deployment.cloud_config.open("a") as file:
        file.write(section("api", {"listen": f"127.0.0.1:{port}"}))
        file.write(section("orders", ALWAYS | {"jitter_s": 0, "calendar": "calendar.json"}))
    path = folder / "id" / "gateways" / GATEWAY / "meter-credentials.json"
    path.touch(0o600)
    path.write_text(json.dumps(CREDENTIALS))
    for name, role in (("olga", "operator"), *((one, "approver") for one in APPROVERS)):
        words = ("person", "add", name, "--role", role, "--out", str(folder / f"{name}.token"))
        deployment.run_to_end("cloud", *words, "--config", str(deployment.cloud_config))


def test_a_cut_and_its_restore_from_the_persons_to_the_meter(town: Town) -> None:
    """Two approve on their own machines; the contact opens; the restore leaves the meter ready; the
    button closes it; and the story of each is told from the records."""
    deployment, meter = town.deployment, town.meter
    cut = town.ask("disconnect")
    first, second = deployment.approvers
    town.run(first.name, "approve", cut, approver=first)
    assert town.show(cut)["state"] == OrderState.SUBMITTED
    assert not meter._supply.is_open
    begun = time.monotonic()
    town.run(second.name, "approve", cut, approver=second)
    story = town.end(cut)
    assert story["state"] == OrderState.CONFIRMED, story
    assert meter._supply.is_open
    assert time.monotonic() - begun < 60
    assert sorted(one["approver"] for one in story["approvals"]) == ["person:qian", "person:zhao"]
    told = town.run("olga", "order", "show", cut)
    for words in ("person:olga", "arrears", "person:zhao", "confirmed", OPERATOR):
        assert words in told, told
    records = json.dumps(story)
    assert RELAY_FRAME in records and PASSWORD_ON_WIRE not in records
    restore = town.ask("arm")
    story = town.end(restore)
    assert story["state"] == OrderState.CONFIRMED, story
    assert meter._supply.is_open and not meter.relay.is_told_open
    assert "armed" in json.dumps(story)
    assert meter.press_button()
    assert not meter._supply.is_open
    assert deployment.gateway.log_path.read_text().count("state=sent") == 2
