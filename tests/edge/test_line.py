"""One exchange on a half-duplex line, to the millisecond of fake time."""

import itertools

import pytest

from edge.line.line import (
    ANSWER_SIZE_MAX,
    FLOOD_SIZE_MAX,
    REOPEN_MS_FIRST,
    REOPEN_MS_MAX,
    STALE_READS_MAX,
    NoAnswerError,
    TooLateError,
)
from edge.line.port import PortLostError
from edge.meters.dlt645_driver import Dlt645Conversation
from protocols.dlt645 import exchange as dlt645
from protocols.errors import RefusedError
from tests.edge.fakes import CHARACTER_S, FakeClock, FakePort, make_line, wire

REQUEST = b"\xfe" * 4 + wire("v001")
REPLY = wire("v002")
TIMEOUT_MS, GAP_MS = 600, 200
REQUEST_MS = len(REQUEST) * CHARACTER_S * 1000


def conversation() -> Dlt645Conversation:
    """A read of 00010000 from the meter of the first vectors."""
    return Dlt645Conversation(dlt645.read("000000000161", "00010000"))


class Talk:
    """A conversation that takes down what it is fed; complete at `ends_with`."""

    request = b"\x01\x03\x00\x00\x00\x02\xc4\x0b"
    silence_characters = 3.5
    drops_echo = True

    def __init__(self, ends_with: bytes = b"!") -> None:
        self.fed = b""
        self.flushed = 0
        self._end = ends_with

    def receive(self, data: bytes) -> bool:
        """Complete at the end mark."""
        assert data
        self.fed += data
        return self.fed.endswith(self._end)

    def flush(self) -> bool:
        """Counted."""
        self.flushed += 1
        return False


TALK_MS = len(Talk.request) * CHARACTER_S * 1000


def test_an_answer_ends_the_exchange_at_once(clock: FakeClock, port: FakePort) -> None:
    """No waiting for more once the conversation is complete."""
    line = make_line(clock, port)
    talk = Talk()
    port.expect(Talk.request, (30, b"yes!"))
    line.converse(talk)
    start = next(at for what, at, _ in port.trace if what == "write")
    assert clock.monotonic() * 1000 - start == pytest.approx(TALK_MS + 30, abs=0.01)
    assert talk.fed == b"yes!"
    assert (line.counters.exchanges, line.counters.answers, line.counters.silences) == (1, 1, 0)
    assert (line.counters.bytes_sent, line.counters.bytes_received) == (8, 4)
    assert line.counters.busy_ms == round(TALK_MS + 30)


def test_silence_takes_the_response_time_from_the_end_of_the_request(
    clock: FakeClock, port: FakePort
) -> None:
    """Not from its beginning: at 2400 bit/s the request alone takes long."""
    line = make_line(clock, port)
    port.expect(REQUEST)
    with pytest.raises(NoAnswerError):
        line.converse(conversation())
    start = next(at for what, at, _ in port.trace if what == "write")
    assert clock.monotonic() * 1000 - start == pytest.approx(REQUEST_MS + TIMEOUT_MS, abs=0.01)
    assert (line.counters.silences, line.counters.answers) == (1, 0)


@pytest.mark.parametrize("late_ms", [-1, 1])
def test_the_response_time_is_exact(clock: FakeClock, port: FakePort, late_ms: int) -> None:
    """An answer that begins just in time counts; one that begins just too late does not."""
    line = make_line(clock, port)
    port.expect(REQUEST, (TIMEOUT_MS + late_ms, REPLY))
    if late_ms < 0:
        line.converse(conversation())
    else:
        with pytest.raises(NoAnswerError):
            line.converse(conversation())
    assert line.counters.answers == (late_ms < 0)


def test_an_answer_in_pieces_is_one_answer(clock: FakeClock, port: FakePort) -> None:
    """Each piece may come up to the gap after the one before, also past the response time."""
    line = make_line(clock, port)
    pieces = [(TIMEOUT_MS - 1 + n * (GAP_MS - 1.0), REPLY[2 * n : 2 * n + 2]) for n in range(10)]
    port.expect(REQUEST, *pieces)
    line.converse(conversation())
    assert line.transcript == [
        (">", 0, REQUEST),
        ("<", round(REQUEST_MS + TIMEOUT_MS - 1), REPLY),
    ]


def test_an_answer_that_stops_for_longer_than_the_gap_is_none(
    clock: FakeClock, port: FakePort
) -> None:
    """It ends one gap after its last byte."""
    line = make_line(clock, port)
    port.expect(REQUEST, (TIMEOUT_MS - 1, REPLY[:9]), (TIMEOUT_MS + GAP_MS + 1, REPLY[9:]))
    with pytest.raises(NoAnswerError):
        line.converse(conversation())
    start = next(at for what, at, _ in port.trace if what == "write")
    taken = clock.monotonic() * 1000 - start
    assert taken == pytest.approx(REQUEST_MS + TIMEOUT_MS - 1 + GAP_MS, abs=0.01)


def test_endless_chatter_ends_by_the_limit(clock: FakeClock, port: FakePort) -> None:
    """Bytes that never become an answer hold the line no longer than the longest answer would."""
    line = make_line(clock, port)
    port.expect(REQUEST, *[(float(ms), b"\x55") for ms in range(0, 20_000, 5)])
    with pytest.raises(NoAnswerError):
        line.converse(conversation())
    start = next(at for what, at, _ in port.trace if what == "write")
    taken = clock.monotonic() * 1000 - start
    limit = REQUEST_MS + TIMEOUT_MS + ANSWER_SIZE_MAX * CHARACTER_S * 1000 + GAP_MS
    assert limit - 10 <= taken <= limit + 0.01


def test_a_flood_ends_by_its_size(clock: FakeClock, port: FakePort) -> None:
    """A serial server is not bound to the line's speed: memory and transcript stay small."""
    line = make_line(clock, port)
    port.expect(REQUEST, *[(float(ms), b"\x55" * 1000) for ms in range(20_000)])
    with pytest.raises(NoAnswerError, match="flooded"):
        line.converse(conversation())
    assert FLOOD_SIZE_MAX < line.counters.bytes_received <= FLOOD_SIZE_MAX + 1000
    assert line.counters.silences == 1


def test_a_reply_behind_much_noise_is_found(clock: FakeClock, port: FakePort) -> None:
    """What arrived with the flood still counts."""
    line = make_line(clock, port)
    port.expect(REQUEST, b"\x55" * (FLOOD_SIZE_MAX + 1) + REPLY)
    line.converse(conversation())
    assert line.counters.answers == 1


# ---- echo ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, len(Talk.request) + 1))
def test_our_own_echo_is_dropped_however_it_is_cut(
    clock: FakeClock, port: FakePort, cut: int
) -> None:
    """Whole, in two pieces, or with the answer right behind it: the conversation never sees it."""
    line = make_line(clock, port)
    talk = Talk()
    echo = Talk.request
    port.expect(echo, (-20, echo[:cut]), (-10, echo[cut:] + b"yes!"))
    line.converse(talk)
    assert talk.fed == b"yes!"
    assert line.counters.echoes == 1


def test_our_own_echo_is_dropped_byte_by_byte(clock: FakeClock, port: FakePort) -> None:
    """And an answer that begins like the request is not."""
    line = make_line(clock, port)
    for answer in (b"yes!", Talk.request[:3] + b"!"):
        talk = Talk()
        pieces = [(-20.0 + n, bytes([byte])) for n, byte in enumerate(Talk.request + answer)]
        port.expect(Talk.request, *pieces)
        line.converse(talk)
        assert talk.fed == answer
    assert line.counters.echoes == 2


def test_an_answer_that_only_begins_like_an_echo_is_fed_whole(
    clock: FakeClock, port: FakePort
) -> None:
    """An adapter without echo: what was held back comes through."""
    line = make_line(clock, port)
    talk = Talk()
    port.expect(Talk.request, (20, Talk.request[:2]), (25, b"\x04yes!"))
    line.converse(talk)
    assert talk.fed == Talk.request[:2] + b"\x04yes!"
    assert line.counters.echoes == 0


def test_a_partial_echo_and_silence_are_no_answer(clock: FakeClock, port: FakePort) -> None:
    """What was held back is looked at once more in the end."""
    line = make_line(clock, port)
    talk = Talk()
    port.expect(Talk.request, (-20, Talk.request[:5]))
    with pytest.raises(NoAnswerError):
        line.converse(talk)
    assert talk.fed == Talk.request[:5]
    assert talk.flushed == 1
    complete = Talk(Talk.request[:5])
    port.expect(Talk.request, (-20, Talk.request[:5]))
    line.converse(complete)
    assert line.counters.answers == 1


def test_an_echo_alone_is_silence(clock: FakeClock, port: FakePort) -> None:
    """The meter did not answer; the time still counts from the request's end."""
    line = make_line(clock, port)
    port.expect(REQUEST, (-10, REQUEST))
    with pytest.raises(NoAnswerError):
        line.converse(conversation())
    start = next(at for what, at, _ in port.trace if what == "write")
    assert clock.monotonic() * 1000 - start == pytest.approx(REQUEST_MS + TIMEOUT_MS, abs=0.01)


# ---- before the request -------------------------------------------------------------------------


def test_stale_bytes_are_drained_and_counted(clock: FakeClock, port: FakePort) -> None:
    """A late answer to an earlier question is not this one's, however good it looks."""
    line = make_line(clock, port)
    stale = wire("v004")
    port.inject(0, stale)
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    assert line.counters.stale_bytes == len(stale)
    assert [data for what, _, data in port.trace if what == "read"] == [stale, REPLY]


@pytest.mark.parametrize("turnaround_ms", [0, 1, 20, 50])
def test_the_turnaround_and_the_modbus_silence_are_kept(
    clock: FakeClock, port: FakePort, turnaround_ms: int
) -> None:
    """Between the last byte of one exchange and the next request, whatever stale bytes do."""
    line = make_line(clock, port, turnaround_ms=turnaround_ms)
    silence = turnaround_ms + 3.5 * CHARACTER_S * 1000
    port.expect(Talk.request, (30, b"1!"))
    port.expect(Talk.request, (30, b"2!"))
    port.expect(Talk.request, (30, b"3!"))
    line.converse(Talk())
    line.converse(Talk())
    port.inject(silence / 2, b"late")
    line.converse(Talk())
    quiet_from = 0.0
    for what, at, _ in port.trace:
        if what == "write" and quiet_from:
            assert at - quiet_from == pytest.approx(silence, abs=0.01)
        elif what == "read":
            quiet_from = at
    assert line.counters.stale_bytes == 4


def test_a_driver_may_ask_for_a_longer_turnaround(clock: FakeClock, port: FakePort) -> None:
    """A slow transceiver gets its time, and a shorter wish changes nothing."""
    line = make_line(clock, port, turnaround_ms=10)
    for wish, kept in ((0, 10), (20, 20), (5, 10)):
        port.expect(REQUEST, REPLY)
        ended = clock.monotonic() * 1000
        line.converse(conversation(), wish)
        start = [at for what, at, _ in port.trace if what == "write"][-1]
        assert start - ended == pytest.approx(kept, abs=0.01)


def test_a_line_that_never_falls_silent_is_not_written_to(clock: FakeClock, port: FakePort) -> None:
    """A chattering device costs its time and is an error, after a bounded number of reads."""
    line = make_line(clock, port)
    for n in range(STALE_READS_MAX + 10):
        port.inject(n * 0.5, b"\x55")
    with pytest.raises(NoAnswerError, match="silent"):
        line.converse(conversation())
    assert port.written() == []
    assert line.counters.stale_bytes == STALE_READS_MAX


def test_a_drain_throws_away_for_its_time(clock: FakeClock, port: FakePort) -> None:
    """What comes is counted; the time is kept; the silence starts anew behind it."""
    line = make_line(clock, port)
    port.expect(Talk.request, (30, b"1!"))
    line.converse(Talk())
    port.inject(100, b"late")
    port.inject(499, b"later")
    before = clock.monotonic()
    line.drain(0.5)
    assert clock.monotonic() - before == pytest.approx(0.5)
    assert line.counters.stale_bytes == 9
    port.expect(Talk.request, (30, b"2!"))
    line.converse(Talk())
    last_stale = [at for what, at, _ in port.trace if what == "read"][-2]
    start = [at for what, at, _ in port.trace if what == "write"][-1]
    assert start - last_stale >= 3.5 * CHARACTER_S * 1000


# ---- false starts, refusals, too late -----------------------------------------------------------


def test_a_false_start_before_the_reply_is_overcome_by_the_flush(
    clock: FakeClock, port: FakePort
) -> None:
    """Noise that looks like a long frame holds the reply back until the line falls silent."""
    line = make_line(clock, port)
    noise = bytes.fromhex("68 11 22 33 44 55 66 68 91 FF")
    port.expect(REQUEST, (50, noise), (60, REPLY))
    talk = conversation()
    line.converse(talk)
    assert talk._exchange.state == dlt645.DONE
    assert talk._exchange.data() == bytes.fromhex("00 00 01 00 26 00 00 00")


def test_a_refusal_passes_through_and_is_evidence(clock: FakeClock, port: FakePort) -> None:
    """The caller hears what the meter said; the transcript has its frame."""
    line = make_line(clock, port)
    refusal = bytes.fromhex("68 61 01 00 00 00 00 68 D1 01 35 39 16")
    port.expect(REQUEST, refusal)
    with pytest.raises(RefusedError):
        line.converse(conversation())
    assert [(direction, data) for direction, _, data in line.transcript] == [
        (">", REQUEST),
        ("<", refusal),
    ]
    assert line.is_open


def test_what_may_not_be_sent_is_not_written(clock: FakeClock, port: FakePort) -> None:
    """The question is asked after the turnaround, right before the first byte."""
    line = make_line(clock, port, turnaround_ms=100)
    asked: list[float] = []

    def may_send() -> bool:
        asked.append(clock.monotonic() * 1000)
        return len(asked) > 1

    before = clock.monotonic() * 1000
    line.may_send = may_send
    with pytest.raises(TooLateError):
        line.converse(conversation())
    assert port.written() == []
    assert asked[0] - before == pytest.approx(100)
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    assert len(asked) == 2


def test_a_recording_gathers_the_transcripts(clock: FakeClock, port: FakePort) -> None:
    """All exchanges while it is on, silent ones too; the last transcript stands alone."""
    line = make_line(clock, port)
    line.recording = []
    port.expect(REQUEST)
    port.expect(REQUEST, REPLY)
    with pytest.raises(NoAnswerError):
        line.converse(conversation())
    line.converse(conversation())
    assert [(direction, data) for direction, _, data in line.recording] == [
        (">", REQUEST),
        (">", REQUEST),
        ("<", REPLY),
    ]
    assert [data for _, _, data in line.transcript] == [REQUEST, REPLY]


# ---- the port goes away -------------------------------------------------------------------------


def test_a_lost_port_is_closed_and_opened_again_later(clock: FakeClock, port: FakePort) -> None:
    """Not before the pause is over, and then the exchange works."""
    line = make_line(clock, port)
    port.expect(REQUEST, (50, PortLostError("unplugged")))
    with pytest.raises(PortLostError):
        line.converse(conversation())
    assert (line.is_open, port.is_open, line.counters.port_losses) == (False, False, 1)
    with pytest.raises(PortLostError, match="waits"):
        line.converse(conversation())
    assert [what for what, _, _ in port.trace].count("open") == 1
    clock.advance(REOPEN_MS_FIRST)
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    assert line.is_open
    assert line.counters.answers == 1


def test_the_pause_between_openings_grows_to_its_limit(clock: FakeClock, port: FakePort) -> None:
    """An adapter that is gone costs little; once it opens, the pause starts small again."""
    line = make_line(clock, port)
    port.open_errors.extend(["no such device"] * 8)
    port.expect(REQUEST, (50, PortLostError("unplugged")))
    port.expect(REQUEST, REPLY)
    for _ in range(600):
        try:
            line.converse(conversation())
            break
        except PortLostError:
            clock.advance(100)
    opens = [at for what, at, _ in port.trace if what == "open"]
    pauses = [round((b - a) / 100) * 100 for a, b in itertools.pairwise(opens)]
    exchange_ms = 100  # the request, and 50 ms until the adapter was unplugged once more
    assert pauses == [
        500,
        1000,
        2000,
        4000,
        8000,
        REOPEN_MS_MAX,
        REOPEN_MS_MAX,
        REOPEN_MS_MAX,
        REOPEN_MS_FIRST + exchange_ms,
    ]
    assert line.counters.port_losses == 9
    assert line.counters.answers == 1


@pytest.mark.parametrize("when", ["before", "drain"])
def test_a_port_that_goes_away_outside_of_an_answer_is_lost_too(
    clock: FakeClock, port: FakePort, when: str
) -> None:
    """While stale bytes are read, or a silent unit is waited for."""
    line = make_line(clock, port)
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    port.inject(0.5, PortLostError("unplugged"))
    if when != "drain":
        port.open_errors.append("still unplugged")
    with pytest.raises(PortLostError):
        line.drain(0.5) if when == "drain" else line.converse(conversation())
    assert (line.is_open, port.is_open, line.counters.port_losses) == (False, False, 1)


def test_a_far_side_that_hung_up_while_the_line_was_idle_is_called_again(
    clock: FakeClock, port: FakePort
) -> None:
    """Modbus TCP meters do so after a minute: the request is not lost for it, and goes out once."""
    line = make_line(clock, port)
    for _ in range(3):
        port.expect(REQUEST, REPLY)
        line.converse(conversation())
        port.inject(60_000, PortLostError("hung up"))
        clock.advance(900_000)
    assert [what for what, _, _ in port.trace].count("open") == 3
    assert (line.counters.answers, line.counters.port_losses) == (3, 0)


def test_close_ends_an_open_line(clock: FakeClock, port: FakePort) -> None:
    """The port is closed, and opened again when it is needed."""
    line = make_line(clock, port)
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    line.close()
    assert not port.is_open
    port.expect(REQUEST, REPLY)
    line.converse(conversation())
    assert line.counters.answers == 2
