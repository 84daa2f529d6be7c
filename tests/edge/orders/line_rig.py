"""One virtual DL/T 645 meter on a line in fake time, and orders carried out on it through a gate
that only writes down. The meter is that of `hil/`: another hand's work than what is tested."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.line.line import Line
from edge.meters.credentials import FILE_NAME, CredentialFile
from edge.meters.dlt645_control import Dlt645Control
from edge.meters.dlt645_driver import Dlt645Driver
from edge.orders.found import Found, RefusedHere
from edge.orders.jobs import job_for
from edge.orders.line_work import LineTerms, LineWork
from edge.settings.control import DLT645_CONTROL_RULES
from edge.settings.rules import DLT645_METER_RULES
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.meter_access import SecurityModule
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import ACTION_BY_NAME, RelayTerms
from protocols.orders.kinds import ORDER_KINDS, Family
from protocols.orders.order import NO_OBIS, Order, Terms
from protocols.orders.states import FINAL_STATES, OrderState, can_follow
from protocols.settings import read_table
from tests.edge.fakes import CHARACTER_S, UTC_MS, Answer, FakeClock, FakePort, make_line

ADDRESS, METER_ID = "151230011061", "m-1"
OFFSET_MIN = 480
DELAY_MS = 60.0
LIFE_MS = 900_000
CUT, RESTORE, SETTINGS = "020637", "446655", "990011"  # canaries: nobody is ever shown them
PASSWORDS = {2: CUT, 3: RESTORE, 4: SETTINGS}
OPERATOR = "00000001"
ENTRIES = {
    "cut": {"level": "02", "password": CUT, "operator": OPERATOR},
    "restore": {"level": "03", "password": RESTORE, "operator": OPERATOR},
    "settings": {"level": "04", "password": SETTINGS, "operator": OPERATOR},
}
EVERY_ACTION = tuple(one for one in ORDER_KINDS if one in {
    "disconnect", "arm", "connect", "keep-power-on", "keep-power-off", "alarm-on", "alarm-off",
})  # fmt: skip
ORDER_FUNCTIONS = (
    Function.RELAY, Function.WRITE, Function.CLEAR_DEMAND, Function.FREEZE, Function.SECURITY,
)  # fmt: skip
Hook = Callable[[Frame, Frame | None], Frame | None]


def make_order(action: str, *arguments: Any, assurance: int = 0, number: int = 1) -> Order:
    """An order that everybody agreed to."""
    kind = ORDER_KINDS[action]
    counter = number if kind.family != Family.NONE else 0
    terms = Terms(
        "head-end", counter, "person:li", UTC_MS - 1000, "unpaid", UTC_MS, UTC_MS + 86_400_000,
        kind.life_s * 1000, b"", assurance,
    )  # fmt: skip
    order_id = number.to_bytes(16, "big")
    return Order(order_id, action, METER_ID, ADDRESS, NO_OBIS, tuple(arguments), terms, ())


class NoteGate:
    """Lets everything through unless the test says otherwise, and writes down what it is told."""

    def __init__(self, rig: "LineRig") -> None:
        self.rig = rig
        self.code = ""  # what `check` says
        self.arm_code = ""
        self.is_held = False  # `holds` says no
        self.arm_ms = 0  # that the disk takes
        self.states: list[str] = []
        self.reasons: list[str] = []
        self.facts: dict[str, str] = {}
        self.evidence: tuple[Any, ...] = ()
        self.found: Found | None = None
        self.refused: list[str] = []
        self.notes: list[tuple[Any, ...]] = []

    def check(self, order: Order, found: Found) -> str:
        """As told."""
        self.found = found
        return self.code

    def arm(self, order: Order, found: Found) -> None:
        """Before anything is sent."""
        assert not self.rig.commands()
        self.rig.clock.advance(self.arm_ms)
        if self.arm_code:
            raise RefusedHere(self.arm_code)
        self.note(order, OrderState.ARMED)

    def holds(self) -> bool:
        """Only what is armed."""
        return not self.is_held and self.states[-1:] in ([OrderState.SENT], [OrderState.ACKED])

    def note(
        self, order: Order, state: str, reason: str = "", facts: Any = (), readings: Any = (),
        evidence: Any = (),
    ) -> None:  # fmt: skip
        """Each state may follow the one before; the last one is said once."""
        before = self.states[-1] if self.states else OrderState.VERIFIED
        assert can_follow(before, state), (before, state)
        if state == OrderState.SENT:
            assert before == OrderState.ARMED and not self.rig.commands()
        self.states.append(state)
        self.reasons.append(reason)
        self.facts, self.evidence = dict(facts), evidence
        self.notes.append((order, state, reason, facts, readings, evidence))

    def credential_refused(self, credential: str, mark: str = "") -> None:
        """Of which kind."""
        self.refused.append(credential)

    @property
    def end(self) -> str:
        """The last state, a final one."""
        assert self.states[-1] in FINAL_STATES
        assert sum(one in FINAL_STATES for one in self.states) == 1
        return self.states[-1]


class LineRig:
    """The meter, its line, its driver. `hook` may change or swallow each answer."""

    def __init__(
        self,
        folder: Path,
        *,
        entries: Any = None,
        control: dict[str, Any] | None = None,
        plain: tuple[str, ...] = EVERY_ACTION,
        security: SecurityModule | None = None,
        phases: int = 1,
        **options: Any,
    ) -> None:
        self.clock = FakeClock()
        self.asked: list[Frame] = []
        self.hook: Hook = lambda _, reply: reply
        self.others: list[Dlt645Meter] = []  # that answer to the same address
        self.delay_ms = DELAY_MS
        self._ahead_ms = 0.0
        terms = RelayTerms(
            tuple(ACTION_BY_NAME[one.replace("-", "_")] for one in plain), (2, 3, 4), False
        )
        options = {"passwords": PASSWORDS, "relay_terms": terms} | options
        self.meter = self.make_meter(phases, security=security, **options)
        self.port = FakePort(self.clock, answer=self._answer)
        self.line: Line = make_line(self.clock, self.port, gap_ms=100)
        self.path = folder / FILE_NAME
        self.write_credentials({"default": ENTRIES if entries is None else entries})
        row = {
            "id": METER_ID, "line": "line-1", "protocol": "dlt645-2007", "address": ADDRESS,
            "edition": "2007", "quantities": ["1-0:1.8.0"],
        }  # fmt: skip
        table = {
            "plain": list(EVERY_ACTION), "levels": ["02", "03", "04"], "parameters": True,
            "secured": True,
        } | (control or {})  # fmt: skip
        self.driver = Dlt645Driver(read_table(row, DLT645_METER_RULES, "rig"))
        self.driver.control = Dlt645Control(
            self.driver, read_table(table, DLT645_CONTROL_RULES, "rig"), CredentialFile(self.path)
        )
        self.terms = LineTerms(meter_utc_offset_min=OFFSET_MIN)
        self.gate = NoteGate(self)
        self.job: LineWork | None = None
        self.waits: list[int] = []  # ms that a job left to others

    def make_meter(self, phases: int = 1, **options: Any) -> Dlt645Meter:
        """One of that address, not yet on the line."""
        load = Load(3, phases=phases, utc_offset_ms=OFFSET_MIN * 60_000)
        return Dlt645Meter(
            ADDRESS, load, self._utc_ms, utc_offset_ms=OFFSET_MIN * 60_000, **options
        )

    def write_credentials(self, tables: Any) -> None:
        """The installer's file."""
        self.path.write_text(json.dumps(tables))
        self.path.chmod(0o600)

    def run(
        self, action: str, *arguments: Any, life_ms: int = LIFE_MS, retries: int = 1, **more: Any
    ) -> NoteGate:
        """An order from its turn to its end, as the line's worker carries it out."""
        for _ in self.begin(action, *arguments, life_ms=life_ms, retries=retries, **more):
            pass
        return self.gate

    def begin(
        self, action: str, *arguments: Any, life_ms: int = LIFE_MS, retries: int = 1, **more: Any
    ) -> Any:
        """The same, step by step."""
        self.asked.clear()
        before, self.gate = self.gate, NoteGate(self)
        self.gate.code, self.gate.arm_code = before.code, before.arm_code
        self.gate.is_held, self.gate.arm_ms = before.is_held, before.arm_ms
        order = make_order(action, *arguments, **more)
        deadline = self.clock.boot_ms() + life_ms
        self.job = job_for(order, 7, deadline, self.clock, self.gate, self.terms)
        steps = self.job.steps(self.line, self.driver, retries)
        while True:
            asked = len(self.asked)
            self.line.recording, self.line.may_send = self.job.recording, self.job.may_send
            try:
                until = next(steps)
            except StopIteration:
                break
            finally:
                self.line.recording = self.line.may_send = None
                repeated = len(self.asked) - asked
                assert repeated <= 1, "more than one exchange in a step"
            if until is not None:
                wait = until - self.clock.boot_ms()
                self.waits.append(wait)
                self.clock.advance(wait)
            yield steps
        assert self.gate.end
        assert len(self.commands()) <= max(1, len(order.arguments))

    def commands(self) -> list[Frame]:
        """Frames of this order that are no read."""
        return [one for one in self.asked if one.function in ORDER_FUNCTIONS]

    def relay_frames(self) -> list[Frame]:
        """Those that may move a relay."""
        return [one for one in self.asked if one.function == Function.RELAY]

    def wire_commands(self) -> list[bytes]:
        """As their bytes went out, without the preamble."""
        written = [one.lstrip(b"\xfe") for one in self.port.written()]
        return [one for one in written if one[8] in ORDER_FUNCTIONS]

    def _answer(self, request: bytes) -> Answer:
        answers: Answer = []
        for frame in Deframer().feed(request):
            self.asked.append(frame)
            self._ahead_ms = len(request) * CHARACTER_S * 1000 + self.delay_ms / 2
            delay = self.delay_ms
            for meter in (self.meter, *self.others):
                reply = meter.answer(frame)
                if meter is self.meter:
                    reply = self.hook(frame, reply)
                if reply is not None:
                    wire = reply.to_bytes(4)
                    delay += len(wire) * CHARACTER_S * 1000
                    answers.append((delay, wire))
            self._ahead_ms = 0.0
        return answers

    def _utc_ms(self) -> int:
        return self.clock.utc_ms() + round(self._ahead_ms)


def is_secret_shown(text: str | bytes) -> bool:
    """Whether a canary stands in it: as digits, as wire bytes, as wire bytes plus 33, in hex."""
    data = text.encode() if isinstance(text, str) else text
    for digits in (CUT, RESTORE, SETTINGS):
        wire = bytes(reversed(bytes.fromhex(digits)))
        forms = [digits.encode(), wire, bytes((one + 0x33) & 0xFF for one in wire)]
        forms += [one.hex().encode() for one in forms[1:]]
        forms += [one.hex(" ").encode() for one in forms[1:3]]
        if any(one.lower() in data.lower() for one in itertools.chain(forms)):
            return True
    return False
