"""The world file: what it may say, and the sentence for what it may not."""

from pathlib import Path

import pytest

from hil.load import EPOCH_MS, HOUR_MS
from hil.modbus_station import ModbusMeter
from hil.scenario import Scenario, read_scenario
from hil.world import World
from protocols.errors import SettingError

LINE = '[[line]]\nid = "l1"\nlink = "tty1"\n'
METER = '[[meter]]\nline = "l1"\nprotocol = "dlt645-2007"\naddress = "000000000161"\n'
UNIT = '[[meter]]\nline = "l1"\nprotocol = "modbus"\nunit = 17\nmodel = "chint-dtsu666"\n'
FEEDER = '[[feeder]]\nmeter = "l1/000000000161"\nbehind = ["l1"]\n'
PLANT = '[[generation]]\nmeter = "l1/000000000161"\n'
THEFT = '[[theft]]\nmeter = "l1/000000000161"\nkind = "bypass"\n'
WATER = (
    '[[meter]]\nline = "l1"\nprotocol = "cjt188"\naddress = "00000000000161"\n'
    'meter_type = "cold-water"\n'
)
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
            "follows_tty": False,
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
        ("lines = 1\n", "unknown key 'lines'; allowed are line, meter, fault, feeder"),
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
        (LINE + METER + UNIT + FEEDER + "ratio = 2\n", "feeder 1: unknown key 'ratio'"),
        (LINE + UNIT + FEEDER, "feeder 1: meter = 'l1/000000000161' is not allowed; it must be"),
        (LINE + METER + UNIT + FEEDER + FEEDER, "meter = 'l1/000000000161' stands twice"),
        (LINE + METER + FEEDER, "feeder 1: no meter stands behind l1/000000000161"),
        (LINE + METER + UNIT + FEEDER.replace('["l1"]', '["l2"]'), "behind = 'l2' is not allowed"),
        (
            LINE + METER + UNIT + FEEDER.replace('["l1"]', '["l1/000000000161"]'),
            "behind = 'l1/000000000161' is not allowed",
        ),
        (
            LINE
            + METER
            + METER.replace("161", "162")
            + UNIT
            + FEEDER
            + FEEDER.replace("161", "162"),
            "feeder 2: l1/17 stands behind another totaliser already",
        ),
        (
            LINE + METER + UNIT + FEEDER.replace("000000000161", "17") + "ct_ratio = 2\n",
            "feeder 1: ct_ratio = 2 is not allowed for a Modbus meter",
        ),
        (LINE + METER + UNIT + FEEDER + PLANT, "must not have a profile or a plant of its own"),
        (LINE + METER + PLANT + PLANT, "generation 1: meter = 'l1/000000000161' stands twice"),
        (LINE + METER + PLANT + "peak_w = 0\n", "generation 1: peak_w = 0 is not allowed"),
        (LINE + WATER + THEFT.replace("161", "00161"), "it must be a meter of electricity"),
        (LINE + METER + THEFT.replace("bypass", "luck"), "theft 1: kind = 'luck' is not allowed"),
        (LINE + METER + "phases = 1\n" + THEFT + "phase = 2\n", "the meter has no such phase"),
        (LINE + METER + THEFT + "percent = 101\n", "theft 1: percent = 101 is not allowed"),
        (LINE + METER + THEFT + "begin = 2026-03-01T00:00:00\n", "a full quarter of an hour"),
        (LINE + METER + THEFT + "begin = 2026-03-01T00:07:00Z\n", "a full quarter of an hour"),
        (LINE + METER + THEFT + "begin = 2024-03-01T00:00:00Z\n", "a full quarter of an hour"),
        (
            LINE + METER + THEFT + "begin = 2026-03-02T00:00:00Z\nend = 2026-03-01T00:00:00Z\n",
            "theft 1: end = 2026-03-01 00:00:00+00:00 must be after its begin",
        ),
        (LINE + METER + "profile_percent = 0\n", "profile_percent = 0 is not allowed"),
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


def test_a_profile_is_looked_for_beside_its_file(tmp_path: Path) -> None:
    text = METER + 'profile = "use.csv"\nprofile_percent = 200\nprofile_shift_days = 0\n'
    scenario = parse(tmp_path, LINE + text)
    with pytest.raises(SettingError, match=r"use\.csv: cannot be read"):
        World(scenario)
    rows = "interval_start_local,kwh\n2026-01-01 00:00:00,1.0\n2026-01-01 01:00:00,0.5\n"
    (tmp_path / "use.csv").write_text(rows)
    load = World(scenario).loads["l1/000000000161"]
    night, later = (load.shown(EPOCH_MS + hour * HOUR_MS) for hour in (0, 2))
    assert night[16, 7, 0] == pytest.approx(2_000_000, abs=200)
    assert (later[1, 8, 0] or 0) - (night[1, 8, 0] or 0) == pytest.approx(3_000_000, abs=10_000)


def test_a_whole_line_stands_for_its_meters_without_totalisers(tmp_path: Path) -> None:
    text = LINE + METER + UNIT + METER.replace("161", "162") + WATER + FEEDER
    scenario = parse(tmp_path, text)
    assert scenario.members(scenario.feeders[0]) == ["l1/17", "l1/000000000162"]
    one = parse(tmp_path, text.replace('behind = ["l1"]', 'behind = ["l1/17"]'))
    assert one.members(one.feeders[0]) == ["l1/17"]


def test_a_seed_moves_every_seed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "world.toml"
    path.write_text(LINE + METER + UNIT + PLANT)
    plain, moved = read_scenario(path), read_scenario(path, 7)
    seeds = [
        [line["seed"] for line in one.lines]
        + [meter.settings["seed"] for meter in one.meters]
        + [plant["seed"] for plant in one.generations]
        for one in (plain, moved)
    ]
    assert seeds[0] == [0, 1, 1, 1]
    assert all(one != other for one, other in zip(*seeds, strict=True))
    plain.lines[0]["seed"] = moved.lines[0]["seed"]
    assert plain.lines == moved.lines


def test_a_dlt645_totaliser_shows_the_secondary_side(tmp_path: Path) -> None:
    feeder = FEEDER.replace('"l1"]', '"l1/17"]')
    plain, behind = (
        World(parse(tmp_path, LINE + METER + UNIT + feeder + more)).loads["l1/000000000161"]
        for more in ("", "ct_ratio = 20\n")
    )
    power, secondary = (one.shown(EPOCH_MS)[16, 7, 0] or 0 for one in (plain, behind))
    assert secondary == pytest.approx(power / 20, abs=200)


def test_a_modbus_totaliser_shows_what_its_ratio_says(tmp_path: Path) -> None:
    text = LINE + METER + UNIT + FEEDER.replace("000000000161", "17")
    plain, behind = (
        World(parse(tmp_path, text.replace('dtsu666"\n', f'dtsu666"\n{more}')))
        for more in ("", "registers = { ct_ratio = 40 }\n")
    )
    digits = []
    for world in (plain, behind):
        meter = world.meters["l1", "17"]
        assert isinstance(meter, ModbusMeter)
        (register,) = [one for one in meter.model.registers if one.name == "active_power"]
        digits.append(meter.digits(register, EPOCH_MS))
    assert digits[0] > 1000 and digits[1] == digits[0] // 40
