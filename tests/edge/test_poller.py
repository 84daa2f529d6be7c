"""One line's worker over simulated days: periods, silent meters, and orders in between."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from edge.collect.groups import tasks_of
from edge.collect.jobs import Priority
from edge.collect.plausible import Verdict
from edge.collect.poller import (
    CATCH_UP_EVERY,
    ORDERS_MAX,
    LineWorker,
    Surroundings,
)
from edge.collect.watch import PAUSE_MS_FIRST, PAUSE_MS_MAX, MeterWatch
from edge.line.line import REOPEN_MS_MAX, Line, Wire
from edge.line.port import PortLostError
from edge.meters.dlt645_driver import Dlt645Driver
from edge.timekeeping import Moment
from protocols.errors import CallerError
from protocols.readings import Flag, ReadingSet, TimeQuality
from tests.edge.fakes import (
    BOOT_ID,
    UTC_MS,
    Answer,
    FakeClock,
    FakePort,
    FakeQueue,
    NoThread,
    make_line,
    wire,
)

WIRE = Wire(2400, "E", 1, 600, 100, 0)
WAKE = b"\xfe" * 4
REPLIES = {wire(ask)[10:14]: wire(answer)[8:-2] for ask, answer in (
    ("v001", "v002"), ("v003", "v004"), ("v009", "v010"), ("v011", "v012")
)}  # fmt: skip
DAY_MS = 86_400_000


class Meters:
    """Meters that answer alike, or are silent; `asked` counts the requests to each."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()

    def answer(self, request: bytes) -> Answer:
        """A reply from the address asked, 50 ms after the request."""
        frame = request.lstrip(b"\xfe")
        address = bytes(reversed(frame[1:7])).hex()
        self.asked[address] += 1
        if address in self.silent:
            return []
        body = frame[:8] + REPLIES[frame[10:14]]
        return [(50.0, body + bytes([sum(body) & 255, 0x16]))]


class Job:
    """A job that reads one identifier, and takes down when."""

    may_send = None

    def __init__(
        self,
        meter_id: str,
        requests: tuple[bytes, ...] = (),
        priority: int = Priority.ON_DEMAND,
    ) -> None:
        self.meter_id = meter_id
        self.priority = priority
        self.recording: list[tuple[str, int, bytes]] = []
        self.ran: list[tuple[int, str]] = []
        self._requests = requests

    def steps(self, line: Line, driver: Any, retries: int) -> Iterator[None]:
        """As an order would."""
        self.ran.append((retries, driver.meter_id))
        for request in self._requests:
            line._ensure_open()
            line._port.write(request)
            while not line._port.read(1.0):
                pass
            yield


class Bench:
    """A worker on fake time; `addresses` of meters m-0, m-1, ..."""

    def __init__(
        self,
        count: int,
        period_s: int = 60,
        quantities: int = 2,
        groups: tuple[dict[str, Any], ...] = (),
    ) -> None:
        self.clock = FakeClock()
        self.meters = Meters()
        self.port = FakePort(self.clock, answer=self.meters.answer)
        self.sets: list[ReadingSet] = []
        asked = ("1-0:1.8.0", "1-0:2.8.0", "1-0:32.7.0", "1-0:31.7.0")[:quantities]
        self.addresses = [f"{161 + n:012d}" for n in range(count)]
        watches, tasks = {}, []
        for n, address in enumerate(self.addresses):
            settings = {
                "id": f"m-{n}",
                "line": "line-1",
                "protocol": "dlt645-2007",
                "edition": "2007",
                "address": address,
                "quantities": asked,
                "period_s": period_s,
                "align": "clock",
                "groups": groups,
            }
            tasks += tasks_of(settings)
            watches[f"m-{n}"] = MeterWatch(settings, Dlt645Driver(settings), WIRE, 2)
        self.events: list[tuple[str, str, str]] = []
        self.slots: list[tuple[str, int] | None] = []
        self.is_crowded = False
        self.verdict = Verdict()
        around = Surroundings(
            self.clock,
            self._submit,
            self._tell,
            lambda *_: self.verdict,
            lambda: self.is_crowded,
        )
        self.worker = LineWorker(make_line(self.clock, self.port), watches, tasks, around)
        self.worker._jobs = FakeQueue(self.clock, ORDERS_MAX)
        self.worker._thread = NoThread()  # type: ignore[assignment]

    def _submit(self, one: ReadingSet, slot: tuple[str, int] | None) -> None:
        self.sets.append(one)
        self.slots.append(slot)

    def _tell(self, kind: str, subject: str = "", detail: str = "", *_: Any, **__: Any) -> None:
        self.events.append((kind, subject, detail))

    def told(self, kind: str) -> list[tuple[str, str]]:
        """The events of a kind: subject and detail."""
        return [(subject, detail) for one, subject, detail in self.events if one == kind]

    def run_for(self, ms: int) -> None:
        """Turns until so much fake time has passed."""
        end = self.clock.boot_ms() + ms
        while self.clock.boot_ms() < end:
            self.worker.turn()

    def reads_of(self, meter: int) -> list[int]:
        """When one meter was read, as ms since the bench began."""
        return [one.read_at - UTC_MS for one in self.sets if one.meter_id == f"m-{meter}"]


def test_each_meter_is_read_once_a_period_aligned_to_the_wall() -> None:
    """The set says who, when, on which boot and how sure, at the beginning of the sweep."""
    bench = Bench(3)
    bench.run_for(600_000)
    for meter in range(3):
        reads = bench.reads_of(meter)
        assert 10 <= len(reads) <= 11
        slots = [(UTC_MS + at) // 60_000 for at in reads]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        assert all((UTC_MS + at) % 60_000 < 3_000 for at in reads[1:])
    one = bench.sets[4]
    assert one.boot_id == BOOT_ID
    assert one.quality == TimeQuality.NTP
    assert one.read_at - one.boot_at == bench.clock.utc_ms() - bench.clock.boot_ms()
    assert [reading.quantity.value for reading in one.readings] == [26, 126]
    assert bench.worker.watches["m-0"].shown() == list(one.readings)
    assert bench.worker.watches["m-0"].sweep_ms > 0


def test_the_quality_is_that_of_the_moment() -> None:
    """A set that was read before time came says so."""
    bench = Bench(1)
    bench.clock.set_quality(TimeQuality.UNSYNCED)
    bench.run_for(60_000)
    bench.clock.set_quality(TimeQuality.SIGNED)
    bench.run_for(60_000)
    assert {one.quality for one in bench.sets} == {TimeQuality.UNSYNCED, TimeQuality.SIGNED}
    qualities = [one.quality for one in bench.sets]
    assert qualities == sorted(qualities)


def test_a_clock_at_1970_gives_no_set_from_before_the_boot() -> None:
    """The head end refuses a batch whose reading is older than its own boot, for ever."""
    bench = Bench(1)
    bench.clock.set_utc(0)
    bench.run_for(1_000)
    assert bench.sets
    assert all(one.read_at >= one.boot_at for one in bench.sets)


def test_an_order_runs_after_the_exchange_in_flight() -> None:
    """Its request is the very next on the wire; then the sweep goes on where it was."""
    bench = Bench(2, quantities=4)
    job = Job("m-1", (WAKE + wire("v001"),))
    writes = bench.port.write
    count = 0

    def write(data: bytes) -> None:
        nonlocal count
        count += 1
        writes(data)
        if count == 2:  # the second exchange of the first sweep is in flight
            assert bench.worker.offer(job)

    bench.port.write = write  # type: ignore[method-assign]
    bench.worker.turn()
    asked = [data.lstrip(b"\xfe")[10:14] for data in bench.port.written()]
    expected = [wire(one)[10:14] for one in ("v001", "v003", "v001", "v009", "v011")]
    assert asked == expected
    assert job.ran == [(2, "m-1")]
    assert len(bench.sets[0].readings) == 4


def test_an_order_goes_before_polls_that_wait() -> None:
    """All queued orders, in their order, before the first sweep."""
    bench = Bench(2)
    bench.worker.line._ensure_open()
    jobs = [Job("m-0", (WAKE + wire("v003"),)), Job("m-1", (WAKE + wire("v009"),))]
    for job in jobs:
        assert bench.worker.offer(job)
    bench.worker.turn()
    asked = [data.lstrip(b"\xfe")[10:14] for data in bench.port.written()]
    assert asked[:3] == [wire(one)[10:14] for one in ("v003", "v009", "v001")]


def test_an_order_ends_an_idle_wait() -> None:
    """Nothing is due: it runs as soon as it is there."""
    bench = Bench(1, period_s=3600)
    bench.run_for(10_000)
    job = Job("m-0")
    get = bench.worker._jobs.get

    def get_what_comes_meanwhile(block: bool = True, timeout: float | None = None) -> Any:
        if timeout:
            bench.worker.offer(job)
        return get(block, timeout)

    bench.worker._jobs.get = get_what_comes_meanwhile  # type: ignore[method-assign]
    before = bench.clock.boot_ms()
    bench.worker.turn()
    bench.worker._jobs.get = get  # type: ignore[method-assign]
    bench.worker.turn()
    assert job.ran
    assert bench.clock.boot_ms() <= before + 1_000


def test_an_order_runs_on_a_meter_that_pauses() -> None:
    """A person asks: the pause is for polls."""
    bench = Bench(1)
    bench.meters.silent.add(bench.addresses[0])
    bench.run_for(5_000)
    assert bench.worker.watches["m-0"].paused_until > bench.clock.boot_ms()
    job = Job("m-0")
    bench.worker.offer(job)
    bench.worker.turn()
    assert len(job.ran) == 1


def test_too_many_orders_are_refused() -> None:
    """The queue is bounded, and waking a full one does nothing."""
    bench = Bench(1)
    taken = [bench.worker.offer(Job("m-0")) for _ in range(ORDERS_MAX + 5)]
    assert taken == [True] * ORDERS_MAX + [False] * 5
    bench.worker.wake()
    bench.worker.turn()
    assert bench.worker.offer(Job("m-0"))


def test_silent_meters_do_not_slow_the_others_over_a_day() -> None:
    """Each costs one probe per pause; the living keep every period."""
    bench = Bench(6, period_s=60)
    bench.meters.silent.update(bench.addresses[:3])
    bench.run_for(DAY_MS)
    for meter in (3, 4, 5):
        reads = bench.reads_of(meter)
        assert len(reads) in (1440, 1441)
        slots = [(UTC_MS + at) // 60_000 for at in reads]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
    most = DAY_MS // PAUSE_MS_MAX + 12  # the growing pauses at the beginning, and the retries
    for address in bench.addresses[:3]:
        assert DAY_MS // (PAUSE_MS_MAX + 60_000) - 12 <= bench.meters.asked[address] <= most
    for meter in range(3):
        assert bench.reads_of(meter) == []
        assert bench.worker.watches[f"m-{meter}"].last_error


def test_the_pause_grows_to_its_limit() -> None:
    """First short, then longer, never longer than PAUSE_MS_MAX; one probe each."""
    bench = Bench(1, period_s=1)
    bench.meters.silent.add(bench.addresses[0])
    watch = bench.worker.watches["m-0"]
    pauses = []
    for _ in range(90):
        failures = watch.failures
        while watch.failures == failures:
            bench.worker.turn()
        pauses.append(watch.paused_until - bench.clock.boot_ms())
    assert pauses[0] == PAUSE_MS_FIRST
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MS_MAX
    assert bench.meters.asked[bench.addresses[0]] == 3 + 89  # retries at the first silence only


def test_a_meter_that_answers_again_is_read_as_before() -> None:
    """From its first answer on: no pause, and retries again."""
    bench = Bench(2)
    bench.meters.silent.add(bench.addresses[0])
    bench.run_for(300_000)
    bench.meters.silent.clear()
    bench.run_for(120_000 + PAUSE_MS_MAX)
    watch = bench.worker.watches["m-0"]
    assert (watch.failures, watch.last_error, watch.paused_until) == (0, "", 0)
    before = len(bench.reads_of(0))
    bench.run_for(600_000)
    assert len(bench.reads_of(0)) - before in (9, 10, 11)


def test_a_sweep_without_a_reading_submits_nothing() -> None:
    """A meter that refuses everything answers, and has no values."""
    bench = Bench(1)
    bench.worker.watches["m-0"].driver.unsupported.update(("00010000", "00020000"))
    bench.run_for(120_000)
    assert bench.sets == []
    assert bench.worker.watches["m-0"].failures == 0
    assert bench.worker.watches["m-0"].sweeps > 0


@pytest.mark.parametrize("jump_ms", [-30 * DAY_MS, -3_600_000, 3_600_000, 365 * DAY_MS])
def test_polling_goes_on_after_a_clock_jump(jump_ms: int) -> None:
    """Within one period, and every period from then on."""
    bench = Bench(2)
    bench.run_for(300_000)
    count = len(bench.sets)
    bench.clock.set_utc(bench.clock.utc_ms() + jump_ms)
    bench.run_for(62_000)
    assert len(bench.sets) >= count + 2
    count = len(bench.sets)
    bench.run_for(600_000)
    assert 18 <= len(bench.sets) - count <= 22
    assert bench.worker.schedule.jumps == 1


def test_an_overloaded_line_reads_all_its_meters() -> None:
    """Forty meters of four quantities do not fit into ten seconds: all are late alike."""
    bench = Bench(40, period_s=10, quantities=4)
    bench.run_for(600_000)
    counts = Counter(one.meter_id for one in bench.sets)
    assert len(counts) == 40
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_fault_in_one_turn_does_not_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A surprise of one meter is logged; the others are read."""
    bench = Bench(2)
    broken = bench.worker.watches["m-0"].driver

    def sweep(line: Line, retries: int, group: str) -> Any:
        yield
        raise CallerError("ours")

    monkeypatch.setattr(broken, "sweep", sweep)
    waits = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        bench.clock.advance(seconds * 1000)
        return False

    monkeypatch.setattr(bench.worker._stopping, "wait", wait)
    end = bench.clock.boot_ms() + 300_000
    turn = bench.worker.turn

    def turn_until_end() -> None:
        if bench.clock.boot_ms() >= end:
            bench.worker._stopping.set()
        turn()

    monkeypatch.setattr(bench.worker, "turn", turn_until_end)
    bench.worker._run()
    assert waits
    assert 5 <= len(bench.reads_of(1)) <= 7
    assert bench.reads_of(0) == []


def test_a_stop_ends_a_sweep_after_the_exchange_in_flight() -> None:
    """What was half read is not stored, and the port is closed."""
    bench = Bench(1, quantities=4)
    writes = bench.port.write

    def write(data: bytes) -> None:
        bench.worker._stopping.set()
        writes(data)

    bench.port.write = write  # type: ignore[method-assign]
    bench.worker.turn()
    assert len(bench.port.written()) == 1
    assert bench.sets == []
    bench.worker.stop()
    assert not bench.port.is_open


def test_progress_is_noted_every_turn() -> None:
    """For the watchdog."""
    bench = Bench(1)
    bench.run_for(5_000)
    before = bench.worker.progress_at
    bench.run_for(5_000)
    assert before < bench.worker.progress_at <= bench.clock.boot_ms()


def test_an_adapter_that_comes_back_is_polled_at_once() -> None:
    """An hour without the port is nobody's silence: each meter is read within its next period."""
    bench = Bench(3)
    bench.run_for(60_000)
    bench.port.inject(0, PortLostError("unplugged"))
    bench.port.open_errors.extend(["no such device"] * 10_000)
    bench.run_for(3_600_000)
    assert bench.worker.watches["m-0"].last_error
    bench.port.open_errors.clear()
    bench.sets.clear()
    bench.run_for(60_000 + REOPEN_MS_MAX)
    assert {one.meter_id for one in bench.sets} == {"m-0", "m-1", "m-2"}
    assert bench.worker.watches["m-0"].last_error == ""


def test_a_real_thread_starts_polls_and_stops() -> None:
    """The worker's own thread lives until it is stopped, and closes the port."""
    bench = Bench(1)
    watch = bench.worker.watches["m-0"]
    read = threading.Event()
    around = bench.worker._around._replace(
        submit=lambda one, _: (bench.sets.append(one), read.set())  # type: ignore[func-returns-value]
    )
    tasks = bench.worker.schedule.tasks.values()
    worker = LineWorker(bench.worker.line, {"m-0": watch}, tasks, around)
    worker.start()
    assert read.wait(10)
    worker.stop()
    assert not worker._thread.is_alive()
    assert not bench.port.is_open
    assert len(bench.sets) == 1


class Endless:
    """Catch-up work without end, of one request at a time."""

    def __init__(self, requests: tuple[bytes, ...]) -> None:
        self.jobs: list[Job] = []
        self._requests = requests

    def next_job(self, now: Moment) -> Job:
        """One more."""
        self.jobs.append(Job("m-0", self._requests, Priority.CATCH_UP))
        return self.jobs[-1]


def asked_of(bench: Bench) -> list[bytes]:
    """The identifiers asked for, in their order."""
    return [data.lstrip(b"\xfe")[10:14] for data in bench.port.written()]


def test_a_read_on_demand_makes_way_for_an_order() -> None:
    """After each of its exchanges."""
    bench = Bench(2, period_s=3600)
    bench.run_for(10_000)
    count = len(bench.port.written())
    read = Job("m-0", (WAKE + wire("v001"),) * 3)
    order = Job("m-1", (WAKE + wire("v003"),), Priority.ORDER)
    bench.worker.offer(read)
    writes = bench.port.write

    def write(data: bytes) -> None:
        writes(data)
        if len(bench.port.written()) == count + 1:
            bench.worker.offer(order)

    bench.port.write = write  # type: ignore[method-assign]
    bench.worker.turn()
    names = ("v001", "v003", "v001", "v001")
    assert asked_of(bench)[count:] == [wire(one)[10:14] for one in names]


def test_catch_up_work_fills_the_time_between_polls_and_starves_neither() -> None:
    """On an idle line it goes on; under full load each CATCH_UP_EVERY-th exchange is its own."""
    idle = Bench(2)
    idle.worker.background.append(Endless((WAKE + wire("v001"),)))
    idle.run_for(600_000)
    for meter in (0, 1):
        slots = [(UTC_MS + at) // 60_000 for at in idle.reads_of(meter)]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
    busy = Bench(40, period_s=10, quantities=4)
    endless = Endless((WAKE + wire("v001"),) * 5)
    busy.worker.background.append(endless)
    busy.run_for(600_000)
    exchanges = len(busy.port.written())
    steps = sum(len(job.ran) for job in endless.jobs) * 5
    assert exchanges // (CATCH_UP_EVERY + 4) <= steps <= exchanges // (CATCH_UP_EVERY - 1) + 5
    counts = Counter(one.meter_id for one in busy.sets)
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_an_order_waits_for_at_most_the_exchange_in_flight(seed: int) -> None:
    """Whenever it comes: while a poll, a read on demand or catch-up work is under way."""
    chance = random.Random(seed)
    bench = Bench(10, period_s=10, quantities=4)
    bench.worker.background.append(Endless((WAKE + wire("v001"),) * 3))
    bench.meters.silent.add(bench.addresses[3])
    writes, offered = bench.port.write, {}
    orders: list[Job] = []

    def write(data: bytes) -> None:
        count = len(bench.port.written())
        for order in orders:
            if not order.ran:
                assert count <= offered[id(order)] + 1
        writes(data)
        if chance.random() < 0.2:
            orders.append(Job("m-1", (WAKE + wire("v003"),), Priority.ORDER))
            offered[id(orders[-1])] = count
            assert bench.worker.offer(orders[-1])
        if chance.random() < 0.2:
            bench.worker.offer(Job("m-2", (WAKE + wire("v001"),) * 2))

    bench.port.write = write  # type: ignore[method-assign]
    bench.run_for(120_000)
    assert len(orders) > 10


def test_a_register_group_has_its_own_period() -> None:
    """And its own task, by whose name its slots are known."""
    group = {"name": "load", "quantities": ("1-0:32.7.0",), "period_s": 10, "align": "clock"}
    bench = Bench(1, groups=(group,))
    bench.run_for(120_000)
    volts = [one for one in bench.sets if len(one.readings) == 1]
    assert 11 <= len(volts) <= 13
    assert len(bench.sets) - len(volts) in (2, 3)
    tasks = {slot[0] for slot in bench.slots if slot}
    assert tasks == {"m-0", "m-0/load"}
    assert len(set(bench.slots)) == len(bench.slots)


def test_a_full_journal_stops_the_groups_that_nobody_is_billed_by() -> None:
    """Energies are read on; the slots are told as missed, with the reason, when they come back."""
    group = {"name": "load", "quantities": ("1-0:32.7.0",), "period_s": 10, "align": "clock"}
    bench = Bench(1, groups=(group,))
    bench.run_for(60_000)
    bench.is_crowded = True
    count = len(bench.sets)
    bench.run_for(120_000)
    assert {len(one.readings) for one in bench.sets[count:]} == {2}
    bench.is_crowded = False
    bench.run_for(30_000)
    assert [subject for subject, detail in bench.told("slots-missed")] == ["m-0"]
    assert "the journal is nearly full" in bench.told("slots-missed")[0][1]


def test_a_meter_is_down_by_count_and_time_and_its_slots_are_accounted_for() -> None:
    """One lost frame says nothing. The slots between its last and its next reading are told."""
    bench = Bench(2)
    bench.run_for(120_000)
    bench.meters.silent.add(bench.addresses[0])
    bench.run_for(30_000)
    assert bench.told("meter-down") == []
    bench.run_for(600_000)
    assert [subject for subject, _ in bench.told("meter-down")] == ["m-0"]
    bench.meters.silent.clear()
    bench.run_for(1_200_000)
    assert bench.told("meter-up") == [("m-0", "")]
    slots = [slot[1] for slot in bench.slots if slot and slot[0] == "m-0"]
    gap = next(b - a for a, b in pairwise(slots) if b - a > 60_000)
    (told,) = bench.told("slots-missed")
    assert told[1].startswith(f"m-0: {gap // 60_000 - 1} slots from")
    assert "no answer" in told[1]
    assert bench.told("over-budget") == []


def test_a_meter_that_missed_one_request_is_read_within_its_slot() -> None:
    """The slot is not given up for one silence."""
    bench = Bench(1, period_s=900)
    bench.meters.silent.add(bench.addresses[0])
    bench.run_for(5_000)
    bench.meters.silent.clear()
    bench.run_for(PAUSE_MS_FIRST + 5_000)
    assert len(bench.sets) == 1
    assert bench.told("slots-missed") == []


def test_a_line_of_silent_meters_is_told_once_and_so_is_its_return() -> None:
    """As the line's trouble."""
    bench = Bench(2)
    bench.meters.silent.update(bench.addresses)
    bench.run_for(1_200_000)
    assert [subject for subject, _ in bench.told("line-down")] == ["line-1"]
    bench.meters.silent.clear()
    bench.run_for(1_200_000)
    assert [subject for subject, _ in bench.told("line-up")] == ["line-1"]


def test_slots_before_the_gateway_knows_the_time_are_no_slots() -> None:
    """The set is there, and is timed anew later; which slot it was nobody can say."""
    bench = Bench(1)
    bench.clock.set_quality(TimeQuality.UNSYNCED)
    bench.run_for(70_000)
    assert bench.sets
    assert set(bench.slots) == {None}


def test_doubtful_readings_are_stored_with_their_flags_and_told_with_the_frames() -> None:
    """Never edited, never withheld."""
    bench = Bench(1)
    bench.verdict = Verdict(Flag.JUMP, (("jump", "1-0:1.8.0 rose"),))
    bench.run_for(3_000)
    assert [one.flags for one in bench.sets] == [Flag.JUMP]
    assert [reading.quantity.value for reading in bench.sets[0].readings] == [26, 126]
    assert bench.told("jump") == [("m-0", "1-0:1.8.0 rose")]


def test_an_unplugged_adapter_is_told_once_and_so_is_its_return() -> None:
    """By the line's name; no meter is blamed."""
    bench = Bench(2)
    bench.run_for(60_000)
    bench.port.inject(0, PortLostError("unplugged"))
    bench.port.open_errors.extend(["no such device"] * 20)
    bench.run_for(400_000)
    assert [subject for subject, _ in bench.told("adapter-lost")] == ["line-1"]
    assert bench.told("adapter-found") == [("line-1", "")]
    assert bench.told("meter-down") == []


def test_meters_of_one_line_may_talk_differently() -> None:
    """The port is opened anew with the characters of the meter that is asked next."""
    bench = Bench(2)
    bench.worker.watches["m-1"].wire = Wire(9600, "N", 2, 300, 50, 5)
    configured: list[tuple[int, str, int]] = []
    bench.port.configure = lambda *characters: configured.append(characters)  # type: ignore[attr-defined]
    bench.run_for(70_000)
    assert configured[:3] == [(9600, "N", 2), (2400, "E", 1), (9600, "N", 2)]
    opened = [what for what, _, _ in bench.port.trace if what in ("open", "close")]
    assert opened == ["open", *["close", "open"] * len(configured)]
    assert {one.meter_id for one in bench.sets} == {"m-0", "m-1"}


def test_a_sweep_during_which_utc_is_put_right_has_the_right_time_and_no_slot() -> None:
    """It was begun at a time that was wrong, and its slot named by it."""
    bench = Bench(1, quantities=4)
    bench.clock.set_utc(UTC_MS - DAY_MS)
    begun = bench.clock.boot_ms()
    writes = bench.port.write

    def write(data: bytes) -> None:
        writes(data)
        if len(bench.port.written()) == 2:
            bench.clock.set_utc(bench.clock.utc_ms() + DAY_MS)

    bench.port.write = write  # type: ignore[method-assign]
    bench.worker.turn()
    (one,) = bench.sets
    assert bench.slots == [None]
    assert (one.boot_at, one.read_at) == (begun, UTC_MS)


@pytest.mark.parametrize("is_between", [False, True])
def test_utc_that_is_drawn_back_a_little_stores_no_slot_twice(is_between: bool) -> None:
    """As a fast crystal's is, every few seconds, at whatever instant somebody asks for the time;
    also between two who ask in the millisecond in which a slot begins."""
    bench = Bench(1, period_s=10)
    looked_at = asked_at = bench.clock.boot_ms()
    moment = bench.clock.moment

    def look() -> Moment:
        nonlocal looked_at, asked_at
        before, asked_at = asked_at, bench.clock.boot_ms()
        is_then = asked_at == before and bench.clock.utc_ms() % 10_000 < 3
        if asked_at - looked_at >= 5_000 and (is_then or not is_between):
            looked_at = asked_at
            bench.clock.set_utc(bench.clock.utc_ms() - 3)
        return moment()

    bench.clock.moment = look  # type: ignore[method-assign]
    bench.run_for(600_000)
    slots = [slot[1] for slot in bench.slots if slot]
    assert [b - a for a, b in pairwise(slots)] == [10_000] * (len(slots) - 1)
    assert len(slots) >= 59
    assert bench.told("slots-missed") == []


def test_slots_that_a_step_of_utc_left_out_are_not_told_as_a_busy_line() -> None:
    """Nobody could run them: they never were."""
    bench = Bench(1)
    bench.run_for(65_000)
    bench.clock.set_utc(bench.clock.utc_ms() + 3_600_000)
    bench.run_for(65_000)
    ((meter_id, detail),) = bench.told("slots-missed")
    assert meter_id == "m-0"
    assert detail.endswith(": UTC was put right")
    assert bench.told("over-budget") == []
