"""Orders: judged once, durable first, carried out at most once, and answered honestly."""

import itertools
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.journal.highwater import HighWater
from edge.journal.ledger import Moved
from edge.meters.dlt645_driver import Dlt645Driver
from edge.orders.desk import OrderDesk, Surroundings
from edge.orders.executor import OrderJob
from protocols.envelope.claims import SKEW_MS, Claims
from protocols.envelope.seal import BODY_SIZE_MAX
from protocols.errors import BusbarError, EnvelopeError
from protocols.messages import (
    EVIDENCE_FRAME_SIZE_MAX,
    EVIDENCE_MAX,
    ORDER,
    ORDER_STATES,
    Order,
    OrderState,
    Receipt,
    can_follow,
)
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading, TimeQuality
from tests.edge.fakes import (
    ENERGY,
    UTC_MS,
    FakeClock,
    FakePort,
    InlineWriter,
    make_line,
    wire,
)
from tests.edge.head_end import METER_ADDRESS, METER_ID, PROVIDER, HeadEnd, make_order
from tests.edge.uplink import ORDERS

NONCE = b"n" * 16
VALID_MS = 120_000
REQUEST = b"\xfe" * 4 + wire("v001")
REPLY = wire("v002")
READING = Reading(ENERGY, Quantity(26, 1, "Wh", Kind.CUMULATIVE))
REFUSAL = bytes.fromhex("68 61 01 00 00 00 00 68 D1 01 35 39 16")


class Gateway:
    """An inbox on a real journal, and a line with a scripted meter."""

    def __init__(
        self,
        folder: Path,
        clock: FakeClock,
        port: FakePort,
        address: str = METER_ADDRESS,
        begins: bool = True,
    ) -> None:
        self.folder, self.clock, self.port = folder, clock, port
        self.writer = InlineWriter(folder, clock)
        self.writer.start()
        self.journal = self.writer.journal
        self.jobs: list[OrderJob] = []
        self.is_full = False
        self.wakes = 0
        self.line = make_line(clock, port)
        self.driver = Dlt645Driver(
            {
                "id": METER_ID,
                "protocol": "dlt645-2007",
                "edition": "2007",
                "address": METER_ADDRESS,
                "quantities": ("1-0:1.8.0",),
            }
        )
        self.addresses = {METER_ID: address} if address else {}
        self.told: list[str] = []
        around = Surroundings(
            lambda: ORDERS,
            frozenset,
            self.addresses,
            self.offer,
            lambda *_: None,
            None,
            lambda kind, *_, **__: self.told.append(kind),
            self.wake,
        )
        self.desk = OrderDesk(
            HeadEnd().identity(folder), PROVIDER, self.journal, self.writer, folder, clock, around
        )
        if begins:
            self.begin()

    def begin(self) -> None:
        """Settles what was taken up in the life before."""
        self.desk.begin()
        self.inbox = self.desk.inbox

    def offer(self, meter_id: str, job: OrderJob) -> bool:
        """The line's queue."""
        assert meter_id == METER_ID
        if not self.is_full:
            self.jobs.append(job)
        return not self.is_full

    def wake(self) -> None:
        """The session hears that there is something to send."""
        self.wakes += 1

    def take(self, counter: int = 1, order: Order | None = None, **more: Any) -> None:
        """What the session calls once an order has opened."""
        now = more.pop("now", self.clock.utc_ms())
        ages = more.pop("ages", {})
        values = {
            "sequence": counter,
            "issued_at": UTC_MS,
            "expires_at": UTC_MS + VALID_MS,
            "nonce": b"",
            "epoch": self.journal.epoch,
            "content_type": ORDER.content_type,
        }
        body = (order or make_order(counter)).to_body()
        self.inbox.take(Claims(**(values | more)), body, now, ages)

    def run_jobs(self, retries: int = 0) -> None:
        """The line's worker."""
        for job in self.jobs:
            self.line.recording, self.line.may_send = job.recording, job.may_send
            for _ in job.steps(self.line, self.driver, retries):
                pass
            self.line.recording = self.line.may_send = None
        self.jobs.clear()

    def receipts(self) -> list[Receipt]:
        """What the session would send."""
        reader = self.journal.reader()
        rows = reader.receipts(100)
        reader.close()
        told = []
        for counter, state, body in rows:
            one = Receipt.from_body(PROVIDER.decode(PROVIDER.inflate(body, BODY_SIZE_MAX)))
            assert (one.counter, one.state) == (counter, state)
            told.append(one)
        return told

    def states(self, counter: int = 1) -> list[str]:
        """The states that were told of one order; each may follow the one before."""
        states = [one.state for one in self.receipts() if one.counter == counter]
        for before, after in itertools.pairwise(states):
            assert can_follow(before, after), (before, after)
        return states

    def stored_state(self, counter: int = 1) -> str:
        """What a restart would find."""
        found = [one.state for one in self.journal.orders(ORDER_STATES) if one.counter == counter]
        return found[0] if found else ""

    def crash(self) -> None:
        """The power goes."""
        self.journal._db.close()

    def restart(self, **more: Any) -> "Gateway":
        """After a crash: everything that is not on the disk is gone."""
        self.crash()
        return Gateway(self.folder, self.clock, self.port, **more)


@pytest.fixture
def gateway(tmp_path: Path, clock: FakeClock, port: FakePort) -> Iterator[Gateway]:
    """One meter, no order yet."""
    one = Gateway(tmp_path, clock, port)
    yield one
    one.crash()


def refused_with(gateway: Gateway, **more: Any) -> str:
    """The reason that `take` raises."""
    with pytest.raises(BusbarError) as caught:
        gateway.take(**more)
    error = caught.value
    return error.reason if isinstance(error, EnvelopeError) else str(error)


def test_an_order_is_read_from_the_meter_and_answered_with_evidence(gateway: Gateway) -> None:
    """Verified, sent, done; the last receipt has the reading and the very frames."""
    gateway.port.expect(REQUEST, REPLY)
    gateway.take()
    assert gateway.states() == [OrderState.VERIFIED]
    gateway.run_jobs()
    assert gateway.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.DONE]
    last = gateway.receipts()[-1]
    assert last.order_id == make_order(1).order_id
    assert last.readings == (READING,)
    assert [(direction, data) for direction, _, data in last.evidence] == [
        (">", REQUEST),
        ("<", REPLY),
    ]
    assert last.evidence[0][1] == 0
    assert last.evidence[1][1] > 0
    assert (last.quality, last.reason) == (TimeQuality.NTP, "")
    assert abs(last.at - gateway.clock.utc_ms()) < 1000
    assert gateway.wakes == 3
    assert gateway.line.recording is None


def test_an_order_is_durable_before_it_is_offered(gateway: Gateway) -> None:
    """When the line's queue gets it, a crash would find it verified, and its counter used."""
    found = []

    def offer(meter_id: str, job: OrderJob) -> bool:
        reader = sqlite3.connect(gateway.journal.path)
        found.append(reader.execute("SELECT counter, state FROM order_inbox").fetchall())
        reader.close()
        found.append(HighWater(gateway.folder).value)
        return True

    gateway.inbox._ways = gateway.inbox._ways._replace(offer=offer)
    gateway.take(5)
    assert found == [[(5, OrderState.VERIFIED)], 5]


def test_the_marks_other_copy_does_not_keep_an_order_waiting(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flush for the mark, then the line's queue, then the other copy; none is replaced, because
    the start has seen to that."""
    gateway.inbox.resume([])
    steps: list[str] = []
    flush, offer = os.fdatasync, gateway.offer
    monkeypatch.setattr(os, "fdatasync", lambda file: (steps.append("flush"), flush(file))[1])
    gateway.inbox._ways = gateway.inbox._ways._replace(
        offer=lambda meter, job: (steps.append("offer"), offer(meter, job))[1]
    )
    gateway.take(5)
    assert steps == ["flush", "offer", "flush"]
    copies = {path.read_bytes() for path in gateway.folder.glob("order-counter.?")}
    assert len(copies) == 1


def test_sent_is_durable_before_the_first_byte(gateway: Gateway) -> None:
    """The trace: sent is committed, then the request is written."""
    gateway.port.expect(REQUEST, REPLY)
    gateway.take()
    trace: list[str] = []
    record, write = gateway.desk.ledger.record, gateway.port.write

    def traced_record(drafts: Any, moved: Moved, *more: Any) -> None:
        record(drafts, moved, *more)
        trace.append(moved.state)

    def traced_write(data: bytes) -> None:
        trace.append("wire")
        assert gateway.stored_state() == OrderState.SENT
        write(data)

    gateway.desk.ledger.record = traced_record  # type: ignore[method-assign]
    gateway.port.write = traced_write  # type: ignore[method-assign]
    gateway.run_jobs()
    assert trace == [OrderState.SENT, "wire", OrderState.DONE]


def test_nothing_is_sent_when_sent_can_not_be_recorded(gateway: Gateway) -> None:
    """A disk that refuses keeps the order off the wire."""
    gateway.take()

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    gateway.desk.ledger.record = refuse  # type: ignore[method-assign]
    gateway.run_jobs()
    assert gateway.port.written() == []
    assert gateway.stored_state() == OrderState.VERIFIED


# ---- refusals -----------------------------------------------------------------------------------


def test_an_expired_order_is_refused_with_a_receipt(gateway: Gateway) -> None:
    """The last moment still holds; one millisecond later it does not."""
    gateway.take(1, now=UTC_MS + VALID_MS)
    assert refused_with(gateway, counter=2, now=UTC_MS + VALID_MS + 1) == "expired"
    assert gateway.states(1) == [OrderState.VERIFIED]
    assert gateway.states(2) == [OrderState.EXPIRED]
    assert len(gateway.jobs) == 1


@pytest.mark.parametrize(("expires_at", "told"), [(0, "expired"), (UTC_MS, "expired")])
def test_an_order_without_a_span_is_refused(gateway: Gateway, expires_at: int, told: str) -> None:
    """An order that holds forever, or never, is none."""
    assert refused_with(gateway, expires_at=expires_at) == told
    assert gateway.states() == [OrderState.EXPIRED]


def test_an_order_from_the_future_is_refused(gateway: Gateway) -> None:
    """Beyond the skew, our clock or theirs is wrong."""
    gateway.take(1, now=UTC_MS - SKEW_MS)
    assert refused_with(gateway, counter=2, now=UTC_MS - SKEW_MS - 1) == "not_yet"
    assert gateway.states(2) == [OrderState.REFUSED]


def test_a_replayed_order_runs_once_and_its_receipts_are_told_again(gateway: Gateway) -> None:
    """The same message twice is the same order: its stored result, and no second exchange."""
    gateway.port.expect(REQUEST, REPLY)
    gateway.take()
    gateway.run_jobs()
    reader_states = gateway.states()
    gateway.journal.acknowledge_receipts([(1, state) for state in reader_states])
    assert gateway.receipts() == []
    assert refused_with(gateway, counter=1) == "replayed"
    assert gateway.jobs == []
    assert gateway.states() == reader_states


def test_another_order_under_a_used_counter_is_refused_without_a_receipt(
    gateway: Gateway,
) -> None:
    """It is not the one whose result is stored, and lower counters are used up as well."""
    gateway.take(5)
    gateway.journal.acknowledge_receipts([(5, OrderState.VERIFIED)])
    assert refused_with(gateway, counter=5, order=make_order(99)) == "replayed"
    assert refused_with(gateway, counter=4) == "replayed"
    assert gateway.receipts() == []
    assert len(gateway.jobs) == 1


def test_a_refused_order_uses_its_counter_up(gateway: Gateway) -> None:
    """What was refused once can not be tried again under better conditions."""
    refused_with(gateway, counter=3, now=UTC_MS + VALID_MS + 1)
    assert refused_with(gateway, counter=3) == "replayed"
    assert gateway.inbox.last_counter == 3
    assert gateway.jobs == []


def test_a_replay_after_a_restart_is_refused(gateway: Gateway) -> None:
    """The mark and the stored order both outlive the process."""
    gateway.take(7)
    again = gateway.restart()
    again.jobs.clear()  # it goes on, once
    assert refused_with(again, counter=7) == "replayed"
    assert refused_with(again, counter=6) == "replayed"
    assert again.jobs == []
    again.take(8)
    assert len(again.jobs) == 1
    again.crash()


def test_a_replay_is_refused_with_a_fresh_journal_and_the_old_mark(gateway: Gateway) -> None:
    """A lost card does not open the window: the mark has a file of its own."""
    gateway.take(7)
    gateway.crash()
    for path in gateway.folder.glob("journal.db*"):
        path.unlink()
    again = Gateway(gateway.folder, gateway.clock, gateway.port)
    assert refused_with(again, counter=7) == "replayed"
    assert again.receipts() == []
    assert again.jobs == []
    again.crash()


def test_a_lost_mark_alone_lets_no_order_run_twice(gateway: Gateway) -> None:
    """The journal still knows the counter: a replay is not taken up again."""
    gateway.take(7)
    gateway.crash()
    for path in gateway.folder.glob("order-counter.*"):
        path.unlink()
    again = Gateway(gateway.folder, gateway.clock, gateway.port)
    again.jobs.clear()  # it goes on, once
    with pytest.raises((EnvelopeError, sqlite3.IntegrityError)):
        again.take(7)
    assert again.jobs == []
    again.crash()


@pytest.mark.parametrize(
    ("fields", "claims"),
    [
        ({"meter_id": "m-2"}, {}),
        ({"meter_address": "000000000162"}, {}),
        ({"meter_address": "AAAAAAAAAAAA"}, {}),
        ({"meter_address": "999999999999"}, {}),
        ({}, {"epoch": b"\x00" * 8}),
    ],
)
def test_a_redirected_order_is_refused_with_a_receipt(
    gateway: Gateway, fields: dict[str, Any], claims: dict[str, Any]
) -> None:
    """Another meter, another address, a wildcard or another journal: nothing is sent."""
    with pytest.raises(BusbarError):
        gateway.take(1, make_order(1, **fields), **claims)
    assert gateway.states() == [OrderState.REFUSED]
    assert gateway.receipts()[0].reason
    assert gateway.jobs == []


@pytest.mark.parametrize("address", ["999999999999", "AAAAAAAAAAAA"])
def test_no_order_goes_to_a_wildcard_even_if_configured(
    tmp_path: Path, clock: FakeClock, port: FakePort, address: str
) -> None:
    """A setting can not turn one meter's order into everybody's."""
    gateway = Gateway(tmp_path, clock, port, address)
    with pytest.raises(BusbarError):
        gateway.take(1, make_order(1, meter_address=address))
    assert gateway.states() == [OrderState.REFUSED]
    gateway.crash()


def test_a_faulty_body_is_refused_before_its_counter_is_used(gateway: Gateway) -> None:
    """A signed message that is no order changes nothing."""
    claims = Claims(4, UTC_MS, UTC_MS + VALID_MS, b"", gateway.journal.epoch, 5)
    for body in ([], [1, b"", "read"], None, [1, b"i" * 16, "trip", "m", "a", b"123456"]):
        with pytest.raises(EnvelopeError) as caught:
            gateway.inbox.take(claims, body, UTC_MS, {})
        assert caught.value.reason == "schema"
    assert gateway.inbox.last_counter == 0
    assert gateway.receipts() == []


def test_a_full_line_refuses_the_order(gateway: Gateway) -> None:
    """An order that can not wait is refused, not forgotten."""
    gateway.is_full = True
    gateway.take()
    assert gateway.states() == [OrderState.VERIFIED, OrderState.REFUSED]


# ---- without a trusted clock --------------------------------------------------------------------


def test_without_trusted_time_an_order_must_answer_this_boots_nonce(gateway: Gateway) -> None:
    """No nonce, an unknown one, or one that is too old: refused; a young one is good."""
    assert refused_with(gateway, counter=1, now=0) == "clock_untrusted"
    assert (
        refused_with(gateway, counter=2, now=0, nonce=b"x" * 16, ages={NONCE: 5})
        == "clock_untrusted"
    )
    assert (
        refused_with(gateway, counter=3, now=0, nonce=NONCE, ages={NONCE: VALID_MS + 1})
        == "expired"
    )
    gateway.take(4, now=0, nonce=NONCE, ages={NONCE: VALID_MS})
    assert [gateway.states(n) for n in (1, 2, 3, 4)] == [
        [OrderState.REFUSED],
        [OrderState.REFUSED],
        [OrderState.EXPIRED],
        [OrderState.VERIFIED],
    ]


def test_without_trusted_time_the_nonces_age_counts_against_the_order(gateway: Gateway) -> None:
    """It may have been issued right after the nonce: what is left is the span less the age."""
    gateway.clock.set_quality(TimeQuality.UNSYNCED)
    gateway.take(1, now=0, nonce=NONCE, ages={NONCE: VALID_MS - 1_000})
    gateway.clock.advance(1_001)
    gateway.run_jobs()
    assert gateway.states() == [OrderState.VERIFIED, OrderState.EXPIRED]
    assert gateway.port.written() == []


# ---- the last look before the wire --------------------------------------------------------------


def test_an_order_that_waited_too_long_is_not_sent(gateway: Gateway) -> None:
    """The queue was long: expired, and the port saw nothing."""
    gateway.take()
    gateway.clock.advance(VALID_MS + 1)
    gateway.run_jobs()
    assert gateway.states() == [OrderState.VERIFIED, OrderState.EXPIRED]
    assert gateway.port.written() == []


def test_a_wall_clock_that_is_set_back_revives_no_order(gateway: Gateway) -> None:
    """What is left runs on the clock that does not jump."""
    gateway.take()
    gateway.clock.advance(VALID_MS + 1)
    gateway.clock.set_utc(UTC_MS)
    gateway.run_jobs()
    assert gateway.port.written() == []


def test_nothing_is_written_after_expiry_even_if_the_disk_was_slow(gateway: Gateway) -> None:
    """Recording "sent" took too long: no byte goes out, and the receipt says so."""
    gateway.take()
    record = gateway.desk.ledger.record

    def slow_record(drafts: Any, moved: Moved, *more: Any) -> None:
        record(drafts, moved, *more)
        if moved.state == OrderState.SENT:
            gateway.clock.advance(VALID_MS + 1)

    gateway.desk.ledger.record = slow_record  # type: ignore[method-assign]
    gateway.run_jobs()
    assert gateway.port.written() == []
    assert gateway.states()[:2] == [OrderState.VERIFIED, OrderState.SENT]
    assert gateway.states()[2] in (OrderState.REFUSED, OrderState.UNKNOWN)
    assert "expired" in gateway.receipts()[-1].reason


def test_no_retry_goes_out_after_expiry(gateway: Gateway) -> None:
    """A read is repeated within its time only; then it is unknown."""
    gateway.take()
    gateway.port.expect(REQUEST)
    gateway.clock.advance(VALID_MS - 100)  # the first silence takes longer than what is left
    gateway.run_jobs(retries=5)
    assert len(gateway.port.written()) == 1
    assert gateway.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.UNKNOWN]


# ---- what the meter says ------------------------------------------------------------------------


def test_silence_is_unknown(gateway: Gateway) -> None:
    """After the retries nothing is known, and the frames show that it was asked."""
    for _ in range(3):
        gateway.port.expect(REQUEST)
    gateway.take()
    gateway.run_jobs(retries=2)
    assert gateway.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.UNKNOWN]
    last = gateway.receipts()[-1]
    assert [data for _, _, data in last.evidence] == [REQUEST] * 3
    assert last.readings == ()


def test_a_refusal_of_the_meter_is_refused(gateway: Gateway) -> None:
    """With its error and its frame; it is not asked again."""
    gateway.port.expect(REQUEST, REFUSAL)
    gateway.take()
    gateway.run_jobs(retries=2)
    assert gateway.states()[-1] == OrderState.REFUSED
    last = gateway.receipts()[-1]
    assert "02" in last.reason
    assert last.evidence[-1][2] == REFUSAL


def test_a_damaged_value_is_unknown_with_its_frame(gateway: Gateway) -> None:
    """Digits above 9 under a good checksum are evidence, not a reading."""
    damaged = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 59 33 3D 33 94 16")
    gateway.port.expect(REQUEST, damaged)
    gateway.take()
    gateway.run_jobs()
    last = gateway.receipts()[-1]
    assert (last.state, last.readings) == (OrderState.UNKNOWN, ())
    assert last.evidence[-1][2] == damaged


def test_fill_bytes_are_done_without_a_reading(gateway: Gateway) -> None:
    """The meter answered that it has no value."""
    blank = bytes.fromhex("68 61 01 00 00 00 00 68 91 08 33 33 34 33 32 32 32 32 60 16")
    gateway.port.expect(REQUEST, blank)
    gateway.take()
    gateway.run_jobs()
    last = gateway.receipts()[-1]
    assert (last.state, last.readings) == (OrderState.DONE, ())
    assert "no value" in last.reason


def test_a_quantity_that_the_protocol_lacks_is_refused(gateway: Gateway) -> None:
    """Nothing is sent for it."""
    gateway.take(1, make_order(1, obis=Obis.from_text("1-0:99.1.0")))
    gateway.run_jobs()
    assert gateway.states()[-1] == OrderState.REFUSED
    assert gateway.port.written() == []


def test_a_fault_of_ours_is_unknown(gateway: Gateway) -> None:
    """Bytes may have gone out: the receipt says unknown at once, not at the next start."""

    def read(*_: object) -> Any:
        yield
        raise KeyError("ours")

    gateway.driver.read = read  # type: ignore[method-assign]
    gateway.take()
    gateway.run_jobs()
    assert gateway.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.UNKNOWN]
    assert gateway.line.recording is None


def test_evidence_is_bounded(gateway: Gateway, clock: FakeClock) -> None:
    """A chattering line does not make a receipt that nobody accepts."""
    chatter = [(float(ms), b"\x55" * 250) for ms in range(0, 700, 10)]
    for _ in range(11):
        gateway.port.expect(REQUEST, *chatter)
    gateway.take()
    gateway.run_jobs(retries=10)
    last = gateway.receipts()[-1]
    assert last.state == OrderState.UNKNOWN
    assert len(last.evidence) == EVIDENCE_MAX
    assert max(len(data) for _, _, data in last.evidence) == EVIDENCE_FRAME_SIZE_MAX


# ---- restarts -----------------------------------------------------------------------------------


def test_a_verified_order_goes_on_after_a_restart(gateway: Gateway) -> None:
    """It was never sent; it still holds; it runs once."""
    gateway.take()
    again = gateway.restart()
    gateway.port.expect(REQUEST, REPLY)
    again.run_jobs()
    assert again.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.DONE]
    again.crash()


def test_a_verified_order_that_expired_meanwhile_is_told_so(gateway: Gateway) -> None:
    """The restart took longer than it held."""
    gateway.take()
    gateway.clock.advance(VALID_MS + 1)
    again = gateway.restart()
    again.run_jobs()
    assert again.states() == [OrderState.VERIFIED, OrderState.EXPIRED]
    assert again.port.written() == []
    again.crash()


def test_a_verified_order_does_not_go_on_without_trusted_time(gateway: Gateway) -> None:
    """Nobody can say whether it still holds, so it does not; also when the job runs at once."""
    gateway.take()
    gateway.clock.set_quality(TimeQuality.RTC)
    again = gateway.restart()
    again.run_jobs()
    assert again.states() == [OrderState.VERIFIED, OrderState.EXPIRED]
    assert again.port.written() == []
    again.crash()


@pytest.mark.parametrize("address", ["000000000162", "999999999999"])
def test_a_verified_order_is_not_sent_to_another_address(gateway: Gateway, address: str) -> None:
    """The meter was exchanged while the gateway was down."""
    gateway.take()
    again = gateway.restart(address=address)
    assert again.jobs == []
    assert again.states() == [OrderState.VERIFIED, OrderState.REFUSED]
    again.crash()


def test_a_verified_order_of_a_removed_meter_is_refused(gateway: Gateway) -> None:
    """The meter is gone from the configuration."""
    gateway.take()
    again = gateway.restart(address="")
    assert again.jobs == []
    assert again.states() == [OrderState.VERIFIED, OrderState.REFUSED]
    again.crash()


def test_a_sent_order_is_unknown_after_a_restart_and_nothing_is_sent_again(
    gateway: Gateway,
) -> None:
    """Nobody saw the answer."""
    gateway.take()

    def power_cut(data: bytes) -> None:
        raise SystemExit

    gateway.port.write = power_cut  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        gateway.run_jobs()
    again = gateway.restart()
    again.run_jobs()
    assert again.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.UNKNOWN]
    assert again.port.written() == []
    twice = again.restart()
    assert twice.states() == [OrderState.VERIFIED, OrderState.SENT, OrderState.UNKNOWN]
    assert twice.jobs == []
    twice.crash()


@pytest.mark.parametrize("lost", ["take_order", "record"])
def test_a_crash_while_an_order_is_taken_up_loses_it_and_never_doubles_it(
    gateway: Gateway, lost: str
) -> None:
    """The mark was raised before: redelivered, it is a replay."""

    def power_cut(*_: object) -> None:
        raise OSError("power cut")

    part = gateway.journal if lost == "take_order" else gateway.desk.ledger
    setattr(part, lost, power_cut)
    with pytest.raises(OSError, match="power cut"):
        gateway.take(3)
    again = gateway.restart()
    assert refused_with(again, counter=3) == "replayed"
    assert again.jobs == []
    again.crash()


def test_an_order_is_not_taken_up_when_its_mark_can_not_be_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the mark nothing would stop a replay: fail closed."""

    def refuse(mark: HighWater, path: Path, value: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(HighWater, "_write", refuse)
        with pytest.raises(OSError, match="No space"):
            gateway.take()
    assert (gateway.jobs, gateway.stored_state()) == ([], "")
    gateway.take()
    assert len(gateway.jobs) == 1
