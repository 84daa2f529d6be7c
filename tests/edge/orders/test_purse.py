"""Messages for a meter's security module: an authentication, and purchases that count once."""

from pathlib import Path
from typing import Any

import pytest

from protocols.dlt645.commands import SecuredControl, SecuredWrite, Security
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from tests.edge.orders.line_rig import LineRig

SERIAL = "0807060504030201"
SIGNER = "00112233"
RECHARGE, OPEN_ACCOUNT = "070102FF", "070101FF"
DONE = ["armed", "sent", "acked", "confirmed"]
MONEY = 0b10 << 8


class Module:
    """A security module with a purse in the meter that it is put into; its keys are no part of
    this: a MAC of zeros is a good one."""

    def __init__(self) -> None:
        self.purchases = 0
        self.cents = 0
        self.rig: LineRig
        self.is_deaf = False

    def show(self) -> None:
        """In the meter's registers."""
        count = f"{self.purchases % 100:02d}{self.purchases // 100:02d}"
        self.rig.meter.pin("03330201", bytes.fromhex(count))
        self.rig.meter.pin("00900200", self.cents)

    def answer(self, message: Security) -> bytes | int:
        """As a meter's chip."""
        if message.di == "070000FF":
            return bytes.fromhex("44332211") + bytes.fromhex(SERIAL)[::-1]
        if message.di not in (RECHARGE, OPEN_ACCOUNT):
            return 0x0001
        amount, count = (int.from_bytes(message.body[at : at + 4], "little") for at in (0, 4))
        if message.body[8:12] != bytes(4):
            return 0x0004
        if count != self.purchases + 1:
            return 0x0002 if count == self.purchases else 0x0020
        if not self.is_deaf:
            self.purchases, self.cents = count, self.cents + amount
            self.show()
        return b""

    def open_control(self, control: SecuredControl) -> bytes | None:
        """None."""
        return None

    def open_write(self, write: SecuredWrite) -> bytes | None:
        """None."""
        return None


def make_rig(folder: Path, **more: Any) -> tuple[LineRig, Module]:
    """A meter with an account of its own."""
    module = Module()
    rig = LineRig(folder, security=module, has_local_account=True, **more)
    module.rig = rig
    module.show()
    return rig, module


@pytest.fixture
def both(tmp_path: Path) -> tuple[LineRig, Module]:
    """A meter, and its module."""
    return make_rig(tmp_path)


def purchase(count: int, cents: int, mac: bytes = bytes(4)) -> tuple[Any, ...]:
    """The arguments of a top-up."""
    body = cents.to_bytes(4, "little") + count.to_bytes(4, "little") + mac + bytes(10)
    return (count, cents, SIGNER, RECHARGE, body)


def test_a_purchase_is_confirmed_by_the_meters_count(both: tuple[LineRig, Module]) -> None:
    """I9: its body passes as the signer made it."""
    rig, module = both
    gate = rig.run("top-up", *purchase(1, 10_000))
    assert (gate.states, gate.reasons[-1]) == (DONE, "the meter counts this purchase")
    assert (gate.facts["purchases before"], gate.facts["purchases after"]) == ("0", "1")
    assert (gate.facts["remaining before"], gate.facts["remaining after"]) == (
        "0.00 CNY",
        "100.00 CNY",
    )
    assert module.cents == 10_000
    (frame,) = rig.commands()
    assert frame.data == bytes.fromhex("FF020107" + "33221100") + purchase(1, 10_000)[4]


def test_a_purchase_that_the_meter_has_is_a_duplicate(both: tuple[LineRig, Module]) -> None:
    """I9: it is not sent, so it cannot count twice."""
    rig, module = both
    assert rig.run("top-up", *purchase(1, 10_000)).end == OrderState.CONFIRMED
    gate = rig.run("top-up", *purchase(1, 10_000))
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "duplicate")
    assert rig.commands() == [] and module.cents == 10_000


@pytest.mark.parametrize("count", [2, 7, 4_000_000])
def test_a_purchase_that_is_not_the_next_is_refused(
    both: tuple[LineRig, Module], count: int
) -> None:
    """Of another order, or another meter."""
    rig, _ = both
    gate = rig.run("top-up", *purchase(count, 10_000))
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "purchase-count")
    assert rig.commands() == []


def test_i15_silence_is_answered_by_reading_the_count(both: tuple[LineRig, Module]) -> None:
    """I15: applied once, sent once."""
    rig, module = both
    rig.meter.quirks.add("drops_replies")
    gate = rig.run("top-up", *purchase(1, 10_000), retries=3)
    assert gate.states == ["armed", "sent", "confirmed"]
    assert len(rig.commands()) == 1 and module.cents == 10_000


def test_a_purchase_without_effect_is_not_done(both: tuple[LineRig, Module]) -> None:
    """Whatever the module said."""
    rig, module = both
    module.is_deaf = True
    assert rig.run("top-up", *purchase(1, 10_000)).end == OrderState.NOT_DONE
    assert len(rig.commands()) == 1


def test_a_module_that_says_no_ends_it_by_its_words(both: tuple[LineRig, Module]) -> None:
    """A wrong MAC, here; no password is blamed."""
    rig, _ = both
    gate = rig.run("top-up", *purchase(1, 10_000, mac=b"\x01\x02\x03\x04"))
    assert gate.end == OrderState.REFUSED_BY_METER
    assert "verification by the security module failed" in gate.reasons[-1]
    assert gate.refused == []


@pytest.mark.parametrize(
    "arguments",
    [
        (1, 20_000, *purchase(1, 10_000)[2:]),  # another amount than the body's
        (1, 10_000, SIGNER, "04001003", purchase(1, 10_000)[4]),
        (1, 10_000, SIGNER, RECHARGE, b"\x00"),
        (1, 10_000, "0011AABB", RECHARGE, purchase(1, 10_000)[4]),
        (1, 10_000, SIGNER, RECHARGE, purchase(1, 10_000)[4] + bytes(260)),
    ],
)
def test_a_body_that_is_not_the_orders_is_refused(
    both: tuple[LineRig, Module], arguments: tuple[Any, ...]
) -> None:
    """Nothing is sent."""
    rig, _ = both
    gate = rig.run("top-up", *arguments)
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "no-way")
    assert rig.commands() == []


def test_a_meter_without_an_account_or_a_module_takes_none(tmp_path: Path) -> None:
    """By its status, and by its settings."""
    rig = LineRig(tmp_path)
    gate = rig.run("top-up", *purchase(1, 10_000))
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "no-way")
    rig, _ = make_rig(tmp_path, control={"secured": False})
    gate = rig.run("top-up", *purchase(1, 10_000))
    assert (gate.end, code_of(gate.reasons[-1])) == (OrderState.REFUSED, "no-way")


def test_a_meter_that_never_sold_anything_has_counted_none(both: tuple[LineRig, Module]) -> None:
    """Its record is FF fill."""
    rig, _ = both
    rig.meter.pin("03330201", b"\xff\xff")
    gate = rig.run("top-up", *purchase(1, 500))
    assert gate.facts["purchases before"] == "0" and gate.end == OrderState.CONFIRMED


def test_an_authentication_gives_back_what_the_module_said(both: tuple[LineRig, Module]) -> None:
    """The signer goes on with it."""
    rig, _ = both
    gate = rig.run("authenticate", SIGNER, bytes(24))
    assert gate.states == ["armed", "sent", "done"]
    assert gate.facts["random"] == "11223344"
    assert gate.facts["security module"] == SERIAL


def test_i20_another_security_module_is_a_contradiction(tmp_path: Path) -> None:
    """I20: its number is the one that the settings name, or the meter is another."""
    rig, _ = make_rig(tmp_path, control={"esam_number": SERIAL})
    assert rig.run("authenticate", SIGNER, bytes(24)).end == OrderState.DONE
    rig, _ = make_rig(tmp_path, control={"esam_number": "FFFFFFFFFFFFFFFF"})
    assert rig.run("authenticate", SIGNER, bytes(24)).end == OrderState.CONTRADICTED


def test_an_authentication_without_an_answer_is_unknown(both: tuple[LineRig, Module]) -> None:
    """And is not repeated."""
    rig, _ = both
    rig.meter.quirks.add("drops_replies")
    assert rig.run("authenticate", SIGNER, bytes(24), retries=3).states[-1] == OrderState.UNKNOWN
    assert len(rig.commands()) == 1
