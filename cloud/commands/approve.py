"""`busbar-cloud approve` and `busbar-cloud approver-key new`: on the approver's own machine.

* What is signed is computed here, from the fields of the frozen order. Where the head end's answer
  says anything else beside those fields, or another digest, nothing is signed.
* What is shown comes from the same fields.
* The key is opened after the person has said yes, and goes nowhere.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from cloud.clock import Clock, SystemClock
from cloud.commands.door import Door, add_door
from cloud.commands.frozen import WORDS, frozen_rows, terms_rows
from cloud.commands.papers import BatchPapers, Frozen, check_fresh, fetch
from cloud.commands.passphrase import add_passphrase, read_passphrase
from cloud.commands.tables import print_json, printable
from cloud.people.approver import ApproverKey, load_key, make_key, public_path, read_record
from cloud.people.people import check_name
from protocols.envelope.keys import KeyRecord
from protocols.envelope.suites import Provider
from protocols.errors import CallerError
from protocols.orders.approvals import approval_bytes

APPROVALS_A_REQUEST = 1000
KEY_DAYS_DEFAULT, KEY_DAYS_MAX = 397, 1100
EXIT_SAID_NO = 1
_LABEL = 12  # columns
_GATEWAYS_SHOWN = 20


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of `approve`."""
    parser.add_argument("id", help="of an order or a batch, whole or how it starts")
    parser.add_argument("--key", type=Path, required=True, help="your key file")
    parser.add_argument("--yes", action="store_true", help="sign without asking")
    parser.add_argument("--list", action="store_true", help="of a batch: show every meter")
    parser.add_argument("--json", action="store_true", help="the answer as one object")
    add_passphrase(parser)
    add_door(parser, has_console=False)


def add_key(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `approver-key`."""
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("new", help="make a key, and the public record for the deployment")
    new.add_argument("--name", required=True, help="whose key it is, as in people.json")
    new.add_argument("--out", type=Path, required=True, help="the key file to make")
    new.add_argument(
        "--days",
        type=int,
        default=KEY_DAYS_DEFAULT,
        help=f"how long it is valid, 1 to {KEY_DAYS_MAX}",
    )
    new.add_argument("--json", action="store_true", help="the public record as one object")
    add_passphrase(new)


def run_key(arguments: argparse.Namespace, out: TextIO) -> int:
    """`approver-key new`. CallerError, SettingError."""
    check_name(arguments.name)
    if not 1 <= arguments.days <= KEY_DAYS_MAX:
        raise CallerError(f"--days must be 1 to {KEY_DAYS_MAX}")
    passphrase = read_passphrase(arguments, is_new=True)
    now = SystemClock().utc_ms()
    record = make_key(arguments.out, arguments.name, passphrase, now, arguments.days, Provider())
    if arguments.json:
        print_json(out, record.to_json())
    else:
        public = public_path(arguments.out)
        print(f"key       {arguments.out}: keep it, and its passphrase, to yourself", file=out)
        print(
            f"public    {public}: give it to whoever runs busbar-provision approver add", file=out
        )
        print(f"key id    {record.kid.hex()}", file=out)
    return 0


def run(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """`approve`: show, ask, sign, send; 1 when the person says no. CallerError when what the head
    end shows can not be signed."""
    provider, clock = Provider(), SystemClock()
    record = read_record(public_path(arguments.key))
    _check_own(door, record)
    papers = fetch(door, provider, arguments.id)
    for one in papers.orders:
        check_fresh(one, record.owner, clock.utc_ms())
    waiting = [one for one in papers.orders if one.waits_for(record.owner)]
    if not waiting:
        raise CallerError("nothing of it waits for your approval")
    shown = sys.stderr if arguments.json else out
    _show(shown, papers, arguments.list)
    if not (arguments.yes or _is_agreed(shown)):
        print("nothing was signed", file=shown)
        return EXIT_SAID_NO
    key = load_key(arguments.key, read_passphrase(arguments), provider)
    signed = [_approval(provider, key, one, clock) for one in waiting]
    answer = _send(door, papers, signed)
    if arguments.json:
        print_json(out, answer)
    else:
        print(f"approved  {len(signed)} of {len(papers.orders)} by {record.owner}", file=out)
        waits = answer.get("waits")
        if waits:
            print(f"waits     {printable(str(waits))}", file=out)
    return 0


def _check_own(door: Door, record: KeyRecord) -> None:
    name = door.call("who").get("name")
    if record.owner != f"person:{name}":
        raise CallerError(
            f"the key belongs to {printable(record.owner)} and the token to person:"
            f"{printable(str(name))}; both must be yours"
        )


def _is_agreed(shown: TextIO) -> bool:
    if not sys.stdin.isatty():
        raise CallerError("there is no terminal to ask on: --yes signs without asking")
    print('to sign this, type "yes": ', end="", file=shown, flush=True)
    return sys.stdin.readline().strip() == "yes"


def _show(out: TextIO, papers: BatchPapers, is_whole: bool) -> None:
    print("you are about to sign:", file=out)
    if papers.batch is None:
        only = papers.orders[0]
        _print_rows(out, frozen_rows(only.order, only.gateway))
        return
    first = papers.orders[0].order
    load, known = papers.batch.get("load_w"), papers.batch.get("load_known")
    _print_rows(out, [("action", WORDS[first.action]), ("meters", str(len(papers.orders)))])
    meters = [one.order.meter_id for one in papers.orders]
    shown = meters if is_whole else meters[:: max(1, -(-len(meters) // 10))]
    _print_rows(out, [("meters" if is_whole else "sample", printable(", ".join(shown)))])
    _print_rows(out, _gateway_rows(papers.orders))
    _print_rows(out, [("load", f"{load} W, of {known} meters whose power is known (not signed)")])
    _print_rows(out, terms_rows(first))
    _print_rows(out, [("batch", papers.batch_id), ("selection", first.terms.selection.hex())])


def _gateway_rows(orders: list[Frozen]) -> list[tuple[str, str]]:
    counts: dict[str, int] = {}
    for one in orders:
        counts[one.gateway] = counts.get(one.gateway, 0) + 1
    rows = [("gateway", f"{printable(name)}: {count}") for name, count in sorted(counts.items())]
    more = len(rows) - _GATEWAYS_SHOWN
    return rows[:_GATEWAYS_SHOWN] + ([("gateway", f"and {more} more")] if more > 0 else [])


def _print_rows(out: TextIO, rows: Iterable[tuple[str, str]]) -> None:
    for label, text in rows:
        print(f"  {label:<{_LABEL}}{text}", file=out)


def _approval(provider: Provider, key: ApproverKey, one: Frozen, clock: Clock) -> dict[str, Any]:
    at = clock.utc_ms()
    signature = key.sign(approval_bytes(provider, one.digest, key.record.owner, at))
    return {
        "order": one.order.order_id.hex(),
        "kid": key.record.kid.hex(),
        "at": at,
        "signature": signature.hex(),
    }


def _send(door: Door, papers: BatchPapers, signed: list[dict[str, Any]]) -> dict[str, Any]:
    answer: Any = {}
    if papers.batch is None:
        answer = door.call("order_approve", **signed[0])
        signed = []
    for first in range(0, len(signed), APPROVALS_A_REQUEST):
        part = signed[first : first + APPROVALS_A_REQUEST]
        answer = door.call("batch_approve", batch=papers.batch_id, approvals=part)
    return dict(answer)
