"""No password in any output: text, JSON, error sentences, help; digits or bytes, either order."""

import contextlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from provisioning.__main__ import main
from provisioning.explain import explain, text
from provisioning.finding import MASK
from tests.provisioning.vectors import ACCEPTED_PASSWORDS, VECTORS

OPERATOR = bytes.fromhex("01000000")
EXPIRY = bytes.fromhex("595923311226")
PASSWORD_DI = bytes.fromhex("030C0004")
# Digits that nothing else in these frames has, so that six of them in a row are the password.
PASSWORDS = st.text("6789", min_size=6, max_size=6).filter(lambda one: len(set(one)) > 1)
METER = "000000000161"
LEVELS = st.sampled_from([0, 2, 4, 9])


def wire_order(password: str) -> bytes:
    """Low byte first."""
    return bytes(reversed(bytes.fromhex(password)))


def _authority(level: int, secret: bytes) -> bytes:
    return bytes((level,)) + secret + OPERATOR


# What carries a password: name -> (control, data of level and password in wire order).
BEARERS = {
    "write": lambda n, p: (0x14, bytes.fromhex("03010004") + _authority(n, p) + b"\x15"),
    "write to a vendor's identifier": lambda n, p: (
        0x14, bytes.fromhex("0002A204") + _authority(n, p) + p),
    "write, too short": lambda n, p: (0x14, bytes.fromhex("03010004") + bytes((n,)) + p),
    "write without its identifier": lambda n, p: (0x14, _authority(n, p) + b"\x15"),
    "write, operator no number": lambda n, p: (
        0x14, bytes.fromhex("03010004") + bytes((n,)) + p + b"\xab" * 5),
    "write, value no number": lambda n, p: (
        0x14, bytes.fromhex("03010004") + _authority(n, p) + b"\xab"),
    "write of a password": lambda n, p: (0x14, PASSWORD_DI + _authority(n, p) + b"\x02" + p),
    "write of a password, secured": lambda _, p: (
        0x14, PASSWORD_DI + b"\x98" + p + OPERATOR + b"\x02" + p),
    "write of a password, cut short": lambda n, p: (0x14, PASSWORD_DI + _authority(n, p) + p),
    "new password": lambda n, p: (0x18, PASSWORD_DI + bytes((0,)) + p + bytes((n,)) + p),
    "new password, level 2": lambda _, p: (0x18, PASSWORD_DI + b"\x02" + p + b"\x02" + p),
    "new password, too long": lambda n, p: (0x18, PASSWORD_DI + bytes((n,)) * 6 + p),
    "new password, told": lambda n, p: (0x98, bytes((n,)) + p),
    "new password, told too long": lambda n, p: (0x98, bytes((n,)) + p + p),
    "relay": lambda n, p: (0x1C, _authority(n, p) + b"\x1a\x00" + EXPIRY),
    "relay, expiry no date": lambda n, p: (0x1C, _authority(n, p) + b"\x1a\x00" + b"\x99" * 6),
    "relay, too short": lambda n, p: (0x1C, _authority(n, p) + b"\x1a"),
    "relay, secured": lambda _, p: (0x1C, b"\x98" + p + OPERATOR + b"\x5a" * 20),
    "relay, unknown level": lambda _, p: (0x1C, _authority(0x55, p) + b"\x1a\x00" + EXPIRY),
    "relay, told back": lambda n, p: (0x9C, _authority(n, p)),
    "relay, refused with an echo": lambda n, p: (0xDC, _authority(n, p)),
    "clear demand": lambda n, p: (0x19, _authority(n, p)),
    "clear meter": lambda n, p: (0x1A, _authority(n, p)),
    "clear events": lambda n, p: (0x1B, _authority(n, p) + b"\xff" * 4),
    "write, told back": lambda n, p: (0x94, bytes((n,)) + p),
    "password read": lambda n, p: (0x91, PASSWORD_DI + bytes((n,)) + p),
    "password read, first part": lambda _, p: (0xB1, PASSWORD_DI + p),
    "password read, last part": lambda n, p: (0x92, PASSWORD_DI + p + bytes((n,))),
    "vendor": lambda n, p: (0x1F, _authority(n, p)),
    "vendor reply": lambda n, p: (0x9F, _authority(n, p)),
    "vendor refusal": lambda n, p: (0xDF, _authority(n, p)),
    "1997 write": lambda n, p: (0x04, bytes.fromhex("11C1") + bytes((n,)) + p + b"\x15"),
    "1997 write to a vendor's identifier": lambda n, p: (
        0x04, bytes.fromhex("23E3") + bytes((n,)) + p + p),
    "1997 write of a password": lambda n, p: (
        0x04, bytes.fromhex("12C2") + bytes((n,)) + p + bytes((n,)) + p),
    "1997 write, too short": lambda n, p: (0x04, bytes((n,)) + p),
    "1997 write, told back": lambda n, p: (0x84, bytes((n,)) + p),
    "1997 password read": lambda n, p: (0x81, bytes.fromhex("12C2") + bytes((n,)) + p),
    "1997 new password": lambda n, p: (0x0F, bytes((n,)) + p + bytes((n,)) + p),
    "1997 new password, told": lambda n, p: (0x8F, bytes((n,)) + p),
    "1997 clear demand": lambda n, p: (0x10, bytes((n,)) + p),
    "1997 vendor": lambda n, p: (0x05, bytes((n,)) + p),
}  # fmt: skip


def told(*arguments: str) -> str:
    """Everything that the command writes, without its blanks; whatever ends it."""
    out = io.StringIO()
    ending = contextlib.suppress(SystemExit)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), ending:
        main(["explain", *arguments])
    return "".join(out.getvalue().lower().split())


def outputs(wire: bytes) -> str:
    """What a capture says to people and to programs, without its blanks."""
    findings = explain(wire)
    rows = json.dumps([finding.to_json() for finding in findings])
    return "".join((text(findings, len(wire)) + rows).lower().split())


def check(output: str, password: str) -> None:
    """Neither as it is read nor as it travels."""
    assert password not in output
    assert wire_order(password).hex() not in output


@pytest.mark.parametrize("name", BEARERS)
@settings(max_examples=30)
@given(level=LEVELS, password=PASSWORDS, draw=st.data())
def test_no_password_is_told(name: str, level: int, password: str, draw: st.DataObject) -> None:
    """Of a good frame; of one with a damaged byte, wherever; of one that was cut or lost a byte."""
    control, data = BEARERS[name](level, wire_order(password))
    wire = Frame(METER, control, data).to_bytes()
    (found,) = explain(wire)
    assert found.ok
    assert MASK in found.to_json()["data"]
    check(outputs(wire), password)
    at = draw.draw(st.integers(0, len(wire) - 1))
    wrong = wire[at] ^ draw.draw(st.integers(1, 255))
    check(outputs(wire[:at] + bytes((wrong,)) + wire[at + 1 :]), password)
    check(outputs(wire[:at] + wire[at + 1 :]), password)
    check(outputs(wire[: at + 1]), password)


@given(level=LEVELS, password=PASSWORDS, draw=st.data())
def test_no_password_is_told_between_other_frames(
    level: int, password: str, draw: st.DataObject
) -> None:
    """Several bearers, damaged or not, in one capture with noise."""
    capture = b""
    for _ in range(draw.draw(st.integers(1, 4))):
        control, data = BEARERS[draw.draw(st.sampled_from(sorted(BEARERS)))](
            level, wire_order(password)
        )
        wire = bytearray(Frame(METER, control, data).to_bytes())
        wire[-2] ^= draw.draw(st.sampled_from([0, 0, 1]))
        capture += draw.draw(st.sampled_from([b"", b"\xfe", b"\x68"])) + bytes(wire)
    check(outputs(capture), password)


@pytest.mark.parametrize("vector_id", ACCEPTED_PASSWORDS)
def test_no_password_of_a_vector_is_told(vector_id: str) -> None:
    """Those that real benches sent: the bytes behind the level are masks in text and JSON."""
    vector = next(one for one in VECTORS if one["id"] == vector_id)
    (found,) = explain(bytes.fromhex(vector["hex"]))
    at = ACCEPTED_PASSWORDS[vector_id]
    secret = found.data[at : at + 3]
    assert found.shown_bytes()[at : at + 3] == [MASK] * 3
    assert found.to_json()["data"][2 * at : 2 * at + 6] == 3 * MASK
    output = outputs(bytes.fromhex(vector["hex"]))
    for other in (vector["address"], "12345678", "78563412"):  # some have the operator's digits
        output = output.replace(other.lower(), "")
    if len(set(secret)) > 1:
        check(output, bytes(reversed(secret)).hex())


def test_every_vector_with_a_password_is_known() -> None:
    """A new one must not slip through the list."""
    functions = {"14", "18", "19", "1A", "1B", "1C", "04", "0F", "10"}
    bearers = {
        one["id"]
        for one in VECTORS
        if one["expect"].startswith("accept") and one["control"] in functions
    }
    assert bearers == set(ACCEPTED_PASSWORDS)


@given(password=PASSWORDS, at=st.integers(0, 12), wrong=st.sampled_from(["g", "0", "", "zz"]))
def test_no_password_is_told_when_the_hex_is_wrong(password: str, at: int, wrong: str) -> None:
    """A typing error beside the password, of whatever kind, repeats none of its digits."""
    for shown in (password, wire_order(password).hex()):
        content = "02" + shown + "01000000"
        check(told("68", content[:at] + wrong + content[at:]), password)
        check(told("68", content[:-1], "--json"), password)


@given(password=PASSWORDS)
def test_no_traceback_can_show_a_password(password: str) -> None:
    """What is kept of a frame shows its masks when it is printed as it is."""
    data = bytes.fromhex("03010004") + _authority(2, wire_order(password)) + b"\x0e"
    (found,) = explain(Frame(METER, Function.WRITE, data).to_bytes())
    shown = repr(found)
    assert MASK in shown
    check("".join(shown.lower().replace("\\x", "").split()), password)


@given(password=PASSWORDS)
def test_the_command_tells_none_either(password: str) -> None:
    """Standard output and error output, for people and for programs."""
    control, data = BEARERS["relay"](2, wire_order(password))
    wire = Frame(METER, control, data).to_bytes().hex()
    for arguments in ([wire], ["--json", wire]):
        assert MASK in told(*arguments)
        check(told(*arguments), password)
    check(told("--help", wire), password)
