"""The log of all orders before an auditor: what the commands write, a program that shares no code
with ours verifies; and whoever edits something is found out."""

import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.__main__ import main
from cloud.audit import note
from cloud.audit.serve import WitnessServer
from cloud.audit.verify import require_key
from cloud.audit.witness import Witness
from cloud.ingest.mailbox import Mailbox
from cloud.orders.control import ControlServer
from cloud.service import Service
from protocols.audit.chain import AuditBatch, Entry, entry_bytes, first_hash
from protocols.envelope.keys import ESP256, Use
from protocols.messages import AUDIT, Order
from protocols.orders.approvals import approval_bytes
from tests.cloud.orders.headend import MINUTE, Body, HeadEnd
from tests.cloud.world import PROVIDER, TENANT, make_key

SCRIPT = Path(__file__).parents[3] / "scripts" / "verify_audit.py"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WITNESS = note.verifier_of("witness", WITNESS_KEY, note.COSIGNATURE)


class Auditor(NamedTuple):
    """Somebody at the head end's machine, and the order that is looked into."""

    head: HeadEnd
    order: str
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: object, code: int = 0) -> str:
        """A command, on the head end itself."""
        config = str(self.head.world.config)
        assert main([*map(str, words), "--config", config]) == code, self.capsys.readouterr()
        return self.capsys.readouterr().out

    def key(self) -> str:
        return self.run("audit", "key").strip()

    def bundle(self) -> Body:
        """What `audit bundle` writes of the order."""
        path = self.folder / f"bundle-{len(list(self.folder.iterdir()))}"
        self.run("audit", "bundle", self.order[:8], "--out", path)
        found: Body = json.loads(path.read_text())
        return found

    def judged(self, what: Body | Path, *more: str, code: int = 0) -> str:
        """What the stranger's program says; it finds no module of ours."""
        path = what if isinstance(what, Path) else self.folder / "judged.json"
        if not isinstance(what, Path):
            path.write_text(json.dumps(what))
        command = [sys.executable, "-I", str(SCRIPT), "--log-key", self.key(), *more, str(path)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, cwd=self.folder
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def approvers(self) -> tuple[str, ...]:
        """The keys as their owners gave them to the auditor."""
        words: list[str] = []
        for name in ("anna", "ben"):
            public = self.head.keys[name].record.public.hex()
            words += ["--approver-key", f"person:{name}={public}"]
        return tuple(words)

    def promise(self) -> None:
        """A checkpoint over all that is logged."""
        self.head.core.desk.promises.make()
        self.head.core.ingest.commit()

    def edit(self, old: str, new: str) -> int:
        """A row is edited by somebody who has the file; its sequence."""
        db = self.head.db
        row = db.execute(
            "SELECT sequence FROM audit_entry WHERE subject = ? AND instr(body, ?)",
            (self.order, old),
        ).fetchone()
        statement = "UPDATE audit_entry SET body = replace(body, ?, ?) WHERE sequence = ?"
        db.execute(statement, (old, new, row[0]))
        return int(row[0])


def tell_chain(head: HeadEnd, order: Order) -> None:
    """The gateway's own chain: the last entries are about the order."""
    entries, last = [], first_hash(TENANT, "gw1", head.gateway.epoch)
    for n, kind in enumerate(("start", "order-armed", "order-sent", "order-confirmed"), 1):
        about = order.order_id if n > 1 else b""
        entry = Entry(n, head.now, 3, kind, "m0001", about, {"n": n})
        entries.append(entry_bytes(PROVIDER, entry))
    batch = AuditBatch(1, last, tuple(entries))
    assert head.say(head.gateway.seal(AUDIT, batch.to_body())) == ""


@pytest.fixture
def auditor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Auditor]:
    """A cut that two people approved, which its gateway has carried out and told of."""
    head = HeadEnd(tmp_path, meters=2)
    shown = head.cut()
    head.dispatch()
    ((claims, order),) = head.orders_heard()
    head.puback()
    head.wait(MINUTE)
    head.tell(order, claims.sequence, "verified", "prechecked", "armed", "sent", "acked")
    facts = (("relay after", "open"), ("records", "+1"))
    head.tell(order, claims.sequence, "confirmed", facts=facts)
    tell_chain(head, order)
    folder = tmp_path / "auditor"
    folder.mkdir()
    found = Auditor(head, shown["order"], folder, capsys)
    found.promise()
    yield found
    head.close()


# ---- what holds ---------------------------------------------------------------------------------


def test_the_log_holds(auditor: Auditor) -> None:
    """By our own command, by the key that somebody was given, and by a note that was kept."""
    told = auditor.run("audit", "verify")
    assert "all holds" in told
    kept = auditor.folder / "kept"
    kept.write_text(auditor.bundle()["checkpoint"])
    words = ("--log-key", auditor.key(), "--checkpoint", kept, "--json")
    verdict = json.loads(auditor.run("audit", "verify", *words))
    assert verdict["holds"] and verdict["entries"] == len(auditor.head.audit())
    assert verdict["checkpoints"] >= 2 and verdict["at_entry"] is None


def test_an_export_holds_for_a_stranger(auditor: Auditor) -> None:
    """Every entry, hashed by other code to the root that was signed."""
    folder = auditor.folder / "log"
    count = len(auditor.head.audit())
    assert f"{count} entries" in auditor.run("audit", "export", "--out", folder)
    told = auditor.judged(folder)
    assert told.splitlines()[-1] == "all holds" and f"{count} entries of busbar/{TENANT}" in told
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    (folder / "log.jsonl").write_text("".join(lines[:-1]))
    assert "are missing" in auditor.judged(folder, code=1)


def test_a_bundle_holds_for_a_stranger(auditor: Auditor) -> None:
    """I31: who asked, who agreed, what the gateway's own chain says, under one signed root."""
    document = auditor.bundle()
    told = auditor.judged(document, *auditor.approvers())
    assert told.splitlines()[-1] == "all holds"
    assert "disconnect of m0001" in told
    assert "approved by person:anna, person:ben; the keys of 2 of them were given" in told
    assert "3 entries of gateway gw1 follow each other" in told
    kinds = [json.loads(one["body"])["kind"] for one in document["entries"]]
    assert {"order-draft", "order-approval", "order-sealed", "order-confirmed"} <= set(kinds)
    assert kinds[-1] == "gateway-audit"


def test_a_later_entry_does_not_void_a_bundle(auditor: Auditor) -> None:
    """A bundle is judged by the checkpoint in it; one that is made later by a later one."""
    first = auditor.bundle()
    auditor.head.cut("m0002")
    auditor.promise()
    second = auditor.bundle()
    assert first["checkpoint"] != second["checkpoint"]
    for document in (first, second):
        assert "all holds" in auditor.judged(document, *auditor.approvers())


def test_what_there_is_nothing_to_prove_of(auditor: Auditor) -> None:
    """A draft, an order that is none, a folder and a file that are there."""
    draft = auditor.head.propose("m0002", submit=False)["order"]
    for words, said in (
        (("bundle", draft, "--out", "x"), "never submitted"),
        (("bundle", "0000beef", "--out", "x"), "no order starts so"),
        (("bundle", "ab", "--out", "x"), "at least 4"),
        (("bundle", auditor.order, "--out", str(auditor.folder)), "File exists"),
        (("export", "--out", str(auditor.folder)), "exists"),
        (("verify", "--log-key", WITNESS.text()), "a witness's"),
        (("cosign", "--url", "http://x", "--witness-key", auditor.key()), "not a witness's"),
    ):
        config = str(auditor.head.world.config)
        assert main(["audit", *words, "--config", config]) == 2
        assert said in auditor.capsys.readouterr().err


# ---- what does not ------------------------------------------------------------------------------


def test_t22_the_triggers_refuse_an_edit(auditor: Auditor) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        auditor.edit("person:olga", "person:anna")


def test_t22_a_dropped_trigger_and_an_edited_row(auditor: Auditor) -> None:
    """Our command tells which entry; the export and the bundle of it are wrong for a stranger."""
    auditor.head.db.execute("DROP TRIGGER audit_entry_is_fixed")
    place = auditor.edit("person:anna", "person:carl")
    told = auditor.run("audit", "verify", code=1)
    assert told.startswith("wrong:") and str(place) in told
    folder = auditor.folder / "log"
    auditor.run("audit", "export", "--out", folder)
    assert "WRONG: the entries are not those" in auditor.judged(folder, code=1)
    assert f"WRONG: entry {place} is not in it" in auditor.judged(auditor.bundle(), code=1)


def _forged(auditor: Auditor, document: Body, name: str) -> Body:
    """An approval that this name would have given, by a key that nobody knows."""
    key = make_key("person:" + name, Use.APPROVE)
    digest, at = bytes.fromhex(document["order"]["digest"]), auditor.head.now
    data = approval_bytes(PROVIDER, digest, "person:" + name, at)
    signature = PROVIDER.signer(ESP256, key.private).sign(data).hex()
    given = {"approver": "person:" + name, "kid": key.record.kid.hex(), "at": at}
    return {**given, "signature": signature, "public": key.record.public.hex()}


def _other_key(auditor: Auditor, document: Body) -> None:
    document["approvals"][0] = _forged(auditor, document, "anna")


def _unlogged(auditor: Auditor, document: Body) -> None:
    document["approvals"][0] = _forged(auditor, document, "carl")


def _requester(auditor: Auditor, document: Body) -> None:
    document["approvals"][0] = _forged(auditor, document, "olga")


def _twice(_auditor: Auditor, document: Body) -> None:
    document["approvals"][1] = document["approvals"][0]


def _alone(_auditor: Auditor, document: Body) -> None:
    del document["approvals"][1]


def _digest(_auditor: Auditor, document: Body) -> None:
    document["order"]["digest"] = "00" * 32


def _meter(_auditor: Auditor, document: Body) -> None:
    document["order"]["meter"] = "m0002"


def _frozen(_auditor: Auditor, document: Body) -> None:
    """Another meter throughout, with the digest that fits."""
    other = document["order"]["frozen"].replace(b"m0001".hex(), b"m0002".hex())
    document["order"].update(frozen=other, meter="m0002")
    document["order"]["digest"] = hashlib.sha256(bytes.fromhex(other)).hexdigest()


def _entry(_auditor: Auditor, document: Body) -> None:
    one = document["entries"][0]
    one["body"] = one["body"].replace("olga", "anna")


def _chain(_auditor: Auditor, document: Body) -> None:
    entries = document["gateway_audit"]["entries"]
    entries[0] = entries[0].replace(b"m0001".hex(), b"m0002".hex())


def _checkpoint(_auditor: Auditor, document: Body) -> None:
    origin, size, rest = document["checkpoint"].split("\n", 2)
    document["checkpoint"] = f"{origin}\n{int(size) - 1}\n{rest}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_key, "person:anna has not approved this order"),
        (_unlogged, "the log does not tell of the approval of person:carl"),
        (_requester, "person:olga asked for the order and approved it"),
        (_twice, "person:anna approved it twice"),
        (_alone, "disconnect takes 2 approvals, 1 were given"),
        (_digest, "the digest is not that of the frozen order"),
        (_meter, "the order's meter is another one than was frozen"),
        (_frozen, "the log tells another digest"),
        (_entry, "is not in it"),
        (_chain, "the gateway's chain is not the one that was logged"),
        (_checkpoint, "the signature of busbar/"),
    ],
)
def test_i31_a_bundle_that_was_changed_is_wrong(
    auditor: Auditor, change: Callable[[Auditor, Body], None], said: str
) -> None:
    """One thing at a time; before it, the bundle holds."""
    document = auditor.bundle()
    assert "all holds" in auditor.judged(document, *auditor.approvers())
    change(auditor, document)
    told = auditor.judged(document, *auditor.approvers(), code=1)
    assert told.startswith("WRONG: ") and said in told


# ---- a witness ----------------------------------------------------------------------------------


@pytest.fixture
def url(auditor: Auditor) -> Iterator[str]:
    """A witness that watches this log, and the head end's service behind its control socket."""
    folder = auditor.folder / "witness"
    folder.mkdir()
    log = require_key(auditor.key())
    witness = Witness(folder, "witness", WITNESS_KEY, [log], lambda: 1_790_000_000)
    server = WitnessServer(("127.0.0.1", 0), witness)
    core, world, mailbox = auditor.head.core, auditor.head.world, Mailbox(100)
    service = Service(
        mailbox, core.ingest, core.desk, core.configs, world.broker, world.clock, 40, 20
    )
    control = ControlServer(world.settings().state_dir, mailbox)
    threads = [threading.Thread(target=one) for one in (server.serve_forever, service.run)]
    for one in threads:
        one.start()
    control.start()
    yield f"http://127.0.0.1:{server.server_port}"
    control.stop()
    service.stop()
    server.shutdown()
    server.server_close()
    for one in threads:
        one.join()
    assert service.failed is None


def test_a_witness_signs_and_a_stranger_asks_for_it(auditor: Auditor, url: str) -> None:
    """The line is kept with the checkpoint, and travels with each bundle and export."""
    words: tuple[Any, ...] = ("--url", url, "--witness-key", WITNESS.text())
    wanted = ("--witness-key", WITNESS.text())
    assert "WRONG: witness has not signed" in auditor.judged(auditor.bundle(), *wanted, code=1)
    assert "witness has signed" in auditor.run("audit", "cosign", *words)
    assert "all holds" in auditor.judged(auditor.bundle(), *wanted, *auditor.approvers())
    auditor.run("audit", "export", "--out", auditor.folder / "log")
    assert "all holds" in auditor.judged(auditor.folder / "log", *wanted)
    other = note.verifier_of("witness", Ed25519PrivateKey.generate(), note.COSIGNATURE).text()
    assert "WRONG" in auditor.judged(auditor.bundle(), "--witness-key", other, code=1)
