"""The world file: what it may say, and the sentence for what it may not."""

from pathlib import Path

import pytest

from hil.scenario import Scenario, read_scenario
from hil.world import World
from protocols.errors import SettingError

LINE = '[[line]]\nid = "l1"\nlink = "tty1"\n'
METER = '[[meter]]\nline = "l1"\nprotocol = "dlt645-2007"\naddress = "000000000161"\n'
UNIT = '[[meter]]\nline = "l1"\nprotocol = "modbus"\nunit = 17\nmodel = "chint-dtsu666"\n'
FAULT = '[[fault]]\nline = "l1"\nkind = "late"\n'


def parse(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "world.toml"
    path.write_text(text)
    return read_scenario(path)


def test_a_short_file_gets_the_defaults(tmp_path: Path) -> None:
    scenario = parse(tmp_path, LINE + METER + UNIT + FAULT)
    assert scenario.lines == [
        {
            "id": "l1",
            "link": "tty1",
            "baud": 2400,
            "paced": True,
            "echo": False,
            "turnaround_ms": 0,
            "seed": 0,
        }
    ]
    assert [meter.name for meter in scenario.meters] == ["000000000161", "17"]
    assert scenario.meters[0].settings["preamble"] == 4
    model = scenario.meters[1].model
    assert model is not None and model.function == 3
    assert scenario.faults[0]["late_ms"] == 2000


def test_a_world_is_built_as_the_file_says(tmp_path: Path) -> None:
    registers = 'registers = { "00010000" = 5, "02010200" = "blank", "00900300" = "00001234" }\n'
    text = LINE + "baud = 9600\necho = true\n" + METER + UNIT + "registers = { ct_ratio = 40 }\n"
    world = World(parse(tmp_path, text))
    assert world.lines["l1"].link == tmp_path / "tty1"
    assert (world.lines["l1"].baud, world.lines["l1"].echo) == (9600, True)
    assert set(world.meters) == {("l1", "000000000161"), ("l1", "17")}
    with pytest.raises(SettingError, match="00900300"):
        World(parse(tmp_path, LINE + METER + registers))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "[[line]] must stand 1 to 64 times"),
        ("lines = 1\n", "unknown key 'lines'; allowed are line, meter, fault"),
        ("[[line]\n", "is not TOML"),
        (LINE + "baud = 1234\n", "line 1: baud = 1234 is not allowed; it must be one of 300"),
        (LINE + "speed = 1\n", "line 1: unknown key 'speed'"),
        (LINE + LINE, "line id = 'l1' stands twice"),
        (LINE + LINE.replace("l1", "l2"), "line link = 'tty1' stands twice"),
        (
            LINE + METER.replace("l1", "l9"),
            "meter 1: line = 'l9' is not allowed; it must be one of",
        ),
        (LINE + METER + METER, "meter 2: 000000000161 stands twice on l1"),
        (LINE + METER.replace("161", "16A"), "address = '00000000016A' is not allowed; it must be"),
        (LINE + METER.replace("dlt645-2007", "dlms"), "protocol = 'dlms' is not allowed"),
        (LINE + METER.replace("protocol", "speaks"), "meter 1: protocol is missing"),
        (LINE + METER + "unit = 3\n", "meter 1: unknown key 'unit'"),
        (LINE + METER + "phases = 2.5\n", "phases = 2.5 is not allowed; it must be one of 1, 2, 3"),
        (LINE + METER + "power_min_w = 5000\n", "it must be above power_min_w = 5000"),
        (LINE + METER + "registers = 1\n", "registers must be a table"),
        (LINE + METER + 'registers = { "0" = 1.5 }\n', "registers: 0 = 1.5 is not allowed"),
        (LINE + UNIT.replace("chint", "chant"), "model = 'chant-dtsu666' is not allowed"),
        (LINE + UNIT.replace("17", "0"), "unit = 0 is not allowed; it must be a whole number"),
        (LINE + FAULT.replace("late", "odd"), "fault 1: kind = 'odd' is not allowed"),
        (LINE + FAULT.replace("l1", "l2"), "fault 1: line = 'l2' is not allowed"),
    ],
)
def test_a_wrong_file_gets_one_sentence_that_names_it(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(SettingError) as caught:
        parse(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "world.toml"))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("meter", "key"),
    [
        (METER, '"00010000" = 100000000'),
        (METER, '"00010000" = -1'),
        (METER, '"zz" = 1'),
        (METER, '"0001FF00" = 1'),
        (METER, '"02010100" = "xy"'),
        (UNIT, "nothing = 1"),
        (UNIT, "ct_ratio = 70000"),
        (UNIT, 'ct_ratio = "blank"'),
    ],
)
def test_a_register_that_does_not_fit_is_named(tmp_path: Path, meter: str, key: str) -> None:
    with pytest.raises(SettingError) as caught:
        World(parse(tmp_path, f"{LINE}{meter}registers = {{ {key} }}\n"))
    assert f"meter 1: registers: {key.replace(chr(34), '').split(' = ')[0]} = " in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no-such"):
        read_scenario(tmp_path / "no-such.toml")
