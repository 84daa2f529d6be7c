"""A Modbus unit with a relay under orders. The unit is written here, after the specification, and
the map is made up: no shipped model has a write map yet."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.line.line import Line
from edge.meters.drivers import build_driver
from edge.meters.learned import Learned
from edge.orders.jobs import job_for
from edge.orders.line_work import LineTerms
from protocols.modbus.model import Model, read_model
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from tests.edge.fakes import Answer, FakeClock, FakePort, make_line
from tests.edge.orders.line_rig import make_order
from tests.edge.test_drivers_modbus import crc

UNIT = 7
POWER = {"name": "power", "obis": "1-0:16.7.0", "address": 10, "type": "uint16", "unit": "W",
         "kind": "instantaneous"}  # fmt: skip
ENERGY = {"name": "energy", "obis": "1-0:1.8.0", "address": 12, "type": "uint32", "unit": "Wh",
          "kind": "cumulative"}  # fmt: skip
CURRENT = {"name": "current", "obis": "1-0:31.7.0", "address": 14, "type": "uint16",
           "exponent": -1, "unit": "A", "kind": "instantaneous"}  # fmt: skip


def write(name: str, value: int, function: int = 5) -> dict[str, Any]:
    """A relay on coil or register 2."""
    state = {5: 1, 6: 3, 16: 3}[function]
    return {"name": name, "function": function, "address": 2, "value": value,
            "state_function": state, "state_address": 2, "state_value": value}  # fmt: skip


def make_model(function: int = 5, *registers: dict[str, Any]) -> Model:
    """A relay of that kind."""
    table = {
        "title": "relay for tests", "function": 3, "word_order": "big",
        "source": "made up, not a product",
        "register": list(registers) or [POWER, ENERGY],
        "write": [write("disconnect", 1, function), write("connect", 0, function)],
    }  # fmt: skip
    found: Model = read_model("relay-test", table)
    return found


class Unit:
    """A unit with one relay: 1 is open."""

    def __init__(self, clock: FakeClock) -> None:
        self.is_open = False
        self.follows = True  # the contact does what the coil says
        self.power = 460
        self.is_deaf = False
        self.exception = 0
        self.written: list[bytes] = []
        self.clock = clock

    def answer(self, request: bytes) -> Answer:
        """By the specification (1.1b3, 6.1 to 6.12)."""
        unit, pdu = request[0], request[1:-2]
        assert crc(request[:-2]) == request[-2:]
        if unit != UNIT:
            return []
        function = pdu[0]
        if function in (5, 6, 16):
            self.written.append(request)
            if self.exception:
                return self._say(bytes((function | 0x80, self.exception)))
            if self.is_deaf:
                return []
            self.is_open = bool(pdu[-2] if function == 5 else pdu[-1])
            return self._say(pdu[:5])
        address, count = struct.unpack(">HH", pdu[1:])
        if function == 1:
            return self._say(bytes((1, 1, self.is_open)))
        words = [self._word(address + n) for n in range(count)]
        return self._say(struct.pack(f">BB{count}H", function, 2 * count, *words))

    def _word(self, address: int) -> int:
        power = 0 if self.is_open and self.follows else self.power
        return {2: int(self.is_open), 10: power, 13: 260, 14: power // 23}.get(address, 0)

    def _say(self, pdu: bytes) -> Answer:
        body = bytes((UNIT,)) + pdu
        return [(50.0, body + crc(body))]


class Gate:
    """Lets everything through, and writes down."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.reason = ""
        self.facts: dict[str, str] = {}
        self.found: Any = None

    def check(self, order: Any, found: Any) -> str:
        """As told."""
        self.found = found
        return ""

    def arm(self, order: Any, found: Any) -> None:
        """Durable."""
        self.states.append("armed")

    def holds(self) -> bool:
        """Still."""
        return True

    def note(self, order: Any, state: str, reason: str = "", facts: Any = (), *_: Any) -> None:
        """What it came to."""
        self.states.append(state)
        self.reason, self.facts = reason, dict(facts)

    def credential_refused(self, credential: str, mark: str = "") -> None:
        """There is none on this wire."""
        raise AssertionError


class Bench:
    """The unit on a line."""

    def __init__(self, folder: Path, model: Model, control: dict[str, Any] | None) -> None:
        self.clock = FakeClock()
        self.unit = Unit(self.clock)
        self.port = FakePort(self.clock, answer=self.unit.answer)
        self.line: Line = make_line(self.clock, self.port)
        row = {"id": "m-1", "protocol": "modbus", "unit": UNIT, "model": model.name,
               "quantities": None, "control": control}  # fmt: skip
        self.driver = build_driver(row, {model.name: model}, Learned(folder, self.clock))

    def run(self, action: str, *arguments: Any, assurance: int = 1, retries: int = 1) -> Gate:
        """An order from its turn to its end."""
        gate = Gate()
        order = make_order(action, *arguments, assurance=assurance)
        deadline = self.clock.boot_ms() + 900_000
        job = job_for(order, 1, deadline, self.clock, gate, LineTerms())
        for until in job.steps(self.line, self.driver, retries):
            if until is not None:
                self.clock.advance(until - self.clock.boot_ms())
        return gate


TERMS = {"breaker": "internal", "no_current_ma": 50}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A relay on a coil, and a meter that tells power and energy."""
    return Bench(tmp_path, make_model(), TERMS)  # type: ignore[return-value]


def test_a_cut_is_of_lower_assurance_and_refused_unless_the_order_accepts_it(
    bench: Bench,
) -> None:
    """Its class stands in the receipt and goes to the gate."""
    gate = bench.run("disconnect", assurance=0)
    assert (gate.states, code_of(gate.reason)) == ([OrderState.REFUSED], "assurance")
    assert bench.unit.written == [] and gate.found is None
    gate = bench.run("disconnect")
    assert gate.states == ["armed", "sent", "acked", "confirmed"]
    assert gate.facts["assurance"] == "lower"
    assert gate.reason == "its contact, and its current has stopped"
    assert gate.found.is_trustworthy is False and gate.found.is_identified is None
    assert (gate.found.keep_power, gate.found.credential) == (None, "")
    assert gate.facts["register before"] == "260 Wh"


@pytest.mark.parametrize("function", [5, 6, 16])
def test_the_write_is_that_of_the_model_and_goes_out_once(tmp_path: Path, function: int) -> None:
    """Coil, register, registers; bytes after the specification."""
    bench = Bench(tmp_path, make_model(function), TERMS)
    assert bench.run("disconnect").states[-1] == OrderState.CONFIRMED
    body = {
        5: b"\x07\x05\x00\x02\xff\x00",
        6: b"\x07\x06\x00\x02\x00\x01",
        16: b"\x07\x10\x00\x02\x00\x01\x02\x00\x01",
    }[function]
    assert bench.unit.written == [body + crc(body)]


def test_a_connect_is_confirmed_by_the_current_that_flows(bench: Bench) -> None:
    """And by nothing when none flows: then it stays unknown."""
    bench.unit.is_open = True
    gate = bench.run("connect", "consent")
    assert gate.states[-1] == OrderState.CONFIRMED and gate.reason.endswith("2000 mA flow")
    bench.unit.is_open, bench.unit.power = True, 0
    assert bench.run("connect", "consent").states[-1] == OrderState.UNKNOWN
    assert len(bench.unit.written) == 2


def test_a_restore_needs_no_acceptance(bench: Bench) -> None:
    """Only cuts do."""
    bench.unit.is_open = True
    assert bench.run("connect", "consent", assurance=0).states[-1] == OrderState.CONFIRMED


def test_i16_a_coil_that_nothing_follows_is_contradicted(bench: Bench) -> None:
    """I16: the coil reads as written while power flows."""
    bench.unit.follows = False
    gate = bench.run("disconnect")
    assert gate.states[-1] == OrderState.CONTRADICTED
    assert gate.reason == "its contact is open while 2000 mA flow"
    assert len(bench.unit.written) == 1


def test_i15_silence_is_answered_by_reading_the_coil(bench: Bench) -> None:
    """I15: never by writing it again."""
    bench.unit.is_deaf = True
    gate = bench.run("disconnect", retries=3)
    assert gate.states == ["armed", "sent", "verifying", "not-done"]
    assert len(bench.unit.written) == 1


def test_an_exception_is_the_meters_no(bench: Bench) -> None:
    """With its name."""
    bench.unit.exception = 4
    gate = bench.run("disconnect")
    assert gate.states == ["armed", "sent", OrderState.REFUSED_BY_METER]
    assert "exception 04" in gate.reason
    assert len(bench.unit.written) == 1


def test_i16_a_coil_without_a_load_proves_nothing(bench: Bench) -> None:
    """I16: nothing flowed before, so that nothing flows now is no second observation."""
    bench.unit.power = 0
    gate = bench.run("disconnect")
    assert gate.states[-1] == OrderState.UNKNOWN
    assert gate.reason == "its contact alone says so; no current tells it from before"


def test_currents_go_before_power(tmp_path: Path) -> None:
    """Where the model has them."""
    bench = Bench(tmp_path, make_model(5, POWER, CURRENT), TERMS)
    gate = bench.run("disconnect")
    assert gate.facts["current before"] == "2000 mA"
    assert gate.facts["register before"] == "none"


def test_a_model_that_shows_no_load_confirms_nothing(tmp_path: Path) -> None:
    """The coil alone is one observation."""
    bench = Bench(tmp_path, make_model(5, ENERGY), TERMS)
    gate = bench.run("disconnect")
    assert gate.states[-1] == OrderState.UNKNOWN
    assert gate.reason == "its contact alone says so; no current is told"


@pytest.mark.parametrize("action", [one for one in ORDER_KINDS if one not in ("read", "backfill")])
def test_what_the_model_does_not_have_is_refused(bench: Bench, action: str) -> None:
    """No frame, for any kind of order."""
    arguments = {
        "connect": ("consent",), "prices": (2, 1), "time-of-use": (1, 1, 0, 1), "overdraft": (1,),
        "steps": (1, 1, 1, 1, 1), "alarm-amounts": (1, 1), "arm-amount": (1,),
        "authenticate": ("00000001", b"x"), "top-up": (1, 1, "00000001", "070102FF", b"x" * 20),
    }.get(action, ())  # fmt: skip
    gate = bench.run(action, *arguments)
    if action in ("disconnect", "connect"):
        assert gate.states[-1] == OrderState.CONFIRMED
        return
    assert (gate.states, code_of(gate.reason)) == ([OrderState.REFUSED], "no-way")
    assert bench.unit.written == []


def test_a_unit_without_the_table_or_a_write_map_is_only_read(tmp_path: Path) -> None:
    """Both are needed."""
    assert Bench(tmp_path, make_model(), None).driver.control is None
    model = make_model()._replace(writes=())
    assert Bench(tmp_path, model, TERMS).driver.control is None
