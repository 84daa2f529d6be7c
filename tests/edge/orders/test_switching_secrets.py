"""Passwords of meters on the order path: one try, the right entry, and never seen (I4, I21, T16,
T17)."""

import itertools
import json
import logging
import random
import traceback
from pathlib import Path

import pytest

from edge.line.port import PortLostError
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import RelayAction
from protocols.errors import CallerError
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from tests.edge.fakes import wire
from tests.edge.orders.line_rig import (
    ADDRESS,
    CUT,
    ENTRIES,
    EVERY_ACTION,
    OPERATOR,
    PASSWORDS,
    LineRig,
    is_secret_shown,
)

CUTTING = (RelayAction.DISCONNECT, RelayAction.KEEP_POWER_OFF)


def arguments_of(action: str) -> tuple[str, ...]:
    """What the order carries."""
    return ("consent",) if action == "connect" else ()


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_i04_the_level_of_restores_never_travels_with_a_cut(tmp_path: Path, action: str) -> None:
    """I4: nor that of cuts with a restore; each frame carries the entry of its kind."""
    rig = LineRig(tmp_path)
    if action in ("arm", "connect"):
        rig.run("disconnect")
    if action == "keep-power-off":
        rig.meter.relay.keeps_power = True
    rig.run(action, *arguments_of(action))
    (frame,) = rig.relay_frames()
    level, command = frame.data[0], frame.data[8]
    assert (level == 2) == (command in CUTTING)
    assert (level == 3) == (action in ("arm", "connect", "keep-power-on"))
    assert level in (2, 3, 4)


def test_i04_who_holds_only_the_restore_entry_can_only_restore(tmp_path: Path) -> None:
    """I4: there is nothing to cut with, and no other entry stands in."""
    rig = LineRig(tmp_path, entries={"restore": ENTRIES["restore"]})
    for action in ("disconnect", "keep-power-off"):
        rig.meter.relay.keeps_power = action == "keep-power-off"
        gate = rig.run(action)
        assert code_of(gate.reasons[-1]) == "no-credential"
        assert rig.commands() == []
    rig.meter.relay._disconnect("00000002")
    rig.meter.relay.settle()
    assert rig.run("arm").end == OrderState.CONFIRMED


def test_i21_after_the_first_refusal_of_a_password_nothing_more_is_sent(tmp_path: Path) -> None:
    """I21: whatever the retries of the line are."""
    rig = LineRig(tmp_path, passwords={2: "000001", 3: PASSWORDS[3]})
    gate = rig.run("disconnect", retries=5)
    assert (gate.end, gate.refused) == (OrderState.REFUSED_BY_METER, ["cut"])
    assert len(rig.relay_frames()) == 1


def test_t16_a_meter_that_has_locked_one_level_still_restores_by_the_other(
    tmp_path: Path,
) -> None:
    """T16: with a credential of its own."""
    rig = LineRig(tmp_path, failures_max=1)
    rig.run("disconnect")
    rig.write_credentials({"default": ENTRIES | {"cut": ENTRIES["cut"] | {"password": "111111"}}})
    rig.meter.relay._connect(rig.clock.utc_ms(), OPERATOR)
    assert rig.run("disconnect").end == OrderState.REFUSED_BY_METER
    assert rig.meter.access.is_locked(2)
    rig.meter.relay._disconnect(OPERATOR)
    rig.meter.relay.settle()
    assert rig.run("arm").end == OrderState.CONFIRMED


@pytest.mark.parametrize(
    ("vector", "action", "level", "password", "operator"),
    [
        ("v064", "disconnect", "02", "020637", "00000001"),
        ("v066", "arm", "02", "020637", "00000001"),
        ("v096", "arm", "02", "123456", "12345678"),
        ("v145", "connect", "02", "123456", "12345678"),
        ("v146", "alarm-off", "02", "123456", "12345678"),
        ("v147", "keep-power-on", "02", "123456", "12345678"),
    ],
)
def test_the_frames_are_those_of_the_captures(
    tmp_path: Path, vector: str, action: str, level: str, password: str, operator: str
) -> None:
    """1A, 1B and 1C byte for byte, but for the address, the deadline and the sum."""
    entry = {"level": level, "password": password, "operator": operator}
    rig = LineRig(tmp_path, entries=dict.fromkeys(ENTRIES, entry), passwords={2: password})
    if action in ("arm", "connect"):
        rig.meter.relay._disconnect(operator)
        rig.meter.relay.settle()
    rig.run(action, *arguments_of(action))
    (sent,) = rig.wire_commands()
    captured = wire(vector).lstrip(b"\xfe")
    assert sent[7:20] == captured[7:20]  # 68 1C 10, password, operator, N1, N2
    assert len(sent) == len(captured)
    if vector == "v064":  # the captured meter's own address
        assert sent[:20] == captured[:20]


@pytest.mark.parametrize(
    "address",
    ["999999999999", "AAAAAAAAAAAA", "AAAAAAAA1061", "15123001106", "15123001106A", ""],
)
def test_i20_no_command_exists_for_an_address_that_is_not_one_meter(
    tmp_path: Path, address: str
) -> None:
    """I20, T15: whatever the driver were told, the frame does not come to be."""
    rig = LineRig(tmp_path)
    rig.driver.address = address
    control = rig.driver.control
    assert control is not None
    expiry = rig.meter.clock.time()
    for action in EVERY_ACTION:
        with pytest.raises(CallerError):
            control.switch(action, expiry)


def test_t15_random_addresses_with_a_wildcard_never_make_a_frame(tmp_path: Path) -> None:
    """T15: a thousand of them, in any place."""
    rig, rng = LineRig(tmp_path), random.Random(15)
    control = rig.driver.control
    assert control is not None
    for _ in range(1_000):
        digits = [rng.choice("0123456789") for _ in range(12)]
        for _ in range(rng.randrange(1, 12)):
            digits[rng.randrange(12)] = "A"
        rig.driver.address = "".join(digits)
        with pytest.raises(CallerError):
            control.switch(rng.choice(EVERY_ACTION), rig.meter.clock.time())


def test_t17_no_password_leaves_the_order_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T17: all actions through all faults, debug on; receipts, evidence, logs and exceptions are
    searched for the passwords as digits, as bytes and as they travel."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    for action, fault in itertools.product(EVERY_ACTION, ("", "silent", "refuse", "echo", "lost")):
        rig = LineRig(tmp_path)
        rig.meter.relay.keeps_power = action == "keep-power-off"
        if action in ("arm", "connect"):
            rig.meter.relay._disconnect(OPERATOR)
            rig.meter.relay.settle()
        _spoil(rig, fault)
        gate = rig.run(action, *arguments_of(action))
        assert rig.relay_frames()
        assert rig.job is not None
        seen += [repr(gate.notes), repr(rig.job.__dict__)]
        kept = [*rig.line.transcript, *rig.job.recording]
        assert not any(is_secret_shown(bytes(data)) for _, _, data in kept), (action, fault)
        for note in gate.notes:
            for _, _, data in note[-1]:
                assert not is_secret_shown(bytes(data)), (action, fault)
        assert "masked" in gate.facts
    monkeypatch.setattr("edge.orders.line_work.LineWork.attempt", _broken)
    LineRig(tmp_path).run("disconnect")
    seen += [caplog.text, "".join(_TRACES)]
    assert not any(map(is_secret_shown, seen))
    assert is_secret_shown(f"xx{CUT}xx") and is_secret_shown(wire("v064"))


def test_t17_a_write_of_a_parameter_hides_its_password_too(tmp_path: Path) -> None:
    """T17: and the clear of demands."""
    rig = LineRig(tmp_path)
    for action, arguments in (("overdraft", (500,)), ("reset-demand", ()), ("set-clock", ())):
        rig.meter.clock._error_ms = 60_000
        gate = rig.run(action, *arguments)
        assert gate.end == OrderState.CONFIRMED and "masked" in gate.facts
        assert not any(is_secret_shown(bytes(data)) for _, _, data in gate.evidence)


def test_a_credentials_file_that_is_open_to_others_is_no_credential(tmp_path: Path) -> None:
    """The order says what is wrong with the file."""
    rig = LineRig(tmp_path)
    rig.path.chmod(0o644)
    gate = rig.run("disconnect")
    assert code_of(gate.reasons[-1]) == "no-credential" and "0600" in gate.reasons[-1]
    assert rig.commands() == []


def test_the_file_of_the_rig_is_what_an_installer_writes(tmp_path: Path) -> None:
    """So that the tests above look for what is really there."""
    rig = LineRig(tmp_path)
    assert json.loads(rig.path.read_text())["default"]["cut"]["password"] == CUT


def _spoil(rig: LineRig, fault: str) -> None:
    def hook(frame: Frame, reply: Frame | None) -> Frame | None:
        if frame.function != Function.RELAY or not fault:
            return reply
        if fault == "echo":
            rig.port.inject(1.0, rig.port.written()[-1])
            return reply
        if fault == "lost":
            rig.port.inject(0.0, PortLostError("gone"))
        return Frame(ADDRESS, 0xDC, b"\x04") if fault == "refuse" else None

    rig.hook = hook


_TRACES: list[str] = []


def _broken(self: object, line: object, control: object, command: object) -> None:
    try:
        raise RuntimeError(f"while sending {command!r}")
    except RuntimeError:
        _TRACES.append(traceback.format_exc())
        raise
