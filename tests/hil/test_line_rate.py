"""Rates on a paced line: who was told another one is heard by nobody who was not."""

import random
import termios
from collections.abc import Callable

import pytest

from hil.line import Line
from hil.line_rate import heard_at, tty_baud
from hil.pseudo_tty import open_pty
from protocols.dlt645.frame import Frame
from tests.hil.masters import ADDRESS, Master, make_meter, shown
from tests.hil.test_line import Parrot

MakeLine = Callable[..., Line]
CHANGE_TO_9600 = bytes.fromhex("fefefefe 68 129078563412 68 17 01 53 f1 16")
CHANGED = bytes.fromhex("fefefefe 68 129078563412 68 97 01 53 71 16")
READ = bytes.fromhex("fefefefe 68 129078563412 68 11 04 33343435 6b 16")  # 02010100, a voltage
SPEEDS = {2400: termios.B2400, 9600: termios.B9600, 38400: termios.B38400}
QUIET_S = 0.4


def set_speed(master: Master, baud: int) -> None:
    """Turns the agent's adapter to another rate."""
    settings = termios.tcgetattr(master.tty)
    settings[4] = settings[5] = SPEEDS[baud]
    termios.tcsetattr(master.tty, termios.TCSANOW, settings)


def test_the_hand_written_frames_are_frames() -> None:
    for wire in (CHANGE_TO_9600, CHANGED, READ):
        body = wire.lstrip(b"\xfe")
        assert sum(body[:-2]) & 0xFF == body[-2]


def test_a_meter_answers_at_the_old_rate_and_is_then_heard_at_the_new_one_alone(
    make_line: MakeLine,
) -> None:
    meter = make_meter(response_delay_s=0.02)
    line = make_line(meter, paced=True, baud=2400, follows_tty=True)
    with Master(line.link) as master:
        set_speed(master, 2400)
        assert meter.line_rate is None
        assert shown(meter, "04000703") == [0x08]
        assert master.ask(CHANGE_TO_9600, len(CHANGED)) == CHANGED
        took_s = master.last_s - master.started_s
        assert took_s > (len(CHANGE_TO_9600) + len(CHANGED)) * 11 / 2400
        assert meter.line_rate == 9600
        assert shown(meter, "04000703") == [0x20]
        master.send(READ)
        assert master.hear(1, QUIET_S) == b""
        set_speed(master, 9600)
        reply = master.ask(READ, 22)
        assert reply[:12] == bytes.fromhex("fefefefe68129078563412 68".replace(" ", ""))
        assert master.last_s - master.started_s < (20 + 22) * 11 / 2400
        set_speed(master, 2400)
        master.send(READ)
        assert master.hear(1, QUIET_S) == b""


def test_an_agent_that_stays_behind_hears_noise(make_line: MakeLine) -> None:
    parrot = Parrot(b"\x00" * 40)
    parrot.line_rate = 9600  # type: ignore[attr-defined]
    line = make_line(parrot, paced=True, baud=2400)
    with Master(line.link) as master:
        heard = master.ask(READ, 10)
        assert len(heard) == 10 and set(heard) != {0}
    assert parrot.heard != READ and len(parrot.heard) == 4 * len(READ)


def test_without_wire_time_there_is_no_rate(make_line: MakeLine) -> None:
    line = make_line(make_meter(), baud=2400, follows_tty=True)
    with Master(line.link) as master:
        assert master.ask(CHANGE_TO_9600, len(CHANGED)) == CHANGED
        assert master.ask(READ, 4) == b"\xfe" * 4


def test_neighbours_go_on_at_their_rate(make_line: MakeLine) -> None:
    meter, other = make_meter(response_delay_s=0.02), Parrot(b"\x55")
    line = make_line(meter, other, paced=True, baud=9600, follows_tty=True)
    with Master(line.link) as master:
        set_speed(master, 9600)
        assert master.ask(Frame(ADDRESS, 0x17, b"\x08").to_bytes(4), 1)
        assert meter.line_rate == 2400
        assert other.heard.endswith(Frame(ADDRESS, 0x17, b"\x08").to_bytes(4))


@pytest.mark.parametrize(
    ("sent", "heard", "size"), [(2400, 2400, 20), (2400, 9600, 80), (9600, 2400, 5), (9600, 600, 1)]
)
def test_another_rate_makes_noise_of_about_its_time(sent: int, heard: int, size: int) -> None:
    data = bytes(range(20))
    noise = heard_at(data, sent, heard, random.Random(1))
    assert len(noise) == size
    assert (noise == data) == (sent == heard)
    assert heard_at(b"", sent, heard, random.Random(1)) == b""


def test_the_rate_of_a_tty_is_what_it_is_set_to() -> None:
    _, slave, _ = open_pty()
    settings = termios.tcgetattr(slave)
    for speed, baud in ((termios.B2400, 2400), (termios.B115200, 115200), (termios.B50, 1200)):
        settings[4] = settings[5] = speed
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        assert tty_baud(slave, 1200) == baud
