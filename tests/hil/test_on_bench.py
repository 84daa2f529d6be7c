"""The same tests on every bench: `--bench sim|pty|vm|real`, see docs/bench.md.

What is sent is sent by the gateway's own line, port and drivers. What a test needs beyond a meter
that answers reads, it names.
"""

import pytest

from edge.line.line import NoAnswerError
from edge.line.port import PortLostError
from edge.meters.dlt645_driver import Dlt645Conversation
from edge.meters.driver import Driver
from hil.faults import Fault
from hil.scenario import CJT188, DLT645, DLT645_1997, MODBUS
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import BroadcastTime, Relay
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.frame import BROADCAST, PREAMBLE_SIZE
from protocols.dlt645.relay import OPEN_BIT, RelayAction
from protocols.dlt645.requests import request
from protocols.dlt645.search import Search
from protocols.dlt645.values import decode_items
from protocols.quantity import Quantity
from protocols.readings import Reading
from provisioning.search import search
from tests.bench_kit.bench import Bench, BenchLine
from tests.bench_kit.meters import ALL_PROTOCOLS, OPERATOR, BenchMeter
from tests.bench_kit.real import listed_meters
from tests.hil.masters import ALL_TERMS

VOLTAGE = {
    DLT645: "1-0:32.7.0",
    DLT645_1997: "1-0:32.7.0",
    MODBUS: "1-0:32.7.0",
}
REQUEST_SIZE = 20  # of DL/T 645, the longest but for a water meter
SLACK_S = 0.3  # real time: a busy machine, and the driver of an adapter


def sweep(line: BenchLine, driver: Driver, retries: int = 1) -> list[Reading]:
    """One sweep of the gateway's driver."""
    steps = driver.sweep(line.master, retries)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            readings: list[Reading] = end.value
            return readings


def ask(line: BenchLine, exchange: dlt645.Exchange) -> bytes:
    """A whole DL/T 645 exchange, follow-up parts included; its data."""
    while exchange.state != dlt645.DONE:
        line.master.converse(Dlt645Conversation(exchange))
    return exchange.data()


def shown(line: BenchLine, meter: BenchMeter, di: str) -> list[Quantity | None]:
    """The values of an identifier of 2007."""
    return [value for _, value in decode_items(ask(line, dlt645.read(meter.address, di)))]


def check_energy(meter: BenchMeter, readings: list[Reading]) -> None:
    """One reading, the meter's energy; its value where anybody knows it."""
    assert [one.obis for one in readings] == [meter.energy_code]
    value = readings[0].quantity
    assert value is not None and value.value >= 0
    assert value.unit == ("m3" if meter.protocol == CJT188 else "Wh")
    if meter.energy is not None:
        assert value[:3] == meter.energy[:3]


# --- reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ALL_PROTOCOLS)
def test_a_meter_of_each_protocol_is_read(bench: Bench, protocol: str) -> None:
    """Its energy, at the first question."""
    line = bench.line()
    meter = line.meter(protocol)
    driver = meter.driver()
    check_energy(meter, sweep(line, driver))
    assert (driver.counters.exchanges, driver.counters.silences) == (1, 0)


@pytest.mark.parametrize("protocol", ALL_PROTOCOLS)
def test_a_meter_that_is_not_there_is_silent(bench: Bench, protocol: str) -> None:
    """After the response time, and the one that is there answers as before."""
    line = bench.line()
    meter = line.meter(protocol)
    started_s = bench.clock.monotonic()
    with pytest.raises(NoAnswerError):
        sweep(line, meter.absent(), retries=0)
    assert bench.clock.monotonic() - started_s >= line.response_timeout_s
    check_energy(meter, sweep(line, meter.driver()))


@pytest.mark.needs("virtual-meter")
def test_an_answer_in_parts_is_joined(bench: Bench) -> None:
    """All energies of a block, from a meter whose replies hold 7 bytes: parts cut inside items."""
    line = bench.line()
    meter = line.meter(DLT645, cut=7)
    values = shown(line, meter, "0001FF00")
    requests = [data for way, _, data in line.master.transcript if way == ">"]
    assert len(requests) == 1
    assert requests[0].lstrip(b"\xfe")[8] == 0x12  # the last question asked for a part
    assert line.master.counters.exchanges == 3  # 20 bytes in replies of 7
    assert len(values) == 5
    assert values[0] is not None and meter.energy is not None
    assert values[0][:3] == meter.energy[:3]


def test_the_clock_of_a_meter_is_read(bench: Bench) -> None:
    """Date and time; that of a virtual meter is the bench's."""
    line = bench.line()
    meter = line.meter(DLT645)
    moment = meter_time(line, meter)
    assert moment.is_valid()
    if meter.station is not None:
        assert abs(seconds_of(moment) - bench.clock.utc_ms() // 1000 % 86_400) <= 3


def meter_time(line: BenchLine, meter: BenchMeter) -> MeterTime:
    """What its clock shows."""
    (date,) = shown(line, meter, "04000101")
    (time,) = shown(line, meter, "04000102")
    assert date is not None and time is not None
    year, month, day = str(date.value).split("-")
    return MeterTime(int(year), int(month), int(day), *map(int, str(time.value).split(":")))


def seconds_of(moment: MeterTime) -> int:
    """Since its midnight."""
    seconds: int = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds


@pytest.mark.needs("paced", "virtual-meter")
@pytest.mark.parametrize("protocol", [DLT645, MODBUS])
def test_an_exchange_takes_what_the_arithmetic_says(bench: Bench, protocol: str) -> None:
    """Every byte its bits, and the meter's delay; never less, and no second more."""
    line = bench.line()
    meter = line.meter(protocol, response_delay_s=0.05)
    sweep(line, meter.driver())  # the port is open, and the line is known
    bench.clock.advance(0.05)
    started_s = bench.clock.monotonic()
    sweep(line, meter.driver())
    took_s = bench.clock.monotonic() - started_s
    size = sum(len(data) for _, _, data in line.master.transcript)
    due_s = size * line.character_s + 0.05
    slack_s = line.character_s if "virtual-time" in bench.features else SLACK_S
    assert due_s - line.character_s <= took_s <= due_s + slack_s


# --- faults of the wire -------------------------------------------------------------------------


@pytest.mark.needs("faults")
@pytest.mark.parametrize("kind", ["checksum", "truncate", "noise_inside", "silent", "address"])
@pytest.mark.parametrize("protocol", ALL_PROTOCOLS)
def test_a_damaged_reply_is_asked_for_again(bench: Bench, protocol: str, kind: str) -> None:
    """Once, and the value is the meter's."""
    line = bench.line()
    meter = line.meter(protocol)
    fault = Fault(kind, count=1)
    line.set_faults([fault])
    driver = meter.driver()
    check_energy(meter, sweep(line, driver))
    assert (fault.applied, driver.counters.retries, driver.counters.exchanges) == (1, 1, 2)


@pytest.mark.needs("faults", "paced", "virtual-meter")
@pytest.mark.parametrize("protocol", [DLT645, DLT645_1997, MODBUS])
def test_a_late_answer_is_never_another_questions(bench: Bench, protocol: str) -> None:
    """It comes into the next request, or between it and its answer; what is asked then is told
    right. (A water meter has but one question.)

    A meter that heard a damaged request forgets it after 0.5 s of silence (hil/meter_port.py), so
    the response time is longer than that.
    """
    line = bench.line(response_timeout_ms=600)
    delay_s = line.response_timeout_s * 2 / 3
    meter = line.meter(protocol, response_delay_s=delay_s)
    (due,) = sweep(line, meter.driver(VOLTAGE[protocol]))
    request_s = REQUEST_SIZE * line.character_s
    for behind_s in (0.4 * request_s, request_s + 0.015, request_s + 0.05):
        late_ms = round(1000 * (line.response_timeout_s - delay_s + behind_s))
        fault = Fault("late", count=1, late_ms=late_ms)
        line.set_faults([fault])
        with pytest.raises(NoAnswerError):
            sweep(line, meter.driver(), retries=0)
        assert fault.applied == 1
        (found,) = sweep(line, meter.driver(VOLTAGE[protocol]), retries=2)
        assert found.obis == due.obis
        assert found.quantity is not None and due.quantity is not None
        assert abs(found.quantity.value - due.quantity.value) <= due.quantity.value // 10
        bench.clock.advance(0.2)


@pytest.mark.needs("echo")
@pytest.mark.parametrize("protocol", ALL_PROTOCOLS)
def test_an_adapter_that_echoes(bench: Bench, protocol: str) -> None:
    """Our own bytes are no answer, and no stray."""
    line = bench.line(echo=True)
    meter = line.meter(protocol)
    driver = meter.driver()
    check_energy(meter, sweep(line, driver))
    assert line.master.counters.echoes == driver.counters.exchanges == 1


@pytest.mark.needs("adapter-unplug")
def test_an_adapter_is_taken_out_and_put_in_again(bench: Bench) -> None:
    """The loss is noticed as what it is, and the line opens its port again."""
    line = bench.line()
    meter = line.meter(DLT645)
    check_energy(meter, sweep(line, meter.driver()))
    line.unplug()
    with pytest.raises(PortLostError):
        sweep(line, meter.driver())
    line.replug()
    bench.clock.advance(1.1)
    check_energy(meter, sweep(line, meter.driver()))
    assert line.master.counters.port_losses >= 1


@pytest.mark.needs("parity")
def test_a_port_with_parity_is_opened_again(bench: Bench) -> None:
    """As after an adapter was lost: every setting is taken a second time."""
    line = bench.line()
    meter = line.meter(DLT645)
    for _ in range(3):
        check_energy(meter, sweep(line, meter.driver()))
        line.master.close()


# --- the search ---------------------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_the_search_finds_who_is_there(bench: Bench) -> None:
    """One virtual meter, or those that the bench file names; nobody else."""
    line = bench.line()
    meter = line.meter(DLT645)
    line.port.open()
    found = search(line.port, line.baud, Search(), bench.clock.monotonic)
    assert found.is_complete
    assert found.found == (listed_meters(bench) or [meter.address])
    assert found.conflicts == []


@pytest.mark.needs("virtual-time", "collisions")
def test_the_search_parts_meters_that_talk_at_once(bench: Bench) -> None:
    """Four meters, two of them alike to the last digit pair but one."""
    addresses = ["000000000161", "000000000261", "123456789012", "202011220199"]
    line = bench.line(baud=2400, seed=7)
    for address in addresses:
        line.meter(DLT645, address)
    line.port.open()
    found = search(line.port, line.baud, Search(), bench.clock.monotonic)
    assert found.is_complete
    assert found.found == sorted(addresses)
    assert found.conflicts == []
    assert found.probes <= 4 + 1 + 101 * (1 + 5 * 2)


# --- what changes a meter -----------------------------------------------------------------------


@pytest.mark.needs("sacrificial-meter")
def test_a_broadcast_sets_the_clock(bench: Bench) -> None:
    """A virtual meter that was two minutes off shows our time; nobody answers. A real one is told
    its own time, so that it stays as right as it was."""
    line = bench.line()
    meter = line.meter(DLT645, allows="broadcast time")
    told = meter_time(line, meter)
    if meter.station is not None:
        meter.station.clock.set(MeterTime(2026, 2, 2, 11, 58, 0))
        assert seconds_of(meter_time(line, meter)) < seconds_of(told) - 60
    line.port.write(request(BROADCAST, BroadcastTime(told)).to_bytes(PREAMBLE_SIZE))
    assert line.port.read(line.response_timeout_s) == b""
    assert 0 <= seconds_of(meter_time(line, meter)) - seconds_of(told) <= 10


@pytest.mark.needs("sacrificial-meter")
def test_the_relay_obeys_an_order(bench: Bench) -> None:
    """Disconnected, and connected again; what counts is the status word, not the reply."""
    line = bench.line()
    meter = line.meter(DLT645, allows="relay control")
    level, _, digits = meter.password.partition(":")
    who = Credentials(int(level), digits, OPERATOR)
    states = []
    for action in (RelayAction.DISCONNECT, RelayAction.CONNECT):
        order = Relay(action, MeterTime(2099, 12, 31, 23, 59, 59), who, 0)
        ask(line, dlt645.Exchange(request(meter.address, order, terms=ALL_TERMS)))
        bench.clock.advance(1.0)  # a contact takes its time
        (word,) = shown(line, meter, "04000503")
        assert word is not None
        states.append(word.value >> OPEN_BIT & 1)
    assert states == [1, 0]
