"""PyPI `dlt645` as a meter, asked with bytes that no encoder of ours made: what it does right, and
its known faults, so that a new release that changes one is noticed. A fault is never a rule.
"""

import socket
from collections.abc import Iterator

import pytest
from dlt645 import MeterServerService, disable_logging

from protocols.dlt645.commands import Write
from protocols.dlt645.controls import Function
from protocols.dlt645.credentials import Credentials
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import DONE, Exchange, read
from protocols.dlt645.requests import request as frame_for
from protocols.dlt645.values import decode_readings
from protocols.errors import UnsupportedError

pytestmark = pytest.mark.stranger

OWN = "12 90 78 56 34 12"  # 123456789012, low byte first
OTHER, ANY, ALL = "13 90 78 56 34 12", "AA " * 6, "99 " * 6
ENERGY = "00 00 01 00"  # identifier 00010000, low byte first
QUIET_S = 0.3  # it answers within 2 ms
ENERGY_REPLY = (OWN, "91", "00 00 01 00 78 56 34 12")


def wire(address: str, control: str, data: str = "") -> bytes:
    """A frame as the standard draws it: 68 A0..A5 68 C L DATA+33h CS 16."""
    shifted = bytes((byte + 0x33) & 0xFF for byte in bytes.fromhex(data))
    body = b"\x68" + bytes.fromhex(address) + b"\x68" + bytes.fromhex(control)
    body += bytes((len(shifted),)) + shifted
    return body + bytes((sum(body) & 0xFF, 0x16))


RIGHT = {
    "a read": (wire(OWN, "11", ENERGY), wire(*ENERGY_REPLY)),
    "four FE in front": (b"\xfe" * 4 + wire(OWN, "11", ENERGY), wire(*ENERGY_REPLY)),
    "a negative value": (
        wire(OWN, "11", "00 01 02 02"),
        wire(OWN, "91", "00 01 02 02 34 12 80"),
    ),
    "an unknown identifier": (wire(OWN, "11", "0C 01 00 04"), wire(OWN, "D1", "02")),
    "read address (13)": (wire(ANY, "13"), wire(OWN, "93", OWN)),
    "a wrong sum": (wire(OWN, "11", ENERGY)[:-2] + b"\x00\x16", b""),
}
FAULTS = {
    "answers for another address": (wire(OTHER, "11", ENERGY), wire(OTHER, "D1", "01")),
    "answers AA as AA": (wire(ANY, "11", ENERGY), wire(ANY, "91", ENERGY_REPLY[2])),
    "answers a read to 99..99": (wire(ALL, "11", ENERGY), wire(ALL, "91", ENERGY_REPLY[2])),
    "has no blocks": (wire(OWN, "11", "00 FF 01 00"), wire(OWN, "D1", "02")),
    "has no follow-up (12)": (wire(OWN, "12", "00 FF 01 00 01"), wire(OWN, "D2", "01")),
    "has no relay (1C)": (
        wire(OWN, "1C", "02 56 34 12 78 56 34 12 1A 00 00 00 12 01 01 30"),
        wire(OWN, "DC", "01"),
    ),
    "has no security (03)": (wire(OWN, "03", "FF 00 00 07 01 02 03 04"), wire(OWN, "C3", "01")),
    "has no 9600 bit/s (17)": (wire(OWN, "17", "20"), wire(OWN, "D7", "08")),
    "wants an identifier in 1A": (
        wire(OWN, "1A", "02 56 34 12 78 56 34 12"),
        wire(OWN, "DA", "01"),
    ),
    "answers an answer (C=91)": (wire(OWN, "91", ENERGY_REPLY[2]), None),
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where it listens; it takes seconds to end."""
    disable_logging()
    one = MeterServerService.new_tcp_server("127.0.0.1", 0, 30.0)
    assert one.set_address("129078563412") and one.set_password("02123456")
    assert one.set_00(0x00010000, 123456.78) and one.set_02(0x02020100, -1.234)
    assert one.set_04(0x04000103, "10")
    assert one.start()
    try:
        yield one.server.ln.getsockname()[1]
    finally:
        one.stop()


@pytest.fixture
def meter(port: int) -> Iterator[socket.socket]:
    """A connection to it."""
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.settimeout(QUIET_S)
        yield link


def ask(link: socket.socket, request: bytes) -> bytes:
    """All that it answers, less the FE in front."""
    link.sendall(request)
    heard = b""
    try:
        while not heard.endswith(b"\x16"):
            heard += link.recv(1024)
    except TimeoutError:
        pass
    return heard.lstrip(b"\xfe")


@pytest.mark.parametrize("what", RIGHT)
def test_what_it_does_right(meter: socket.socket, what: str) -> None:
    """To the byte, as DL/T 645-2007 says."""
    request, reply = RIGHT[what]
    assert ask(meter, request).hex(" ") == reply.hex(" ")


@pytest.mark.parametrize("what", FAULTS)
def test_its_known_faults_are_still_there(meter: socket.socket, what: str) -> None:
    """A right answer here is news: correct the table, and docs/conformance.md with it."""
    request, reply = FAULTS[what]
    heard = ask(meter, request)
    assert heard.hex(" ") == reply.hex(" ") if reply is not None else heard != b""


def converse(link: socket.socket, exchange: Exchange) -> bytes:
    """Our side of an exchange; its data."""
    deframer = Deframer()
    for frame in deframer.feed(ask(link, exchange.request.to_bytes(4))):
        exchange.receive(frame)
    assert exchange.state == DONE
    return exchange.data()


def test_our_master_reads_it(meter: socket.socket) -> None:
    """And takes its refusal for what it is."""
    (energy,) = decode_readings(converse(meter, read("123456789012", "00010000")))
    (current,) = decode_readings(converse(meter, read("123456789012", "02020100")))
    assert energy.described()["value"] == "123456.78"
    assert current.described()["value"] == "-1.234"
    with pytest.raises(UnsupportedError):
        converse(meter, read("123456789012", "0400010C"))


def test_our_master_writes_to_it(meter: socket.socket) -> None:
    """14 with password and operator; it shows the new value afterwards."""
    write = frame_for("123456789012", Write("04000103", (5,), Credentials(2, "563412", "00000000")))
    assert write.function == Function.WRITE
    assert converse(meter, Exchange(write)) == b""
    shown = ask(meter, wire(OWN, "11", "03 01 00 04"))
    assert shown == wire(OWN, "91", "03 01 00 04 05")
