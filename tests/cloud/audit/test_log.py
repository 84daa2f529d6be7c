"""The log in a database: what is appended, what is promised, what an editor of rows cannot hide."""

import json
import sqlite3
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import tree
from cloud.audit.log import Checkpoints, entry_text
from tests.cloud.audit.bench import Bench, Clock


def test_an_entry_is_canonical_json() -> None:
    bench = Bench(1)
    (row,) = bench.store.entries()
    assert json.loads(row.body)["fields"] == {"state": "queued", "n": 0}
    assert row.body == json.dumps(json.loads(row.body), sort_keys=True, separators=(",", ":"))
    assert bench.store.node(0, 0) == tree.leaf_hash(row.body.encode())
    with pytest.raises(ValueError, match="JSON"):
        entry_text(0, 0, "order", "x", {"power": float("nan")})


def test_what_is_promised_holds() -> None:
    bench = Bench(0)
    assert bench.checkpoints.make() == ""
    for n in range(40):
        bench.log.append("order", f"o{n}", {"state": "draft"})
        if n % 7 == 0:
            assert bench.checkpoints.make()
            assert bench.checkpoints.make() == ""  # nothing came since
    verdict = bench.verify()
    assert verdict.finding is None
    assert (verdict.entries, verdict.checkpoints) == (40, 6)
    assert verdict.root == tree.root(40, bench.store.node)
    assert len(bench.store.entries_of("o3")) == 1


def _edit(db: sqlite3.Connection) -> None:
    db.execute("UPDATE audit_entry SET body = replace(body, 'queued', 'closed') WHERE sequence = 7")


def _edit_column(db: sqlite3.Connection) -> None:
    db.execute("UPDATE audit_entry SET subject = 'other' WHERE sequence = 7")


def _delete(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM audit_entry WHERE sequence = 7")


def _swap(db: sqlite3.Connection) -> None:
    db.execute("UPDATE audit_entry SET sequence = -1 WHERE sequence = 7")
    db.execute("UPDATE audit_entry SET sequence = 7 WHERE sequence = 8")
    db.execute("UPDATE audit_entry SET sequence = 8 WHERE sequence = -1")


def _edit_node(db: sqlite3.Connection) -> None:
    db.execute("UPDATE audit_node SET hash = zeroblob(32) WHERE level = 1 AND place = 3")


def _delete_node(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM audit_node WHERE level = 0 AND place = 7")


@pytest.mark.parametrize("edit", [_edit, _edit_column, _delete, _swap, _edit_node, _delete_node])
def test_t22_an_edit_is_found_at_its_index(edit: Callable[[sqlite3.Connection], None]) -> None:
    bench = Bench(20)
    bench.checkpoints.make()
    edit(bench.db)
    finding = bench.verify().finding
    assert finding is not None and finding.at_entry == 7, finding


def test_t22_what_is_cut_off_is_missed() -> None:
    bench = Bench(20)
    bench.checkpoints.make()
    bench.db.execute("DELETE FROM audit_entry WHERE sequence >= 15")
    finding = bench.verify().finding
    assert finding is not None and finding.at_entry == 15


def test_t22_a_log_that_was_written_anew_differs_from_what_was_promised() -> None:
    """Entries, hashes and own checkpoints all fit each other; what somebody else kept does not."""
    bench, forged = Bench(20), Bench(0)
    promised = bench.checkpoints.make()
    for n in range(20):
        forged.log.append("order", f"order-{n % 3}", {"state": "queued", "n": n if n != 7 else 8})
    forged.checkpoints.make()
    assert forged.verify().finding is None
    finding = forged.verify(promised).finding
    assert finding is not None and finding.at_entry == 19


def test_a_checkpoint_of_another_key_is_told() -> None:
    bench = Bench(5)
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    Checkpoints(bench.store, Clock(), "t1", other).make()
    finding = bench.verify().finding
    assert finding is not None and "signature" in finding.words


def test_an_entry_that_is_undone_leaves_no_trace() -> None:
    bench = Bench(6)
    bench.db.commit()
    bench.log.append("order", "x", {})
    bench.db.rollback()
    bench.log.append("order", "y", {})
    bench.checkpoints.make()
    assert bench.verify().finding is None
    assert bench.verify().entries == 7
