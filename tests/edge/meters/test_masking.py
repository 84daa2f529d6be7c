"""edge/meters/masking.py: frames as evidence, without the passwords in them."""

import random

import pytest

from edge.meters.masking import mask_passwords
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import (
    ClearDemand,
    ClearEvents,
    Read,
    Relay,
    SecuredControl,
    Write,
)
from protocols.dlt645.controls import CONTROLS, Function
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.frame import Frame
from protocols.dlt645.relay import RelayAction, RelayTerms
from protocols.dlt645.requests import request
from tests.edge.fakes import wire

ADDRESS = "151230011061"
SECRET = Credentials(2, "020637", "00000001")
TIME = MeterTime(2099, 12, 30, 0, 0, 0)
TERMS = RelayTerms((RelayAction.DISCONNECT,), (2,), True)
CARRIERS = (
    Relay(RelayAction.DISCONNECT, TIME, SECRET, 0),
    Write("04001003", (100,), SECRET),
    ClearDemand(SECRET),
    ClearEvents("033000FF", SECRET),
)
ON_THE_WIRE = bytes.fromhex("6A 39 35")  # 37 06 02, each plus 33
REPLY = bytes.fromhex("68 61 10 01 30 12 15 68 9C 00 35 16")


def frame(command: object) -> bytes:
    """As it goes out."""
    return request(ADDRESS, command, tuple(CONTROLS), TERMS).to_bytes(4)


@pytest.mark.parametrize("command", CARRIERS, ids=lambda one: type(one).__name__)
def test_a_password_and_its_sum_are_blanked(command: object) -> None:
    """Nothing else changes: who reads it sees what was sent, and that something is missing."""
    sent = frame(command)
    assert ON_THE_WIRE in sent
    frames = [(">", 0, sent), ("<", 90, REPLY)]
    assert mask_passwords(frames) == 1
    masked = frames[0][2]
    changed = [n for n in range(len(sent)) if masked[n] != sent[n]]
    at = sent.index(ON_THE_WIRE)
    assert changed == [at, at + 1, at + 2, len(sent) - 2]
    assert all(masked[n] == 0 for n in changed)
    assert frames[1] == ("<", 90, REPLY)
    assert mask_passwords(frames) == 0  # once is enough
    assert frames[0][2] == masked


def test_the_captured_trip_is_blanked() -> None:
    """Frame of a real meter."""
    frames = [(">", 0, wire("v064"))]
    assert mask_passwords(frames) == 1
    assert ON_THE_WIRE not in frames[0][2]


def test_what_holds_no_password_stays_as_it_is() -> None:
    """Reads, answers, and the secured forms, whose bytes of it are zeros."""
    secured = SecuredControl(Function.RELAY, "00000001", bytes(20))
    sent = [frame(Read("04000503")), frame(secured), REPLY, b"\x00\x01\x02", b""]
    frames = [(">", 0, one) for one in sent]
    assert mask_passwords(frames) == 0
    assert [one[2] for one in frames] == sent


@pytest.mark.parametrize("damage", range(0, 30, 3))
def test_an_echo_is_blanked_whole_or_damaged(damage: int) -> None:
    """An adapter returns our own bytes, noise changes some: the reply behind them stays."""
    sent = frame(CARRIERS[0])
    echo = bytearray(sent)
    echo[damage] ^= 0x10
    for heard in (sent, bytes(echo), sent[:20], sent[9:]):
        frames = [(">", 0, sent), ("<", 5, heard + REPLY)]
        mask_passwords(frames)
        shown = frames[1][2]
        assert shown.endswith(REPLY) and len(shown) == len(heard) + len(REPLY)
        assert set(shown[: len(heard)]) <= {0x00, 0xFE}


def test_whatever_is_heard_gives_nothing_away() -> None:
    """Any bytes around a request with a password: what is kept is FE, 00 and good replies."""
    rng = random.Random(20261121)
    sent = frame(CARRIERS[0])
    for _ in range(500):
        noise = bytearray(sent * 2)
        for _ in range(rng.randrange(6)):
            noise[rng.randrange(len(noise))] = rng.randrange(256)
        start = rng.randrange(len(noise))
        frames = [(">", 0, sent), ("<", 5, bytes(noise[start:]))]
        mask_passwords(frames)
        assert set(frames[1][2]) <= {0x00, 0xFE}


def test_a_request_of_another_meter_between_keeps_its_answer() -> None:
    """Only what follows a password is looked at."""
    answer = Frame(ADDRESS, 0x91, bytes.fromhex("0305000437 06 02")).to_bytes()
    frames = [(">", 0, frame(Read("04000503"))), ("<", 5, b"\x01" + answer)]
    assert mask_passwords(frames) == 0
    assert frames[1][2] == b"\x01" + answer
