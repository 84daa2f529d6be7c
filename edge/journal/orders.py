"""The order inbox and the receipts as rows."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from protocols.orders.states import FINAL_STATES

ORDERS_KEPT = 200  # so that a redelivered one still finds its result
Receipt = tuple[int, str, bytes]  # counter, state, body


class StoredOrder(NamedTuple):
    """An order of the inbox."""

    counter: int
    order_id: bytes
    body: bytes
    expires_at: int
    state: str


def take(db: sqlite3.Connection, order: StoredOrder) -> None:
    """Writes an order."""
    db.execute("INSERT INTO order_inbox VALUES (?,?,?,?,?)", order)


def move(db: sqlite3.Connection, counter: int, state: str, receipt: bytes) -> None:
    """Gives an order its new state together with the receipt that tells it (b"" for none)."""
    db.execute("UPDATE order_inbox SET state = ? WHERE counter = ?", (state, counter))
    if receipt:
        db.execute(
            "INSERT OR REPLACE INTO receipt (counter, state, body) VALUES (?,?,?)",
            (counter, state, receipt),
        )


def take_in(
    db: sqlite3.Connection, orders: Iterable[StoredOrder], receipts: Iterable[Receipt]
) -> None:
    """Writes those of another journal that are not here yet."""
    db.executemany("INSERT OR IGNORE INTO order_inbox VALUES (?,?,?,?,?)", list(orders))
    db.executemany(
        "INSERT OR IGNORE INTO receipt (counter, state, body) VALUES (?,?,?)", list(receipts)
    )


def acknowledge(db: sqlite3.Connection, stored: Iterable[tuple[int, str]]) -> None:
    """Marks receipts that the head end has stored."""
    db.executemany(
        "UPDATE receipt SET acknowledged = 1 WHERE counter = ? AND state = ?", list(stored)
    )


def reopen(db: sqlite3.Connection, counter: int) -> None:
    """Has the receipts of an order sent again."""
    db.execute("UPDATE receipt SET acknowledged = 0 WHERE counter = ?", (counter,))


def purge(db: sqlite3.Connection) -> None:
    """The last ORDERS_KEPT stay, all that have not ended (a restore may wait for a day), and all
    whose receipts the head end lacks."""
    marks = ",".join("?" * len(FINAL_STATES))
    db.execute(
        "DELETE FROM order_inbox"  # noqa: S608 - marks
        " WHERE counter <= (SELECT max(counter) FROM order_inbox) - ?"
        f" AND state IN ({marks})"
        " AND counter NOT IN (SELECT counter FROM receipt WHERE NOT acknowledged)",
        (ORDERS_KEPT, *FINAL_STATES),
    )
    # The order of one that is not acknowledged may lie in a journal that was put aside.
    db.execute(
        "DELETE FROM receipt WHERE acknowledged"
        " AND counter NOT IN (SELECT counter FROM order_inbox)"
    )


def in_states(db: sqlite3.Connection, states: tuple[str, ...]) -> list[StoredOrder]:
    """Orders in one of `states`, oldest first."""
    marks = ",".join("?" * len(states))
    rows = db.execute(
        f"SELECT * FROM order_inbox WHERE state IN ({marks}) ORDER BY counter",  # noqa: S608
        states,
    )
    return [StoredOrder(*row) for row in rows]


def latest(db: sqlite3.Connection, limit: int) -> list[StoredOrder]:
    """The last orders, the latest first."""
    rows = db.execute("SELECT * FROM order_inbox ORDER BY counter DESC LIMIT ?", (limit,))
    return [StoredOrder(*row) for row in rows]


def order_id(db: sqlite3.Connection, counter: int) -> bytes:
    """The order that had this counter; b"" if none was taken up."""
    row = db.execute("SELECT order_id FROM order_inbox WHERE counter = ?", (counter,)).fetchone()
    return row[0] if row else b""


def receipt(db: sqlite3.Connection, counter: int, state: str) -> bytes:
    """The receipt that told this state of an order; b"" for none."""
    row = db.execute(
        "SELECT body FROM receipt WHERE counter = ? AND state = ?", (counter, state)
    ).fetchone()
    return row[0] if row else b""


def open_receipts(db: sqlite3.Connection, limit: int) -> list[Receipt]:
    """Receipts that the head end has not stored, oldest first."""
    cursor = db.execute(
        "SELECT counter, state, body FROM receipt WHERE acknowledged = 0 ORDER BY rowid LIMIT ?",
        (limit,),
    )
    return list(cursor)
