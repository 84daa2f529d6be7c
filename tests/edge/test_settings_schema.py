"""The JSON Schema of edge.toml says what the rules say, and takes what we ship and show."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.settings import RULES
from edge.settings.schema import json_schema
from tests.edge.test_settings import GOOD, GROUP, WHERE, changed, changed_part, write_config

ROOT = Path(__file__).parents[2]
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
SCHEMA = json_schema()


def faults(schema: dict[str, Any], value: Any, where: str = "") -> list[str]:
    """What a validator would say; of the words that our schema uses, and of no others."""
    known = {
        "$schema", "title", "description", "default", "type", "properties", "required",
        "additionalProperties", "items", "minItems", "maxItems", "minimum", "maximum",
        "minLength", "maxLength", "enum", "anyOf",
    }  # fmt: skip
    assert set(schema) <= known
    if "anyOf" in schema:
        found = [faults(one, value, where) for one in schema["anyOf"]]
        return [] if any(not one for one in found) else [f"{where}: fits none of anyOf"]
    if "enum" in schema and not any(
        type(one) is type(value) and one == value for one in schema["enum"]
    ):
        return [f"{where}: not of enum"]
    wanted = TYPES.get(schema.get("type", ""))
    if wanted and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        return [f"{where}: not {schema['type']}"]
    if isinstance(value, dict):
        return _faults_of_table(schema, value, where)
    if isinstance(value, list):
        sized = schema["minItems"] <= len(value) <= schema.get("maxItems", 1 << 30)
        rows = [
            fault
            for n, one in enumerate(value)
            for fault in faults(schema["items"], one, where + f"[{n}]")
        ]
        return rows if sized else [f"{where}: {len(value)} items", *rows]
    size = len(value) if isinstance(value, str) else 0
    if not schema.get("minLength", 0) <= size <= schema.get("maxLength", 1 << 30):
        return [f"{where}: length"]
    if "minimum" in schema and not schema["minimum"] <= value <= schema["maximum"]:
        return [f"{where}: out of range"]
    return []


def _faults_of_table(schema: dict[str, Any], value: dict[str, Any], where: str) -> list[str]:
    assert schema["additionalProperties"] is False
    found = [f"{where}: {key} is missing" for key in schema.get("required", ()) if key not in value]
    for key, one in value.items():
        if key in schema["properties"]:
            found += faults(schema["properties"][key], one, f"{where}.{key}")
        else:
            found.append(f"{where}: {key} is unknown")
    return found


def shipped() -> list[tuple[str, dict[str, Any]]]:
    """Every edge.toml that we ship or show."""
    found = [
        (str(path.relative_to(ROOT)), path.read_text())
        for path in [ROOT / "packaging" / "files" / "edge.toml"]
    ]
    text = (ROOT / "docs" / "operations.md").read_text().split("\n## edge.toml\n")[1]
    found.append(("docs/operations.md", re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0]))
    return [(name, tomllib.loads(text)) for name, text in found]


@pytest.mark.parametrize(("name", "table"), shipped(), ids=[name for name, _ in shipped()])
def test_what_we_ship_fits(name: str, table: dict[str, Any]) -> None:
    """The example of the package and that of the documentation."""
    table.setdefault("line", GOOD["line"])
    table.setdefault("meter", GOOD["meter"])
    assert faults(SCHEMA, table) == []


def test_a_good_file_fits() -> None:
    """Every protocol, and a register group."""
    table = json.loads(json.dumps(GOOD))
    table["meter"][0]["group"] = [GROUP]
    assert faults(SCHEMA, table) == []


def test_every_rule_stands_in_it() -> None:
    """Name, what is allowed, and the default."""
    for part, rules in RULES.items():
        table = section_of(part)
        assert set(table["properties"]) - {"group", "control"} == {rule.name for rule in rules}
        for rule in rules:
            one = table["properties"][rule.name]
            assert rule.meaning in one["description"] and rule.allowed in one["description"]
            if isinstance(rule.default, bool | int | str):
                assert one["default"] == rule.default
                assert faults(one, one["default"]) == []


def section_of(part: str) -> dict[str, Any]:
    """The schema of one part of RULES."""
    properties = SCHEMA["properties"]
    if part == "meter.group":
        return properties["meter"]["items"]["anyOf"][0]["properties"]["group"]["items"]
    if part.startswith("meter.control"):
        protocol = part.split("(")[1].split(",", maxsplit=1)[0].rstrip(")")
        return section_of(f"meter ({protocol})")["properties"]["control"]
    section, index, _ = WHERE[part]
    if index is None:
        return properties[section]
    if section == "line":
        return properties["line"]["items"]
    protocol = part.split("(")[1].rstrip(")")
    (found,) = [
        one
        for one in properties["meter"]["items"]["anyOf"]
        if one["properties"]["protocol"]["enum"] == [protocol]
    ]
    return found


@pytest.mark.parametrize("part", RULES)
def test_what_is_wrong_does_not_fit(part: str) -> None:
    """An unknown key, a value of the wrong type, and a missing one that is required."""
    assert faults(SCHEMA, changed_part(part, colour="red"))
    for rule in RULES[part]:
        assert faults(SCHEMA, changed_part(part, **{rule.name: {"a": 1}}))
    required = [
        rule.name for rule in RULES[part] if rule.name in section_of(part).get("required", ())
    ]
    for name in required:
        assert faults(SCHEMA, changed_part(part, **{name: None}))


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON."""
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_the_command_checks_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 and the load of each line, or 2 and one sentence; also of what goes over another file."""
    path = write_config(tmp_path, GOOD)
    assert main(["config", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "line line-1: 3 meters" in out and out.endswith("is right\n")
    remote = tmp_path / "remote.toml"
    remote.write_text('[[line]]\nid = "line-1"\nport = "/dev/ttyS1"\n')
    assert main(["config", "check", str(remote)]) == 2
    assert main(["config", "check", str(remote), "--over", str(path)]) == 2
    assert "the remote configuration: [[meter]] 3: line = 'lan'" in capsys.readouterr().err
    remote.write_text("[uplink]\nwindow = 4\n")
    assert main(["config", "check", str(remote), "--over", str(path)]) == 0
    table = changed("meter", 1, model="nothing")
    assert main(["config", "check", str(write_config(tmp_path, table))]) == 2
    assert main(["config", "check", str(tmp_path / "none.toml")]) == 2
