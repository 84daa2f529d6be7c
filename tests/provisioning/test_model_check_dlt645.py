"""provisioning/model_check.py: models of DL/T 645 meters, which say what a relay takes."""

import json
import tomllib
from pathlib import Path

import pytest

from protocols.dlt645.model import read_meter_model
from protocols.dlt645.relay import ACTION_BY_NAME, DELAYED, RelayTerms
from protocols.errors import SettingError
from provisioning.__main__ import main

FOLDER = Path(__file__).parents[2] / "protocols" / "dlt645_models"
SHIPPED = sorted(FOLDER.glob("*.toml"))
GOOD = """
protocol = "dlt645-2007"
title = "A meter"
source = "its manual"

[relay]
plain = ["disconnect", "arm"]
levels = ["02", "04"]
secured = true
"""
FAULTS = [
    ('plain = ["disconnect", "arm"]', 'plain = ["trip"]', "plain = ['trip'] is not allowed"),
    ('levels = ["02", "04"]', 'levels = ["2"]', "levels = ['2'] is not allowed"),
    ('levels = ["02", "04"]', 'levels = ["10"]', "levels = ['10'] is not allowed"),
    ('levels = ["02", "04"]', "", "plain and levels must both be given, or neither"),
    ('plain = ["disconnect", "arm"]', "", "plain and levels must both be given, or neither"),
    ("secured = true", "secured = 1", "secured = 1 is not allowed; it must be true or false"),
    ('source = "its manual"', "", "source is missing"),
    ('title = "A meter"', 'maker = "A"', "unknown key 'maker'"),
]


def test_the_models_that_come_with_busbar() -> None:
    """Each is good, none lets a delayed form through, and the generic one lets nothing through."""
    assert len(SHIPPED) >= 4
    for path in SHIPPED:
        model = read_meter_model(path.stem, tomllib.loads(path.read_text()))
        assert not set(model.terms.plain) & set(DELAYED)
        if path.stem == "generic-2007":
            assert model.terms == RelayTerms((), (), False)
        else:
            assert model.terms.plain


def test_a_model_is_the_terms_it_states() -> None:
    """Names become codes, levels numbers."""
    terms = read_meter_model("one", tomllib.loads(GOOD)).terms
    assert terms == RelayTerms((0x1A, 0x1B), (2, 4), True)
    every = ", ".join(f'"{name}"' for name in ACTION_BY_NAME)
    text = GOOD.replace('"disconnect", "arm"', every)
    codes = (0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x2A, 0x2B, 0x3A, 0x3B)
    assert read_meter_model("one", tomllib.loads(text)).terms.plain == codes


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS)
def test_a_fault_is_one_sentence(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    """For the reader of the file and for the technician's command, which ends with 2."""
    text = GOOD.replace(old, new)
    assert text != GOOD
    with pytest.raises(SettingError) as raised:
        read_meter_model("one", tomllib.loads(text))
    assert sentence in str(raised.value)
    assert str(raised.value).startswith("meter model one")
    path = tmp_path / "one.toml"
    path.write_text(text)
    assert main(["model", "check", str(path)]) == 2


def test_the_command_says_what_the_relay_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words for a person, as JSON for a program."""
    path = tmp_path / "one.toml"
    path.write_text(GOOD)
    assert main(["model", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "disconnect, arm with a password of level 02, 04, secured control taken" in said
    assert main(["model", "check", "--json", str(path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["ok"], row["title"]) == (True, "A meter")
    assert row["relay"].startswith("disconnect, arm")
    assert main(["model", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(one.stem in listed for one in SHIPPED)
