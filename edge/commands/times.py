"""Times that a person types and reads."""

from datetime import UTC, datetime, timedelta

from protocols.errors import SettingError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_ms(text: str, where: str) -> int:
    """UTC ms of an ISO 8601 date or time, which is UTC when it names no zone; SettingError with one
    sentence otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingError(
            f"{where} {text!r} is not allowed; it must be a time such as 2026-11-21T10:00:00Z"
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return (found - _EPOCH) // timedelta(milliseconds=1)


def utc_text(at: int) -> str:
    """ISO 8601 with ms of a UTC ms; the number itself where no calendar has it."""
    try:
        found = _EPOCH + timedelta(milliseconds=at)
    except OverflowError:
        return f"{at} ms"
    return found.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
