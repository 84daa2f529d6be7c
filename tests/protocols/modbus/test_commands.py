"""protocols/modbus/commands.py and exceptions.py: a named write to one unit, and its answers."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu.bit_message import WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
)

from protocols.errors import CallerError, LineError, RefusedError, UnsupportedError
from protocols.modbus.commands import WriteCommand, write_command
from protocols.modbus.exceptions import EXCEPTION_NAMES, UNSUPPORTED, exception_name
from protocols.modbus.model import Model, Write

COIL = Write("disconnect", 5, 0x0010, 1, 1, 0x0011, 1, 0)
WORD = Write("connect", 6, 0x0200, 0x55AA, 3, 0x0201, 0x8001, 0x8000)
WORDS = Write("arm", 16, 0x0300, 0xABCD, 4, 0x0301, 0xFFFF, 7)
MODEL = Model("m", "a meter", 3, "big", (), 125, 8, (COIL, WORD, WORDS))


def command(write: Write, unit: int = 17) -> WriteCommand:
    """The command of this write."""
    return write_command(MODEL, write.name, unit)


@pytest.mark.parametrize(
    ("write", "request_hex", "reply_hex", "state_hex"),
    [
        (COIL, "05 00 10 FF 00", "05 00 10 FF 00", "01 00 11 00 01"),
        (WORD, "06 02 00 55 AA", "06 02 00 55 AA", "03 02 01 00 01"),
        (WORDS, "10 03 00 00 01 02 AB CD", "10 03 00 00 01", "04 03 01 00 01"),
    ],
)
def test_a_write_is_framed_as_the_protocol_says(
    write: Write, request_hex: str, reply_hex: str, state_hex: str
) -> None:
    """By hand from application protocol 1.1b3, 6.5, 6.6 and 6.12."""
    one = command(write)
    assert type(one) is WriteCommand
    assert (one.unit, one.write) == (17, write)
    assert one.pdu() == bytes.fromhex(request_hex)
    assert one.state_pdu() == bytes.fromhex(state_hex)
    one.check_reply(bytes.fromhex(reply_hex))


def test_pymodbus_builds_the_same_requests() -> None:
    """A stranger's encoder, coil off included; and its echo is ours."""
    off = COIL._replace(value=0)
    for write, theirs in (
        (COIL, WriteSingleCoilRequest(address=0x10, bits=[True])),
        (off, WriteSingleCoilRequest(address=0x10, bits=[False])),
        (WORD, WriteSingleRegisterRequest(address=0x200, registers=[0x55AA])),
        (WORDS, WriteMultipleRegistersRequest(address=0x300, registers=[0xABCD])),
    ):
        pdu = bytes([theirs.function_code]) + theirs.encode()
        assert WriteCommand(1, write).pdu() == pdu
    echo = WriteMultipleRegistersResponse(address=0x300, count=1)
    command(WORDS).check_reply(bytes([echo.function_code]) + echo.encode())


@pytest.mark.parametrize("unit", [0, -1, 248, 255, True, 1.0, "1", None])
def test_no_command_goes_to_more_than_one_unit(unit: object) -> None:
    """Unit 0 would throw every relay on the line."""
    with pytest.raises(CallerError, match="one unit, 1 to 247"):
        write_command(MODEL, "connect", unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [1, 247])
def test_every_unit_of_a_line_can_be_commanded(unit: int) -> None:
    """The limits themselves."""
    assert write_command(MODEL, "connect", unit).unit == unit


def test_a_model_without_the_write_says_so() -> None:
    """Nothing is made up."""
    with pytest.raises(CallerError, match="meter model m has no close"):
        write_command(MODEL, "close", 1)
    with pytest.raises(CallerError, match="meter model m has no connect"):
        write_command(MODEL._replace(writes=(COIL,)), "connect", 1)


@pytest.mark.parametrize(
    "reply",
    ["", "05", "05 00 10 00 00", "05 00 11 FF 00", "06 00 10 FF 00", "05 00 10 FF 00 00", "86 02"],
)
def test_another_answer_is_no_echo(reply: str) -> None:
    """Nobody knows then whether the relay was thrown."""
    with pytest.raises(LineError, match="something else"):
        command(COIL).check_reply(bytes.fromhex(reply))


@pytest.mark.parametrize("code", [*range(1, 12), 0, 12, 255])
def test_a_refusal_is_named_and_says_what_to_do(code: int) -> None:
    """1 and 2: the meter does not have it. The others: not now."""
    for check, function in ((command(WORDS).check_reply, 0x10), (command(WORDS).has_state, 4)):
        with pytest.raises(RefusedError) as caught:
            check(bytes([function | 0x80, code]))
        assert isinstance(caught.value, UnsupportedError) == (code in (1, 2))
        assert (caught.value.code, caught.value.names) == (code, (exception_name(code),))
        assert f"unit 17 refused with exception {code:02X} (" in str(caught.value)


def test_every_exception_has_a_name_of_its_own() -> None:
    """1 to 11 (application protocol 1.1b3, clause 7); any other number says that it has none."""
    assert list(EXCEPTION_NAMES) == list(range(1, 12))
    assert len(set(EXCEPTION_NAMES.values())) == 11
    assert UNSUPPORTED == (1, 2)
    assert exception_name(2) == "illegal data address"
    assert exception_name(0x55) == "an unknown exception"


@pytest.mark.parametrize(
    ("write", "reply", "has_state"),
    [
        (COIL, "01 01 00", True),
        (COIL, "01 01 01", False),
        (COIL, "01 01 FE", True),  # the bits behind the one asked for say nothing
        (WORD, "03 02 80 00", True),
        (WORD, "03 02 80 01", False),
        (WORD, "03 02 FF FE", True),
        (WORD, "03 02 00 00", False),
        (WORDS, "04 02 00 07", True),
        (WORDS, "04 02 80 07", False),
    ],
)
def test_the_state_is_read_by_its_mask(write: Write, reply: str, has_state: bool) -> None:
    """Only the bits of the mask count."""
    assert command(write).has_state(bytes.fromhex(reply)) is has_state


@pytest.mark.parametrize("reply", ["", "03", "03 02 80", "04 02 80 00", "03 04 80 00 00 00"])
def test_a_damaged_state_is_no_state(reply: str) -> None:
    """It neither confirms nor denies."""
    with pytest.raises(LineError, match="read of its state"):
        command(WORD).has_state(bytes.fromhex(reply))


@given(st.binary(max_size=12), st.sampled_from((COIL, WORD, WORDS)))
def test_any_bytes_are_an_answer_or_a_named_error(pdu: bytes, write: Write) -> None:
    """The fuzz sentence."""
    for check in (command(write).check_reply, command(write).has_state):
        with suppress(LineError, RefusedError):
            assert check(pdu) in (None, True, False)
