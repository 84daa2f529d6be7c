"""How a fuzz test asks: the value, or the one kind of error that is allowed."""

from collections.abc import Callable
from typing import Any


def outcome(
    error: type[Exception], function: Callable[..., Any], *arguments: Any
) -> tuple[Any, str]:
    """(value, ""), or (None, what the error says); every other exception fails the test."""
    try:
        return function(*arguments), ""
    except error as raised:
        return None, getattr(raised, "reason", "") or str(raised)
