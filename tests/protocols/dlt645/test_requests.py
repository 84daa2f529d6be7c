"""protocols/dlt645/commands.py and requests.py: a command's bytes, and what must not be sent."""

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import requests
from protocols.dlt645.clock import MeterTime
from protocols.dlt645.commands import (
    BLOCKS_MAX,
    EVERY_EVENT,
    FREEZE_NOW,
    RATES,
    BroadcastTime,
    ChangePassword,
    ChangeRate,
    ClearDemand,
    ClearEvents,
    ClearMeter,
    Freeze,
    Read,
    ReadAddress,
    ReadMore,
    ReadRecords,
    Relay,
    SecuredControl,
    SecuredWrite,
    Security,
    Terminal,
    Write,
    WriteAddress,
)
from protocols.dlt645.controls import CONTROLS, EVERYDAY, Function
from protocols.dlt645.credentials import Credentials, credentials_from_bytes
from protocols.dlt645.frame import ANY_ADDRESS, BROADCAST, Frame, decode_frame
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.relay import ACTION_NAMES, RelayAction, RelayTerms
from protocols.dlt645.requests import decode_command, read_request, request
from protocols.errors import CallerError, ValueFormatError
from tests.protocols.vectors import BY_ID, VECTORS, names, wire

METER = "123456789012"
PASSWORD = "987654"
MINE = Credentials(2, PASSWORD, "12345678")
WHO = "02 54 76 98 78 56 34 12"
ALL = tuple(sorted(CONTROLS))
TERMS = RelayTerms(tuple(ACTION_NAMES), (2, 4), True)
END_OF_YEAR = MeterTime(2026, 12, 31, 23, 59, 58)
BODY = bytes(range(20))

# Command, whom it is sent to, control byte, data without the 33h offset: typed by hand.
ON_THE_WIRE = [
    (Read("00010000"), METER, 0x11, "00 00 01 00"),
    (Read("0001FF00"), METER, 0x11, "00 FF 01 00"),
    (ReadRecords("06000000", 1, None), METER, 0x11, "00 00 00 06 01"),
    (ReadRecords("06010002", 12, None), METER, 0x11, "02 00 01 06 12"),
    (ReadRecords("06000001", 99, END_OF_YEAR._replace(second=0)), METER, 0x11,
     "01 00 00 06 99 59 23 31 12 26"),
    (ReadMore("0001FF00", 1), METER, 0x12, "00 FF 01 00 01"),
    (ReadMore("03300201", 255), METER, 0x12, "01 02 30 03 FF"),
    (ReadAddress(), ANY_ADDRESS, 0x13, ""),
    (Write("04000103", (15,), MINE), METER, 0x14, f"03 01 00 04 {WHO} 15"),
    (Write("04000101", ("26112106",), MINE), METER, 0x14, f"01 01 00 04 {WHO} 06 21 11 26"),
    (Write("04000102", ("215355",), MINE), METER, 0x14, f"02 01 00 04 {WHO} 55 53 21"),
    (Write("04001003", (12345,), MINE), METER, 0x14, f"03 10 00 04 {WHO} 45 23 01 00"),
    (Write("04000601", (5,), MINE), METER, 0x14, f"01 06 00 04 {WHO} 05"),
    (Write("04010001", ("000003", "063001"), MINE), METER, 0x14,
     f"01 00 01 04 {WHO} 03 00 00 01 30 06"),
    (Write("040502FF", (5000, 8000), MINE), METER, 0x14,
     f"FF 02 05 04 {WHO} 00 50 00 00 00 80 00 00"),
    (SecuredWrite("040502FF", 0x99, "12345678", b"\x01\x02"), METER, 0x14,
     "FF 02 05 04 99 00 00 00 78 56 34 12 01 02"),
    (WriteAddress("000000000042"), METER, 0x15, "42 00 00 00 00 00"),
    (BroadcastTime(END_OF_YEAR), BROADCAST, 0x08, "58 59 23 31 12 26"),
    (FREEZE_NOW, METER, 0x16, "99 99 99 99"),
    (FREEZE_NOW, BROADCAST, 0x16, "99 99 99 99"),
    (Freeze(None, None, 30), METER, 0x16, "30 99 99 99"),
    (Freeze(None, 0, 0), METER, 0x16, "00 00 99 99"),
    (Freeze(31, 23, 59), BROADCAST, 0x16, "59 23 31 99"),
    (ChangeRate(600), METER, 0x17, "02"),
    (ChangeRate(1200), METER, 0x17, "04"),
    (ChangeRate(2400), METER, 0x17, "08"),
    (ChangeRate(4800), METER, 0x17, "10"),
    (ChangeRate(9600), METER, 0x17, "20"),
    (ChangeRate(19200), METER, 0x17, "40"),
    (ChangePassword(4, "111222", 2, PASSWORD), METER, 0x18,
     "05 0C 00 04 02 54 76 98 04 22 12 11"),
    (ChangePassword(0, "111222", 0, PASSWORD), METER, 0x18,
     "01 0C 00 04 00 54 76 98 00 22 12 11"),
    (ChangePassword(9, "111222", 9, PASSWORD), METER, 0x18,
     "0A 0C 00 04 09 54 76 98 09 22 12 11"),
    (ClearDemand(MINE), METER, 0x19, WHO),
    (ClearMeter(MINE), METER, 0x1A, WHO),
    (ClearEvents(EVERY_EVENT, MINE), METER, 0x1B, f"{WHO} FF FF FF FF"),
    (ClearEvents("030101FF", MINE), METER, 0x1B, f"{WHO} FF 01 01 03"),
    (Relay(RelayAction.DISCONNECT, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 1A 00 58 59 23 31 12 26"),
    (Relay(RelayAction.ARM, END_OF_YEAR, MINE, 0), METER, 0x1C, f"{WHO} 1B 00 58 59 23 31 12 26"),
    (Relay(RelayAction.CONNECT, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 1C 00 58 59 23 31 12 26"),
    (Relay(RelayAction.DELAYED_ARM, END_OF_YEAR, MINE, 12), METER, 0x1C,
     f"{WHO} 1E 0C 58 59 23 31 12 26"),
    (Relay(RelayAction.ALARM_ON, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 2A 00 58 59 23 31 12 26"),
    (Relay(RelayAction.ALARM_OFF, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 2B 00 58 59 23 31 12 26"),
    (Relay(RelayAction.KEEP_POWER_ON, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 3A 00 58 59 23 31 12 26"),
    (Relay(RelayAction.KEEP_POWER_OFF, END_OF_YEAR, MINE, 0), METER, 0x1C,
     f"{WHO} 3B 00 58 59 23 31 12 26"),
    (SecuredControl(0x1C, "12345678", BODY), METER, 0x1C,
     "98 00 00 00 78 56 34 12 " + BODY.hex(" ")),
    (SecuredControl(0x19, "12345678", BODY), METER, 0x19,
     "98 00 00 00 78 56 34 12 " + BODY.hex(" ")),
    (SecuredControl(0x1A, "12345678", BODY), METER, 0x1A,
     "98 00 00 00 78 56 34 12 " + BODY.hex(" ")),
    (SecuredControl(0x1B, "12345678", BODY), METER, 0x1B,
     "98 00 00 00 78 56 34 12 " + BODY.hex(" ")),
    (Terminal(0), METER, 0x1D, "00"),
    (Terminal(1), METER, 0x1D, "01"),
    (Terminal(2), METER, 0x1D, "02"),
    (Security("070000FF", "12345678", BODY), METER, 0x03,
     "FF 00 00 07 78 56 34 12 " + BODY.hex(" ")),
    (Security("070002FF", "00000001", b""), METER, 0x03, "FF 02 00 07 01 00 00 00"),
]  # fmt: skip
COMMANDS = {type(row[0]) for row in ON_THE_WIRE}


def sent(command: object, address: str = METER) -> Frame:
    """The frame of a caller that may send everything."""
    return request(address, command, ALL, TERMS)


# ---- bytes -------------------------------------------------------------------------------------


def test_every_function_has_a_command() -> None:
    """And every command is tried below."""
    assert {row[2] for row in ON_THE_WIRE} == set(CONTROLS)
    assert len(COMMANDS) == 18


@pytest.mark.parametrize("row", ON_THE_WIRE, ids=[f"{r[2]:02X} {r[3][:24]}" for r in ON_THE_WIRE])
def test_a_command_has_the_bytes_of_the_standard(row: tuple[Any, str, int, str]) -> None:
    """Control byte and data, typed by hand; read back it is the same command."""
    command, address, control, data = row
    frame = sent(command, address)
    assert type(frame) is Frame
    assert frame == Frame(address, control, bytes.fromhex(data))
    again = decode_command(frame)
    assert type(again) is type(command)
    assert sent(again, address) == frame
    if not isinstance(command, Write):
        assert again == command


def test_a_decoded_write_says_values_where_they_say_everything() -> None:
    """Numbers, words and digits as values; times and characters as their bytes, which also hold
    the weekday and the padding."""
    frame = sent(Write("04000103", (15,), MINE))
    assert decode_command(frame) == Write("04000103", (15,), MINE)
    frame = sent(Write("04000101", ("26112106",), MINE))
    assert decode_command(frame).values == (bytes.fromhex("06211126"),)
    frame = sent(Write("04000402", ("123456789012",), MINE))
    assert decode_command(frame).values == ("123456789012",)


# ---- the vectors -------------------------------------------------------------------------------

RELAYS = [v for v in VECTORS if v.get("format") == "relay"]


@pytest.mark.parametrize("vector", RELAYS, ids=names(RELAYS))
def test_a_vectors_relay_control_is_read(vector: dict[str, Any]) -> None:
    """Level, password, operator, N1, N2 and expiry are those of the vector; no expiry is none."""
    expected = vector["expected"]
    frame = decode_frame(wire(vector))
    command = decode_command(frame)
    assert type(command) is Relay
    assert command.credentials == Credentials(
        int(expected["pa"]), expected["password"], expected["operator"]
    )
    assert command.action == int(expected["n1"], 16)
    assert command.parameter == int(expected["n2"], 16)
    if expected["expiry"] is None:
        assert command.expiry is None
        with pytest.raises(CallerError, match="needs an expiry"):
            sent(command)
        return
    assert command.expiry.text() == expected["expiry"].replace(" ", "T")
    terms = RelayTerms((command.action,), (command.credentials.level,), False)
    assert request(frame.address, command, terms=terms) == frame


def test_there_are_relay_vectors_of_several_sources() -> None:
    """So that the test above is no empty claim."""
    assert names(RELAYS) == ["v064", "v066", "v072", "v073", "v096", "v145", "v146", "v147"]


@pytest.mark.parametrize("name", ["v001", "v134", "v136", "v138", "v156", "v157", "v148"])
def test_a_vectors_request_is_built_to_the_byte(name: str) -> None:
    """Read, read following data, change rate."""
    frame = decode_frame(wire(BY_ID[name]))
    address = METER if frame.address == ANY_ADDRESS else frame.address
    assert sent(decode_command(frame), address)._replace(address=frame.address) == frame


def test_the_other_vectors_of_requests_are_read() -> None:
    """Broadcast time, write, rate, clear, security, a new address."""
    said = {name: decode_command(decode_frame(wire(BY_ID[name]))) for name in BY_ID
            if BY_ID[name]["status"] == "ok" and BY_ID[name]["direction"] == "m2s"
            and name not in ("v061", "v084", "v160")
            and BY_ID[name]["protocol"] == "2007"}  # fmt: skip
    assert said["v076"] == BroadcastTime(MeterTime(2017, 6, 5, 10, 22, 51))
    assert said["v077"] == BroadcastTime(MeterTime(2017, 6, 5, 10, 40, 25))
    assert said["v078"] == WriteAddress(BY_ID["v078"]["expected"]["new_address"])
    expected = BY_ID["v141"]["expected"]
    who = Credentials(int(expected["pa"]), expected["password"], expected["operator"])
    assert said["v141"] == Write(BY_ID["v141"]["di"], (15,), who)
    assert said["v148"] == ChangeRate(BY_ID["v148"]["expected"]["baud"])
    assert said["v150"] == ClearDemand(Credentials(4, "123456", "12345678"))
    assert type(said["v153"]) is Security
    assert said["v153"].di == "070000FF"
    assert (said["v136"].sequence, said["v138"].sequence) == (1, 2)
    assert type(said["v085"]) is Write
    assert said["v085"].di == BY_ID["v085"]["expected"]["di"]
    assert type(said["v085"].values[0]) is bytes
    assert None not in [one for name, one in said.items()]


def test_the_secured_vector_passes_through_unread() -> None:
    """Level 98, no password, twenty bytes in the order of the wire."""
    expected = BY_ID["v074"]["expected"]
    frame = decode_frame(wire(BY_ID["v074"]))
    command = decode_command(frame)
    body = bytes.fromhex(expected["cipher_wire"])
    assert command == SecuredControl(Function.RELAY, expected["operator"], body)
    assert body[::-1].hex().upper() == expected["cipher_host_order"]
    assert request(frame.address, command, terms=RelayTerms((), (), True)) == frame


@pytest.mark.parametrize("name", ["v061", "v084", "v160", "v087", "v114"])
def test_an_odd_vector_is_no_command_or_an_unknown_one(name: str) -> None:
    """A doubled offset is an unknown identifier; two bytes, binary fields and vendor codes are no
    command."""
    frame = decode_frame(wire(BY_ID[name]))
    if name == "v061":
        assert decode_command(frame) == Read("33343233")
    elif name in ("v087", "v114"):
        assert decode_command(frame) is None
    else:
        with pytest.raises(ValueFormatError):
            decode_command(frame)


# ---- what must not exist -----------------------------------------------------------------------

WILDCARDS = [ANY_ADDRESS, BROADCAST, "AAAAAAAA9012", "AA3456789012"]
NO_ADDRESSES = ["12345678901A", "12345678901", "1234567890123", "", "12345678901²"]


@pytest.mark.parametrize("address", [*WILDCARDS, *NO_ADDRESSES])
@pytest.mark.parametrize("row", ON_THE_WIRE, ids=[f"{r[2]:02X} {r[3][:24]}" for r in ON_THE_WIRE])
def test_only_clock_and_freeze_go_to_all_and_only_the_address_is_asked_of_any(
    row: tuple[Any, str, int, str], address: str
) -> None:
    """Everything else needs one meter's full address."""
    command = row[0]
    allowed = {BroadcastTime: (BROADCAST,), Freeze: (BROADCAST,), ReadAddress: (ANY_ADDRESS,)}
    if address in allowed.get(type(command), ()):
        assert sent(command, address).address == address
        return
    with pytest.raises(CallerError, match="may not be sent to") as caught:
        sent(command, address)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("command", [BroadcastTime(END_OF_YEAR), ReadAddress()])
def test_clock_and_address_are_not_asked_of_one_meter(command: object) -> None:
    """The standard has no such form."""
    with pytest.raises(CallerError, match="may not be sent to"):
        sent(command)


@pytest.mark.parametrize("row", ON_THE_WIRE, ids=[f"{r[2]:02X} {r[3][:24]}" for r in ON_THE_WIRE])
def test_a_function_that_is_not_permitted_is_not_sent(row: tuple[Any, str, int, str]) -> None:
    """Everyday functions are permitted unless the caller says otherwise; the others never."""
    command, address, control, _ = row
    without = tuple(code for code in ALL if code != control)
    for permitted in (without, ()):
        with pytest.raises(CallerError, match=f"^{CONTROLS[control].name} is not permitted here$"):
            request(address, command, permitted, TERMS)
    if control in (0x15, 0x18, 0x19, 0x1A, 0x1B):
        assert control not in EVERYDAY
        with pytest.raises(CallerError, match="is not permitted here"):
            request(address, command, terms=TERMS)
    else:
        assert request(address, command, terms=TERMS).function == control


@pytest.mark.parametrize("action", ACTION_NAMES)
def test_a_relay_control_is_sent_only_as_the_meters_model_takes_it(action: int) -> None:
    """Action and level; without terms nothing, and a secured one only where it is taken."""
    command = Relay(action, END_OF_YEAR, MINE, 0)
    others = tuple(code for code in ACTION_NAMES if code != action)
    for terms in (RelayTerms(others, (2,), True), RelayTerms((), (2,), True)):
        with pytest.raises(CallerError, match=f"does not take {ACTION_NAMES[action]} with a pass"):
            request(METER, command, terms=terms)
    for levels in ((), (4,), (1, 3)):
        with pytest.raises(CallerError, match="takes no relay control at level 2"):
            request(METER, command, terms=RelayTerms((action,), levels, True))
    with pytest.raises(CallerError):
        request(METER, command)
    assert request(METER, command, terms=RelayTerms((action,), (2,), False)).control == 0x1C


def test_a_secured_relay_control_needs_a_model_that_takes_it() -> None:
    """Without terms, and with terms for passwords alone, nothing is sent."""
    command = SecuredControl(Function.RELAY, "12345678", BODY)
    for terms in (RelayTerms((), (), False), RelayTerms(tuple(ACTION_NAMES), (2,), False)):
        with pytest.raises(CallerError, match="takes no secured relay control"):
            request(METER, command, terms=terms)
    with pytest.raises(CallerError):
        request(METER, command)


@pytest.mark.parametrize("action", [0x00, 0x19, 0x1F, 0x2C, 0xFF, 256, -1])
def test_an_unknown_relay_action_is_not_sent(action: int) -> None:
    """Not even where the terms name it."""
    command = Relay(action, END_OF_YEAR, MINE, 0)
    with pytest.raises(CallerError, match="no relay action"):
        request(METER, command, terms=RelayTerms((action,), (2,), True))


NEVER = [
    (Relay(RelayAction.ARM, None, MINE, 0), "needs an expiry"),
    (Relay(RelayAction.ARM, MeterTime(2026, 2, 29, 0, 0, 0), MINE, 0), "is no time"),
    (Relay(RelayAction.ARM, END_OF_YEAR, MINE, 256), "parameter 256"),
    (Relay(RelayAction.ARM, END_OF_YEAR, MINE, -1), "parameter -1"),
    (ClearDemand(Credentials(10, PASSWORD, "12345678")), "password level 10"),
    (ClearDemand(Credentials(-1, PASSWORD, "12345678")), "password level -1"),
    (ClearDemand(Credentials(0x98, PASSWORD, "12345678")), "password level 152"),
    (ClearMeter(Credentials(2, "98765", "12345678")), "six digits"),
    (ClearMeter(Credentials(2, "9876543", "12345678")), "six digits"),
    (ClearMeter(Credentials(2, "98765A", "12345678")), "six digits"),
    (ClearMeter(Credentials(2, "98765²", "12345678")), "six digits"),
    (ClearMeter(Credentials(2, PASSWORD, "1234567")), "eight digits"),
    (ClearMeter(Credentials(2, PASSWORD, "1234567A")), "eight digits"),
    (ClearEvents("03010101", MINE), "ends with FF"),
    (ClearEvents("FFFF", MINE), "edition 1997"),
    (ClearEvents("0301FF", MINE), "is not a data identifier"),
    (ChangePassword(2, "111222", 4, PASSWORD), "level 4 may not set the password of 2"),
    (ChangePassword(10, "111222", 2, PASSWORD), "password level 10"),
    (ChangePassword(4, "11122", 2, PASSWORD), "six digits"),
    (ChangePassword(4, "111222", 2, "98765"), "six digits"),
    (ChangeRate(0), "rate 0"),
    (ChangeRate(300), "rate 300"),
    (ChangeRate(9601), "one of 600, 1200, 2400, 4800, 9600, 19200"),
    (ChangeRate(38400), "rate 38400"),
    (Freeze(1, None, None), "not allowed in this place"),
    (Freeze(1, 1, None), "not allowed in this place"),
    (Freeze(None, 1, None), "not allowed in this place"),
    (Freeze(1, None, 1), "not allowed in this place"),
    (Freeze(None, None, 60), "60 is not allowed"),
    (Freeze(None, 24, 0), "24 is not allowed"),
    (Freeze(32, 0, 0), "32 is not allowed"),
    (Freeze(0, 0, 0), "0 is not allowed"),
    (Freeze(None, None, -1), "-1 is not allowed"),
    (Terminal(3), "output 3"),
    (Terminal(-1), "output -1"),
    (ReadMore("0001FF00", 0), "part 0"),
    (ReadMore("0001FF00", 256), "part 256"),
    (ReadMore("901F", 1), "edition 1997"),
    (Read("9010"), "edition 1997"),
    (Read("0001000"), "is not a data identifier"),
    (ReadRecords("06000000", 0, None), "0 blocks"),
    (ReadRecords("06000000", BLOCKS_MAX + 1, None), "100 blocks"),
    (ReadRecords("00010000", 1, None), "holds no load records"),
    (ReadRecords("06000001", 1, MeterTime(2100, 1, 1, 0, 0, 0)), "is no time"),
    (WriteAddress(BROADCAST), "not the address of one meter"),
    (WriteAddress(ANY_ADDRESS), "not the address of one meter"),
    (WriteAddress("12345678901"), "not the address of one meter"),
    (Write("00010000", (1,), MINE), "cannot be written"),
    (Write("04000503", (1,), MINE), "cannot be written"),
    (Write("04000C03", ("02111222",), MINE), "cannot be written"),
    (Write("04000C03", (b"\x02\x22\x12\x11",), MINE), "cannot be written"),
    (Write("FFFFFFFF", (1,), MINE), "cannot be written"),
    (Write("040605FF", (), MINE), "cannot be written: nobody tells"),
    (Write("C032", ("123456789012",), MINE), "edition 1997"),
    (Write("04000103", (), MINE), "has 1 items, not 0"),
    (Write("04000103", (1, 2), MINE), "has 1 items, not 2"),
    (Write("04000103", (100,), MINE), "does not fit|cannot hold"),
    (Write("04000103", (-1,), MINE), "cannot hold"),
    (Write("04000101", ("26023001",), MINE), "is not a time"),
    (Write("04000101", ("2602",), MINE), "8 digits are due"),
    (Write("04000103", (15,), Credentials(2, "98765", "12345678")), "six digits"),
    (SecuredWrite("04000103", 2, "12345678", b"\x15"), "must be 98 or 99"),
    (SecuredWrite("04000103", 98, "12345678", b"\x15"), "must be 98 or 99"),
    (SecuredWrite("04000103", 0x98, "1234567", b"\x15"), "eight digits"),
    (SecuredControl(0x1C, "12345678", BODY[:19]), "with 20 bytes"),
    (SecuredControl(0x1C, "12345678", BODY + b"\x00"), "with 20 bytes"),
    (SecuredControl(0x14, "12345678", BODY), "a secured control is 19"),
    (SecuredControl(0x1C, "", BODY), "eight digits"),
    (Security("070000FF", "1234567", b""), "eight digits"),
    (Security("9010", "12345678", b""), "edition 1997"),
]


@pytest.mark.parametrize(("command", "why"), NEVER, ids=[str(n) for n in range(len(NEVER))])
def test_what_must_not_exist_is_not_sent(command: object, why: str) -> None:
    """CallerError, one sentence, and neither it nor its traceback tells a password."""
    with pytest.raises(CallerError, match=why) as caught:
        sent(command)
    for told in (str(caught.value), "".join(traceback.format_exception(caught.value))):
        for secret in (PASSWORD, "98765", "111222", "222111"):
            assert secret not in told.replace(repr(command.__class__), "")


@pytest.mark.parametrize("moment", [
    MeterTime(1999, 12, 31, 23, 59, 59), MeterTime(2100, 1, 1, 0, 0, 0),
    MeterTime(2026, 0, 1, 0, 0, 0), MeterTime(2026, 13, 1, 0, 0, 0),
    MeterTime(2026, 4, 31, 0, 0, 0), MeterTime(2027, 2, 29, 0, 0, 0),
    MeterTime(2026, 1, 0, 0, 0, 0), MeterTime(2026, 1, 1, 24, 0, 0),
    MeterTime(2026, 1, 1, 0, 60, 0), MeterTime(2026, 1, 1, 0, 0, 60),
    MeterTime(2026, 1, 1, -1, 0, 0),
])  # fmt: skip
def test_no_clock_is_set_to_a_time_that_does_not_exist(moment: MeterTime) -> None:
    """Neither is an expiry; 29 February 2028 exists."""
    assert not moment.is_valid()
    with pytest.raises(CallerError, match="is no time from 2000 to 2099"):
        sent(BroadcastTime(moment), BROADCAST)
    leap = MeterTime(2028, 2, 29, 0, 0, 0)
    assert sent(BroadcastTime(leap), BROADCAST).data.hex() == "000000290228"


# ---- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "holder",
    [
        MINE,
        ChangePassword(4, "987654", 2, PASSWORD),
        Write("04000103", (15,), MINE),
        Relay(RelayAction.ARM, END_OF_YEAR, MINE, 0),
        ClearDemand(MINE),
        ClearMeter(MINE),
        ClearEvents(EVERY_EVENT, MINE),
        (MINE, [MINE], {"who": MINE}),
    ],
)
def test_no_text_of_a_command_shows_a_password(holder: Any) -> None:
    """repr, str, f-string, %s, %r, format, and inside a container."""
    texts = [
        repr(holder), str(holder), f"{holder}", f"{holder!r}", repr([holder]), str({"x": holder})
    ]  # fmt: skip
    for text in texts:
        assert PASSWORD not in text
        assert "456789" not in text
        assert "••" in text


@pytest.mark.parametrize("data", [b"", WHO.encode(), bytes(7), bytes(9), b"\x0a" + bytes(7),
                                  b"\x98" + bytes(7), b"\x02\xaa" + bytes(6)])  # fmt: skip
def test_bytes_that_are_no_credentials_are_refused(data: bytes) -> None:
    """Another length, a level that is none, digits that are none."""
    with pytest.raises(ValueFormatError):
        credentials_from_bytes(data)


def test_credentials_come_back_from_their_bytes() -> None:
    """Level first, digits low byte first."""
    assert MINE.to_bytes() == bytes.fromhex(WHO)
    assert credentials_from_bytes(MINE.to_bytes()) == MINE
    assert type(credentials_from_bytes(MINE.to_bytes())) is Credentials


# ---- the meter's side --------------------------------------------------------------------------

digits = "0123456789"
who = st.builds(Credentials, st.integers(0, 9), st.text(digits, min_size=6, max_size=6),
                st.text(digits, min_size=8, max_size=8))  # fmt: skip
operators = st.text(digits, min_size=8, max_size=8)
dis = st.text("0123456789ABCDEF", min_size=8, max_size=8)
times = st.builds(MeterTime, st.integers(2000, 2099), st.integers(1, 12), st.integers(1, 28),
                  st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))  # fmt: skip
minutes = times.map(lambda one: one._replace(second=0))
bodies = st.binary(min_size=20, max_size=20)
commands = st.one_of(
    st.builds(Read, dis),
    st.builds(ReadRecords, st.sampled_from(["06000001", "06060001"]), st.integers(1, 99),
              st.none() | minutes),
    st.builds(ReadMore, dis, st.integers(1, 255)),
    st.builds(Write, st.sampled_from(["04001001", "04000F01"]),
              st.tuples(st.integers(0, 99999999)), who),
    st.builds(Write, st.just("040502FF"),
              st.lists(st.integers(0, 99999999), min_size=1, max_size=20).map(tuple), who),
    st.builds(SecuredWrite, dis, st.sampled_from([0x98, 0x99]), operators, st.binary(max_size=99)),
    st.builds(WriteAddress, st.text(digits, min_size=12, max_size=12).filter(
        lambda one: one != BROADCAST)),
    st.builds(Freeze, st.none(), st.none(), st.none() | st.integers(0, 59)),
    st.builds(Freeze, st.none() | st.integers(1, 31), st.integers(0, 23), st.integers(0, 59)),
    st.builds(ChangeRate, st.sampled_from(sorted(RATES))),
    st.builds(ChangePassword, st.integers(5, 9), st.text(digits, min_size=6, max_size=6),
              st.integers(0, 5), st.text(digits, min_size=6, max_size=6)),
    st.builds(ClearDemand, who),
    st.builds(ClearMeter, who),
    st.builds(ClearEvents, dis.map(lambda di: di[:6] + "FF"), who),
    st.builds(Relay, st.sampled_from(sorted(ACTION_NAMES)), times, who, st.integers(0, 255)),
    st.builds(SecuredControl, st.sampled_from([0x19, 0x1A, 0x1B, 0x1C]), operators, bodies),
    st.builds(Terminal, st.integers(0, 2)),
    st.builds(Security, dis, operators, st.binary(max_size=99)),
)  # fmt: skip


@given(commands)
def test_reading_a_command_is_the_inverse_of_requesting_it(command: Any) -> None:
    """Every command of every kind, through the bytes on the line."""
    terms = RelayTerms(tuple(ACTION_NAMES), tuple(range(10)), True)
    frame = request(METER, command, ALL, terms)
    again = decode_command(decode_frame(frame.to_bytes(4)))
    assert again == command
    assert type(again) is type(command)


@given(times)
def test_reading_the_clock_is_the_inverse_of_setting_it(moment: MeterTime) -> None:
    """Seconds first."""
    frame = request(BROADCAST, BroadcastTime(moment))
    assert frame.data[0] == int(str(moment.second), 16)
    assert decode_command(frame) == BroadcastTime(moment)


@pytest.mark.parametrize(
    ("control", "data"),
    [
        (0x11, ""), (0x11, "00 00 01"), (0x11, "00 00 01 00 01"), (0x11, "01 00 00 06 01 00"),
        (0x11, "01 00 00 06 0A"), (0x11, "01 00 00 06 01 00 00 32 12 26"), (0x12, "00 FF 01 00"),
        (0x12, "00 FF 01 00 01 02"), (0x13, "00"), (0x14, "03 01 00 04 02 56 34 12 78 56 34"),
        (0x14, "03 01 00 04 0A 56 34 12 78 56 34 12 15"),
        (0x14, "03 01 00 04 02 56 34 12 78 56 34 12 1A"),
        (0x14, "03 0C 00 04 02 56 34 12 78 56 34 12 03 22 12 11"),
        (0x14, "03 0C 00 04 02 56 34 12 78 56 34 12 03 22 12 11 00"),
        (0x15, "12 90 78 56 34"), (0x15, "12 90 78 56 34 AA"), (0x08, "51 22 10 05 06"),
        (0x08, "00 00 00 00 00 00"), (0x08, "51 22 10 31 06 17"), (0x08, "60 22 10 05 06 17"),
        (0x16, "99 99 99"), (0x16, "99 99 99 12"), (0x16, "99 01 99 99"), (0x16, "60 99 99 99"),
        (0x16, "00 00 00 99"), (0x16, "22 0C 14 99"), (0x17, ""), (0x17, "00"), (0x17, "0C"),
        (0x17, "01"), (0x17, "80"), (0x17, "32"), (0x17, "08 08"),
        (0x18, "05 0C 00 04 02 54 76 98 04 22 12"), (0x18, "05 0C 00 04 02 54 76 98 05 22 12 11"),
        (0x18, "0B 0C 00 04 02 54 76 98 0A 22 12 11"),
        (0x18, "00 0C 00 04 02 54 76 98 FF 22 12 11"),
        (0x18, "05 0D 00 04 02 54 76 98 04 22 12 11"),
        (0x18, "05 0C 00 04 0A 54 76 98 04 22 12 11"),
        (0x18, "05 0C 00 04 98 54 76 98 04 22 12 11"),
        (0x18, "05 0C 00 04 02 5A 76 98 04 22 12 11"),
        (0x19, "02 56 34 12"), (0x1A, WHO + " 00"), (0x1A, "98" + " 00" * 26), (0x1B, WHO),
        (0x1C, WHO),
        (0x1C, WHO + " 1A 00 58 59 23 31 12"), (0x1C, WHO + " 1A 00 58 59 23 32 12 26"),
        (0x1C, WHO + " 1A 00 5A 59 23 31 12 26"),
        (0x1D, ""), (0x1D, "00 00"), (0x03, "FF 00 00 07"),
        (0x03, "FF 00 00 07 0A 00 00 00"),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_refused_by_the_meter(control: int, data: str) -> None:
    """ValueFormatError, which never repeats a password."""
    with pytest.raises(ValueFormatError) as caught:
        decode_command(Frame(METER, control, bytes.fromhex(data)))
    assert "987654" not in str(caught.value)


@pytest.mark.parametrize("control", [c for c in range(32) if c not in CONTROLS])
def test_a_function_outside_the_table_is_no_command(control: int) -> None:
    """Vendor codes and those of 1997."""
    assert decode_command(Frame(METER, control, b"\x00\x00\x01\x00")) is None


@given(st.integers(0, 255), st.binary(max_size=40) | st.tuples(
    st.sampled_from([bytes.fromhex(row[3]) for row in ON_THE_WIRE]), st.binary(max_size=3)
).map(b"".join))  # fmt: skip
def test_any_request_is_a_command_nothing_or_a_value_format_error(
    control: int, data: bytes
) -> None:
    """The fuzz sentence of the requests."""
    try:
        command = decode_command(Frame(METER, control, data))
    except ValueFormatError:
        return
    assert (command is None) == (control not in CONTROLS)
    assert command is None or type(command) in COMMANDS


ENERGY = bytes((0, 0, 1, 0))

# ---- the everyday read -------------------------------------------------------------------------

FORWARD = b"\x00\x00\x01\x00"


@given(st.text(digits, min_size=12, max_size=12).filter(lambda one: one != BROADCAST), dis)
def test_the_everyday_read_is_the_long_way_byte_by_byte(address: str, di: str) -> None:
    """The first time and again."""
    long_way = request(address, Read(di)).to_bytes(4)
    assert read_request(address, identifier_bytes(di)) == long_way
    assert read_request(address, identifier_bytes(di)) == long_way


def test_what_an_everyday_read_remembers_is_bounded() -> None:
    """Meters come and go."""
    for number in range(3000):
        read_request(f"{number:012d}", ENERGY)
        read_request(METER, number.to_bytes(4, "little"))
        assert len(requests._heads) + len(requests._tails) <= requests._REMEMBERED_MAX + 2
    assert read_request(METER, ENERGY) == request(METER, Read("00010000")).to_bytes(4)


@pytest.mark.parametrize("address", [*WILDCARDS, *NO_ADDRESSES])
def test_the_everyday_read_asks_one_meter(address: str) -> None:
    """As the long way; a wrong identifier is no way in either."""
    read_request(METER, ENERGY)
    with pytest.raises(CallerError):
        read_request(address, ENERGY)
    for di in (b"\x10\x90", b"\x00\x00\x01", b""):
        with pytest.raises(CallerError):
            read_request(METER, di)
