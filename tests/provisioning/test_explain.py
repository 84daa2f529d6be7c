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

from protocols.dlt645.controls import Function
from protocols.dlt645.frame import Frame
from provisioning.explain import explain, run, text
from provisioning.finding import MASK, Finding
from tests.provisioning.vectors import EXAMPLES, METER, capture_of

KEYS = {
    "protocol", "ok", "error", "address", "control", "function", "direction", "abnormal", "more",
    "di", "identifier", "data", "readings", "no_value", "meaning", "offset", "size", "preamble",
    "error_code", "error_bits", "seq", "details",
}  # fmt: skip
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
    assert found["control"] == f"{frame.control:02X}"
    shown = [found["data"][at : at + 2] for at in range(0, len(found["data"]), 2)]
    assert len(shown) == len(frame.data)
    assert all(one in (f"{byte:02X}", MASK) for one, byte in zip(shown, frame.data, strict=True))
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
    assert (found["address"], found["control"], found["data"]) == (METER, "91", 3 * MASK)
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
    assert found[2]["meaning"] == found[1]["meaning"]


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


AUTHORITY = bytes.fromhex("02517394") + bytes.fromhex("78563412")
EXPIRY = bytes.fromhex("595923311226")


def meaning(name: str, index: int = 0) -> str:
    """The sentence for one frame of an example, without the meter."""
    told = explain(capture_of(name))[index].meaning
    assert told.startswith(f"meter {METER}")
    return told.removeprefix(f"meter {METER}").lstrip(": ")


@pytest.mark.parametrize(
    ("n1", "words", "action"),
    [
        (0x1A, "trip relay, operator", "disconnect"),
        (0x1B, "arm relay (it closes when somebody presses the button at the meter)", "arm"),
        (0x1C, "connect relay (it closes with nobody at the meter)", "connect"),
        (0x1D, "delayed connect (1D, which makers read differently) after 0", "delayed_connect"),
        (0x1E, "delayed arm (1E, which makers read differently) after 0 min", "delayed_arm"),
        (0x2A, "raise the alarm", "alarm_on"),
        (0x2B, "end the alarm", "alarm_off"),
        (0x3A, "keep the power on", "keep_power_on"),
        (0x3B, "no longer keep the power on", "keep_power_off"),
        (0x77, "an unknown relay action (77)", None),
    ],
)
def test_each_relay_action_is_named(n1: int, words: str, action: str | None) -> None:
    """In our words; what vendors disagree about is said so."""
    (found,) = rows(Frame(METER, Function.RELAY, AUTHORITY + bytes((n1, 0)) + EXPIRY).to_bytes())
    assert (found["details"]["n1"], found["details"]["action"]) == (f"{n1:02X}", action)
    assert found["meaning"].startswith(f"meter {METER}: {words}")
    assert "operator 12345678, valid until 2026-12-31 23:59:59" in found["meaning"]


def test_the_sentence_of_a_relay_control_is_the_promised_one() -> None:
    """Who, what, operator and expiry in this order."""
    order = AUTHORITY[:4] + bytes.fromhex("01000000 1A00 001510211126")
    (found,) = explain(Frame(METER, Function.RELAY, order).to_bytes())
    assert found.meaning == (
        "meter 123456789012: trip relay, operator 00000001, valid until 2026-11-21 10:15:00, "
        "password •• of level 02"
    )


@pytest.mark.parametrize("function", [0x12, 0x14, 0x15, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D])
def test_a_request_that_must_name_one_meter_is_told_when_it_does_not(function: int) -> None:
    """Any meter, a narrowed address and the broadcast alike; whatever its content."""
    data = bytes.fromhex(EXAMPLES["a relay control without expiry"][0][1])
    data = data if function == Function.RELAY else next(
        bytes.fromhex(content)
        for frames in (*EXAMPLES.values(), [(0x12, "00FF010001")], [(0x15, "129078563412")])
        for control, content in frames
        if control == function
    )  # fmt: skip
    for address in ("AAAAAAAAAAAA", "AAAA34567890", "999999999999"):
        (found,) = rows(Frame(address, function, data).to_bytes())
        assert "more than one meter, which such a request must never be" in found["meaning"]
    (found,) = rows(Frame(METER, function, data).to_bytes())
    assert "more than one meter" not in found["meaning"]


@pytest.mark.parametrize(
    ("address", "control", "data", "note"),
    [
        ("AAAAAAAAAAAA", 0x11, "00000100", "several meters may answer at once"),
        ("AAAA34567890", 0x11, "00000100", "any meter whose address ends with 34567890"),
        ("999999999999", 0x01, "1090", "several meters may answer at once"),
        ("999999999999", 0x04, "11C10256341215", "which such a request must never be"),
        ("AAAA34567890", 0x16, "99999999", "which such a request must never be"),
        (METER, 0x08, "001510211126", "addressed to one meter, though it is meant for all"),
        ("FE0000000000", 0x11, "00000100", "address FE0000000000, which is no meter's"),
    ],
)
def test_an_odd_address_is_told(address: str, control: int, data: str, note: str) -> None:
    """Each in its own words."""
    body = bytes.fromhex(data)
    wire = bytearray(Frame(METER, control, body).to_bytes())
    wire[1:7] = bytes(reversed(bytes.fromhex(address)))
    wire[-2] = sum(wire[:-2]) & 0xFF
    assert note in explain(bytes(wire))[0].meaning


@pytest.mark.parametrize(
    ("address", "control", "data"),
    [
        ("AAAAAAAAAAAA", 0x13, ""),
        ("999999999999", 0x08, "001510211126"),
        ("999999999999", 0x16, "99999999"),
    ],
)
def test_what_is_meant_for_many_is_not_blamed(address: str, control: int, data: str) -> None:
    """Read address, broadcast time, broadcast freeze."""
    (found,) = explain(Frame(address, control, bytes.fromhex(data)).to_bytes())
    assert not any(word in found.meaning for word in ("addressed", "several"))


def test_status_bits_are_named_for_people() -> None:
    """80 is no number that anybody reads: each bit in words, and what it says of the relay."""
    data = reply(0x91, "04000503", "5000")
    told = text(explain(data), len(data))
    assert "status word 3 (04000503) is 0050 hex; the relay is open, as it was told" in told
    assert "\n     relay: open\n" in told
    assert "\n     relay command: open\n" in told
    (found,) = rows(data)
    assert (found["readings"][0]["value"], len(found["readings"][0]["words"])) == ("80", 8)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("0000", "the relay is closed"),
        ("1000", "the relay is open, and may be closed at the meter"),
        ("4000", "the relay was told to open, and is still closed"),
    ],
)
def test_the_relay_state_is_told(word: str, state: str) -> None:
    """Contact and command together."""
    assert explain(reply(0x91, "04000503", word))[0].meaning.endswith(state)


def test_records_have_their_own_time_and_are_no_readings() -> None:
    """A value of last year is not what the meter shows now."""
    (found,) = rows(capture_of("load records"))
    assert found["readings"] == []
    good, *faulty = found["details"]["records"]
    assert (good["time"], len(good["readings"])) == ("2020-12-25 10:00", 10)
    assert [one["readings"] for one in faulty] == [[], []]
    assert [one["fault"] for one in faulty] == [
        "its checksum does not fit: no values", "the meter itself holds it for invalid"
    ]  # fmt: skip


def test_records_in_parts_are_the_same_as_whole() -> None:
    """A part may end inside a block."""
    whole = rows(capture_of("load records"))[0]["details"]["records"]
    first, last = rows(capture_of("load records in two parts"))
    assert "records" not in first["details"]
    assert last["details"]["records"] == whole


def test_what_is_written_is_no_reading() -> None:
    """It stands in the details, with its words."""
    (found,) = rows(capture_of("a write in words"))
    assert (found["readings"], found["no_value"]) == ([], [])
    (written,) = found["details"]["written"]
    assert (written["value"], written["words"]) == ("5", ["quadrant 1 added", "quadrant 2 added"])


def test_told_is_not_proven() -> None:
    """Acceptance of a relay control proves nothing, extended answers included."""
    (found,) = explain(Frame(METER, 0x9C, b"").to_bytes())
    assert "told, not proven" in found.meaning
    assert "told, not proven" in meaning("a relay answer in bits")
    (found,) = explain(capture_of("a relay answer in bits"))
    assert found.details["accepted"] == ["disconnect", "waits for a smaller current"]
    (found,) = explain(capture_of("a relay refusal in bits"))
    assert (found.error_code, found.error_bits) == (
        0x28, ("authentication expired", "not opened: keep power")
    )  # fmt: skip


def test_parts_of_1997_are_joined_unless_one_may_be_lost() -> None:
    """They have no number, so a damaged frame between them leaves the last without readings."""
    first, _, last = (
        Frame(METER, control, bytes.fromhex(data)).to_bytes()
        for control, data in EXAMPLES["1997: follow-up"]
    )
    assert [one["value"] for one in rows(first + last)[-1]["readings"]] == ["0.39", "0.01", "0.02"]
    damaged = bytearray(last)
    damaged[-2] ^= 1
    for capture in (first + bytes(damaged) + last, first + last + last):
        found = rows(capture)[-1]
        assert (found["ok"], found["readings"]) == (True, [])
        assert "not in this capture" in found["meaning"]


def test_a_write_of_1997_with_an_unknown_level_is_refused() -> None:
    """Nobody knows what stands where then."""
    (found,) = rows(Frame(METER, 0x04, bytes.fromhex("11C1 10 563412 15")).to_bytes())
    assert (found["error"], found["identifier"], found["data"]) == ("value", None, 7 * MASK)


@pytest.mark.parametrize(
    ("control", "data", "protocol"),
    [
        (0x03, "1090", "dlt645-1997"),
        (0x83, "109039000000", "dlt645-1997"),
        (0xC3, "02", "dlt645-1997"),
        (0xC3, "0200", "dlt645-2007"),
        (0x83, "FF000007", "dlt645-2007"),
        (0x83, "", "dlt645-2007"),
        (0x03, "FF02000778563412", "dlt645-2007"),
        (0x83, "16C1", "dlt645-1997"),
        (0x03, "109039000000", "dlt645-2007"),
        (0x83, "109039", "dlt645-1997"),
    ],
)
def test_the_edition_of_function_03_follows_from_its_content(
    control: int, data: str, protocol: str
) -> None:
    """Read again in 1997, security in 2007."""
    (found,) = rows(Frame(METER, control, bytes.fromhex(data)).to_bytes())
    assert found["protocol"] == protocol


def test_the_exit_code_says_whether_anything_was_recognised(capsys: Any) -> None:
    """Damage that was explained is a success; noise is not."""
    wire = reply(0x91, "00010000", "26000000")
    assert run([wire.hex()], as_json=False) == 0
    assert run([wire[:-1].hex() + "17"], as_json=False) == 0
    assert run(["55 55"], as_json=True) == 1
    assert capsys.readouterr().err == ""
