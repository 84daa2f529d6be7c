"""Virtual meters as a world file asks for them."""

from pathlib import Path

import pytest

from hil.meter import Dlt645Meter
from hil.meter_1997 import Dlt645Meter1997
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
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        build(tmp_path, text)
