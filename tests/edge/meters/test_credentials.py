"""edge/meters/credentials.py: which password for what, and that nobody ever sees one."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.meters.credentials import USE_OF, USES, CredentialFile, use_of
from protocols.dlt645.credentials import Credentials
from protocols.errors import SettingError
from protocols.orders.kinds import ORDER_KINDS, Effect

CANARY = "741852"
ENTRY = {"level": "02", "password": CANARY, "operator": "00000001"}
OTHER = {"level": "04", "password": "963741", "operator": "00000009"}


def make_file(folder: Path, tables: Any, mode: int = 0o600) -> CredentialFile:
    """The installer's file."""
    path = folder / "meter-credentials.json"
    path.write_text(tables if isinstance(tables, str) else json.dumps(tables))
    path.chmod(mode)
    return CredentialFile(path)


def test_a_meters_own_entry_goes_before_the_default(tmp_path: Path) -> None:
    """Use by use; what has no entry has none."""
    found = make_file(tmp_path, {"default": {"cut": ENTRY}, "meters": {"m-1": {"cut": OTHER}}})
    assert found.find("m-1", "cut") == Credentials(4, "963741", "00000009")
    assert found.find("m-2", "cut") == Credentials(2, CANARY, "00000001")
    assert found.find("m-1", "restore") is None
    assert CredentialFile(tmp_path / "none").find("m-1", "cut") is None


def test_i04_a_restore_never_uses_the_entry_of_a_cut(tmp_path: Path) -> None:
    """I4: nor the other way round, for any kind of order."""
    only_restore = make_file(tmp_path, {"default": {"restore": ENTRY}})
    for action, kind in ORDER_KINDS.items():
        use = use_of(action)
        is_found = only_restore.find("m-1", use) is not None
        assert is_found == (kind.effect == Effect.RESTORES)
        if kind.effect == Effect.CUTS:
            assert use == "cut"
    assert set(USE_OF.values()) == set(USES)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """One sentence says which mode it must have."""
    found = make_file(tmp_path, {"default": {"cut": ENTRY}}, mode)
    with pytest.raises(SettingError, match="and must have 0600"):
        found.find("m-1", "cut")


@pytest.mark.parametrize(
    "tables",
    [
        "{" + CANARY,
        "[" * 100_000,
        [ENTRY],
        {"defaults": {"cut": ENTRY}},
        {"default": {"cut": [CANARY]}},
        {"default": {"cut": ENTRY | {"note": CANARY}}},
        {"default": {"cut": ENTRY | {"level": 2}}},
        {"default": {"cut": ENTRY | {"level": "98"}}},
        {"default": {"cut": ENTRY | {"level": CANARY}}},
        {"default": {"cut": ENTRY | {"password": CANARY + "1"}}},
        {"default": {"cut": ENTRY | {"password": int(CANARY)}}},
        {"default": {"cut": ENTRY | {"operator": CANARY}}},
        {"default": {"cut": ENTRY | {"operator": None}}},
    ],
)
def test_t17_what_is_wrong_is_told_without_what_stands_there(tmp_path: Path, tables: Any) -> None:
    """T17: not even a part of it; neither in the sentence nor in what led to it."""
    with pytest.raises(SettingError) as caught:
        make_file(tmp_path, tables).find("m-1", "cut")
    error: BaseException | None = caught.value
    assert str(error).startswith(str(tmp_path))
    while error is not None:
        assert CANARY not in str(error) and CANARY not in repr(error)
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__


def test_t17_no_text_of_them_shows_a_password(tmp_path: Path) -> None:
    """T17: nor does the mark that tells one file from another."""
    found = make_file(tmp_path, {"default": {"cut": ENTRY}})
    for text in (repr(found), str(found), found.mark(), repr(found.find("m-1", "cut"))):
        assert CANARY not in text
    assert found.mark() != ""
    assert CredentialFile(tmp_path / "none").mark() == ""


def test_a_change_of_the_file_holds_at_once(tmp_path: Path) -> None:
    """It is read anew for each order."""
    found = make_file(tmp_path, {"default": {"cut": ENTRY}})
    assert found.find("m-1", "cut") == Credentials(2, CANARY, "00000001")
    make_file(tmp_path, {"default": {"cut": OTHER}})
    assert found.find("m-1", "cut") == Credentials(4, "963741", "00000009")
