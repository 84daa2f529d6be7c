"""[orders] in edge.toml, what a remote configuration may not loosen, and the local command."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.agent import Agent
from edge.clock import SystemClock
from edge.local.lines import RequestError
from edge.local.orders import listed, unlocked
from edge.settings import load_settings
from edge.settings.remote import overlay
from protocols.errors import SettingError
from tests.edge.head_end import HeadEnd
from tests.edge.orders.desk_world import World
from tests.edge.test_agent import config_of
from tests.edge.test_settings import toml

METER = {
    "id": "m-1",
    "line": "line-1",
    "protocol": "dlt645-2007",
    "address": "000000000161",
    "period_s": 1,
}


def remote(**meter: Any) -> str:
    """A remote configuration with this one meter."""
    rows = "\n".join(f"{key} = {toml(value)}" for key, value in (METER | meter).items())
    return f"[[meter]]\n{rows}\n"


def test_as_delivered_nothing_is_cut(tmp_path: Path) -> None:
    """Disconnecting is something that somebody allows."""
    settings = load_settings(config_of(tmp_path))
    assert settings.orders["allow_cuts"] is False
    assert settings.orders["windows"] == ("Mon-Thu 09:00-16:00",)
    assert settings.meters[0]["protected"] is False


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("windows", '["Mon-Sun"]'),
        ("windows", '["Mon 16:00-09:00"]'),
        ("windows", "[]"),
        ("timezone", '"Asia/Nowhere"'),
        ("timezone", '"../etc/passwd"'),
        ("cuts_per_day_percent", "101"),
        ("operations_per_day", "0"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, key: str, value: str) -> None:
    """One sentence, with the place."""
    path = config_of(tmp_path)
    path.write_text(path.read_text() + f"\n[orders]\n{key} = {value}\n")
    with pytest.raises(SettingError, match=rf"\[orders\]: {key} = "):
        load_settings(path)


@pytest.mark.parametrize(
    "text",
    [
        "[orders]\nallow_cuts = true\n",
        "[orders]\ncuts_per_hour = 1000\n",
        '[orders]\nwindows = ["Mon-Sun 00:00-24:00"]\n',
    ],
)
def test_i23_no_remote_configuration_loosens_the_gateways_limits(tmp_path: Path, text: str) -> None:
    """One key far away is not two people; what is as it was may be repeated."""
    path = config_of(tmp_path)
    with pytest.raises(SettingError, match=r"\[orders\].*must stay as edge.toml has it"):
        overlay(path, path.read_text(), text)
    same = '[orders]\nwindows = ["Mon-Thu 09:00-16:00"]\nallow_cuts = false\n'
    assert overlay(path, path.read_text(), same).orders["cuts_per_hour"] == 5


def test_i05_no_remote_configuration_unprotects_a_meter(tmp_path: Path) -> None:
    """Nor gives it another name; a remote configuration may protect more, or leave it out."""
    path = config_of(tmp_path)
    local = path.read_text().replace('id = "m-1"', 'id = "m-1"\nprotected = true')
    for more in ({}, {"id": "m-2"}, {"protected": False}):
        with pytest.raises(SettingError, match="protected = False is not allowed"):
            overlay(path, local, remote(**more))
    other = {"id": "m-2", "address": "000000000162"}
    assert overlay(path, local, remote(**other)).meters[0]["id"] == "m-2"
    kept = overlay(path, local, remote(id="m-2", protected=True))
    assert kept.meters[0]["protected"]
    assert overlay(path, path.read_text(), remote(protected=True)).meters[0]["protected"]


def test_the_last_orders_and_the_figures_are_shown(world: World) -> None:
    """The latest first; a limit that is none is refused."""
    for n in range(1, 4):
        world.carry_out("arm", meter_id=f"m-{n}")
    (found,) = [one for one in listed(world.desk, {"limit": 2}) if one is not None]
    assert [(one["meter"], one["state"]) for one in found["orders"]] == [
        ("m-3", "confirmed"),
        ("m-2", "confirmed"),
    ]
    assert found["cuts_hour_max"] == 5
    for limit in (0, 201, "2", True):
        with pytest.raises(RequestError, match="limit must be"):
            list(listed(world.desk, {"limit": limit}))
    for meter in ("m-1", None, 7):
        with pytest.raises(RequestError, match="no credential that was refused"):
            list(unlocked(world.desk, {"meter": meter}))


def test_the_command_shows_how_things_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a running agent; unlocking what is not locked is refused in one sentence."""
    HeadEnd().write_files(tmp_path / "identity")
    path = config_of(tmp_path)
    agent = Agent(load_settings(path), SystemClock())
    agent.start()
    try:
        assert main(["orders", "--config", str(path)]) == 0
        text = capsys.readouterr().out
        assert "disconnecting: not allowed by [orders] allow_cuts" in text
        assert "0 of 5 in an hour, 0 of 1 in 24 h" in text
        assert main(["orders", "--config", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["orders"] == []
        assert main(["orders", "unlock", "m-1", "--config", str(path)]) == 2
        assert "has no credential that was refused" in capsys.readouterr().err
    finally:
        agent.stop()
        os.close(agent._lock)
