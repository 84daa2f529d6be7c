"""The control byte: what each function is, whom it may address, how it is answered, how refused.

One table serves master and meter. D7 of the control byte marks a reply, D6 an abnormal one, D5 that
more parts follow; D4..D0 are the function (DL/T 645-2007 clause 5, as far as public sources agree).
"""

from collections import namedtuple

from protocols.dlt645.frame import FUNCTION_MASK


class Function:
    """D4..D0 of the control byte, edition 2007; the reads of edition 1997 are apart."""

    SECURITY = 0x03
    BROADCAST_TIME = 0x08
    READ = 0x11
    READ_MORE = 0x12
    READ_ADDRESS = 0x13
    WRITE = 0x14
    WRITE_ADDRESS = 0x15
    FREEZE = 0x16
    CHANGE_RATE = 0x17
    CHANGE_PASSWORD = 0x18
    CLEAR_DEMAND = 0x19
    CLEAR_METER = 0x1A
    CLEAR_EVENTS = 0x1B
    RELAY = 0x1C
    TERMINAL = 0x1D
    READ_1997 = 0x01
    READ_MORE_1997 = 0x02
    READ_AGAIN_1997 = 0x03


# Whom a request may address. The search (`search`) leaves digits of a read open, nobody else.
METER = "one meter"
ALL_METERS = "all meters"
ANY_METER = "the only meter of a line"

# What a normal reply carries.
NOTHING = "nothing"
IDENTIFIED = "the identifier asked, and data"
NUMBERED = "the identifier asked, data, and the number of the part"
ECHO = "what was asked, once more"
OWN_ADDRESS = "the meter's address"
NO_REPLY = "no reply"


class Control(namedtuple("Control", ("name", "targets", "reply", "is_everyday"))):
    """One function: whom it may address, what answers it, and whether a gateway in production may
    send it."""


CONTROLS = {
    Function.SECURITY: Control("security authentication", (METER,), IDENTIFIED, True),
    Function.BROADCAST_TIME: Control("broadcast time", (ALL_METERS,), NO_REPLY, True),
    Function.READ: Control("read", (METER,), IDENTIFIED, True),
    Function.READ_MORE: Control("read following data", (METER,), NUMBERED, True),
    Function.READ_ADDRESS: Control("read address", (ANY_METER,), OWN_ADDRESS, True),
    Function.WRITE: Control("write", (METER,), NOTHING, True),
    Function.WRITE_ADDRESS: Control("write address", (METER,), NOTHING, False),
    Function.FREEZE: Control("freeze", (METER, ALL_METERS), NOTHING, True),
    Function.CHANGE_RATE: Control("change rate", (METER,), ECHO, True),
    Function.CHANGE_PASSWORD: Control("change password", (METER,), ECHO, False),
    Function.CLEAR_DEMAND: Control("clear maximum demand", (METER,), NOTHING, False),
    Function.CLEAR_METER: Control("clear meter", (METER,), NOTHING, False),
    Function.CLEAR_EVENTS: Control("clear events", (METER,), NOTHING, False),
    Function.RELAY: Control("relay control", (METER,), NOTHING, True),
    Function.TERMINAL: Control("multifunction terminal", (METER,), ECHO, True),
}
EVERYDAY = tuple(sorted([code for code, one in CONTROLS.items() if one.is_everyday]))
FUNCTION_NAMES = {code: one.name for code, one in CONTROLS.items()}
# Edition 1997 uses the same frame with these codes; they do not overlap but for 03 and 08.
FUNCTION_NAMES_1997 = {
    0x01: "read",
    0x02: "read following data",
    0x03: "read again",
    0x04: "write",
    0x0A: "write address",
    0x0C: "change rate",
    0x0F: "change password",
    0x10: "clear maximum demand",
}

ERROR_BITS = (
    "other error",
    "no requested data",
    "password wrong or not authorised",
    "rate cannot be changed",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved",
)
ERROR_BITS_1997 = (
    "illegal data",
    "no requested data",
    "password wrong",
    "reserved",
    "too many year zones",
    "too many day periods",
    "too many tariffs",
    "reserved",
)
# Of the two error bytes of function 03. Bits 7, 8 and 15 are later additions of one source.
SECURITY_ERROR_BITS = {
    0: "other error",
    1: "recharged already",
    2: "verification by the security module failed",
    3: "identity authentication failed or expired",
    4: "customer number does not match",
    5: "purchase count wrong",
    6: "recharge exceeds the hoarding limit",
    7: "address wrong",
    8: "meter suspended after too many failures",
    15: "setting password wrong",
}
NO_DATA_BIT = 1  # of the error byte: the meter does not have it


def function_name(control: int) -> str:
    """The function of a control byte in words."""
    function = control & FUNCTION_MASK
    return FUNCTION_NAMES.get(function) or FUNCTION_NAMES_1997.get(function) or "vendor function"


def error_names(code: int, bits: tuple = ERROR_BITS) -> tuple:
    """The set bits of an error byte in words, lowest first (DL/T 645-2007, abnormal reply)."""
    return tuple([name for bit, name in enumerate(bits) if code >> bit & 1])


def security_error_names(code: int) -> tuple:
    """The set bits of the two error bytes (SERR) of function 03, lowest first. The first byte is
    the low one (two sources against one)."""
    return tuple(
        [SECURITY_ERROR_BITS.get(bit, f"bit {bit}") for bit in range(16) if code >> bit & 1]
    )
