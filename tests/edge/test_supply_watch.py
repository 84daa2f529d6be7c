"""I28: intended and actual state of a supply, compared each day, after a start and a return."""

from pathlib import Path
from typing import Any

import pytest

from edge.collect import supply_rules as rules
from edge.collect.supply_rules import CLOSED, OPEN, UNSETTLED, Supply
from edge.collect.supply_watch import AFTER_ORDER_MS, PERIOD_MS, RETRY_MS, SupplyWatch
from edge.meters.control import Contact
from edge.meters.credentials import CredentialFile
from edge.meters.dlt645_control import Dlt645Control
from edge.meters.dlt645_driver import Dlt645Driver
from edge.settings.control import DLT645_CONTROL_RULES
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from protocols.dlt645.identifiers import identifier_text
from protocols.dlt645.relay import RelayAction
from protocols.settings import read_table
from tests.edge.history_rig import DAY_MS, Rig

STATUS_3 = "04000503"
READS = (Function.READ, Function.READ_MORE)


class Bench:
    """One meter whose relay is under orders, and what those orders want."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.rig = Rig(folder, count=count)
        for watch in self.rig.watches.values():
            assert isinstance(watch.driver, Dlt645Driver)
            table = read_table({}, DLT645_CONTROL_RULES, "rig")
            credentials = CredentialFile(folder / "meter-credentials.json")
            watch.driver.control = Dlt645Control(watch.driver, table, credentials)
        self.intended = CLOSED
        self.watch = self.build()

    def build(self) -> SupplyWatch:
        """As a start of the agent does."""
        return SupplyWatch(self.rig.means(), lambda _: self.intended)

    def run(self, later_ms: int = 0) -> int:
        """The looks that are due after so long."""
        self.rig.clock.advance(later_ms)
        return self.rig.run(self.watch)

    def order(self, action: int) -> None:
        """Somebody orders the relay, who is not this gateway."""
        until = MeterTime(2098, 1, 1, 0, 0, 0)
        assert not self.rig.meter.relay.obey(action, 0, until, "00000001").error
        self.rig.clock.advance(600_000)

    def kinds(self) -> list[str]:
        """Of what the journal was told."""
        return [event.kind for event in self.rig.events()]


def lying(value: bytes, di: str) -> Any:
    """A hook: the meter shows `value` behind `di`, whatever is true."""

    def change(asked: Frame, reply: Frame | None) -> Frame | None:
        if reply is None or identifier_text(asked.data[:4], 4) != di:
            return reply
        return Frame(reply.address, 0x91, bytes(asked.data[:4]) + value)

    return change


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_i28_each_day_and_what_is_right_is_not_told(bench: Bench) -> None:
    assert bench.run() == 1
    assert bench.run(PERIOD_MS - 2_000) == 0
    assert bench.run(2_000) == 1
    assert bench.kinds() == []
    assert {one.function for one in bench.rig.asked} <= set(READS), "a look moves nothing"


def test_i28_after_every_power_up_of_the_gateway(bench: Bench) -> None:
    bench.run()
    bench.watch = bench.build()
    assert bench.run() == 1


def test_i28_after_every_return_of_the_meter(bench: Bench) -> None:
    bench.run()
    bench.rig.reached.clear()
    assert bench.run(60_000) == 0
    bench.rig.reached.add("m-0")
    assert bench.run() == 1


def test_i28_soon_after_an_order(bench: Bench) -> None:
    bench.run()
    bench.watch.look_soon("m-0")
    bench.watch.look_soon("unknown")
    assert bench.run(AFTER_ORDER_MS - 2_000) == 0
    assert bench.run(2_000) == 1


def test_i28_open_while_paid(bench: Bench) -> None:
    bench.order(RelayAction.DISCONNECT)
    bench.run()
    assert bench.kinds() == ["open-while-paid"]
    (event,) = bench.rig.events()
    assert event.subject == "m-0" and len(event.evidence) >= 2
    assert event.detail == "intended closed; the meter is disconnected, 0.000 A flow"


def test_i28_closed_while_cut(bench: Bench) -> None:
    bench.intended = OPEN
    bench.run()
    assert bench.kinds() == ["closed-while-cut"]


def test_i28_current_while_open(bench: Bench) -> None:
    """T14: the meter says that it is open, and current flows."""
    bench.intended = OPEN
    bench.rig.hook = lying(b"\x50\x00", STATUS_3)
    bench.run()
    assert bench.kinds() == ["current-while-open"]


def test_ready_is_as_it_should_be(bench: Bench) -> None:
    bench.order(RelayAction.DISCONNECT)
    bench.order(RelayAction.ARM)
    for bench.intended in (CLOSED, OPEN, UNSETTLED):
        bench.run(PERIOD_MS)
    assert bench.kinds() == []


def test_an_order_whose_outcome_is_not_known_blames_nobody(bench: Bench) -> None:
    bench.intended = UNSETTLED
    bench.run()
    bench.order(RelayAction.DISCONNECT)
    bench.run(PERIOD_MS)
    assert bench.kinds() == []


def test_it_is_told_once_a_day_while_it_lasts_and_anew_when_it_comes_again(bench: Bench) -> None:
    bench.intended = OPEN
    bench.run()
    bench.watch = bench.build()
    bench.run()
    assert len(bench.kinds()) == 1, "a restart does not tell it again"
    bench.run(DAY_MS)
    assert len(bench.kinds()) == 2
    bench.intended = CLOSED
    bench.run(PERIOD_MS)
    bench.intended = OPEN
    bench.run(PERIOD_MS)
    assert len(bench.kinds()) == 3


def test_keep_power_that_changed_is_told(bench: Bench) -> None:
    bench.run()
    bench.rig.hook = lying(b"\x00\x10", STATUS_3)
    bench.run(PERIOD_MS)
    bench.run(PERIOD_MS)
    bench.rig.hook = lying(b"\x00\x00", STATUS_3)
    bench.run(PERIOD_MS)
    assert bench.kinds() == ["keep-power-set", "keep-power-lifted"]


def test_a_silent_meter_is_asked_again_later(bench: Bench) -> None:
    bench.rig.hook = lambda _, __: None
    assert bench.run() == 1
    assert bench.run(RETRY_MS - 10_000) == 0
    bench.rig.hook = lambda _, reply: reply
    assert bench.run(10_000) == 1


def test_what_is_not_stored_is_told_again(bench: Bench) -> None:
    bench.intended = OPEN
    bench.rig.is_refusing = True
    assert bench.run() == 1
    bench.rig.is_refusing = False
    assert bench.kinds() == []
    bench.run(RETRY_MS)
    assert bench.kinds() == ["closed-while-cut"]


def test_meters_that_are_only_read_are_left_alone(bench: Bench) -> None:
    bench.rig.watches["m-0"].driver.control = None
    bench.watch = bench.build()
    assert bench.run() == 0


@pytest.mark.parametrize("intended", [OPEN, CLOSED, UNSETTLED])
@pytest.mark.parametrize("contact", [Contact.CONNECTED, Contact.DISCONNECTED, Contact.ARMED])
def test_the_limit_of_the_current(intended: str, contact: str) -> None:
    told = rules.troubles(intended, Supply(contact, False, 51), 50)
    assert (rules.CURRENT in told) == (contact != Contact.CONNECTED)
    assert rules.CURRENT not in rules.troubles(intended, Supply(contact, False, 50), 50)
    assert rules.CURRENT not in rules.troubles(intended, Supply(contact, False), 50)
