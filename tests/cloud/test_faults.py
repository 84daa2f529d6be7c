"""What a fault of ours says in the log: its kind and place, no content."""

import sqlite3

from cloud.faults import fault_words


def caught(error: Exception) -> str:
    try:
        raise error
    except (ValueError, sqlite3.Error) as found:
        return fault_words(found)


def test_the_message_of_an_error_is_left_out() -> None:
    """It may quote what a message held."""
    text = caught(ValueError("secret 4711"))
    assert text.startswith("ValueError at tests/cloud/test_faults.py:") and "4711" not in text


def test_what_sqlite_says_is_kept() -> None:
    """It names tables and disks."""
    assert "(database or disk is full) at" in caught(
        sqlite3.OperationalError("database or disk is full")
    )
    assert fault_words(ValueError("never raised")) == "ValueError"
