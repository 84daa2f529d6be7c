"""The log as files that an auditor takes away: entries as they were hashed, and what was promised.

`scripts/verify_audit.py` reads them, which shares no code with this.
"""

import os
from pathlib import Path

from cloud.store.audit import AuditStore
from protocols.errors import CallerError

ENTRIES, CHECKPOINT = "log.jsonl", "checkpoint"


def export(store: AuditStore, folder: Path) -> int:
    """Writes the log into a new folder and gives the number of its entries. CallerError when the
    folder exists, or nothing was promised yet."""
    signed = promised(store)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise CallerError(f"{folder} exists; name a folder that does not") from None
    count = 0
    with (folder / ENTRIES).open("w", encoding="ascii", newline="\n") as file:
        for row in store.entries():
            file.write(row.body + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    (folder / CHECKPOINT).write_text(signed, encoding="utf-8")
    return count


def promised(store: AuditStore) -> str:
    """The newest checkpoint with the lines of its witnesses; CallerError without one."""
    row = store.last_checkpoint()
    if row is None:
        raise CallerError("the log has no checkpoint yet; the service makes one each minute")
    return row.note + "".join(store.cosignatures(row.size))
