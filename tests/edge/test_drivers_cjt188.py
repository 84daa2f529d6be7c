"""A CJ/T 188 meter over a scripted port: frames of captures, not of our own encoder."""

from pathlib import Path
from typing import Any

import pytest

from edge.line.budget import Cost
from edge.line.line import Line, NoAnswerError
from edge.line.port import PortLostError
from edge.meters.cjt188_driver import CAREFUL_TURNAROUND_MS, Cjt188Driver
from edge.meters.driver import MeterCounters
from edge.meters.drivers import build_driver
from edge.meters.learned import Learned
from edge.settings import RULES, load_settings, meter_address
from protocols.cjt188.frame import decode_frame
from protocols.errors import RefusedError, SettingError, UnsupportedError, ValueFormatError
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading
from tests.edge.fakes import FakeClock, FakePort, finish, make_line
from tests.edge.fakes import wire as dlt645_wire
from tests.protocols.cjt188.vectors import BY_ID, wire

WAKE = b"\xfe" * 4
ASK_I, REPLY_I = WAKE + wire("I"), wire("I3")  # cold water, SER 1, 0.00 m3
ASK_Q, REPLY_Q = WAKE + wire("Q2"), wire("Q")  # heat, SER 1, units in front
VOLUME, ENERGY = Obis.from_text("8-0:1.0.0"), Obis.from_text("6-0:1.0.0")
CLOCK = Obis.from_text("0-0:1.0.0")
I_READS = {
    "8-0:1.0.0*255": (0, "m3"),
    "8-0:1.2.0*255": (0, "m3"),
    "0-0:1.0.0*255": ("2017-01-09T17:20:06", ""),
    "0-0:96.5.0*255": (0, ""),
}
Q_READS = {
    "6-0:1.2.0*255": (2, "Wh"),  # 0.02 MWh
    "6-0:1.0.0*255": (2, "Wh"),
    "6-0:2.0.0*255": (1034, "m3"),
    "6-0:10.0.0*255": (2535, "degC"),
    "6-0:11.0.0*255": (2566, "degC"),
    "0-0:96.8.0*255": (0, "h"),
    "0-0:1.0.0*255": ("2015-07-10T12:00:53", ""),
    "0-0:96.5.0*255": (0, ""),
}


def signed(frame: bytes) -> bytes:
    """The frame with its sum made right."""
    return frame[:-2] + bytes((sum(frame[:-2]) & 255, 0x16))


def changed(frame: bytes, **at: int) -> bytes:
    """Some bytes of a frame changed, and its sum with them: `at_13=0x2C`."""
    data = bytearray(frame)
    for key, value in at.items():
        data[int(key.removeprefix("at_"))] = value
    return signed(bytes(data))


NEIGHBOUR = changed(REPLY_I, at_2=0x89)
LATE = changed(REPLY_I, at_13=0x00)
REFUSAL = signed(REPLY_I[:9] + bytes.fromhex("C1 03 01 02 00") + b"\x00\x16")
BAD_DIGIT = changed(REPLY_I, at_15=0x0A)
NO_UNIT = changed(REPLY_I, at_18=0x00)
BAD_SUM = REPLY_I[:-2] + bytes(((REPLY_I[-2] + 1) & 255, 0x16))
FILL = changed(REPLY_I, at_14=0xFF, at_15=0xFF, at_16=0xFF, at_17=0xFF)


@pytest.fixture
def line(clock: FakeClock, port: FakePort) -> Line:
    """At 2400 bit/s."""
    return make_line(clock, port)


def settings_of(name: str, **more: Any) -> dict[str, Any]:
    """A checked section for the meter of a captured answer."""
    vector = BY_ID[name]
    is_heat = vector["meter_type"] != "10"
    return {
        "id": "w-1",
        "protocol": "cjt188",
        "address": vector["address"],
        "meter_type": "heat" if is_heat else "cold-water",
        "di_order": vector["di_order"],
        "unit_position": vector.get("unit_position", "after"),
        "first_energy": vector.get("first_energy", "settlement"),
        "quantities": None,
    } | more


def make_driver(name: str = "I3", **more: Any) -> Cjt188Driver:
    """The driver of that meter, about to ask with the SER of the capture."""
    driver = Cjt188Driver(settings_of(name, **more))
    driver._serial = (BY_ID[name]["serial"] - 1) % 256
    return driver


def values(readings: list[Reading]) -> dict[str, tuple[object, str]]:
    """OBIS -> (value, unit)."""
    assert all(type(one) is Reading for one in readings)
    return {one.obis.text(): (one.quantity.value, one.quantity.unit) for one in readings}


def sweep(driver: Cjt188Driver, line: Line, retries: int = 0) -> dict[str, tuple[object, str]]:
    """All of it."""
    return values(finish(driver.sweep(line, retries)))


# ---- a sweep -----------------------------------------------------------------------------------


def test_a_water_meter_is_read_in_one_exchange(line: Line, port: FakePort) -> None:
    """The captured question and answer; preambles before the answer do not matter."""
    port.expect(ASK_I, b"\xfe\xfe" + REPLY_I)
    driver = Cjt188Driver(settings_of("I3"))
    assert sweep(driver, line) == I_READS
    assert driver.counters == MeterCounters(exchanges=1)


def test_a_heat_meter_with_its_units_in_front_is_read(line: Line, port: FakePort) -> None:
    """As its settings say."""
    port.expect(ASK_Q, REPLY_Q[:20], (120, REPLY_Q[20:]))
    driver = Cjt188Driver(settings_of("Q"))
    assert sweep(driver, line) == Q_READS
    energy = next(one for one in Q_READS if one.startswith("6-0:1.0.0"))
    assert Obis.from_text(energy) == ENERGY


@pytest.mark.parametrize("name", ["B", "B2", "C", "D", "E", "F", "H", "J", "L", "M", "N", "O", "P"])
def test_every_captured_meter_is_read(line: Line, port: FakePort, name: str) -> None:
    """With its identifier's order, its SER and its units; N and O answer with T = 25."""
    vector = BY_ID[name]
    driver = make_driver(name)
    head = bytes.fromhex("68") + bytes((0x10 if vector["meter_type"] == "10" else 0x20,))
    asked = head + wire(name)[2:9] + b"\x01\x03" + wire(name)[11:14]
    port.expect(WAKE + asked + bytes((sum(asked) & 255, 0x16)), wire(name))
    found = sweep(driver, line)
    assert "0-0:96.5.0*255" in found
    assert ("0-0:1.0.0*255" in found) is (vector["expected"]["clock"] is not None)


@pytest.mark.parametrize("name", ["P", "Q"])
def test_a_wrong_unit_position_gives_bad_values_and_no_number(
    line: Line, port: FakePort, name: str
) -> None:
    """Every sweep counts one, and nothing is stored."""
    driver = make_driver(name, unit_position="after")
    request = read_request(driver)
    port.expect(request, wire(name))
    assert sweep(driver, line, retries=2) == {}
    assert driver.counters == MeterCounters(exchanges=1, bad_values=1)


def read_request(driver: Cjt188Driver) -> bytes:
    """What it will send next, from the captured answer's parts."""
    vector = next(one for one in BY_ID.values() if one["address"] == driver.address)
    head = bytes((0x68, int(vector["meter_type"], 16))) + bytes.fromhex(vector["hex"])[2:9]
    body = head + b"\x01\x03" + bytes.fromhex(vector["data"])[:3]
    return WAKE + body + bytes((sum(body) & 255, 0x16))


def test_each_question_has_a_serial_of_its_own(line: Line, port: FakePort) -> None:
    """1, 2, ... 255, 0; a repeated one keeps it."""
    port = FakePort(port._clock, answer=lambda request: [])
    line._port = port
    driver = Cjt188Driver(settings_of("I3"))
    for _ in range(256):
        with pytest.raises(NoAnswerError):
            sweep(driver, line, retries=1)
    serials = [decode_frame(request).data[2] for request in port.written()]
    assert serials == [n % 256 for n in range(1, 257) for _ in range(2)]


@pytest.mark.parametrize("stray", [NEIGHBOUR, LATE, wire("J"), dlt645_wire("v002")])
@pytest.mark.parametrize("then_right", [True, False])
def test_an_answer_to_another_question_is_counted_and_never_stored(
    line: Line, port: FakePort, stray: bytes, then_right: bool
) -> None:
    """Another meter's, this one's late answer, and one of another protocol."""
    driver = make_driver()
    port.expect(ASK_I, (50, stray), *([(300, REPLY_I)] if then_right else []))
    if then_right:
        assert sweep(driver, line) == I_READS
    else:
        with pytest.raises(NoAnswerError):
            sweep(driver, line)
    is_ours = stray[1] == 0x10
    assert driver.counters.strays == is_ours


def test_our_own_request_is_no_answer(line: Line, port: FakePort) -> None:
    """An echo behind a byte of noise is not recognised as one, and is no answer all the same."""
    driver = make_driver()
    port.expect(ASK_I, (-10, b"\x00" + ASK_I), (60, REPLY_I))
    assert sweep(driver, line) == I_READS
    assert driver.counters.strays == 1


def test_an_answer_behind_a_false_start_is_found(line: Line, port: FakePort) -> None:
    """Noise that announces 255 bytes holds it back until the line falls silent."""
    port.expect(ASK_I, bytes.fromhex("68 00 00 00 00 00 00 00 00 81 FF") + REPLY_I)
    assert sweep(make_driver(), line) == I_READS


@pytest.mark.parametrize("bad", [BAD_DIGIT, NO_UNIT])
def test_a_bad_value_is_counted_and_not_stored(line: Line, port: FakePort, bad: bytes) -> None:
    """The frame was good, so the meter is not asked again."""
    driver = make_driver()
    port.expect(ASK_I, bad)
    assert sweep(driver, line, retries=2) == {}
    assert driver.counters == MeterCounters(exchanges=1, bad_values=1)


def test_a_refusal_is_counted_and_asked_again_next_time(line: Line, port: FakePort) -> None:
    """It is not repeated within the sweep, and it drops nothing."""
    driver = make_driver()
    port.expect(ASK_I, REFUSAL)
    assert sweep(driver, line, retries=2) == {}
    assert (driver.counters, driver.unsupported) == (MeterCounters(exchanges=1, refusals=1), set())


def test_fill_bytes_give_no_reading(line: Line, port: FakePort) -> None:
    """FF is "no value", and no fault; the rest counts."""
    driver = make_driver()
    port.expect(ASK_I, FILL)
    assert sweep(driver, line) == {
        code: value for code, value in I_READS.items() if code != "8-0:1.0.0*255"
    }
    assert driver.counters == MeterCounters(exchanges=1)


def test_a_damaged_frame_is_asked_for_again(line: Line, port: FakePort) -> None:
    """A wrong sum is silence: repeated up to the retries, with a longer turnaround, and counted."""
    driver = make_driver()
    port.expect(ASK_I, BAD_SUM)
    port.expect(ASK_I)
    port.expect(ASK_I, REPLY_I)
    assert sweep(driver, line, retries=2) == I_READS
    assert driver.counters == MeterCounters(exchanges=3, retries=2, silences=2)
    assert driver._turnaround_ms == CAREFUL_TURNAROUND_MS


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_silent_meter_raises_after_its_retries(line: Line, port: FakePort, retries: int) -> None:
    """And an order gets in between."""
    driver = make_driver()
    for _ in range(retries + 1):
        port.expect(ASK_I)
    steps = driver.sweep(line, retries)
    for _ in range(retries):
        next(steps)
    with pytest.raises(NoAnswerError):
        next(steps)
    assert driver.counters == MeterCounters(
        exchanges=retries + 1, retries=retries, silences=retries + 1
    )


def test_a_lost_port_is_not_the_meters_silence(line: Line, port: FakePort) -> None:
    """It ends the sweep at once, without retries."""
    driver = make_driver()
    port.expect(ASK_I, (20, PortLostError("unplugged")))
    with pytest.raises(PortLostError):
        sweep(driver, line, retries=5)
    assert driver.counters.silences == 0


def test_a_sweep_yields_after_its_exchange(line: Line, port: FakePort) -> None:
    """So that an order gets in before the next meter."""
    port.expect(ASK_I, REPLY_I)
    steps = make_driver().sweep(line, 0)
    next(steps)
    assert port.written() == [ASK_I]
    with pytest.raises(StopIteration):
        next(steps)


def test_only_the_wanted_quantities_are_kept(line: Line, port: FakePort) -> None:
    """The exchange is the same."""
    port.expect(ASK_I, REPLY_I)
    driver = make_driver(quantities=("8-0:1.0.0",))
    assert sweep(driver, line) == {"8-0:1.0.0*255": (0, "m3")}


# ---- an order's read ---------------------------------------------------------------------------


def test_a_read_gives_one_quantity(line: Line, port: FakePort) -> None:
    """Also one that the sweep does not keep."""
    port.expect(ASK_I, REPLY_I)
    driver = make_driver(quantities=("8-0:1.0.0",))
    assert finish(driver.read(line, CLOCK, 0)) == [
        Reading(CLOCK, Quantity("2017-01-09T17:20:06", 0, "", Kind.TEXT))
    ]


def test_a_value_that_the_meter_does_not_have_is_no_reading(line: Line, port: FakePort) -> None:
    """Neither zero nor an error."""
    port.expect(ASK_I, FILL)
    assert finish(make_driver().read(line, VOLUME, 0)) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (REFUSAL, RefusedError),
        (BAD_DIGIT, ValueFormatError),
        (NEIGHBOUR, NoAnswerError),
    ],
)
def test_a_read_tells_what_went_wrong(
    line: Line, port: FakePort, answer: bytes, error: type[Exception]
) -> None:
    """Nothing is swallowed."""
    port.expect(ASK_I, answer)
    with pytest.raises(error) as caught:
        finish(make_driver().read(line, VOLUME, 0))
    assert type(caught.value) is error


@pytest.mark.parametrize("code", ["1-0:1.8.0", "6-0:1.0.0", "6-0:8.0.0", "8-0:1.0.0*1"])
def test_a_quantity_that_such_a_meter_does_not_show_is_unsupported(
    line: Line, port: FakePort, code: str
) -> None:
    """Nothing is sent."""
    with pytest.raises(UnsupportedError):
        finish(make_driver().read(line, Obis.from_text(code), 0))
    assert port.written() == []


# ---- settings and budget -----------------------------------------------------------------------

CONFIG = """
gateway = {{ id = "gw-1", tenant = "t1", state_dir = "state", identity_dir = "identity" }}
mqtt = {{ host = "broker.example" }}
line = [{{ id = "line-1", port = "/dev/ttyUSB0" }}]
[[meter]]
id = "w-1"
line = "line-1"
protocol = "cjt188"
{rest}
"""
WATER_METER = 'address = "00201510270588"\nmeter_type = "cold-water"\n'
HEAT_METER = 'address = "00000040314132"\nmeter_type = "heat"\n'


def load(folder: Path, rest: str) -> dict[str, Any]:
    """The checked meter section."""
    path = folder / "edge.toml"
    path.write_text(CONFIG.format(rest=rest))
    return load_settings(path).meters[0]


def test_a_section_has_its_defaults(tmp_path: Path, clock: FakeClock) -> None:
    """What most meters do; the address is its place on the line."""
    meter = load(tmp_path, WATER_METER)
    own = {rule.name for rule in RULES["meter (cjt188)"]}
    assert set(meter) == own | {"groups", "control"}
    assert meter["di_order"] == "901F"
    assert meter["unit_position"] == "after"
    assert meter["first_energy"] == "settlement"
    assert meter_address(meter) == "00201510270588"
    driver = build_driver(meter, {}, Learned(tmp_path, clock))
    assert isinstance(driver, Cjt188Driver)
    assert (driver.meter_id, driver.address) == ("w-1", "00201510270588")


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ('meter_type = "heat"', "address is missing; it must be 14 digits"),
        ('address = "00201510270588"', "meter_type is missing; it must be one of 'cold-water'"),
        (WATER_METER.replace("0020", "020"), "address = '0201510270588' is not allowed"),
        (WATER_METER.replace("0588", "058A"), "14 digits"),
        (WATER_METER.replace("cold-water", "steam"), "'heat', 'cooling', 'gas'"),
        (WATER_METER + 'di_order = "1F09"', "one of '901F', '1F90'"),
        (WATER_METER + 'unit_position = "none"', "one of 'after', 'before'"),
        (HEAT_METER + 'first_energy = "heat"', "one of 'settlement', 'cooling'"),
        (
            WATER_METER + 'first_energy = "cooling"',
            "1: first_energy = 'cooling' is not allowed; it must be that of meter_type 'heat'",
        ),
        (
            WATER_METER + 'quantities = ["6-0:1.0.0"]',
            "a cold-water meter shows 8-0:1.0.0*255, 8-0:1.2.0*255, 0-0:1.0.0*255, 0-0:96.5.0*255",
        ),
        (HEAT_METER + 'quantities = ["6-0:8.0.0"]', "a heat meter shows 6-0:1.2.0*255"),
        (WATER_METER + 'quantities = ["00010000"]', "must be an OBIS code"),
        (WATER_METER + "unit = 1", "unknown key 'unit'"),
    ],
)
def test_a_wrong_section_gets_one_sentence(tmp_path: Path, rest: str, told: str) -> None:
    """With what would be right."""
    with pytest.raises(SettingError) as caught:
        load(tmp_path, rest)
    sentence = str(caught.value)
    assert told in sentence
    assert "\n" not in sentence


def test_a_heat_meter_may_count_cooling_first(tmp_path: Path) -> None:
    """Its quantities follow."""
    meter = load(tmp_path, HEAT_METER + 'first_energy = "cooling"\nquantities = ["5-0:1.0.0"]')
    assert meter["quantities"] == ["5-0:1.0.0"]
    with pytest.raises(SettingError, match="is not allowed; a heat meter shows"):
        load(tmp_path, HEAT_METER + 'quantities = ["5-0:1.0.0"]')


def test_a_sweep_costs_its_exchange() -> None:
    """20 and 39 bytes for water, 20 and 63 for heat, with a typical response."""
    water, heat = make_driver("I3"), make_driver("Q")
    assert len(ASK_I) == len(ASK_Q) == 20
    assert (len(WAKE + REPLY_I), len(WAKE + REPLY_Q)) == (39, 63)
    assert water.costs() == [Cost(20, 39)]
    assert heat.costs() == [Cost(20, 63)]
