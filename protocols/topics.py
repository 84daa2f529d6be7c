"""MQTT topics: `busbar/1/{tenant}/{gateway}/{suffix}`, lower case, no personal data in any of
them."""

from collections import namedtuple

from protocols.errors import CallerError

VERSION = "1"
NAME_SIZE_MAX = (
    32  # characters of a tenant or gateway id; both stand in every topic and certificate
)
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"

DATA = "up/d"
EVENTS = "up/e"
RECEIPTS = "up/r"
HELLO = "up/h"
AUDIT = "up/l"
PRESENCE = "st"  # a hint only: unsigned
ORDERS = "dn/c"
ACKNOWLEDGEMENTS = "dn/a"
CONFIGURATION = "dn/cfg"
POLICY = "dn/p"
STOPS = "dn/s"
KEYS = "dn/k"
SUFFIXES = (
    DATA,
    EVENTS,
    RECEIPTS,
    HELLO,
    AUDIT,
    PRESENCE,
    ORDERS,
    ACKNOWLEDGEMENTS,
    CONFIGURATION,
    POLICY,
    STOPS,
    KEYS,
)


class Topic(namedtuple("Topic", ("tenant", "gateway", "suffix"))):
    """One parsed topic."""

    @classmethod
    def from_text(cls, text: str) -> "Topic":
        """CallerError when the text is not one of our topics."""
        parts = text.split("/", 4)
        if (
            len(parts) != 5
            or parts[0] != "busbar"
            or parts[1] != VERSION
            or parts[4] not in SUFFIXES
        ):
            raise CallerError("not a Busbar topic")
        if not is_name(parts[2]) or not is_name(parts[3]):
            raise CallerError("not a Busbar topic")
        return cls(parts[2], parts[3], parts[4])

    def text(self) -> str:
        """The topic as the broker sees it."""
        return f"busbar/{VERSION}/{self.tenant}/{self.gateway}/{self.suffix}"


def is_name(text: str) -> bool:
    """Whether `text` may be a tenant or gateway id: 1..32 of a-z, 0-9 and -, not starting with
    -."""
    return (
        0 < len(text) <= NAME_SIZE_MAX
        and text[0] != "-"
        and all(character in _NAME_CHARACTERS for character in text)
    )
