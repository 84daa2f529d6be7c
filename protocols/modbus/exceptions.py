"""The exceptions that a Modbus unit answers with, by number (Modbus application protocol V1.1b3,
clause 7). A caller decides by the number; the words are for people."""

ILLEGAL_FUNCTION = 1
ILLEGAL_DATA_ADDRESS = 2
ILLEGAL_DATA_VALUE = 3

EXCEPTION_NAMES = {
    ILLEGAL_FUNCTION: "illegal function",
    ILLEGAL_DATA_ADDRESS: "illegal data address",
    ILLEGAL_DATA_VALUE: "illegal data value",
    4: "server device failure",
    5: "acknowledge, still at work",
    6: "server device busy",
    7: "negative acknowledge",  # only in Modicon's older reference; V1.1b3 has no 7
    8: "memory parity error",
    9: "exception 9, which no edition assigns",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
UNSUPPORTED = (ILLEGAL_FUNCTION, ILLEGAL_DATA_ADDRESS)  # the unit does not have it: do not repeat
EXCEPTION_BIT = 0x80  # of the function byte


def exception_name(code: int) -> str:
    """The exception in words; a number without a name says so."""
    return EXCEPTION_NAMES.get(code, "an unknown exception")
