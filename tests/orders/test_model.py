"""Head end, broker, gateway and meter under a random course of people, time, faults and crashes.

What must hold after every step, whatever happens:

* an order sends at most one command, to the meter that it names and none other;
* none before its time or behind its expiry, and none whose intent was not on the disk before;
* nothing is told as confirmed that the meter does not show;
* what has ended stays as it ended (an unknown may be settled).

And when the links work again and every time is over, no order is left without an end.

`BUSBAR_MODEL=large` runs it for longer. The examples follow from the seed, so one commit has one
verdict.
"""

import os
import shutil
import tempfile
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hil.meter_quirks import DROPS_REPLIES, IGNORES_ORDERS, KEEPS_NO_RECORDS, STUCK_CONTACT
from protocols.dlt645.controls import Function
from protocols.dlt645.relay import RelayAction
from protocols.envelope.claims import SKEW_MS
from protocols.errors import CallerError
from protocols.messages import ORDER
from protocols.orders.states import FINAL_STATES, OrderState, settles
from tests.cloud.orders.headend import ANNA, CARL, CONSOLE, OLGA
from tests.orders.conftest import MEMORY
from tests.orders.gateway import OnLine
from tests.orders.power import PowerCut
from tests.orders.rig import DAY, HOUR, MINUTE, SECOND, Rig

IS_LARGE = os.environ.get("BUSBAR_MODEL") == "large"
EXAMPLES, STEPS = (
    (int(os.environ.get("BUSBAR_MODEL_EXAMPLES", "400")), 60) if IS_LARGE else (32, 36)
)
IS_TOLD = os.environ.get("BUSBAR_MODEL_TOLD") == "1"
SEED = int(os.environ.get("BUSBAR_MODEL_SEED", "20260922"))
ACTIONS = ("disconnect", "arm", "connect", "keep-power-on", "keep-power-off", "alarm-on")
CODES = {
    "disconnect": RelayAction.DISCONNECT,
    "arm": RelayAction.ARM,
    "connect": RelayAction.CONNECT,
    "keep-power-on": RelayAction.KEEP_POWER_ON,
    "keep-power-off": RelayAction.KEEP_POWER_OFF,
    "alarm-on": RelayAction.ALARM_ON,
}
QUIRKS = (IGNORES_ORDERS, DROPS_REPLIES, STUCK_CONTACT, KEEPS_NO_RECORDS)
SPANS = (SECOND, 20 * SECOND, 3 * MINUTE, 16 * MINUTE, 3 * HOUR)
SWITCH = "switch"  # what makes a difference to the meter as it stands
MOSTLY = (SWITCH, SWITCH, SWITCH, "arm", "disconnect", "keep-power-off")
RARE = st.integers(0, 3)  # 0 is what a rule is named after, everything else its contrary
AT_ONE = st.integers(0, 1 << 16)
SEEN: Counter[str] = Counter()  # how orders ended, over all courses, and how many were sent
_HEAD = 8  # PA P0 P1 P2 and the operator, before N1


class OrderWorld(RuleBasedStateMachine):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        place = str(MEMORY) if MEMORY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="busbar-model-", dir=place))
        self.rig = Rig(self.folder, meters=2)
        self.rig.gateway.on_command = self.judge_command
        self.rig.gateway.on_answer = self.see
        self.names = {address: name for name, address in self.rig.meters.items()}
        self.seen: list[tuple[str, int, bool, bool]] = []  # meter, when, is open, is told open
        self.orders: dict[str, dict[str, Any]] = {}  # id -> as it was proposed
        self.sent: dict[str, int] = {}  # id -> when its command was on the wire
        self.ended: dict[str, str] = {}  # id -> its end, as the head end has it
        self.faults: list[str] = []
        self.has_stepped = False  # the gateway's clock lied at least once

    def teardown(self) -> None:
        """All is well again, and time passes."""
        try:
            self.heal()
            self.rig.pass_time(2 * DAY, 2 * HOUR)
            self.nothing_is_wrong()
            self.every_order_has_ended()
        finally:
            self.rig.close()
            shutil.rmtree(self.folder)

    def heal(self) -> None:
        """Links, power and meters as they should be."""
        rig = self.rig
        for name in rig.meters:
            rig.meter(name).quirks.clear()
        rig.gateway.is_silent = False
        rig.gateway.clock.set_utc(rig.now())
        rig.head.power.end_fuse()
        rig.gateway.power.end_fuse()
        if not rig.gateway.is_running:
            rig.gateway.start()
        rig.link(False)
        rig.link(True)
        rig.exchange()

    @rule()
    def calm(self) -> None:
        """Everything as it should be, in an hour in which people are cut."""
        self.heal()
        self.ask("hold_release", ANNA, reason="the model")
        while not _is_in_window(self.rig.now()):
            self.rig.pass_time(HOUR, HOUR)

    # ---- people ---------------------------------------------------------------------------------

    def ask(self, op: str, person: Any, **fields: Any) -> Any:
        """One operation; a refusal is an answer, and a crash of the head end ends it."""
        try:
            return self.rig.head.ask(op, person, **fields)
        except CallerError:
            return None
        except PowerCut:
            self.rig.restart_head()
            return None

    @initialize()
    def begin(self) -> None:
        """A moment of quiet."""
        self.rig.run(SECOND)

    @rule(action=st.sampled_from(ACTIONS), meter=st.sampled_from(["m1", "m2"]))
    def propose(self, action: str, meter: str) -> None:
        """Somebody asks."""
        more = {"arguments": ["consent"]} if action == "connect" else {}
        reason = {"reason": "the model", "submit": True}
        shown = self.ask("order_propose", OLGA, action=action, meter=meter, **reason, **more)
        if shown is not None:
            self.orders[shown["order"]] = shown

    @rule(action=st.sampled_from(MOSTLY), meter=st.sampled_from(["m1", "m2"]), seconds=RARE)
    def order(self, action: str, meter: str, seconds: int) -> None:
        """Somebody asks, everybody agrees at once, and mostly it is carried out."""
        if seconds > 1:
            self.calm()
        if action == SWITCH:
            action = "connect" if self.rig.is_open(meter) else "disconnect"
        before = set(self.orders)
        self.propose(action, meter)
        for order_id in set(self.orders) - before:
            for name in ("anna", "ben"):
                self.approve_one(order_id, name)
            if seconds:
                self.ask("order_release", CARL, order=order_id, reason="the model")
        if seconds:
            self.rig.run(4 * seconds * SECOND)

    @rule(action=st.sampled_from(MOSTLY), steps=st.integers(20, 90))
    def order_and_crash(self, action: str, steps: int) -> None:
        """The gateway crashes somewhere on its way."""
        self.calm()
        self.rig.gateway.power.light(steps)
        self.order(action, "m1", 1)
        self.rig.run(15 * SECOND)

    @rule(quirk=st.sampled_from(QUIRKS))
    def order_and_lie(self, quirk: str) -> None:
        """The meter deceives just then."""
        self.calm()
        self.meter_fault("m2", quirk)
        self.order(SWITCH, "m2", 1)
        self.rig.run(150 * SECOND)
        self.meter_fault("m2", "")

    @rule(span=st.sampled_from(SPANS), meter=st.sampled_from(["m1", "m2"]))
    def order_and_silence(self, span: int, meter: str) -> None:
        """The line is silent for a while, with a restore waiting."""
        self.calm()
        if not self.rig.is_open(meter):
            self.order("disconnect", meter, 1)
        self.rig.gateway.is_silent = True
        self.order("arm", meter, 1)
        self.wait(span)
        self.rig.gateway.is_silent = False
        self.rig.run(40 * SECOND)

    def approve_one(self, order_id: str, name: str) -> None:
        """As far as it needs that."""
        person = {"name": name, "roles": ["approver"]}
        signed = self.rig.head.signed(self.orders[order_id], name)
        self.ask("order_approve", person, **signed)

    @precondition(lambda self: self.orders)
    @rule(at=AT_ONE, name=st.sampled_from(["anna", "ben", "carl"]))
    def approve(self, at: int, name: str) -> None:
        """One person agrees."""
        self.approve_one(self.some(at), name)

    @precondition(lambda self: self.orders)
    @rule(at=AT_ONE)
    def cancel(self, at: int) -> None:
        """One order is not wanted any more."""
        self.ask("order_cancel", OLGA, order=self.some(at), reason="the model")

    @rule(rare=RARE)
    def stop_all_cuts(self, rare: int) -> None:
        """Somebody is frightened."""
        if not rare:
            self.ask("orders_stop", CONSOLE, all_cuts=True, reason="the model")

    @rule(rare=RARE)
    def hold(self, rare: int) -> None:
        """The hold is set."""
        if not rare:
            self.ask("hold_set", CONSOLE, reason="the model")

    @rule()
    def release(self) -> None:
        """And lifted, by another."""
        self.ask("hold_release", ANNA, reason="the model")
        for order_id in self.orders:
            self.ask("order_release", CARL, order=order_id, reason="the model")

    @rule(meter=st.sampled_from(["m1", "m2"]))
    def press(self, meter: str) -> None:
        """Somebody at the meter."""
        self.rig.meter(meter).press_button()

    # ---- time and the world ---------------------------------------------------------------------

    @rule(span=st.sampled_from(SPANS))
    def wait(self, span: int) -> None:
        """Time passes, and everybody works."""
        if span > 3 * MINUTE:
            self.rig.pass_time(span)
        else:
            self.rig.run(span)

    @rule(rare=RARE)
    def link(self, rare: int) -> None:
        """The gateway's connection."""
        self.rig.link(bool(rare))

    @precondition(lambda self: self.rig.wire.down or self.rig.wire.up)
    @rule(at=AT_ONE, what=st.sampled_from(["lose", "twice", "last", "first"]))
    def disturb(self, at: int, what: str) -> None:
        """The broker does what it must not: a message is gone, there twice, late, or early."""
        letters = self.rig.wire.down or self.rig.wire.up
        n = at % len(letters)
        if what == "lose":
            letters.pop(n)
        elif what == "twice":
            letters.append(letters[n])
        elif what == "last":
            letters.append(letters.pop(n))
        else:
            letters.insert(0, letters.pop(n))

    @precondition(lambda self: self.rig.captured(ORDER.suffix))
    @rule(at=AT_ONE, retained=st.booleans())
    def replay(self, at: int, retained: bool) -> None:
        """An order of any time comes again."""
        letters = self.rig.captured(ORDER.suffix)
        self.rig.wire.down.append(letters[at % len(letters)]._replace(retained=retained))

    @rule(steps=st.integers(0, 80))
    def gateway_crash(self, steps: int) -> None:
        """After so many more steps."""
        self.rig.gateway.power.light(steps)

    @rule(is_boot=st.booleans())
    def gateway_restart(self, is_boot: bool) -> None:
        """At once."""
        self.rig.gateway.restart(is_boot)

    @rule(steps=st.integers(0, 30))
    def head_crash(self, steps: int) -> None:
        """After so many more commits."""
        self.rig.head.power.light(steps)

    @rule(meter=st.sampled_from(["m1", "m2"]), quirk=st.sampled_from(("", "", "", *QUIRKS)))
    def meter_fault(self, meter: str, quirk: str) -> None:
        """A meter begins to deceive, or ceases."""
        quirks = self.rig.meter(meter).quirks
        quirks.clear()
        quirks.update([quirk] if quirk else [])

    @rule(minutes=st.sampled_from([0, 1, 3]))
    def contact_lags(self, minutes: int) -> None:
        """The contact of a meter takes its time."""
        self.rig.meter("m1").pin("04001401", minutes)

    @rule(rare=RARE)
    def line_fault(self, rare: int) -> None:
        """Nobody answers on the line."""
        self.rig.gateway.is_silent = not rare

    @rule(ms=st.sampled_from([0, 0, 0, -DAY, -HOUR, -2 * MINUTE, 2 * MINUTE, HOUR, DAY]))
    def clock_step(self, ms: int) -> None:
        """The gateway's clock is set, and says that it is right."""
        self.has_stepped = self.has_stepped or ms != 0
        self.rig.clock.set_utc(self.rig.now() + ms)

    # ---- what must hold -------------------------------------------------------------------------

    def judge_command(self, command: OnLine) -> None:
        """A command is on the wire: whose is it?"""
        name = self.names[command.address]
        if command.function != Function.RELAY:
            self.faults.append(f"not a relay command: {command}")
            return
        rows = self.rig.rows("SELECT counter, order_id FROM order_inbox WHERE state = 'sent'")
        found = [
            (counter, one.hex())
            for counter, one in rows
            if self.orders[one.hex()]["meter"] == name
            and CODES[self.orders[one.hex()]["action"]] == command.data[_HEAD]
        ]
        if len(found) != 1:
            self.faults.append(f"{command} belongs to {found} of {rows}")
            return
        counter, order_id = found[0]
        if order_id in self.sent:
            self.faults.append(f"a second command of {order_id}")
        self.sent[order_id] = command.at
        SEEN["commands"] += 1
        self._judge_record(counter, order_id)
        self._judge_time(order_id, command.at)

    def _judge_record(self, counter: int, order_id: str) -> None:
        intents = self.rig.rows("SELECT action FROM intent WHERE counter = ?", counter)
        if intents != [(self.orders[order_id]["action"],)]:
            self.faults.append(f"the intent of {order_id} is {intents}")
        told = [one.state for one in self.rig.receipts(bytes.fromhex(order_id))]
        if told[-2:] != [OrderState.ARMED, OrderState.SENT]:
            self.faults.append(f"{order_id} was sent after {told}")

    def _judge_time(self, order_id: str, at: int) -> None:
        row = self.rig.head.row(order_id)
        # A restore may be judged by a clock that lies; nobody is cut by one.
        if self.has_stepped and row.effect != "cuts":
            return
        if not (row.not_before or 0) - SKEW_MS <= at <= row.expires_at + SKEW_MS:
            self.faults.append(f"{order_id} was sent at {at}, not in its time")

    def some(self, at: int) -> str:
        """One of the orders."""
        return list(self.orders)[at % len(self.orders)]

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Also of what was seen on the wire."""
        if not self.rig.gateway.is_running:
            self.rig.gateway.start()
            if not self.rig.is_linked and self.rig.gateway.station is not None:
                self.rig.gateway.station.lose()
        self.ends_hold()
        assert not self.faults, self.faults

    def ends_hold(self) -> None:
        """An end is the end, and *confirmed* is so."""
        for order_id in self.orders:
            state = self.rig.head.state(order_id)
            before = self.ended.get(order_id)
            if before is not None and state != before and not settles(before, state):
                self.faults.append(f"{order_id} was {before} and is {state}")
            if state in FINAL_STATES and state != before:
                self.ended[order_id] = state
                SEEN[state] += 1
                if IS_TOLD:
                    told = self.rig.receipts(bytes.fromhex(order_id))
                    print(state, self.orders[order_id]["action"], told[-1].reason if told else "")
                self._judge_end(order_id, state)

    def _judge_end(self, order_id: str, state: str) -> None:
        kind = self.orders[order_id]["action"]
        was_sent = order_id in self.sent
        if state in (OrderState.REFUSED, OrderState.CANCELLED, OrderState.SUPERSEDED) and was_sent:
            self.faults.append(f"{order_id} is {state} and was sent")
        if state == OrderState.CONFIRMED and kind == "disconnect" and not was_sent:
            self.faults.append(f"{order_id} is confirmed and was never sent")
        if state == OrderState.CONFIRMED and kind in ("disconnect", "arm", "connect"):
            if not self._was_seen(order_id, kind):
                self.faults.append(f"{order_id} is confirmed, and the meter never showed it")

    def see(self, address: str) -> None:
        """How a meter truly stands, whatever it says."""
        name = self.names[address]
        told = self.rig.meter(name).relay.is_told_open
        now = (name, self.rig.now(), self.rig.is_open(name), told)
        self.seen.append(now)

    def _was_seen(self, order_id: str, action: str) -> bool:
        """Whether its meter stood as ordered, at some time since it was sent, or asked for."""
        order = self.orders[order_id]
        since = self.sent.get(order_id, order["created_at"])
        return any(
            is_open if action == "disconnect" else not (is_told if action == "arm" else is_open)
            for name, at, is_open, is_told in self.seen
            if name == order["meter"] and at >= since
        )

    def every_order_has_ended(self) -> None:
        """But for what was never approved, which nobody sent."""
        for order_id in self.orders:
            state = self.rig.head.state(order_id)
            if state in (OrderState.SUBMITTED, OrderState.APPROVED, OrderState.QUARANTINED):
                assert order_id not in self.sent
                continue
            assert state in FINAL_STATES, (order_id, state, self.orders[order_id]["action"])


def _is_in_window(utc_ms: int) -> bool:
    local = datetime.fromtimestamp(utc_ms / 1000, timezone(timedelta(hours=8)))
    return local.weekday() < 4 and 9 <= local.hour < 15


def test_orders_hold_in_every_course_of_events() -> None:
    """I1, I14, I15, I16, I19, T5: see the module."""
    seed(SEED)(OrderWorld)
    SEEN.clear()
    run_state_machine_as_test(
        OrderWorld,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        ),
    )
    # A course in which nothing happens proves nothing.
    wanted = (OrderState.CONFIRMED, OrderState.NOT_DONE, OrderState.REFUSED, OrderState.CANCELLED)
    assert SEEN["commands"] >= EXAMPLES, SEEN
    assert all(SEEN[one] for one in wanted), SEEN
