"""Opens the journal at a start, with patience: a disk that refuses once is no reason to give up."""

import sqlite3
from collections.abc import Callable

from edge.journal.damage import JournalRefusedError
from edge.journal.store import Journal

TRIES = 5
PAUSE_S = 1.0


def open_patiently(
    journal: Journal, make_room: Callable[[], None], sleep: Callable[[float], None]
) -> None:
    """Opens it at the first attempt or a later one; JournalRefusedError with one sentence when none
    helps. `make_room` gives up what was kept back: a start needs room too."""
    reason: Exception | None = None
    for attempt in range(TRIES):
        if attempt > 1:
            sleep(PAUSE_S)
        try:
            journal.open()
            return
        except JournalRefusedError:
            raise
        except (sqlite3.Error, OSError) as error:
            reason = error
            make_room()
    journal.abandon()
    raise JournalRefusedError(
        f"{journal.path} can not be opened ({reason}); it must be a file that we may read and"
        " write, on a disk with room, and it is left as it is"
    ) from reason
