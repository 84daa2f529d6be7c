"""Relay control (function 1C): what the command byte N1 means, what a model takes, what it answers.

A reply of 9C says that the meter has accepted, not that a contact has moved: only status word 3
(04000503) shows that, bit 4 the contact, bit 6 the command. After ARM the contact stays open until
somebody presses the button at the meter.
"""

from collections import namedtuple


class RelayAction:
    """N1. The words are those of the field: disconnect, arm (permit to close), connect."""

    DISCONNECT = 0x1A
    ARM = 0x1B
    CONNECT = 0x1C
    DELAYED_CONNECT = 0x1D
    DELAYED_ARM = 0x1E
    ALARM_ON = 0x2A
    ALARM_OFF = 0x2B
    KEEP_POWER_ON = 0x3A
    KEEP_POWER_OFF = 0x3B


ACTION_NAMES = {
    RelayAction.DISCONNECT: "disconnect",
    RelayAction.ARM: "arm",
    RelayAction.CONNECT: "connect",
    RelayAction.DELAYED_CONNECT: "delayed_connect",
    RelayAction.DELAYED_ARM: "delayed_arm",
    RelayAction.ALARM_ON: "alarm_on",
    RelayAction.ALARM_OFF: "alarm_off",
    RelayAction.KEEP_POWER_ON: "keep_power_on",
    RelayAction.KEEP_POWER_OFF: "keep_power_off",
}
ACTION_BY_NAME = {name: code for code, name in ACTION_NAMES.items()}
# Two sources contradict each other on them: one opens first and closes (or permits to) after N2 x
# 5 minutes, the other only closes later. The meter vendor's text decides.
DELAYED = (RelayAction.DELAYED_CONNECT, RelayAction.DELAYED_ARM)

# One source: PA = 98 with P2 = 01 asks for two more bytes in the reply.
ACCEPTED_BITS = {
    0: "connect", 1: "arm", 2: "disconnect", 3: "disconnect later", 4: "disconnect and close again",
    5: "waits for a smaller current", 8: "keep power", 9: "keep power off", 10: "alarm",
    11: "alarm off",
}  # fmt: skip
REFUSED_BITS = {
    0: "suspended", 1: "authentication code wrong", 2: "password wrong or not authorised",
    3: "authentication expired", 4: "expiry not valid", 5: "not opened: keep power",
    6: "not closed again", 7: "not closed again", 8: "not closed again",
}  # fmt: skip
OPEN_BIT = 4  # of status word 3: the contact
OPEN_COMMAND_BIT = 6  # of status word 3: what the meter was told


class RelayTerms(namedtuple("RelayTerms", ("plain", "levels", "secured"))):
    """What one meter model takes: the actions allowed with a plaintext password, the password
    levels that may send them, and whether it takes the secured form."""


# Nothing in plain text until the model of the meter says otherwise: what a password may send
# differs from maker to maker, and a refused disconnect is better than a surprising one.
UNKNOWN_TERMS = RelayTerms((), (), False)


def relay_state(word: int) -> str:
    """Status word 3 as the relay's state: connected, disconnected, armed (the contact is open and
    the meter permits to close it), or opening (told to open, not yet open)."""
    is_open, is_told = word >> OPEN_BIT & 1, word >> OPEN_COMMAND_BIT & 1
    if is_open:
        return "disconnected" if is_told else "armed"
    return "opening" if is_told else "connected"
