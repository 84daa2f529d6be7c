"""`busbar-cloud config push` to a running gateway: what works is kept, what does not is taken back.

Real processes, mosquitto with mTLS. A probation lasts for a quarter of an hour: gateway and head
end find themselves that much later, as after a suspend of their machines (`suspended.c`).
"""

import json
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hil.broker import HOST
from hil.deployment import Deployment, Part, Plan, section
from hil.tty_link import linked_pty
from protocols.readings import TimeQuality
from tests.system.conftest import assert_exactly_once, fast_plan

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SOURCE = Path(__file__).with_name("suspended.c")
NS = 1_000_000_000
PROBATION_S = 900
AWAIT_S = 40
APPLIED, REFUSED, REVERTED, CHECKED = (
    "config-applied", "config-refused", "config-reverted", "config-checked",
)  # fmt: skip
SLOT_MS = 3_000  # of the test that counts slots
CHANGES = 4
METERS = ("house-1", "house-2", "house-3", "shop")
_READ = "SELECT meter_id, read_at FROM reading_set JOIN meter USING (meter_key)"


class Site(NamedTuple):
    """A deployment; `environment` is that of all that runs on its clock."""

    deployment: Deployment
    environment: tuple[str, ...] = ()

    def start(self) -> None:
        """Until the gateway takes configurations: it knows the time, and the head end knows it."""
        one = self.deployment
        one.start()
        one.await_true(
            lambda: one.status()["uplink"]["acknowledged_sets"] > 4, "the first readings"
        )
        one.await_true(
            lambda: one.status()["clock_quality_level"] >= TimeQuality.NTP, "the gateway's time"
        )

    def send(self, action: str, **sections: Any) -> int:
        """`busbar-cloud config ACTION` with these sections of edge.toml; its version."""
        path = self.deployment.folder / "pushed.toml"
        path.write_text(text_of(sections))
        command = self.deployment.head_end_command(
            "config", action, self.deployment.gateway_id, str(path)
        )
        environment = ("/usr/bin/env", *self.environment)
        done = subprocess.run((*environment, *command), capture_output=True, text=True, check=False)
        found = re.match(r"version (\d+): ", done.stdout)
        assert done.returncode == 0 and found is not None, done.stderr
        return int(found[1])

    def told(self, version: int) -> list[tuple[str, str]]:
        """What the head end has heard of a version, by `busbar-cloud config show`; each once, for
        it is told again when the head end asks again."""
        shown = self.deployment.head_end_json("config", "show", self.deployment.gateway_id)
        row = next(one for one in shown if one["version"] == version)
        about = f"version {version}: "
        told = [(one["kind"], one["detail"].removeprefix(about)) for one in row["told"]]
        return list(dict.fromkeys(told))

    def await_told(self, version: int, kind: str, words: str) -> None:
        """Until the last that was heard of it is this."""

        def is_told() -> bool:
            told = self.told(version)
            return bool(told) and told[-1][0] == kind and words in told[-1][1]

        self.deployment.await_true(is_told, f"{kind} {words}", AWAIT_S)

    def push_and_prove(self, **sections: Any) -> int:
        """A configuration that works; its version."""
        version = self.send("push", **sections)
        self.await_told(version, APPLIED, "proven, and kept")
        return version

    def await_trial(self, version: int) -> None:
        """Until the gateway has a version on probation."""
        self.deployment.await_true(
            lambda: self.deployment.status()["configuration"]["version_on_probation"] == version,
            "the probation",
        )

    def tables(self) -> dict[str, Any]:
        """The sections of edge.toml, to be changed and sent."""
        return tomllib.loads(self.deployment.edge_config.read_text())

    def period_s(self, meter_id: str) -> int:
        """How often the running gateway reads a meter."""
        rows = self.deployment.status()["meters"]
        return next(int(one["period_s"]) for one in rows if one["meter"] == meter_id)

    def answering(self) -> set[str]:
        """The meters that answered the gateway last."""
        return {one["meter"] for one in self.deployment.status()["meters"] if one["is_answering"]}

    def line(self, line_id: str) -> dict[str, Any]:
        """A line's row of the status."""
        rows = self.deployment.status()["lines"]
        found: dict[str, Any] = next(one for one in rows if one["line"] == line_id)
        return found

    def await_new_readings(self, *meter_ids: str) -> None:
        """Until each of these meters was read after now."""
        head = self.deployment.status()["journal"]["head"]
        self.deployment.await_true(
            lambda: self.meters_above(head).issuperset(meter_ids), f"readings of {meter_ids}"
        )

    def meters_above(self, sequence: int) -> set[str]:
        """Whose readings are in the journal above a sequence."""
        return {row[0] for row in self.query(f"{_READ} WHERE sequence > ?", sequence)}

    def slots(self, meter_id: str) -> list[int]:
        """The numbers of the slots in which a meter was read, since the gateway knows the time."""
        which = f"{_READ} WHERE meter_id = ? AND quality >= ? ORDER BY sequence"
        rows = self.query(which, meter_id, TimeQuality.NTP)
        return [read_at // SLOT_MS for _, read_at in rows]

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of the gateway's journal."""
        db = sqlite3.connect(f"file:{self.deployment.state / 'journal.db'}?mode=ro", uri=True)
        rows = db.execute(sql, arguments).fetchall()
        db.close()
        return rows


class LaterSite(NamedTuple):
    """A site whose time can be set ahead."""

    site: Site
    offset: Path

    def pass_probation(self) -> None:
        """It is a quarter of an hour later."""
        with self.offset.open("r+b") as file:  # in place: it is mapped
            file.write(struct.pack("=q", PROBATION_S * NS))


def text_of(sections: dict[str, Any]) -> str:
    """Sections as TOML; a list stands for [[name]]."""
    parts = []
    for name, rows in sections.items():
        is_list = isinstance(rows, list)
        heading = f"[{name}]" if is_list else name
        parts += [section(heading, row) for row in (rows if is_list else [rows])]
    return "\n".join(parts)


def with_changed(rows: list[dict[str, Any]], name: str, **values: Any) -> list[dict[str, Any]]:
    """[[line]] or [[meter]] sections, one of them changed."""
    assert any(row["id"] == name for row in rows)
    return [row | values if row["id"] == name else row for row in rows]


@pytest.fixture
def site(deploy: Callable[[Plan], Deployment]) -> Site:
    """On this machine's clocks; started."""
    site = Site(deploy(fast_plan()))
    site.start()
    return site


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]) -> Path:
    """The library that sets clocks ahead."""
    require("gcc", Path("/usr/include/stdio.h"))
    path = tmp_path_factory.mktemp("suspended") / "suspended.so"
    command = ("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", path, SOURCE)
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def later(tmp_path: Path, library: Path, require: Callable[..., None]) -> Iterator[LaterSite]:
    """Not yet started."""
    require("mosquitto")
    offset = tmp_path / "offset"
    offset.write_bytes(struct.pack("=q", 0))
    environment = (f"SUSPENDED={offset}", f"LD_PRELOAD={library}")
    deployment = Deployment(tmp_path, fast_plan(), "mosquitto")
    python = ("/usr/bin/env", *environment, sys.executable, "-m")
    deployment.gateway = Part(
        tmp_path, "gateway", (*python, "edge", "run", "--config", str(deployment.edge_config))
    )
    deployment.head_end = Part(
        tmp_path, "head-end", (*python, "cloud", "run", "--config", str(deployment.cloud_config))
    )
    yield LaterSite(Site(deployment, environment), offset)
    deployment.stop()


def test_what_works_is_proven_and_outlives_a_restart(site: Site) -> None:
    """The head end shows both of its outcomes; edge.toml is what it was."""
    deployment, before = site.deployment, site.deployment.edge_config.read_bytes()
    meters = with_changed(site.tables()["meter"], "house-1", period_s=3)
    version = site.send("push", meter=meters)
    site.await_told(version, APPLIED, "proven, and kept")
    assert site.told(version) == [
        (APPLIED, f"on probation for {PROBATION_S} s; lines rebuilt line1"),
        (APPLIED, "proven, and kept"),
    ]
    show = deployment.head_end_command("config", "show", deployment.gateway_id)
    shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[1].split()[0] == str(version) and shown[1].split()[-1] == APPLIED
    assert shown[-1].endswith("proven, and kept")
    deployment.gateway.stop()
    deployment.start_gateway()
    site.await_new_readings(*METERS)
    standing = deployment.status()["configuration"]
    assert (standing["version_good"], standing["version_on_probation"]) == (version, 0)
    assert [site.period_s(one) for one in METERS] == [3, 1, 1, 1]
    assert deployment.edge_config.read_bytes() == before
    assert assert_exactly_once(deployment) > 0


def test_a_dry_run_changes_nothing_and_tells_what_would_be_touched(site: Site) -> None:
    """So does one that is refused: it says why."""
    deployment, tables = site.deployment, site.tables()
    before = deployment.edge_config.read_bytes()
    version = site.send("check", meter=with_changed(tables["meter"], "house-1", period_s=3))
    site.await_told(version, CHECKED, "lines rebuilt line1; time taken: line1 ")
    (told,) = site.told(version)
    loads = re.findall(r"(line\d) (\d+) %", told[1])
    assert [name for name, _ in loads] == ["line1", "line2"]
    assert all(int(load) > 0 for _, load in loads)
    refused = site.send("push", mqtt=tables["mqtt"] | {"port": 1})
    site.await_told(refused, REFUSED, "[mqtt]: port = 1 is not allowed")
    assert len(site.told(refused)) == 1
    site.await_new_readings(*METERS)
    standing = deployment.status()["configuration"]
    assert (standing["version_good"], standing["version_on_probation"]) == (0, 0)
    assert [site.period_s(one) for one in METERS] == [1, 1, 1, 1]
    assert deployment.edge_config.read_bytes() == before
    left = {one.name for one in deployment.state.glob("config-*.toml")}
    assert left == set()


def test_a_line_where_nobody_answers_is_taken_back(later: LaterSite) -> None:
    """To the last good configuration, which is not edge.toml; the other line goes on meanwhile."""
    site, deployment = later.site, later.site.deployment
    site.start()
    tables = site.tables()
    meters = with_changed(tables["meter"], "house-1", period_s=2)
    good = site.push_and_prove(meter=meters)
    with linked_pty(deployment.folder / "dead"):
        port = str(deployment.folder / "dead")
        lines = with_changed(tables["line"], "line1", port=port)
        bad = site.send("push", line=lines, meter=meters)
        site.await_told(bad, APPLIED, "lines rebuilt line1")
        deployment.await_true(lambda: site.answering() == {"shop"}, "silence")
        site.await_new_readings("shop")
        site.await_trial(bad)
        later.pass_probation()
        site.await_told(bad, REVERTED, "no meter of line1 answers")
    site.await_new_readings(*METERS)
    assert [kind for kind, _ in site.told(bad)] == [APPLIED, REVERTED]
    standing = deployment.status()["configuration"]
    assert (standing["version_good"], standing["version_on_probation"]) == (good, 0)
    assert site.period_s("house-1") == 2
    assert port in (deployment.state / "config-failed.toml").read_text()
    assert assert_exactly_once(deployment) > 0


def test_a_broker_that_nobody_reaches_is_taken_back(later: LaterSite) -> None:
    """What was read meanwhile waits, and is stored once."""
    site, deployment = later.site, later.site.deployment
    text = deployment.edge_config.read_text()
    local = text.replace("[gateway]\n", "[gateway]\nremote_mqtt = true\n")
    deployment.edge_config.write_text(local)
    site.start()
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))  # and does not listen
        mqtt = site.tables()["mqtt"] | {"port": nobody.getsockname()[1]}
        version = site.send("push", mqtt=mqtt)
        site.await_trial(version)
        deployment.await_true(lambda: not deployment.status()["connected"], "the broker's absence")
        site.await_new_readings(*METERS)
        waiting = deployment.status()
        assert waiting["uplink"]["backlog_sets"] >= len(METERS)
        assert waiting["configuration"]["version_on_probation"] == version
        later.pass_probation()
        site.await_told(version, REVERTED, "the head end acknowledged nothing")
    site.await_new_readings(*METERS)
    standing = deployment.status()["configuration"]
    assert (standing["version_good"], standing["version_on_probation"]) == (0, 0)
    assert assert_exactly_once(deployment) > waiting["journal"]["head"]


def test_a_restart_ends_a_trial(site: Site) -> None:
    """At once, with what held before it."""
    deployment = site.deployment
    with linked_pty(deployment.folder / "dead"):
        port = str(deployment.folder / "dead")
        bad = site.send("push", line=with_changed(site.tables()["line"], "line1", port=port))
        site.await_trial(bad)
        deployment.gateway.kill()
        deployment.start_gateway()
        site.await_told(bad, REVERTED, "the gateway restarted before it was proven")
    site.await_new_readings(*METERS)
    assert not (deployment.state / "config-candidate.toml").exists()
    assert assert_exactly_once(deployment) > 0


def test_no_line_misses_a_slot_while_another_one_changes(
    deploy: Callable[[Plan], Deployment],
) -> None:
    """By pushes and by reloads; the unchanged line does not lose a single exchange."""
    plan = fast_plan()
    meters = [one._replace(edge=one.edge | {"period_s": SLOT_MS // 1000}) for one in plan.meters]
    patient = {"response_timeout_ms": 2_000}  # a busy machine is no silence
    site = Site(deploy(plan._replace(meters=tuple(meters), line_settings=patient)))
    site.start()
    deployment = site.deployment
    for number in range(CHANGES):
        tables = site.tables()
        lines = with_changed(tables["line"], "line1", gap_ms=300 + number)
        if number % 2:
            # The pushed section holds over edge.toml from here on.
            site.push_and_prove(line=lines)
        else:
            gap_ms = {"gap_ms": 400 + number}
            changed = tables | {"meter": with_changed(tables["meter"], "house-2", **gap_ms)}
            deployment.edge_config.write_text(text_of(changed))
            config = str(deployment.edge_config)
            told = deployment.run_to_end("edge", "reload", "--config", config)
            assert "lines rebuilt line1" in told
        site.await_new_readings(*METERS)
    for meter_id in METERS:
        slots = site.slots(meter_id)
        assert slots == list(range(slots[0], slots[-1] + 1)), meter_id
        assert len(slots) >= CHANGES
    status, line = deployment.status(), site.line("line2")
    assert "slots-missed" not in status["events"]
    sweeps = next(one["sweeps"] for one in status["meters"] if one["meter"] == "shop")
    assert sweeps >= len(slots)  # it was never built anew
    assert line["silences"] == line["port_losses"] == line["stale_bytes"] == 0
    assert assert_exactly_once(deployment) > 0  # the meters stop here, perhaps in a sweep
    stored = len(site.query(f"{_READ} WHERE meter_id = 'shop'"))
    assert 0 <= answers_of(deployment.folder / "meters.jsonl", "line2") - stored <= 1


def answers_of(log: Path, line_id: str) -> int:
    """How often the meter of a line was asked for its first voltage, by its own log."""
    rows = map(json.loads, log.read_text().splitlines())
    return sum(row.get("line") == line_id and row.get("register") == "voltage_l1" for row in rows)
