"""`busbar-edge budget`: the sum is told before anything runs; one that cannot hold is refused."""

import json
from pathlib import Path

import pytest

from edge.__main__ import main
from edge.collect.line_plan import plan_line
from edge.meters.learned import Learned
from edge.settings import load_settings
from tests.edge.fakes import FakeClock
from tests.edge.test_settings import GOOD, write_config

METER = {"line": "line-1", "protocol": "dlt645-2007", "quantities": ["00010000"] * 10}


def config(folder: Path, meters: int, period_s: int) -> Path:
    """One line at 2400 bit/s with DL/T 645 meters of ten registers."""
    rows = [
        METER | {"id": f"m-{n}", "address": f"{n + 1:012d}", "period_s": period_s}
        for n in range(meters)
    ]
    return write_config(folder, GOOD | {"line": GOOD["line"][:1], "meter": rows})


def test_the_budget_shows_each_group_and_the_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """44 characters of 11 bits at 2400 bit/s, 100 ms of the meter and 1 ms of ours, ten times:
    3.03 s of 60 s is 5.0 %."""
    assert main(["budget", "--config", str(config(tmp_path, 2, 60))]) == 0
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines()[1:3]] == [
        ["line-1", f"m-{n}", "10", "200", "240", "3.03", "60", "5.0"] for n in range(2)
    ]
    assert shown.splitlines()[-1] == "line line-1: 10.1 % of its time"
    assert main(["budget", "--json", "--config", str(tmp_path / "edge.toml")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lines"] == {"line-1": pytest.approx(2 * 30.27 / 600, rel=0.01)}
    assert told["groups"][0]["share"] == pytest.approx(0.0504, rel=0.01)


@pytest.mark.parametrize(("meters", "words"), [(17, "little room"), (20, "cannot be kept")])
def test_a_line_that_is_nearly_full_or_too_full_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], meters: int, words: str
) -> None:
    """Exit code 1 when the periods cannot be kept."""
    code = main(["budget", "--config", str(config(tmp_path, meters, 60))])
    assert code == int(meters == 20)
    assert words in capsys.readouterr().out


def test_a_group_is_counted_by_its_own_period(tmp_path: Path, clock: FakeClock) -> None:
    """And by the characters of its own meter."""
    group = {"name": "load", "quantities": ["02010100"], "period_s": 10}
    row = METER | {"id": "m-0", "address": "000000000001", "baud": 9600, "group": [group]}
    settings = load_settings(
        write_config(tmp_path, GOOD | {"line": GOOD["line"][:1], "meter": [row]})
    )
    own, load = plan_line(settings.lines[0], settings, {}, Learned(tmp_path, clock)).shares()
    assert (own.group, own.exchanges, own.period_s) == ("", 10, 900)
    assert (load.group, load.exchanges, load.period_s) == ("load", 1, 10)
    assert load.sweep_s == pytest.approx(42 * 11 / 9600 + 0.101)
    assert load.share == pytest.approx(load.sweep_s / 10)
