"""`busbar-cloud audit`: the log of all orders, verified, taken away, and witnessed by others."""

import argparse
import json
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TextIO

from cloud.audit import note
from cloud.audit.bundle import bundle
from cloud.audit.cosigning import cosign
from cloud.audit.export import export
from cloud.audit.keys import LOG_KEY_NAME, load_key, load_or_make_key
from cloud.audit.log import ORIGIN_PREFIX
from cloud.audit.note import Verifier
from cloud.audit.serve import WitnessServer
from cloud.audit.verify import require_key, verify
from cloud.audit.witness import Witness
from cloud.commands.tables import print_json
from cloud.identity.approvers import Approvers
from cloud.orders.client import ask
from cloud.people.people import CONSOLE
from cloud.settings import Settings
from cloud.store.audit import AuditStore
from cloud.store.database import open_reader
from cloud.store.orders import OrderRow, OrderStore
from cloud.store.papers import PaperStore
from cloud.store.sql_orders import SELECT_BY_PREFIX
from protocols.envelope.suites import Provider
from protocols.errors import CallerError

EXIT_WRONG = 1
REPLY_TIMEOUT_S = 10
WITNESS_KEY_NAME = "witness.key"
PREFIX_SIZE_MIN = 4  # hex digits of an order id
_LISTEN = "127.0.0.1:8646"


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands that look at a head end's log."""
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("verify", help="hash every entry again, and compare what was signed")
    check.add_argument("--log-key", help="the log's public key as you were given it")
    check.add_argument(
        "--checkpoint", action="append", default=[], type=Path, help="a note that you have kept"
    )
    check.add_argument("--json", action="store_true", help="one object")
    take = actions.add_parser("export", help="write the log for scripts/verify_audit.py")
    take.add_argument("--out", required=True, type=Path, help="a new folder")
    whole = actions.add_parser("bundle", help="write all that explains one order, to be verified")
    whole.add_argument("order", help="the order's id, or how it starts")
    whole.add_argument("--out", required=True, type=Path, help="a new file")
    actions.add_parser("key", help="the log's public key, for auditors and witnesses")
    seen = actions.add_parser("cosign", help="have a witness sign the newest checkpoint")
    seen.add_argument("--url", required=True, help="the witness, such as https://witness.example")
    seen.add_argument("--witness-key", required=True, help="its public key, name+id+base64")
    for one in (check, take, whole, seen, actions.choices["key"]):
        one.add_argument("--config", required=True, help="cloud.toml")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Do the subcommand. CallerError, SettingError, StoreError, ServiceDownError."""
    if arguments.action == "key":
        print(_log_verifier(settings).text(), file=out)
        return 0
    with closing(open_reader(settings.database)) as db:
        store = AuditStore(db)
        if arguments.action == "verify":
            return _verify(settings, store, arguments, out)
        if arguments.action == "export":
            count = export(store, arguments.out)
            print(f"{count} entries in {arguments.out}", file=out)
            return 0
        if arguments.action == "bundle":
            return _bundle(settings, db, arguments, out)
        return _cosign(settings, store, arguments, out)


def _log_verifier(settings: Settings) -> Verifier:
    key = load_key(settings.identity_dir / LOG_KEY_NAME)
    return note.verifier_of(ORIGIN_PREFIX + settings.tenant, key)


def _verify(
    settings: Settings, store: AuditStore, arguments: argparse.Namespace, out: TextIO
) -> int:
    is_given = arguments.log_key is not None
    key = require_key(arguments.log_key) if is_given else _log_verifier(settings)
    verdict = verify(store, key, [_read(path) for path in arguments.checkpoint])
    wrong = verdict.finding
    if arguments.json:
        print_json(
            out,
            {
                "entries": verdict.entries,
                "checkpoints": verdict.checkpoints,
                "root": verdict.root.hex(),
                "holds": wrong is None,
                "at_entry": None if wrong is None else wrong.at_entry,
                "words": "" if wrong is None else wrong.words,
            },
        )
    elif wrong is not None:
        print(f"wrong: {wrong.words}", file=out)
    else:
        print(f"{verdict.entries} entries, {verdict.checkpoints} checkpoints: all holds", file=out)
    return 0 if wrong is None else EXIT_WRONG


def _bundle(
    settings: Settings, db: sqlite3.Connection, arguments: argparse.Namespace, out: TextIO
) -> int:
    found = _orders(db, arguments.order)
    if len(found) != 1:
        words = "no" if not found else "more than one"
        raise CallerError(f"{words} order starts so: {arguments.order}")
    order, store, provider = found[0], AuditStore(db), Provider()
    approvals = PaperStore(db).approvals(order.order_id)
    keys = Approvers(settings.identity_dir, settings.tenant).keys()
    document = bundle(store, provider, settings.tenant, order, approvals, keys)
    try:
        with arguments.out.open("x", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
    except OSError as error:
        raise CallerError(f"--out {arguments.out}: {error.strerror}") from error
    print(f"{len(document['entries'])} entries in {arguments.out}", file=out)
    return 0


def _orders(db: sqlite3.Connection, prefix: str) -> list[OrderRow]:
    if len(prefix) < PREFIX_SIZE_MIN or not prefix.isalnum():
        raise CallerError(f"an order id has at least {PREFIX_SIZE_MIN} hex digits")
    return OrderStore(db).select(SELECT_BY_PREFIX, prefix.lower())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CallerError(f"{path}: cannot be read as a note: {error}") from error


def _cosign(
    settings: Settings, store: AuditStore, arguments: argparse.Namespace, out: TextIO
) -> int:
    witness = Verifier.from_text(arguments.witness_key)
    if witness.kind != note.COSIGNATURE:
        raise CallerError("--witness-key is not allowed: it is a log's key, not a witness's")
    row = store.last_checkpoint()
    if row is None:
        raise CallerError("the log has no checkpoint yet; the service makes one each minute")
    line = cosign(store, row, arguments.url, witness)
    request = {
        "op": "audit_cosigned",
        "person": {"name": CONSOLE, "roles": [CONSOLE]},
        "size": row.size,
        "witness": witness.name,
        "line": line,
    }
    for reply in ask(settings.state_dir, request, REPLY_TIMEOUT_S):
        if "error" in reply:
            raise CallerError(str(reply["error"]))
    print(f"{witness.name} has signed {row.size} entries", file=out)
    return 0


# ---- the other party -----------------------------------------------------------------------------


def add_witness(parser: argparse.ArgumentParser) -> None:
    """The arguments of `busbar-cloud witness`, which knows no head end but by its log's key."""
    parser.add_argument("--name", required=True, help="the witness's name, without spaces and +")
    parser.add_argument("--dir", required=True, type=Path, help="its key, and what it has signed")
    parser.add_argument("--log-key", action="append", default=[], help="a log that it watches")
    parser.add_argument("--listen", default=_LISTEN, help=f"host:port; default {_LISTEN}")
    parser.add_argument("--show-key", action="store_true", help="print its public key, and end")


def run_witness(arguments: argparse.Namespace, out: TextIO) -> int:
    """Until SIGTERM or SIGINT. CallerError, SettingError."""
    if not note.is_key_name(arguments.name):
        raise CallerError(f"--name {arguments.name!r} is not allowed; it has no space and no +")
    arguments.dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = load_or_make_key(arguments.dir / WITNESS_KEY_NAME)
    own = note.verifier_of(arguments.name, key, note.COSIGNATURE)
    print(own.text(), file=out, flush=True)
    if arguments.show_key:
        return 0
    logs = [require_key(one) for one in arguments.log_key]
    if not logs:
        raise CallerError("--log-key is missing: a witness signs for logs that it knows")
    host, _, port = arguments.listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CallerError(f"--listen {arguments.listen!r} is not allowed; it must be host:port")
    witness = Witness(arguments.dir, arguments.name, key, logs, lambda: int(time.time()))
    try:
        server = WitnessServer((host, int(port)), witness)
    except OSError as error:
        raise CallerError(f"--listen {arguments.listen!r}: {error.strerror}") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever()
    return 0
