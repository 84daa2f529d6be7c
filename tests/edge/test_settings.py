"""edge.toml: each rule broken once gets one sentence with file, key, value and what is allowed."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.meters.dlt645_quantities import EDITIONS, identifiers_for
from edge.meters.models import load_models
from edge.settings import (
    LINES_MAX,
    METERS_MAX,
    RULES,
    load_settings,
    meter_address,
    wire_of,
)
from protocols.errors import SettingError
from protocols.settings import REQUIRED
from tests.edge.head_end import HeadEnd

ROOT = Path(__file__).parents[2]
GOOD: dict[str, Any] = {
    "gateway": {
        "id": "gw-1",
        "tenant": "t1",
        "state_dir": "state",
        "identity_dir": "identity",
    },
    "mqtt": {"host": "broker.example"},
    "line": [
        {"id": "line-1", "port": "/dev/ttyUSB0"},
        {"id": "lan", "port": "socket://192.0.2.1:502"},
    ],
    "meter": [
        {"id": "m-1", "line": "line-1", "protocol": "dlt645-2007", "address": "000000000161"},
        {
            "id": "m-2",
            "line": "line-1",
            "protocol": "modbus",
            "unit": 7,
            "model": "eastron-sdm630",
        },
        {
            "id": "m-9",
            "line": "lan",
            "protocol": "modbus-tcp",
            "unit": 255,
            "model": "eastron-sdm630",
        },
        {
            "id": "w-1",
            "line": "line-1",
            "protocol": "cjt188",
            "address": "00201510270588",
            "meter_type": "cold-water",
        },
    ],
}
WHERE = {
    "gateway": ("gateway", None, "[gateway]"),
    "mqtt": ("mqtt", None, "[mqtt]"),
    "journal": ("journal", None, "[journal]"),
    "uplink": ("uplink", None, "[uplink]"),
    "collect": ("collect", None, "[collect]"),
    "local": ("local", None, "[local]"),
    "orders": ("orders", None, "[orders]"),
    "line": ("line", 0, "[[line]] 1"),
    "meter (dlt645-2007)": ("meter", 0, "[[meter]] 1"),
    "meter (modbus)": ("meter", 1, "[[meter]] 2"),
    "meter (modbus-tcp)": ("meter", 2, "[[meter]] 3"),
    "meter (cjt188)": ("meter", 3, "[[meter]] 4"),
    "meter.group": ("meter", 0, "[[meter]] 1 [[meter.group]] 1"),
    "meter.control (dlt645-2007)": ("meter", 0, "[[meter]] 1 [meter.control]"),
    "meter.control (modbus, modbus-tcp)": ("meter", 1, "[[meter]] 2 [meter.control]"),
}
CONTROL = {"plain": ["disconnect", "arm"], "levels": ["02"]}
GROUP = {"name": "load", "quantities": ["1-0:16.7.0"], "period_s": 60}


def toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return str(value)


def write_config(folder: Path, table: dict[str, Any]) -> Path:
    """A table as edge.toml."""
    lines = []
    for name, part in table.items():
        for row in part if isinstance(part, list) else [part]:
            lines.append(f"[[{name}]]" if isinstance(part, list) else f"[{name}]")
            own = ("group", "control")
            lines += [f"{key} = {toml(one)}" for key, one in row.items() if key not in own]
            for group in row.get("group", ()):
                lines.append("[[meter.group]]")
                lines += [f"{key} = {toml(one)}" for key, one in group.items()]
            if "control" in row:
                lines.append("[meter.control]")
                lines += [f"{key} = {toml(one)}" for key, one in row["control"].items()]
    path = folder / "edge.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def changed(section: str, index: int | None, **values: Any) -> dict[str, Any]:
    """The good table with some values changed; None takes one away."""
    table = {
        name: [dict(row) for row in part] if isinstance(part, list) else dict(part)
        for name, part in GOOD.items()
    }
    row = table.setdefault(section, {})
    if index is not None:
        row = row[index]
    row.update(values)
    for key in [key for key, value in row.items() if value is None]:
        del row[key]
    return table


def changed_part(part: str, **values: Any) -> dict[str, Any]:
    """The same for a part of RULES; a register group is made for it."""
    section, index, _ = WHERE[part]
    if part.startswith("meter.control"):
        good = CONTROL if "dlt645" in part else {}
        table = {key: value for key, value in (good | values).items() if value is not None}
        return changed(section, index, control=table)
    if part != "meter.group":
        return changed(section, index, **values)
    group = {key: value for key, value in (GROUP | values).items() if value is not None}
    return changed(section, index, group=[group])


def refusal(folder: Path, table: dict[str, Any] | str) -> str:
    """The sentence that a wrong file gets: one line, and it begins with the file."""
    if isinstance(table, str):
        path = folder / "edge.toml"
        path.write_text(table)
    else:
        path = write_config(folder, table)
    with pytest.raises(SettingError) as caught:
        load_settings(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    return sentence


def test_a_good_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    """Every rule has its value; paths are absolute, beside the file."""
    settings = load_settings(write_config(tmp_path, GOOD))
    assert settings.gateway["state_dir"] == (tmp_path / "state").resolve()
    assert settings.gateway["identity_dir"] == (tmp_path / "identity").resolve()
    assert settings.mqtt["port"] == 8883
    assert settings.mqtt["tls"] is True
    assert settings.lines[0]["baud"] == 2400
    assert settings.lines[0]["parity"] == "E"
    assert "1-0:1.8.0" in settings.meters[0]["quantities"]
    assert settings.meters[1]["quantities"] is None
    for name, part in (
        ("gateway", settings.gateway),
        ("mqtt", settings.mqtt),
        ("journal", settings.journal),
        ("uplink", settings.uplink),
        ("line", settings.lines[0]),
        ("meter (dlt645-2007)", settings.meters[0]),
        ("meter (modbus)", settings.meters[1]),
        ("meter (modbus-tcp)", settings.meters[2]),
        ("meter (cjt188)", settings.meters[3]),
    ):
        own = {rule.name for rule in RULES[name]}
        assert set(part) - {"groups", "control"} == own
    assert [meter["groups"] for meter in settings.meters] == [()] * 4
    assert [meter["control"] for meter in settings.meters] == [None] * 4


def test_what_orders_may_do_is_a_table_of_its_own(tmp_path: Path) -> None:
    """With its defaults; a meter that is only read has none, and a half one is refused."""
    settings = load_settings(write_config(tmp_path, changed("meter", 0, control=CONTROL)))
    table = settings.meters[0]["control"]
    assert set(table) == {rule.name for rule in RULES["meter.control (dlt645-2007)"]}
    assert (table["plain"], table["levels"]) == (["disconnect", "arm"], ["02"])
    assert (table["parameters"], table["secured"], table["breaker"]) == (False, False, "internal")
    sentence = refusal(tmp_path, changed("meter", 0, control={"plain": ["arm"]}))
    assert "[[meter]] 1 [meter.control]: plain and levels must both be given" in sentence
    sentence = refusal(tmp_path, changed("meter", 3, control={"breaker": "internal"}))
    assert "[[meter]] 4: [meter.control] is not allowed; cjt188 is only read" in sentence


EVERY_RULE = [(part, rule) for part, rules in RULES.items() for rule in rules]


@pytest.mark.parametrize(
    ("part", "rule"), EVERY_RULE, ids=[f"{part}.{rule.name}" for part, rule in EVERY_RULE]
)
def test_each_rule_that_is_broken_is_named(tmp_path: Path, part: str, rule: Any) -> None:
    """A value of a wrong kind: file, place, key, value and what is allowed instead."""
    place = WHERE[part][2]
    wrong: list[Any] = ["", -1, [1], 1e9]
    wrong = [one for one in wrong if not rule.allows(one)]
    for value in wrong:
        sentence = refusal(tmp_path, changed_part(part, **{rule.name: value}))
        if rule.name == "protocol" and part not in ("meter", "meter (dlt645-2007)"):
            continue  # then the other protocol's rules judge the row
        assert f"{place}: {rule.name} = " in sentence
        assert repr(value if not isinstance(value, float) else 1e9) in sentence
        assert sentence.endswith(rule.allowed)
    assert wrong


@pytest.mark.parametrize(
    ("part", "rule"),
    [(part, rule) for part, rule in EVERY_RULE if rule.default is REQUIRED],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_each_required_key_that_is_missing_is_named(tmp_path: Path, part: str, rule: Any) -> None:
    """With what it must be."""
    place = WHERE[part][2]
    sentence = refusal(tmp_path, changed_part(part, **{rule.name: None}))
    if rule.name != "protocol":
        assert f"{place}: {rule.name} is missing; it must be {rule.allowed}" in sentence
    else:
        assert place in sentence


@pytest.mark.parametrize("part", RULES)
def test_an_unknown_key_is_named(tmp_path: Path, part: str) -> None:
    """A typing error is not silently a default."""
    place = WHERE[part][2]
    sentence = refusal(tmp_path, changed_part(part, colour="red"))
    assert f"{place}: unknown key 'colour'; allowed are " in sentence
    assert RULES[part][0].name in sentence


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    """And the known ones are told."""
    sentence = refusal(tmp_path, changed("lines", None, id="x"))
    assert "unknown section [lines]; allowed are gateway, mqtt" in sentence


@pytest.mark.parametrize(
    ("section", "index", "values", "told"),
    [
        ("line", 0, {"baud": 1234}, "one of 600, 1200, 2400"),
        ("line", 0, {"parity": "X"}, "one of 'E', 'N', 'O'"),
        ("line", 0, {"stop_bits": True}, "stop_bits = True"),
        ("line", 0, {"retries": 11}, "from 0 to 10"),
        ("mqtt", None, {"port": 65536}, "from 1 to 65535"),
        ("mqtt", None, {"version": 4}, "one of 5, 3"),
        ("mqtt", None, {"tls": 1}, "true or false"),
        ("mqtt", None, {"host": "x" * 256}, "1 to 255 characters"),
        ("uplink", None, {"window": 1}, "from 2 to 64"),
        ("journal", None, {"size_mb_max": 0}, "from 1 to"),
        ("gateway", None, {"id": "-gw"}, "not starting with -"),
        ("gateway", None, {"id": "GW"}, "a-z"),
        ("gateway", None, {"tenant": "t/1"}, "a-z"),
        ("gateway", None, {"log": "trace"}, "'debug', 'info', 'warning'"),
        ("meter", 0, {"id": "a b"}, "without spaces"),
        ("meter", 0, {"id": "m\u00e9"}, "printable"),
        ("meter", 0, {"address": "16100000000"}, "12 digits"),
        ("meter", 0, {"address": "99999999999A"}, "12 digits"),
        ("meter", 0, {"address": "999999999999"}, "not the broadcast"),
        ("meter", 0, {"address": "AAAAAAAAAAAA"}, "12 digits"),
        (
            "meter",
            0,
            {"line": "line-9"},
            "line = 'line-9' is not allowed; it must be one of line-1",
        ),
        ("meter", 0, {"protocol": "dlms"}, "one of 'dlt645-2007', 'modbus', 'modbus-tcp'"),
        ("meter", 0, {"quantities": []}, "a list of"),
        ("meter", 0, {"quantities": ["0001FF0"]}, "8 hex digits"),
        (
            "meter",
            0,
            {"quantities": ["1-0:99.1.0"]},
            "DL/T 645-2007 has no identifier for it, and DL/T 645-1997 has no identifier for it",
        ),
        (
            "meter",
            0,
            {"quantities": ["1-0:9.8.0"], "edition": "1997"},
            "'1-0:9.8.0' is not allowed; DL/T 645-1997 has no identifier for it",
        ),
        (
            "meter",
            0,
            {"quantities": ["901F"], "edition": "2007"},
            "'901F' is not allowed; an identifier of DL/T 645-2007 has 8 hex digits",
        ),
        (
            "meter",
            0,
            {"quantities": ["0001FF00"], "edition": "1997"},
            "'0001FF00' is not allowed; an identifier of DL/T 645-1997 has 4 hex digits",
        ),
        ("meter", 0, {"quantities": ["0F010203"]}, "catalog of DL/T 645-2007 does not have it"),
        ("meter", 0, {"quantities": ["F010"]}, "catalog of DL/T 645-1997 does not have it"),
        ("meter", 0, {"quantities": ["04000C01"]}, "it can be written, but not read"),
        ("meter", 0, {"quantities": ["1-128:4.0.12*1"]}, "it can be written, but not read"),
        ("meter", 0, {"quantities": ["c212"]}, "it can be written, but not read"),
        ("meter", 0, {"quantities": ["06010001"]}, "no public source tells how its data"),
        ("meter", 0, {"edition": 1997}, "one of 'auto', '2007', '1997'"),
        ("meter", 1, {"quantities": ["0001FF00"]}, "must be an OBIS code"),
        ("meter", 1, {"unit": 248}, "from 1 to 247"),
        ("meter", 1, {"unit": 0}, "from 1 to 247"),
        ("meter", 2, {"unit": 256}, "from 0 to 255"),
        ("meter", 2, {"quantities": ["0001FF00"]}, "must be an OBIS code"),
        (
            "meter",
            2,
            {"line": "line-1"},
            "m-9: protocol = 'modbus-tcp' is not allowed on line line-1; its port is '/dev/",
        ),
        ("line", 1, {"port": "rfc2217://192.0.2.1:2217"}, "and must be socket://host:port"),
        (
            "meter",
            0,
            {"line": "lan"},
            "m-1: protocol = 'dlt645-2007' is not allowed on line lan; m-9 there is 'modbus-tcp'",
        ),
        ("meter", 1, {"line": "lan"}, "m-2: protocol = 'modbus' is not allowed on line lan; m-9"),
    ],
)
def test_the_limits_that_a_person_meets(
    tmp_path: Path, section: str, index: int | None, values: dict[str, Any], told: str
) -> None:
    """Each sentence says what would be right."""
    assert told in refusal(tmp_path, changed(section, index, **values))


@pytest.mark.parametrize(
    ("section", "row", "told"),
    [
        ("line", {"id": "line-1", "port": "/dev/x"}, "[[line]] 3: id = 'line-1'"),
        ("line", {"id": "line-2", "port": "/dev/ttyUSB0"}, "[[line]] 3: port = '/dev/ttyUSB0'"),
        ("meter", GOOD["meter"][0] | {"address": "000000000162"}, "[[meter]] 5: id = 'm-1'"),
        ("meter", GOOD["meter"][0] | {"id": "m-3"}, "m-3: address 000000000161 on line line-1"),
        (
            "meter",
            GOOD["meter"][1] | {"id": "m-3"},
            "m-3: address 7 on line line-1 is taken by m-2",
        ),
    ],
)
def test_what_stands_twice_is_refused(
    tmp_path: Path, section: str, row: dict[str, Any], told: str
) -> None:
    """Names, ports, and two meters at one address."""
    table = changed("mqtt", None)
    table[section] = [*table[section], row]
    assert told in refusal(tmp_path, table)


@pytest.mark.parametrize(("section", "most"), [("line", LINES_MAX), ("meter", METERS_MAX)])
def test_sections_must_stand_in_numbers(tmp_path: Path, section: str, most: int) -> None:
    """At least once, at most so often, and as a list."""
    none = {name: part for name, part in GOOD.items() if name != section}
    assert f"[[{section}]] must stand 1 to {most} times" in refusal(tmp_path, none)
    single = {**GOOD, section: GOOD[section][0]}
    assert f"[[{section}]] must stand" in refusal(tmp_path, single)
    if section == "line":
        many = [{"id": f"l-{n}", "port": f"/dev/{n}"} for n in range(most + 1)]
        assert f"[[{section}]] must stand" in refusal(tmp_path, {**GOOD, section: many})


@pytest.mark.parametrize("text", ["[gateway", "a = ", "x = 1\nx = 2", "\x00"])
def test_a_file_that_is_not_toml_is_told_so(tmp_path: Path, text: str) -> None:
    """With the place that the parser names."""
    assert "is not TOML" in refusal(tmp_path, text)


def test_a_file_that_is_not_text_is_told_so(tmp_path: Path) -> None:
    """Bytes of something else."""
    path = tmp_path / "edge.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="is not TOML"):
        load_settings(path)


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    """With the reason of the system."""
    with pytest.raises(SettingError, match=r"no\.toml: cannot be read \(No such file"):
        load_settings(tmp_path / "no.toml")
    with pytest.raises(SettingError, match="cannot be read"):
        load_settings(tmp_path)


@pytest.mark.parametrize("unit", [0, 1, 247, 248, 255])
def test_any_unit_may_stand_behind_a_tcp_port(tmp_path: Path, unit: int) -> None:
    """0 and 255 name the device itself there."""
    settings = load_settings(write_config(tmp_path, changed("meter", 2, unit=unit)))
    assert (settings.meters[2]["unit"], meter_address(settings.meters[2])) == (unit, str(unit))


def test_a_serial_server_carries_both_serial_protocols(tmp_path: Path) -> None:
    """Without a Modbus TCP meter, a socket is a line as any other."""
    table = changed("meter", 2, protocol="modbus", unit=7)
    table["meter"][0]["line"] = "lan"
    settings = load_settings(write_config(tmp_path, table))
    assert [meter["line"] for meter in settings.meters] == ["lan", "line-1", "lan", "line-1"]


# ---- meter models -------------------------------------------------------------------------------


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    """With the names that there are, and nothing outside of the folder is opened."""
    for name in ("no-such-model", "../../etc/passwd", "../meter_models/eastron-sdm630"):
        settings = load_settings(write_config(tmp_path, changed("meter", 1, model=name)))
        with pytest.raises(SettingError) as caught:
            load_models(settings.meters, settings.path)
        assert f"model = {name!r} is not allowed" in str(caught.value)
        assert "eastron-sdm630" in str(caught.value)


def test_an_identifier_is_judged_by_the_edition_that_its_length_says(tmp_path: Path) -> None:
    """One reason, not two."""
    said = refusal(tmp_path, changed("meter", 0, quantities=["0F010203"]))
    assert said.endswith("is not allowed; the catalog of DL/T 645-2007 does not have it")


def test_every_kind_of_dlt645_quantity_is_allowed(tmp_path: Path) -> None:
    """Codes, those of our own and settlements; identifiers, blocks and texts of both editions."""
    quantities = ("1-0:1.8.0*1", "1-128:4.0.15*1", "0001ff00", "04000403", "901F", "b611")
    table = changed("meter", 0, quantities=list(quantities))
    settings = load_settings(write_config(tmp_path, table))
    assert settings.meters[0]["quantities"] == list(quantities)
    assert settings.meters[0]["edition"] == "auto"


@pytest.mark.parametrize("edition", ["auto", "2007", "1997"])
def test_the_quantities_that_are_read_without_saying_exist_in_each_edition(
    tmp_path: Path, edition: str
) -> None:
    """All ten of them."""
    table = changed("meter", 0, edition=edition)
    meter = load_settings(write_config(tmp_path, table)).meters[0]
    for one in EDITIONS[edition]:
        assert len(identifiers_for(meter["quantities"], one)) == 10


def test_a_quantity_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    """Before anything starts."""
    table = changed("meter", 1, quantities=["1-0:99.1.0"])
    settings = load_settings(write_config(tmp_path, table))
    with pytest.raises(SettingError, match="eastron-sdm630 does not have it"):
        load_models(settings.meters, settings.path)


def test_an_installers_model_goes_before_ours(tmp_path: Path) -> None:
    """A file beside the configuration; when it is wrong, it is named."""
    own = tmp_path / "meter_models"
    own.mkdir()
    shipped = (ROOT / "protocols" / "meter_models" / "eastron-sdm630.toml").read_text()
    (own / "eastron-sdm630.toml").write_text(shipped.replace("Eastron SDM630-Modbus", "Ours"))
    settings = load_settings(write_config(tmp_path, GOOD))
    models = load_models(settings.meters, settings.path)
    assert models["eastron-sdm630"].title.startswith("Ours")
    assert tomllib.loads(shipped)["title"].startswith("Eastron")
    (own / "eastron-sdm630.toml").write_text("title = ")
    with pytest.raises(SettingError, match="is not TOML"):
        load_models(settings.meters, settings.path)
    (own / "eastron-sdm630.toml").write_text('title = "x"')
    with pytest.raises(SettingError, match="function is missing"):
        load_models(settings.meters, settings.path)


# ---- the command --------------------------------------------------------------------------------


def run_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m edge ...` as a process."""
    return subprocess.run(
        [sys.executable, "-m", "edge", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def expect_refused(result: subprocess.CompletedProcess[str], folder: Path, told: str) -> None:
    """Exit 2, one line on stderr, nothing on stdout, and nothing was started."""
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("busbar-edge: ")
    assert told in result.stderr
    assert not (folder / "state").exists()


def test_run_with_a_wrong_file_starts_nothing(tmp_path: Path) -> None:
    """A wrong value, and a file that is not there."""
    config = write_config(tmp_path, changed("line", 0, baud=1))
    expect_refused(run_edge("run", "--config", str(config)), tmp_path, "baud = 1 is not allowed")
    config.unlink()
    expect_refused(run_edge("run", "--config", str(config)), tmp_path, "cannot be read")


def test_run_without_an_identity_starts_nothing(tmp_path: Path) -> None:
    """The technician has not been here yet."""
    config = write_config(tmp_path, GOOD)
    expect_refused(run_edge("run", "--config", str(config)), tmp_path, "busbar-provision init")


def test_run_with_a_missing_model_starts_nothing(tmp_path: Path) -> None:
    """Everything is checked before anything is made."""
    HeadEnd().write_files(tmp_path / "identity")
    config = write_config(tmp_path, changed("meter", 1, model="nothing"))
    expect_refused(run_edge("run", "--config", str(config)), tmp_path, "model = 'nothing'")


def test_wrong_use_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """No command at all, or one that is not."""
    assert main([]) == 2
    assert "run" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2


def test_register_groups_have_their_own_period(tmp_path: Path) -> None:
    """Beside the meter's own, aligned to the clock unless they say otherwise."""
    group = GROUP | {"align": "interval"}
    settings = load_settings(
        write_config(tmp_path, changed("meter", 0, group=[GROUP, group | {"name": "b"}]))
    )
    assert [
        (one["name"], one["period_s"], one["align"]) for one in settings.meters[0]["groups"]
    ] == [
        ("load", 60, "clock"),
        ("b", 60, "interval"),
    ]


def test_register_groups_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their slots could not be told apart."""
    sentence = refusal(tmp_path, changed("meter", 0, group=[GROUP, GROUP]))
    assert "[[meter.group]] 2: name = 'load' is not allowed" in sentence


def test_a_group_of_a_water_meter_holds_what_it_shows(tmp_path: Path) -> None:
    """The meter's own rules hold for its groups."""
    group = GROUP | {"quantities": ["8-0:99.0.0"]}
    sentence = refusal(tmp_path, changed("meter", 3, group=[group]))
    assert "[[meter]] 4 [[meter.group]] 1: quantities: '8-0:99.0.0' is not allowed" in sentence


def test_a_meter_may_talk_otherwise_than_its_line(tmp_path: Path) -> None:
    """What it does not say is the line's."""
    settings = load_settings(write_config(tmp_path, changed("meter", 1, baud=9600, parity="N")))
    own = wire_of(settings.meters[1], settings.lines[0])
    assert (own["baud"], own["parity"], own["gap_ms"]) == (9600, "N", 500)
    assert wire_of(settings.meters[0], settings.lines[0])["baud"] == 2400
