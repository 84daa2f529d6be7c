"""Virtual meters as a world file asks for them."""

from pathlib import Path

import pytest

from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
from hil.meter_judgements import Limits
from hil.scenario import read_scenario
from hil.world import World
from protocols.errors import SettingError
from tests.hil.masters import WHO, FakeClock, ask, order, shown

LINE = '[[line]]\nid = "l1"\nlink = "tty1"\n'
METER = '[[meter]]\nline = "l1"\nprotocol = "dlt645-2007"\naddress = "000000000161"\n'
OLD = '[[meter]]\nline = "l1"\nprotocol = "dlt645-1997"\naddress = "000000000162"\n'
FOREVER = "595923311299"


def build(tmp_path: Path, text: str) -> World:
    path = tmp_path / "world.toml"
    path.write_text(LINE + text)
    return World(read_scenario(path), FakeClock(1_770_033_600_000))


def test_a_meter_with_passwords_relay_and_a_wrong_clock(tmp_path: Path) -> None:
    text = 'passwords = ["2:123456", "4:000000"]\nrelay_actions = ["disconnect", "arm"]\n'
    text += "clock_offset_s = -90\nclock_drift_ppm = 1000\n"
    meter = build(tmp_path, METER + text).meters["l1", "000000000161"]
    assert isinstance(meter, Dlt645Meter)
    assert shown(meter, "04000102") == ["11:58:30"]
    for action, answer in (("1A", "ok"), ("1B", "ok"), ("1C", "err 04")):
        assert order(meter, 0x1C, WHO + action + "00" + FOREVER, meter.name) == answer
    assert order(meter, 0x19, "04000000" + "00000000", meter.name) == "ok"


def test_a_meter_obeys_nobody_unless_its_file_says_so(tmp_path: Path) -> None:
    meter = build(tmp_path, METER).meters["l1", "000000000161"]
    assert isinstance(meter, Dlt645Meter)
    for password in ("02563412", "00000000", "02000000"):
        who = password + "00000000"
        assert order(meter, 0x1C, who + "1A00" + FOREVER, meter.name) == "err 04"


def test_a_meter_of_1997_with_its_habits(tmp_path: Path) -> None:
    text = "echoes_wildcard = true\nanswers_broadcast = true\nhas_separators = true\n"
    text += 'registers = { "9010" = 1234 }\n'
    meter = build(tmp_path, OLD + text).meters["l1", "000000000162"]
    assert isinstance(meter, Dlt645Meter1997)
    reply = ask(meter, "AAAAAAAAAAAA", 0x01, "1090")
    assert reply is not None and reply.address == "AAAAAAAAAAAA"
    assert reply.data.hex() == "109034120000"
    block = ask(meter, "999999999999", 0x01, "1fb6")
    assert block is not None and block.data[4::3] == b"\xaa" * 3


def test_an_outage_takes_power_and_truth(tmp_path: Path) -> None:
    text = '[[outage]]\nmeter = "l1/000000000161"\n'
    text += "begin = 2026-02-02T12:00:00Z\nend = 2026-02-02T13:00:00Z\n"
    world = build(tmp_path, METER + text)
    clock = world._clock
    assert isinstance(clock, FakeClock)
    meter = world.meters["l1", "000000000161"]
    assert isinstance(meter, Dlt645Meter)
    assert ask(meter, meter.name, 0x11, "00000100") is None
    clock.now_ms += 3_600_000
    assert shown(meter, "03110001") == ["2026-02-02T12:00:00", "2026-02-02T13:00:00"]
    (truth,) = world.truth(1_770_033_600_000, clock.now_ms).values()
    assert (truth.import_wh, truth.missing_wh) == (0, {})
    assert world.truth(clock.now_ms, clock.now_ms + 3_600_000).popitem()[1].import_wh > 500


def test_a_phase_with_little_voltage_is_an_event(tmp_path: Path) -> None:
    text = '[[outage]]\nmeter = "l1/000000000161"\npercent = 70\nphase = 2\n'
    world = build(tmp_path, METER + text)
    meter = world.meters["l1", "000000000161"]
    assert isinstance(meter, Dlt645Meter) and isinstance(world._clock, FakeClock)
    world._clock.now_ms += 60_000
    assert shown(meter, "04000505")[0] & 0b10 and not shown(meter, "04000504")[0]


def test_a_meter_is_of_the_size_that_its_table_says(tmp_path: Path) -> None:
    text = "voltage_v = 110\nbase_a = 1\nmax_a = 1\nhas_local_account = true\n"
    text += 'registers = { "00900201" = 5 }\n'
    world = build(tmp_path, METER.replace('"\n', '"\n') + text)
    meter = world.meters["l1", "000000000161"]
    assert isinstance(meter, Dlt645Meter)
    assert meter._registers.watch.limits == Limits(110_000, 1_000, 1_000)
    assert meter._is_overdrawn()


def test_a_line_follows_the_tty_where_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "world.toml"
    path.write_text(LINE + "follows_tty = true\n" + METER)
    assert World(read_scenario(path)).lines["l1"]._follows_tty


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (METER + 'passwords = ["2:12345"]\n', "a level, a colon and six digits"),
        (METER + 'passwords = ["12:123456"]\n', "a level, a colon and six digits"),
        (METER + 'passwords = [":123456"]\n', "a level, a colon and six digits"),
        (METER + 'relay_actions = ["cut"]\n', "disconnect, arm, connect"),
        (METER + "clock_drift_ppm = 100001\n", "a whole number from -100000 to 100000"),
        (OLD + 'passwords = ["2:123456"]\n', "unknown key 'passwords'"),
        (OLD + 'registers = { "00010000" = 5 }\n', "00010000"),
        (METER + OLD.replace("162", "161"), "000000000161 stands twice"),
        (METER + '[[outage]]\nmeter = "l1/000000000162"\n', "outage 1: meter = "),
        (METER + '[[outage]]\nmeter = "l1/000000000161"\nphase = 4\n', "phase = 4"),
        (METER + "phases = 1\n" + '[[outage]]\nmeter = "l1/000000000161"\nphase = 2\n', "no such"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        build(tmp_path, text)
