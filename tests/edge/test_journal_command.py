"""`busbar-edge journal`: what it says, its exit codes, and that it changes nothing."""

import argparse
import csv
import io
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge.commands import journal as command
from edge.commands.times import utc_text
from edge.journal.folder import own_folder
from edge.journal.store import Journal
from edge.settings import Settings
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading
from tests.edge.fakes import ENERGY, UTC_MS, make_set
from tests.edge.test_journal_damage import leaves, spoil
from tests.edge.test_journal_events import make_event, make_version_0, meter_event, read_all
from tests.edge.test_salvage import make_damaged

DAY_MS = 86_400_000


def settings_of(folder: Path) -> Settings:
    """What the command needs of them."""
    gateway, journal = {"state_dir": folder}, {"size_mb_max": 64}
    parts = {"path": folder / "edge.toml", "gateway": gateway, "journal": journal}
    rest = {name: {} for name in Settings._fields if name not in parts}
    return Settings(**(rest | parts))  # type: ignore[arg-type]


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, output and complaint."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(dest="command"))
    texts = [str(word) for word in words]
    arguments = parser.parse_args(["journal", *texts, "--config", str(folder / "edge.toml")])
    code = command.run(settings_of(folder), arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def make_journal(folder: Path) -> Journal:
    """Ten sets of two meters, half of them acknowledged, and three events; open."""
    journal = Journal(folder, 64)
    journal.open()
    journal.append([make_set(n, f"m-{n % 2}") for n in range(1, 10)])
    energy = (Reading(ENERGY, Quantity(1 << 60, 1, "Wh", Kind.CUMULATIVE)),)
    flags = Flag.SHED | Flag.JUMP
    last = make_set(10, "m-0", readings=energy, flags=flags, origin=Origin.FREEZE)
    journal.append([last], events=[make_event(), meter_event(1), meter_event(2)])
    journal.acknowledge(4, [(6, 6)])
    journal.acknowledge_events(1)
    return journal


def fields(text: str) -> dict[str, str]:
    """The lines of `status` by their first word."""
    return {line.split()[0]: line.split(None, 1)[1] for line in text.splitlines()}


def test_status_tells_how_the_journal_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the agent has it open, and after it was closed."""
    monkeypatch.setattr(command.time, "time_ns", lambda: (UTC_MS + 5_000) * 1_000_000)
    journal = make_journal(tmp_path)
    code, out, err = run(tmp_path, capsys, "status")
    assert (code, err) == (0, "")
    said = fields(out)
    assert said["epoch"] == journal.epoch.hex()
    assert said["rows"] == "reading sets 1 to 10"
    assert said["stored"].startswith("5 ")
    assert said["backlog"] == "5 reading sets, the oldest of 2026-09-21T14:13:25.000Z"
    assert said["events"] == "3, of which 2 wait for the head end"
    assert said["rate"].startswith("10 reading sets in the last day; full in ")
    journal.close()
    code, out, _ = run(tmp_path, capsys, "status", "--json")
    figures = json.loads(out)
    assert (code, figures["head"], figures["backlog"], figures["aside"]) == (0, 10, 5, [])
    assert figures["oldest_unacknowledged"] == UTC_MS + 5_000
    assert figures["used"] / figures["size_max"] == pytest.approx(journal_fill(tmp_path))
    left = (figures["size_max"] - figures["used"]) / figures["used"]
    assert figures["days_until_full"] == pytest.approx(left)


def journal_fill(folder: Path) -> float:
    """As the journal itself tells it."""
    journal = Journal(folder, 64)
    journal.open()
    fill = journal.fill()
    journal.close()
    return fill


def test_status_of_an_empty_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to divide by."""
    journal = Journal(tmp_path, 64)
    journal.open()
    code, out, _ = run(tmp_path, capsys, "status")
    assert (code, fields(out)["backlog"]) == (0, "0 reading sets")
    assert "full in" not in out
    journal.close()


def test_inspect_shows_sets_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One, some, or the last ones; 1 when there are none."""
    journal = make_journal(tmp_path)
    code, out, _ = run(tmp_path, capsys, "inspect", 10)
    assert code == 0
    head, reading = out.splitlines()
    assert head.startswith("10  2026-09-21T14:13:30.000Z  m-0  ntp  freeze  jump,shed")
    assert "not acknowledged" in head
    assert f"boot {bytes(range(16)).hex()} + " in head
    assert reading.split()[:3] == ["1-0:1.8.0*255", "11529215046068469.76", "kWh"]
    code, out, _ = run(tmp_path, capsys, "inspect", 4, 5)
    states = [line.rsplit("  ", 2)[1] for line in out.splitlines() if not line.startswith(" ")]
    assert states == ["acknowledged", "not acknowledged"]
    code, out, _ = run(tmp_path, capsys, "inspect")
    assert sum(not line.startswith(" ") for line in out.splitlines()) == 10
    assert run(tmp_path, capsys, "inspect", 11) == (
        1,
        "",
        "busbar-edge: no reading sets 11 to 11 are here\n",
    )
    code, _, err = run(tmp_path, capsys, "inspect", 5, 4)
    assert (code, err) == (2, "busbar-edge: 5 to 4 are no sequences; they begin with 1 and rise\n")
    journal.close()


def export(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: object
) -> list[dict[str, Any]]:
    """The rows of a CSV or JSON Lines export."""
    code, out, err = run(folder, capsys, "export", *words)
    assert (code, err) == (0, "")
    if "--json" in words:
        return [json.loads(line) for line in out.splitlines()]
    return list(csv.DictReader(io.StringIO(out)))


def test_readings_are_exported_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As CSV and as JSON Lines: the same rows, no rounding, one row for a set without readings."""
    journal = make_journal(tmp_path)
    journal.append([make_set(11, readings=(), flags=Flag.SHED)])
    lines = export(tmp_path, capsys, "readings", "--json")
    table = export(tmp_path, capsys, "readings")
    assert len(lines) == len(table) == 9 * 2 + 1 + 1
    assert tuple(table[0]) == tuple(lines[0]) == command.READING_COLUMNS
    (big,) = [row for row in lines if row["sequence"] == 10]
    assert (big["integer"], big["value"], big["unit"]) == (1 << 60, "11529215046068469.76", "kWh")
    assert (big["flags"], big["origin"], big["kind"]) == (["jump", "shed"], "freeze", "cumulative")
    assert table[-2]["flags"] == "jump shed"
    assert (lines[-1]["obis"], lines[-1]["sequence"]) == (None, 11)
    for row, line in zip(table, lines, strict=True):
        assert row["integer"] == ("" if line["integer"] is None else str(line["integer"]))
        assert row["read_at"] == str(line["read_at"])
    journal.close()


def test_an_export_is_of_a_time_and_a_meter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an instant on, up to another one; UTC where no zone is named."""
    journal = make_journal(tmp_path)
    words = ("--from", "2026-09-21T14:13:23", "--to", "2026-09-21T16:13:27+02:00", "--json")
    found = export(tmp_path, capsys, "readings", *words)
    assert sorted({row["sequence"] for row in found}) == [3, 4, 5, 6]
    found = export(tmp_path, capsys, "readings", "--meter", "m-1", *words)
    assert sorted({row["sequence"] for row in found}) == [3, 5]
    assert export(tmp_path, capsys, "readings", "--meter", "none", *words) == []
    code, _, err = run(tmp_path, capsys, "export", "readings", "--from", "yesterday")
    assert code == 2
    words = "--from 'yesterday' is not allowed; it must be a time such as 2026-11-21T10:00:00Z"
    assert err == f"busbar-edge: {words}\n"
    journal.close()


def test_events_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With severity, drift and frames."""
    journal = make_journal(tmp_path)
    lines = export(tmp_path, capsys, "events", "--json")
    table = export(tmp_path, capsys, "events")
    assert tuple(table[0]) == tuple(lines[0]) == command.EVENT_COLUMNS
    assert [row["kind"] for row in lines] == ["line-down", *["meter-cover-opened"] * 2]
    assert lines[0]["severity"] == "alarm"
    assert (lines[1]["drift_s"], lines[1]["number"]) == (-3, 1)
    assert lines[1]["evidence"] == [">0:6801", "<70:16"]
    assert table[1]["evidence"] == ">0:6801 <70:16"
    assert len(export(tmp_path, capsys, "events", "--meter", "m-1")) == 2
    journal.close()


def test_reading_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the file nor whose it is, and nothing is left beside it that stops the agent."""
    make_journal(tmp_path).close()
    before = (tmp_path / "journal.db").read_bytes()
    for words in (("status",), ("check", "--full"), ("inspect",), ("export", "events")):
        assert run(tmp_path, capsys, *words)[0] == 0
    assert (tmp_path / "journal.db").read_bytes() == before
    journal = Journal(tmp_path, 64)
    journal.open()
    assert (journal.salvaged, journal.head()) == ("", 10)
    journal.close()


def test_check_tells_a_whole_file_from_a_bad_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and 1."""
    journal = make_journal(tmp_path)
    journal.append([make_set(n) for n in range(1000)])
    journal.close()
    assert run(tmp_path, capsys, "check") == (0, "the journal is whole\n", "")
    path = tmp_path / "journal.db"
    spoil(path, leaves(path)[2:3])
    code, out, err = run(tmp_path, capsys, "check")
    assert (code, err) == (1, "")
    assert out.strip()


@pytest.mark.parametrize("verb", ["status", "inspect", "check"])
def test_without_a_journal_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """And none is made."""
    code, out, err = run(tmp_path, capsys, verb)
    assert (code, out) == (1, "")
    assert err == (
        f"busbar-edge: there is no {tmp_path / 'journal.db'}: the agent has not run yet\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_version_or_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reading may not bring it forward."""
    make_version_0(tmp_path, 3)
    code, _, err = run(tmp_path, capsys, "status")
    assert (code, err.count("\n")) == (1, 1)
    assert "is of version 0, and this command reads 2" in err
    (tmp_path / "journal.db").write_bytes(b"no database at all" * 500)
    code, _, err = run(tmp_path, capsys, "status")
    assert (code, "file is not a database" in err) == (1, True)
    (tmp_path / "journal.db").unlink()
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE something (x)")
    other.close()
    code, _, err = run(tmp_path, capsys, "status")
    assert (code, "no such table: mark" in err) == (1, True)


# ---- salvage ------------------------------------------------------------------------------------


def test_salvage_brings_in_what_was_put_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once; then there is nothing to do, and `status` says that the file may go."""
    make_damaged(tmp_path)
    code, out, err = run(tmp_path, capsys, "salvage")
    expected = "journal-damaged-1.db: 1990 reading sets, 201 events, 3 receipts;"
    assert (code, out.startswith(expected), err) == (0, True, "")
    assert run(tmp_path, capsys, "salvage")[:2] == (0, "there is nothing to salvage\n")
    code, out, _ = run(tmp_path, capsys, "status")
    assert "journal-damaged-1.db" in fields(out)["aside"]
    assert fields(out)["aside"].endswith("salvaged, may be deleted")
    journal = Journal(tmp_path, 64)
    journal.open()
    assert len(read_all(journal)) == 1990
    journal.close()


def test_salvage_of_a_file_that_lies_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often."""
    (tmp_path / "elsewhere").mkdir()
    aside = make_damaged(tmp_path / "elsewhere")
    state = tmp_path / "state"
    state.mkdir()
    assert "1990 reading sets" in run(state, capsys, "salvage", aside)[1]
    assert "0 reading sets" in run(state, capsys, "salvage", aside)[1]


def test_salvage_leaves_a_running_agent_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is one writer."""
    lock = own_folder(tmp_path, tmp_path / "edge.toml")
    make_damaged(tmp_path)
    code, out, err = run(tmp_path, capsys, "salvage")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the agent runs" in err
    assert not (tmp_path / "journal.db").exists()
    os.close(lock)


def test_salvage_refuses_what_is_no_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal of now, a file that is not there, one that is no database."""
    make_journal(tmp_path).close()
    for name in ("journal.db", "missing.db"):
        code, _, err = run(tmp_path, capsys, "salvage", tmp_path / name)
        assert (code, "is not a journal that was put aside" in err) == (2, True)
    (tmp_path / "text").write_bytes(b"no database at all" * 500)
    code, _, err = run(tmp_path, capsys, "salvage", tmp_path / "text")
    assert (code, "can not be read as a journal" in err) == (1, True)
    code, out, _ = run(tmp_path, capsys, "check")
    assert (code, out) == (0, "the journal is whole\n")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "253402300800000 ms"),
        (1 << 62, "4611686018427387904 ms"),
    ],
)
def test_a_time_is_shown_as_far_as_a_calendar_goes(at: int, text: str) -> None:
    """Behind the year 9999 the number itself."""
    assert utc_text(at) == text
