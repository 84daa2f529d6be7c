"""A fault of our own in the log: what and where, never the content it happened on."""

import sqlite3
import traceback
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def fault_words(error: BaseException) -> str:
    """`TypeError at cloud/ingest/sets.py:88`. SQLite's own sentences name tables and disks, never
    values, and are added; any other message may quote content, and is not."""
    name = type(error).__name__
    if isinstance(error, sqlite3.Error):
        name += f" ({error})"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return name
    last = Path(frames[-1].filename)
    shown = last.relative_to(_ROOT) if last.is_relative_to(_ROOT) else last.name
    return f"{name} at {shown}:{frames[-1].lineno}"
