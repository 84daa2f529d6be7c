"""`busbar-cloud person` and `approver-key`: tokens and keys are shown once, to one person."""

import json
from pathlib import Path

import pytest

from cloud.__main__ import main
from cloud.people.people import People
from tests.cloud.console import Console
from tests.cloud.world import TENANT, World


def people(world: World) -> People:
    return People(world.identity, TENANT)


def test_a_person_is_added_listed_renewed_and_removed(world: World, console: Console) -> None:
    """The whole life of one."""
    out = console("person", "add", "zhang", "--role", "operator", "--role", "viewer")
    token = out.splitlines()[1]
    found = people(world).of_token(token)
    assert found is not None
    assert (found.name, found.roles, found.areas) == ("zhang", ("viewer", "operator"), ("*",))
    assert "zhang" in console("person", "list")
    renewed = console("person", "token", "zhang").splitlines()[1]
    assert people(world).of_token(token) is None
    assert people(world).of_token(renewed) is not None
    assert console("person", "remove", "zhang") == "zhang is out\n"
    assert people(world).all() == ()


def test_the_list_holds_no_token(world: World, console: Console) -> None:
    """Neither a token nor what is kept of it."""
    token = console("person", "add", "zhang", "--role", "operator", "--area", "b", "--area", "a")
    rows = json.loads(console("person", "list", "--json"))
    assert rows == [{"name": "zhang", "roles": ["operator"], "areas": ["a", "b"]}]
    assert token.splitlines()[1] not in console("person", "list")


def test_a_token_goes_to_a_file_of_its_owner(
    world: World, console: Console, tmp_path: Path
) -> None:
    """With --json it goes nowhere else."""
    path = tmp_path / "token"
    out = console("person", "add", "zhang", "--role", "approver", "--out", str(path), "--json")
    assert json.loads(out) == {"name": "zhang", "token_file": str(path)}
    assert path.stat().st_mode & 0o777 == 0o600
    assert people(world).of_token(path.read_text().strip()) is not None
    assert path.read_text().strip() not in out
    assert "is there already" in console.refused("person", "token", "zhang", "--out", str(path))
    assert "--out" in console.refused("person", "token", "zhang", "--json")
    assert people(world).of_token(path.read_text().strip()) is not None


@pytest.mark.parametrize(
    "words",
    [
        ("add", "Zhang", "--role", "operator"),
        ("add", "console", "--role", "operator"),
        ("add", "robot", "--role", "automation", "--role", "operator"),
        ("add", "zhang", "--role", "operator", "--area", ""),
        ("remove", "nobody"),
        ("token", "nobody"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], world: World, console: Console
) -> None:
    """One sentence, and the file is as it was."""
    console.refused("person", *words)
    assert people(world).all() == ()


def test_a_key_is_made_on_the_approvers_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cloud.toml, no head end; the passphrase comes from a file or a descriptor."""
    secret = tmp_path / "pass"
    secret.touch(0o600)
    secret.write_text("canary horse battery staple\n")
    words = ["approver-key", "new", "--name", "zhang", "--out", str(tmp_path / "k"), "--json"]
    with secret.open("rb") as file:
        assert main([*words, "--passphrase-fd", str(file.fileno())]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record == json.loads((tmp_path / "k.public.json").read_text())
    assert record["owner"] == "person:zhang" and record["use"] == "approve-order"
    assert "canary" not in shown.out + shown.err
    assert main([*words, "--passphrase-file", str(secret)]) == 2
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--name", "zhang", "--days", "0"),
        ("--name", "zhang", "--days", "5000"),
        ("--name", "Zhang"),
        ("--name", "zhang", "--passphrase-fd", "99"),
    ],
)
def test_a_key_that_can_not_be_made_is_refused(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and no file."""
    secret = tmp_path / "pass"
    secret.touch(0o600)
    secret.write_text("canary horse battery staple\n")
    source = () if "--passphrase-fd" in words else ("--passphrase-file", str(secret))
    made = tmp_path / "k"
    assert main(["approver-key", "new", "--out", str(made), *words, *source]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not made.exists()
