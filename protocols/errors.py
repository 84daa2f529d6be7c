"""Errors named by what the caller does next.

* `LineError`: the wire failed; ask again.
* `RefusedError`: the meter answered no; do not ask again now.
* `UnsupportedError`: the meter does not have it; drop it from the schedule.
* `ValueFormatError`: the frame is good, the value is not; keep the frame, refuse the value.
* `CallerError`: our own mistake; nothing was sent.
* `EnvelopeError`: the message is not what it claims; drop and count it.
* `SettingError`: a person wrote something that is not allowed; show the sentence.
"""


class BusbarError(Exception):
    """Root of every error that Busbar raises on purpose."""


class LineError(BusbarError):
    """The exchange failed on the wire: silence, damage, or somebody else's answer."""


class FrameError(LineError):
    """Bytes that are not a frame. `reason` is one word: start1, start2, truncated, checksum, end,
    trailing, address."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason


class RefusedError(BusbarError):
    """The meter answered with an error; `code` is its raw error number, `names` its set bits."""

    def __init__(self, message: str, code: int, names: tuple = ()) -> None:
        super().__init__(message)
        self.code = code
        self.names = names


class UnsupportedError(RefusedError):
    """The meter says that it does not have the item asked for."""


class ValueFormatError(BusbarError):
    """Well-framed data that is no value of its item: wrong length, a digit above 9."""


class CallerError(BusbarError):
    """A request that must not exist, such as an order to a wildcard address."""


class EnvelopeError(BusbarError):
    """A message that fails a check. `reason` is one word, and never tells a secret."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason


class SettingError(BusbarError):
    """One sentence for a person: which key, which value, what is allowed."""
