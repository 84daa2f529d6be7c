"""The virtual line: time on the wire, who hears whom, faults, and an adapter that is pulled out."""

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hil.faults import KINDS, Fault
from hil.line import Line
from hil.load import Load
from hil.meter import Dlt645Meter
from hil.pseudo_tty import LinkError
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import ASKED, Exchange, read
from protocols.dlt645.frame import Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.errors import CallerError
from tests.hil.masters import DEADLINE_S, FakeClock, Master

MakeLine = Callable[..., Line]
ADDRESS = "000000000161"
REQUEST = read(ADDRESS, "00010000").request.to_bytes(4)
BITS = 11  # of one byte at 8E1: start, eight, parity, stop
REPLY_SIZE = 24  # 4 FE, 12 of the frame, 4 of the identifier, 4 of the value


def make_meter(address: str = ADDRESS, **options: Any) -> Dlt645Meter:
    meter = Dlt645Meter(address, Load(1), FakeClock(), **options)
    meter.pin("00010000", 12345)
    return meter


REPLY = make_meter().feed(REQUEST)[0][1]


class Parrot:
    """Hears all and answers what it was told to, once per hearing."""

    name = "parrot"

    def __init__(self, *answers: bytes, delay_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.delay_s = delay_s
        self.heard = b""
        self.gaps_s: list[float] = []

    def feed(self, data: bytes, gap_s: float) -> list[tuple[float, bytes]]:
        self.heard += data
        self.gaps_s.append(gap_s)
        answers, self.answers = self.answers[:1], self.answers[1:]
        return [(self.delay_s, answer) for answer in answers]


# --- time on the wire -----------------------------------------------------------------------------


@pytest.mark.parametrize(("baud", "rounds"), [(2400, 4), (9600, 8)])
def test_a_paced_exchange_takes_its_wire_time(make_line: MakeLine, baud: int, rounds: int) -> None:
    delay_s = 0.05
    line = make_line(make_meter(response_delay_s=delay_s), paced=True, baud=baud)
    due_s = (len(REQUEST) + REPLY_SIZE) * BITS / baud + delay_s
    errors_s = []
    with Master(line.link) as master:
        for _ in range(rounds):
            assert master.ask(REQUEST, REPLY_SIZE) == REPLY
            errors_s.append(master.last_s - master.started_s - due_s)
    print(f"{baud} Bd: due {due_s * 1e3:.2f} ms, errors", [f"{e * 1e3:+.2f}" for e in errors_s])
    assert min(errors_s) > -0.001  # never early: no byte comes before it could be complete
    # The best one: a busy machine makes a line late now and then, a wrong line always is.
    assert min(errors_s) < 0.02 * due_s


def test_bytes_of_a_paced_reply_come_one_after_the_other(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.0), paced=True, baud=2400)
    byte_s = BITS / 2400
    with Master(line.link) as master:
        master.send(REQUEST)
        begin_s = master.started_s + len(REQUEST) * byte_s
        for index in range(REPLY_SIZE):
            assert len(master.hear(1)) == 1
            assert master.last_s - begin_s > (index + 1) * byte_s - 0.001


def test_statistics_are_the_arithmetic_of_the_sweep(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.03), paced=True, baud=9600)
    begin_s = time.monotonic()
    with Master(line.link) as master:
        for _ in range(4):
            master.ask(REQUEST, REPLY_SIZE)
    took_s = time.monotonic() - begin_s
    totals = line.statistics()
    byte_s = BITS / 9600
    assert (totals.requests, totals.replies) == (4, 4)
    assert (totals.bytes_out, totals.bytes_in) == (4 * len(REQUEST), 4 * REPLY_SIZE)
    assert totals.wire_out_s == pytest.approx(4 * len(REQUEST) * byte_s)
    assert totals.wire_in_s == pytest.approx(4 * REPLY_SIZE * byte_s)
    assert totals.response_delay_s == pytest.approx(4 * 0.03, abs=0.01)
    # A master that asks again at once is nearly perfect; what is left are scheduler delays.
    assert 0.5 < totals.busy_s / took_s <= 1.0
    assert (totals.collisions, totals.bytes_dropped) == (0, 0)


def test_an_unpaced_line_answers_at_once(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.5), baud=300)
    begin_s = time.monotonic()
    with Master(line.link) as master:
        for _ in range(20):
            assert master.ask(REQUEST, REPLY_SIZE) == REPLY
    assert time.monotonic() - begin_s < 2.0  # one exchange alone would take 2.1 s on the wire


def test_pieces_of_a_request_leave_the_uart_one_after_the_other(make_line: MakeLine) -> None:
    line = make_line(paced=True, baud=2400, echo=True)
    with Master(line.link) as master:
        master.send(REQUEST[:10])
        begin_s = master.started_s
        master.send(REQUEST[10:])
        assert master.hear(len(REQUEST)) == REQUEST
        took_s = master.last_s - begin_s
    assert 0.95 < took_s / (len(REQUEST) * BITS / 2400) < 2


def test_bytes_that_nobody_waits_for_do_not_come_back_as_a_request(make_line: MakeLine) -> None:
    line = make_line(make_meter())
    line.inject(REQUEST + b"\n")  # an ordinary tty would echo, because nobody made it raw
    with Master(line.link) as master:
        # Opening drops what came before, unless the kernel is still carrying it over.
        assert master.hear(len(REQUEST) + 1, 0.1) in (b"", REQUEST + b"\n")
    assert line.statistics().requests == 0


def test_a_request_in_pieces_is_one_stream(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.0), paced=True, baud=115200)
    with Master(line.link) as master:
        for byte in REQUEST:
            master.send(bytes((byte,)))
        assert master.hear(REPLY_SIZE) == REPLY


# --- who hears whom -------------------------------------------------------------------------------


def test_everybody_hears_everybody_but_himself(make_line: MakeLine) -> None:
    parrot, other = Parrot(b"polly"), Parrot()
    other.name = "other"
    line = make_line(parrot, other)
    with Master(line.link) as master:
        assert master.ask(REQUEST, 5) == b"polly"
        assert master.is_quiet()
    assert parrot.heard == REQUEST
    assert other.heard == REQUEST + b"polly"


def test_a_station_is_told_of_the_silence_before(make_line: MakeLine) -> None:
    parrot = Parrot()
    line = make_line(parrot, make_meter(response_delay_s=0.07), paced=True, baud=19200)
    with Master(line.link) as master:
        master.ask(REQUEST, REPLY_SIZE)
        line.statistics()  # returns after the line has finished what it was at
    assert parrot.gaps_s[1] == pytest.approx(0.07, abs=1e-6)


def test_an_echoing_adapter_returns_the_masters_own_bytes_first(make_line: MakeLine) -> None:
    line = make_line(make_meter(), echo=True)
    with Master(line.link) as master:
        assert master.ask(REQUEST, len(REQUEST) + REPLY_SIZE) == REQUEST + REPLY
    assert line.statistics().bytes_in == REPLY_SIZE


def test_a_paced_echo_comes_while_the_bytes_are_sent(make_line: MakeLine) -> None:
    line = make_line(paced=True, baud=2400, echo=True)
    with Master(line.link) as master:
        assert master.ask(REQUEST, len(REQUEST)) == REQUEST
        took_s = master.last_s - master.started_s
    assert 0.95 < took_s / (len(REQUEST) * BITS / 2400) < 2


@pytest.mark.parametrize("paced", [False, True])
def test_two_who_answer_at_once_destroy_each_other(make_line: MakeLine, paced: bool) -> None:
    one, two = make_meter("000000000161"), make_meter("000000000261")
    line = make_line(one, two, paced=paced, baud=19200)
    exchange = Exchange(Frame("AAAAAAAAAA61", Function.READ, identifier_bytes("00010000")))
    with Master(line.link) as master:
        heard = master.ask(exchange.request.to_bytes(), REPLY_SIZE)
        assert master.is_quiet()
    both = [meter.feed(exchange.request.to_bytes())[0][1] for meter in (one, two)]
    assert heard not in both and len(heard) == REPLY_SIZE
    assert Deframer().feed(heard) == []
    assert line.statistics().collisions == 1


def test_a_master_that_talks_into_an_answer_destroys_both(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.0), paced=True, baud=2400)
    with Master(line.link) as master:
        master.send(REQUEST)
        heard = master.hear(4)
        assert heard == REPLY[:4]
        master.send(REQUEST)
        heard += master.hear(REPLY_SIZE - 4)
        assert len(heard) == REPLY_SIZE and heard != REPLY
        assert master.is_quiet()
    assert line.statistics().collisions == 1


def test_a_request_inside_the_turnaround_is_lost(make_line: MakeLine) -> None:
    line = make_line(make_meter(), turnaround_s=30.0)
    with Master(line.link) as master:
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY
        master.send(REQUEST)
        assert master.is_quiet()
    assert line.statistics().requests_early == 1


# --- faults ---------------------------------------------------------------------------------------


def hear_faulty(make_line: MakeLine, fault: Fault) -> bytes:
    line = make_line(make_meter(), seed=5)
    line.set_faults([fault])
    with Master(line.link) as master:
        master.send(REQUEST)
        heard = master.hear(REPLY_SIZE + fault.size + 1, 0.2)
    assert fault.applied == 1
    return heard


def test_silent(make_line: MakeLine) -> None:
    assert hear_faulty(make_line, Fault("silent")) == b""


def test_truncated(make_line: MakeLine) -> None:
    assert hear_faulty(make_line, Fault("truncate", size=7)) == REPLY[:-7]


def test_wrong_checksum(make_line: MakeLine) -> None:
    heard = hear_faulty(make_line, Fault("checksum"))
    assert heard[:-2] + heard[-1:] == REPLY[:-2] + REPLY[-1:]
    assert heard[-2] != REPLY[-2]


def test_answer_of_another_address_is_well_formed_and_does_not_match(make_line: MakeLine) -> None:
    frame = decode_frame(hear_faulty(make_line, Fault("address")))
    assert frame == Frame("000000000162", 0x91, decode_frame(REPLY).data)
    exchange = read(ADDRESS, "00010000")
    assert (exchange.receive(frame), exchange.strays) == (ASKED, 1)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_flipped_bits_are_exactly_so_many_and_never_a_frame(make_line: MakeLine, size: int) -> None:
    heard = hear_faulty(make_line, Fault("flip", size=size))
    assert len(heard) == REPLY_SIZE
    both = zip(heard, REPLY, strict=True)
    assert sum((one ^ other).bit_count() for one, other in both) == size
    if size == 1:  # what a sum finds for certain: one wrong bit behind the preamble
        frames = Deframer().feed(heard)
        assert frames == ([] if heard[:4] == REPLY[:4] else [decode_frame(REPLY)])


def test_stray_bytes_stand_around_an_answer_that_is_still_good(make_line: MakeLine) -> None:
    heard = hear_faulty(make_line, Fault("stray", size=6))
    assert len(heard) == REPLY_SIZE + 6
    before, found, behind = heard.partition(REPLY)
    assert found
    assert set(before + behind) <= {0xFE, 0x00}
    assert Deframer().feed(heard) == [decode_frame(REPLY)]


@pytest.mark.parametrize("kind", ["noise_before", "noise_inside", "noise_after"])
def test_noise_lies_where_it_should(make_line: MakeLine, kind: str) -> None:
    heard = hear_faulty(make_line, Fault(kind, size=5))
    at = {"noise_before": 0, "noise_inside": REPLY_SIZE // 2, "noise_after": REPLY_SIZE}[kind]
    assert len(heard) == REPLY_SIZE + 5
    assert heard[:at] + heard[at + 5 :] == REPLY


@pytest.mark.parametrize("paced", [False, True])
def test_a_late_answer_comes_late_and_whole(make_line: MakeLine, paced: bool) -> None:
    line = make_line(make_meter(response_delay_s=0.0), paced=paced, baud=115200)
    line.set_faults([Fault("late", late_ms=300)])
    with Master(line.link) as master:
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY
        took_s = master.last_s - master.started_s
    assert 0.3 <= took_s < 1.0


def test_a_late_answer_does_not_hold_up_the_answer_to_the_next_question(
    make_line: MakeLine,
) -> None:
    line = make_line(make_meter(response_delay_s=0.0), paced=True, baud=115200)
    line.set_faults([Fault("late", late_ms=400, count=1)])
    with Master(line.link) as master:
        master.send(REQUEST)
        assert master.hear(1, 0.1) == b""
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY
        assert master.last_s - master.started_s < 0.2
        assert master.hear(REPLY_SIZE) == REPLY  # and then the old one, good for nothing
        assert master.last_s - master.started_s > 0.2


def test_noise_can_come_out_of_nowhere(make_line: MakeLine) -> None:
    line = make_line(make_meter())
    with Master(line.link) as master:
        line.inject(b"\x68\x00\x16")
        assert master.hear(3) == b"\x68\x00\x16"
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY


def test_a_rule_is_aimed_counted_and_spent(make_line: MakeLine) -> None:
    other = "000000000162"
    line = make_line(make_meter(), make_meter(other))
    fault = Fault("checksum", station=ADDRESS, count=2)
    line.set_faults([fault])
    good = make_meter(other).feed(read(other, "00010000").request.to_bytes())[0][1]
    with Master(line.link) as master:
        for is_faulty in (True, True, False):
            assert (master.ask(REQUEST, REPLY_SIZE) != REPLY) == is_faulty
            assert master.ask(read(other, "00010000").request.to_bytes(), REPLY_SIZE) == good
    assert fault.applied == 2


def test_chance_follows_the_seed(make_line: MakeLine, tmp_path: Path) -> None:
    outcomes = []
    for seed in (3, 3, 4):
        with Line(tmp_path / f"seed{len(outcomes)}", paced=False, seed=seed) as line:
            line.attach(make_meter())
            line.set_faults([Fault("checksum", percent=50)])
            with Master(line.link) as master:
                outcomes.append([master.ask(REQUEST, REPLY_SIZE) for _ in range(40)])
    assert outcomes[0] == outcomes[1] != outcomes[2]
    good = outcomes[0].count(REPLY)
    assert 8 < good < 32


def test_a_fault_of_an_unknown_kind_is_refused() -> None:
    assert len(KINDS) == 10
    with pytest.raises(CallerError, match="noise_before"):
        Fault("gremlin")


# --- the adapter ----------------------------------------------------------------------------------


def test_unplugged_the_reader_wakes_and_replugged_the_same_link_works(
    make_line: MakeLine,
) -> None:
    line = make_line(make_meter())
    with Master(line.link) as master:
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY
        line.unplug()
        assert select.select([master.tty], [], [], DEADLINE_S)[0]
        assert os.read(master.tty, 1) == b""  # a hang-up, not bytes
        with pytest.raises(OSError, match="Input/output"):
            os.write(master.tty, REQUEST)
    assert not line.link.is_symlink()
    line.unplug()  # twice changes nothing
    line.replug()
    with Master(line.link) as master:
        assert master.ask(REQUEST, REPLY_SIZE) == REPLY


def test_an_answer_under_way_is_gone_with_the_adapter(make_line: MakeLine) -> None:
    line = make_line(make_meter(response_delay_s=0.05), paced=True, baud=9600)
    with Master(line.link) as master:
        master.send(REQUEST)
        line.unplug()
    line.replug()
    with Master(line.link) as master:
        assert master.is_quiet()


def test_stopping_removes_the_link_and_nothing_else(tmp_path: Path) -> None:
    link = tmp_path / "deep" / "line1"
    first = Line(link)
    first.start()
    second = Line(link)
    second.start()  # took the link over, as after a crash of the first
    first.stop()
    assert link.is_symlink()
    second.stop()
    second.stop()
    assert not link.is_symlink()


def test_a_file_in_the_links_place_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "line1"
    file.write_text("mine")
    line = Line(file)
    with pytest.raises(LinkError, match="line1"):
        line.start()
    line.stop()
    assert file.read_text() == "mine"


def test_a_flood_that_nobody_reads_is_dropped_and_counted(make_line: MakeLine) -> None:
    line = make_line()
    with Master(line.link):
        for _ in range(64):
            line.inject(bytes(4096))
        assert line.statistics().bytes_dropped > 0
    assert line.is_alive()
