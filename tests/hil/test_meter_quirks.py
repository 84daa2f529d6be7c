"""hil/meter_quirks.py: meters that deceive whoever gives them orders."""

from pathlib import Path

import pytest

from hil.load import Load
from hil.meter import Dlt645Meter
from hil.meter_quirks import QUIRKS
from hil.scenario import read_scenario
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import Read, Relay, Write
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import RelayAction, RelayTerms
from protocols.dlt645.requests import request

ADDRESS = "000000000161"
NOW_MS = 1_790_000_000_000
SECRET = Credentials(2, "123456", "00000001")
LATE = MeterTime(2099, 1, 1, 0, 0, 0)
TERMS = RelayTerms((RelayAction.DISCONNECT, RelayAction.CONNECT), (2,), False)


def make_meter(*quirks: str) -> Dlt645Meter:
    """With a load, and these habits."""
    return Dlt645Meter(
        ADDRESS,
        Load(1, phases=1),
        lambda: NOW_MS,
        passwords={2: "123456"},
        relay_terms=TERMS,
        quirks=quirks,
    )


def tell(meter: Dlt645Meter, action: int) -> Frame | None:
    """A relay control."""
    return meter.answer(request(ADDRESS, Relay(action, LATE, SECRET, 0), terms=TERMS))


def read(meter: Dlt645Meter, di: str) -> bytes:
    """What stands behind an identifier."""
    reply = meter.answer(request(ADDRESS, Read(di)))
    assert reply is not None
    return bytes(reply.data[4:])


def word(meter: Dlt645Meter) -> int:
    """Status word 3."""
    return int.from_bytes(read(meter, "04000503"), "little")


def test_a_meter_that_ignores_orders_accepts_them() -> None:
    """Relay controls and writes; a wrong password is refused all the same."""
    meter = make_meter("ignores_orders")
    reply = tell(meter, RelayAction.DISCONNECT)
    assert reply is not None and not reply.is_abnormal
    assert word(meter) == 0
    reply = meter.answer(request(ADDRESS, Write("04001003", (5,), SECRET)))
    assert reply is not None and not reply.is_abnormal
    assert read(meter, "04001003") == bytes(4)
    wrong = Write("04001003", (5,), Credentials(2, "000000", "00000001"))
    reply = meter.answer(request(ADDRESS, wrong))
    assert reply is not None and reply.is_abnormal


def test_a_meter_that_drops_replies_acts_and_still_answers_reads() -> None:
    """That is what makes it dangerous to send twice."""
    meter = make_meter("drops_replies")
    assert tell(meter, RelayAction.DISCONNECT) is None
    assert word(meter) == 0x50


def test_a_stuck_contact_follows_with_its_command_bit_alone() -> None:
    """Either way."""
    meter = make_meter("stuck_contact")
    tell(meter, RelayAction.DISCONNECT)
    assert word(meter) == 0x40
    meter.quirks.clear()
    meter = make_meter()
    tell(meter, RelayAction.DISCONNECT)
    meter.quirks.add("stuck_contact")
    tell(meter, RelayAction.CONNECT)
    assert word(meter) == 0x10


@pytest.mark.parametrize(("quirk", "shown"), [("shows_open", 0x50), ("shows_closed", 0x00)])
def test_a_status_word_may_lie_while_current_flows_or_not(quirk: str, shown: int) -> None:
    """The current tells the truth."""
    meter = make_meter(quirk)
    assert word(meter) == shown
    assert any(read(meter, "02020100"))
    tell(meter, RelayAction.DISCONNECT)
    assert word(meter) == shown
    assert not any(read(meter, "02020100"))


def test_a_meter_may_keep_no_records() -> None:
    """Of its relay."""
    meter = make_meter("keeps_no_records")
    tell(meter, RelayAction.DISCONNECT)
    assert read(meter, "1D000001") == bytes(3)
    meter.quirks.clear()
    tell(meter, RelayAction.CONNECT)
    assert read(meter, "1E000001") == b"\x01\x00\x00"


def test_a_world_names_its_quirks(tmp_path: Path) -> None:
    """Each of them."""
    path = tmp_path / "world.toml"
    quirks = ", ".join(f'"{one}"' for one in QUIRKS)
    path.write_text(
        '[[line]]\nid = "a"\nlink = "a"\n[[meter]]\nline = "a"\nprotocol = "dlt645-2007"\n'
        f'address = "{ADDRESS}"\nquirks = [{quirks}]\n'
    )
    scenario = read_scenario(path)
    assert tuple(scenario.meters[0].settings["quirks"]) == QUIRKS
