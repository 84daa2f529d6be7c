"""Explain on captures of all kinds: any bytes, damaged frames, follow-up parts, and no password."""

import contextlib
import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer.rtu import FramerRTU

from protocols.dlt645.frame import Frame, Function
from provisioning.explain import explain, run, text
from provisioning.finding import Finding

KEYS = {
    "protocol", "ok", "error", "address", "control", "function", "direction", "abnormal", "more",
    "di", "identifier", "data", "readings", "no_value", "meaning", "offset", "size", "preamble",
    "error_code", "error_bits", "seq", "details",
}  # fmt: skip
METER = "123456789012"
CONTROLS = st.one_of(
    st.integers(0, 255),
    st.sampled_from([0x11, 0x91, 0xB1, 0x92, 0xB2, 0x93, 0x14, 0x1C, 0x18, 0x08, 0x03, 0x83, 0xC3]),
)
IDENTIFIERS = st.sampled_from(
    ["00000100", "00FF0100", "00010102", "00FF0102", "02008002", "03050004", "010C0004", "0C010004"]
).map(bytes.fromhex)
CONTENTS = st.one_of(
    st.binary(max_size=255),
    st.builds(bytes.__add__, IDENTIFIERS, st.binary(max_size=60)),
    st.lists(st.integers(0, 99).map(lambda n: n // 10 << 4 | n % 10), max_size=40).map(bytes),
)
FRAMES = st.builds(Frame, st.just(METER), CONTROLS, CONTENTS)


def rows(data: bytes) -> list[dict[str, Any]]:
    """What a program sees."""
    return [finding.to_json() for finding in explain(data)]


def reply(control: int, di: str, payload: str, seq: int | None = None) -> bytes:
    """A reply of the meter; `di` in reading order, `payload` in wire order."""
    data = bytes(reversed(bytes.fromhex(di))) + bytes.fromhex(payload)
    return Frame(METER, control, data + (b"" if seq is None else bytes((seq,)))).to_bytes()


def shown(findings: list[Finding], size: int) -> str:
    """Everything that is written for people: the text, and the sentences of the JSON."""
    rest = [(f.meaning, f.details, f.error_bits, f.function) for f in findings]
    return text(findings, size) + json.dumps(rest)


@given(st.lists(st.one_of(st.binary(max_size=60), FRAMES.map(Frame.to_bytes)), max_size=4))
def test_any_bytes_are_explained(chunks: list[bytes]) -> None:
    """Nothing raises; objects have all keys, survive JSON, and stand in order without overlap."""
    data = b"".join(chunks)
    findings = explain(data)
    found = [finding.to_json() for finding in findings]
    assert json.loads(json.dumps(found)) == found
    assert bool(found) == bool(data)
    assert all(set(one) == KEYS for one in found)
    end = 0
    for one in found:
        assert end <= one["offset"] - one["preamble"]
        end = one["offset"] + one["size"]
    assert end <= len(data)
    assert bool(text(findings, len(data))) == bool(data)


@given(FRAMES)
def test_any_good_frame_is_one_object(frame: Frame) -> None:
    """Whatever the control byte and the content say, header and data come out as they went in."""
    (found,) = rows(frame.to_bytes(4))
    assert (found["ok"], found["address"], found["preamble"]) == (True, METER, 4)
    assert (found["control"], found["data"]) == (f"{frame.control:02X}", frame.data.hex().upper())
    assert found["error"] in (None, "length", "value")


@given(FRAMES, st.data())
def test_a_damaged_frame_hides_no_good_one(frame: Frame, draw: st.DataObject) -> None:
    """One wrong byte: the frame is never ok, has no readings, and the next frame is found."""
    wire = bytearray(frame.to_bytes())
    wire[draw.draw(st.integers(0, len(wire) - 1))] ^= draw.draw(st.integers(1, 255))
    good = Frame("000000000161", 0x11, bytes(4)).to_bytes(4)
    found = rows(bytes(wire) + good)
    assert [one["address"] for one in found if one["ok"]] == ["000000000161"]
    assert not any(one["readings"] for one in found if not one["ok"])


@given(FRAMES, st.data())
def test_a_piece_is_never_a_whole(frame: Frame, draw: st.DataObject) -> None:
    """A frame that is cut off is one object that is not ok."""
    wire = frame.to_bytes()
    cut = draw.draw(st.integers(1, len(wire) - 1))
    (found,) = rows(wire[:cut])
    assert not found["ok"]
    assert found["error"] == "truncated"


@given(st.binary(min_size=1, max_size=40), st.data())
def test_pieces_give_the_same_as_the_whole(data: bytes, draw: st.DataObject) -> None:
    """Cut into arguments at any bytes, with or without spaces, a capture says the same."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    places = [0, *cuts, len(data)]
    pieces = [data[a:b].hex(" ") for a, b in itertools.pairwise(places)]
    assert _printed(pieces) == _printed([data.hex()])


def _printed(arguments: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(arguments, as_json=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        ("69 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 16", "start1"),
        ("68 12 90 78 56 34 12 69 91 08 33 33 34 33 89 67 45 33 54 16", "start2"),
        ("68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 55 16", "checksum"),
        ("68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 17", "end"),
        ("68 12 90 78 56 34 12 68 91 08 33 33 34", "truncated"),
        ("FE FE FE FE 68 12 90", "truncated"),
        ("68 12 90 78 56 34 12 00 00 00", "start2"),
        ("55 55", "noise"),
        ("FE FE FE FE", "noise"),
        ("01 03 00 00 00 02 C4 0C", "checksum"),
    ],
)
def test_a_capture_without_a_good_frame_says_what_is_wrong(wire: str, error: str) -> None:
    """One object, not ok, with one word."""
    (found,) = rows(bytes.fromhex(wire))
    assert (found["ok"], found["error"], found["readings"]) == (False, error, [])


def test_a_damaged_frame_keeps_what_can_be_read_of_it() -> None:
    """A lost end still shows who answers what."""
    (found,) = rows(bytes.fromhex("68 12 90 78 56 34 12 68 91 08 33 33 34"))
    assert (found["address"], found["control"], found["data"]) == (METER, "91", "000001")
    (found,) = rows(bytes.fromhex("68 12 90 78"))
    assert (found["address"], found["control"], found["protocol"]) == (None, None, None)


def test_noise_between_good_frames_is_only_counted() -> None:
    """No object for it, and a person learns how many bytes."""
    good = reply(0x91, "00010000", "26000000")
    data = b"\x55\x68\x01\x02" + good + b"\x00\x68\x33\x33" + b"\xfe\xfe" + good + b"\x99"
    findings = explain(data)
    assert [finding.ok for finding in findings] == [True, True]
    assert [finding.preamble for finding in findings] == [0, 2]
    assert text(findings, len(data)).endswith("2 frames, and 9 bytes that belong to none")


def test_a_damaged_frame_between_good_ones_is_told() -> None:
    """A lost byte is not noise: the frame is there, with its fault."""
    good = reply(0x91, "00010000", "26000000")
    found = rows(good + good[:-5] + good[-4:] + b"\xfe\xfe" + good)
    assert [(one["ok"], one["error"], one["offset"], one["size"]) for one in found] == [
        (True, None, 0, 20), (False, "checksum", 20, 19), (True, None, 41, 20)
    ]  # fmt: skip
    assert found[2]["preamble"] == 2
    assert [one["error"] for one in rows(good + b"\xfe\xfe\x68\x12\x90")] == [None, "truncated"]
    assert [one["error"] for one in rows(good + b"\x55\x68\x12\x90")] == [None]


def test_start_bytes_inside_a_damaged_frame_begin_no_other_one() -> None:
    """Its content may hold as many 68 as it likes."""
    wire = bytearray(reply(0x91, "00010000", "35" * 40))
    wire[-2] ^= 1
    assert [one["error"] for one in rows(bytes(wire))] == ["checksum"]


def test_the_last_byte_of_a_frame_is_nobodys_preamble() -> None:
    """A CRC may end with FE."""
    requests = (bytes((1, 3, 0, number, 0, 2)) for number in range(256))
    crcs = ((one, FramerRTU.compute_CRC(one)) for one in requests)
    body, crc = next((one, crc) for one, crc in crcs if crc & 0xFF == 0xFE)
    found = rows(body + crc.to_bytes(2, "big") + b"\xfe" + reply(0x91, "00010000", "26000000"))
    assert [(one["offset"], one["preamble"]) for one in found] == [(0, 0), (9, 1)]


def test_a_value_that_is_no_number_is_refused() -> None:
    """The frame stays, the reading does not, and the word says whether length or value is wrong."""
    (found,) = rows(reply(0x91, "00010000", "00000E00"))
    assert (found["ok"], found["error"], found["readings"]) == (True, "value", [])
    (found,) = rows(reply(0x91, "00010000", "000000"))
    assert (found["ok"], found["error"], found["readings"]) == (True, "length", [])
    (found,) = rows(reply(0x91, "00010000", "FFFFFFFF"))
    assert (found["error"], found["no_value"]) == (None, ["1-0:1.8.0*255"])


def test_a_part_may_cut_inside_an_item() -> None:
    """The first part gives its complete items alone; joined, the cut item is whole again."""
    first = reply(0xB1, "0201FF00", "0123 4522 67")
    last = reply(0x92, "0201FF00", "21", 1)
    found = rows(first + last)
    assert [one["value"] for one in found[0]["readings"]] == ["230.1", "224.5"]
    assert [one["value"] for one in found[1]["readings"]] == ["230.1", "224.5", "216.7"]


def test_a_part_that_comes_twice_counts_once() -> None:
    """The master asks again for a lost part with the same number."""
    first = reply(0xB1, "0001FF00", "26000000")
    part = reply(0xB2, "0001FF00", "01000000", 1)
    last = reply(0x92, "0001FF00", "25000000", 2)
    found = rows(first + part + part + last)
    assert [one["value"] for one in found[-1]["readings"]] == ["0.26", "0.01", "0.25"]


@pytest.mark.parametrize(
    "parts",
    [
        [reply(0x92, "0001FF00", "25000000", 1)],
        [reply(0xB1, "0001FF00", "26000000"), reply(0x92, "0001FF00", "25000000", 2)],
        [reply(0xB1, "0001FF00", "26000000"), reply(0x92, "0002FF00", "25000000", 1)],
        [reply(0xB1, "0001FF00", "26000000"), reply(0x91, "0001FF00", "26000000"),
         reply(0x92, "0001FF00", "25000000", 1)],
    ],
    ids=["alone", "gap", "other identifier", "answer began anew"],
)  # fmt: skip
def test_a_part_out_of_order_gives_no_readings(parts: list[bytes]) -> None:
    """It says why, and gives its number."""
    found = rows(b"".join(parts))[-1]
    assert (found["ok"], found["readings"]) == (True, [])
    assert found["seq"] == parts[-1][-3] - 0x33
    assert "no readings" in found["meaning"]


def test_parts_of_another_meter_are_not_joined() -> None:
    """The address is part of the answer."""
    other = Frame("000000000161", 0x92, bytes.fromhex("00FF01002500000001")).to_bytes()
    assert rows(reply(0xB1, "0001FF00", "26000000") + other)[-1]["readings"] == []


PASSWORD = bytes.fromhex("517394")  # 947351 in wire order
AUTHORITY = b"\x02" + PASSWORD + bytes.fromhex("78563412")
EXPIRY = bytes.fromhex("595923311226")
BEARERS = {
    "write": (Function.WRITE, bytes.fromhex("03010004") + AUTHORITY + b"\x15"),
    "write, too short": (Function.WRITE, bytes.fromhex("03010004") + b"\x02" + PASSWORD),
    "write, operator no number": (
        Function.WRITE, bytes.fromhex("03010004") + b"\x02" + PASSWORD + b"\xab" * 5),
    "write of a password": (Function.WRITE, bytes.fromhex("030C0004") + AUTHORITY + PASSWORD),
    "change password, old": (
        Function.CHANGE_PASSWORD, bytes.fromhex("030C0004") + b"\x02" + PASSWORD + b"\x02" * 4),
    "change password, new": (
        Function.CHANGE_PASSWORD, bytes.fromhex("030C0004") + b"\x02" * 5 + PASSWORD),
    "change password, too long": (
        Function.CHANGE_PASSWORD, bytes.fromhex("030C0004") + b"\x02" * 6 + PASSWORD),
    "changed password": (Function.CHANGE_PASSWORD | 0x80, b"\x02" + PASSWORD),
    "relay": (Function.RELAY, AUTHORITY + b"\x1a\x00" + EXPIRY),
    "relay, expiry no date": (Function.RELAY, AUTHORITY + b"\x1a\x00" + b"\x99" * 6),
    "relay, too short": (Function.RELAY, AUTHORITY + b"\x1a"),
    "clear demand": (Function.CLEAR_DEMAND, AUTHORITY),
    "clear meter": (Function.CLEAR_METER, AUTHORITY),
    "clear events": (Function.CLEAR_EVENTS, AUTHORITY + b"\xff" * 4),
    "write reply that echoes": (Function.WRITE | 0x80, b"\x02" + PASSWORD),
    "read of a password": (Function.READ | 0x80, bytes.fromhex("030C0004") + PASSWORD),
    "vendor": (0x1F, AUTHORITY),
    "vendor reply": (0x9F, AUTHORITY),
    "write 1997": (0x04, bytes.fromhex("30C0") + b"\x02" + PASSWORD + b"\x15"),
    "change password 1997": (0x0F, b"\x02" + PASSWORD + b"\x02" * 4),
}  # fmt: skip


@pytest.mark.parametrize("name", BEARERS)
@pytest.mark.parametrize("damage", [0, 1], ids=["good", "damaged"])
def test_no_password_is_shown_to_people(name: str, damage: int) -> None:
    """Neither as digits nor as bytes, in either order, of a good or a damaged frame."""
    control, data = BEARERS[name]
    wire = bytearray(Frame(METER, control, data).to_bytes())
    wire[-2] ^= damage
    findings = explain(bytes(wire))
    assert [finding.ok for finding in findings] == [not damage]
    told = shown(findings, len(wire)).replace(" ", "")
    assert PASSWORD.hex() not in told
    assert bytes(reversed(PASSWORD)).hex() not in told
    # A program gets every byte: it is the caller's own input less a constant.
    assert PASSWORD.hex() in findings[0].to_json()["data"].lower()


@pytest.mark.parametrize(
    ("n1", "words"),
    [
        (0x1A, "disconnect;"),
        (0x1B, "arm: the consumer may connect"),
        (0x1C, "connect, with nobody at the meter"),
        (0x1D, "a command that vendors define differently (1D)"),
        (0x1E, "a command that vendors define differently (1E)"),
        (0x2A, "raise the alarm"),
        (0x2B, "end the alarm"),
        (0x3A, "keep the power on"),
        (0x3B, "no longer keep the power on"),
        (0x77, "an unknown command (77)"),
    ],
)
def test_each_relay_command_is_named(n1: int, words: str) -> None:
    """In our words; what vendors disagree about is said so."""
    (found,) = rows(Frame(METER, Function.RELAY, AUTHORITY + bytes((n1, 0)) + EXPIRY).to_bytes())
    assert found["details"]["n1"] == f"{n1:02X}"
    assert "relay order: " + words in found["meaning"]
    assert "operator 12345678" in found["meaning"]
    assert "valid until 2026-12-31 23:59:59" in found["meaning"]


def test_a_request_that_must_name_one_meter_is_told_when_it_does_not() -> None:
    """Any meter, a narrowed address and the broadcast alike."""
    order = AUTHORITY + b"\x1a\x00" + EXPIRY
    for address in ("AAAAAAAAAAAA", "AAAA34567890", "999999999999"):
        (found,) = rows(Frame(address, Function.RELAY, order).to_bytes())
        assert "more than one meter" in found["meaning"]
    (found,) = rows(Frame(METER, Function.RELAY, order).to_bytes())
    assert "more than one meter" not in found["meaning"]


def test_status_bits_are_named_for_people() -> None:
    """80 is no number that anybody reads."""
    data = reply(0x91, "04000503", "5000")
    assert "80 (bits set: 4, 6)" in text(explain(data), len(data))


def test_the_exit_code_says_whether_anything_was_recognised(capsys: Any) -> None:
    """Damage that was explained is a success; noise is not."""
    wire = reply(0x91, "00010000", "26000000")
    assert run([wire.hex()], as_json=False) == 0
    assert run([wire[:-1].hex() + "17"], as_json=False) == 0
    assert run(["55 55"], as_json=True) == 1
    assert capsys.readouterr().err == ""
