"""`busbar-cloud order propose | disconnect | arm | …` and `busbar-cloud batch …`: ask for an order,
or for one of many meters."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from cloud.commands.door import Door, add_door, at_door
from cloud.commands.papers import check_id, find
from cloud.commands.story import show_order
from cloud.commands.tables import print_json, print_table, printable, shown_time, time_from_text
from protocols.errors import CallerError
from protocols.orders.arguments import CONNECT_REASONS, check_arguments
from protocols.orders.kinds import ORDER_KINDS, Action

EXIT_NOT_ALL = 1
METERS_FILE_SIZE_MAX = 1024 * 1024
PROPOSED = tuple(name for name, kind in ORDER_KINDS.items() if not kind.is_plain())
# What has a command of its own: the supply's actions.
DIRECT = {
    Action.DISCONNECT: "ask to disconnect a meter; two others approve",
    Action.ARM: "permit closing; the consumer's button restores supply",
    Action.CONNECT: "restore supply with nobody at the meter; one other approves",
    Action.KEEP_POWER_ON: "have the meter refuse to disconnect",
    Action.KEEP_POWER_OFF: "lift that; two others approve",
}
_TEXT, _HEX, _INT = "text", "hex", "integer"
_READ: dict[str, Callable[[str], Any]] = {_TEXT: str, _HEX: bytes.fromhex, _INT: int}
# Forms of the arguments on the command line; all others are integers.
_FORMS = {
    Action.CONNECT: (_TEXT,),
    Action.AUTHENTICATE: (_TEXT, _HEX),
    Action.TOP_UP: (_INT, _INT, _TEXT, _TEXT, _HEX),
}


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommands of `order` that ask for something."""
    propose = actions.add_parser("propose", help="ask for an order of any kind")
    propose.add_argument("kind", choices=PROPOSED, help="what it does")
    propose.add_argument("meter", help="the meter's id")
    propose.add_argument("arguments", nargs="*", help="as docs/orders.md has them for the kind")
    _add_terms(propose)
    propose.set_defaults(run=at_door(run_propose))
    for kind, words in DIRECT.items():
        one = actions.add_parser(kind, help=words)
        one.add_argument("meter", help="the meter's id")
        if kind == Action.CONNECT:
            one.add_argument(
                "arguments",
                nargs=1,
                choices=CONNECT_REASONS,
                metavar="why",
                help=f"why nobody is needed: {', '.join(CONNECT_REASONS)}",
            )
        _add_terms(one)
        one.set_defaults(run=at_door(run_propose), kind=kind)
    for name, run, words in (
        ("submit", run_submit, "freeze a draft, so that it can be approved"),
        ("cancel", run_cancel, "end an order that was not sent"),
    ):
        one = actions.add_parser(name, help=words)
        one.add_argument("id", help="the order's id, or how it starts")
        _add_end(one, has_reason=name == "cancel")
        one.set_defaults(run=at_door(run))


def add_batch(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `batch`."""
    actions = parser.add_subparsers(dest="action", required=True)
    propose = actions.add_parser("propose", help="ask for one action for several meters")
    propose.add_argument("kind", choices=PROPOSED, help="what it does")
    propose.add_argument("arguments", nargs="*", help="as docs/orders.md has them for the kind")
    which = propose.add_mutually_exclusive_group(required=True)
    which.add_argument("--meter", action="append", help="a meter's id; again for each")
    which.add_argument("--meters", type=Path, help="file with one meter's id a line")
    which.add_argument("--all-of", metavar="GATEWAY", help="every meter that it announces")
    _add_terms(propose, is_batch=True)
    propose.set_defaults(run=at_door(run_propose_batch))
    show = actions.add_parser("show", help="count, sample, load and states of a batch")
    show.add_argument("id", help="the batch's id, or how it starts")
    _add_end(show)
    show.set_defaults(run=at_door(run_show_batch))
    submit = actions.add_parser("submit", help="freeze a draft, so that it can be approved")
    submit.add_argument("id", help="the batch's id, or how it starts")
    _add_end(submit)
    submit.set_defaults(run=at_door(run_submit))
    cancel = actions.add_parser("cancel", help="end what of a batch was not sent")
    cancel.add_argument("id", help="the batch's id, or how it starts")
    _add_end(cancel, has_reason=True)
    cancel.set_defaults(run=at_door(run_cancel))


def add_release(parser: argparse.ArgumentParser) -> None:
    """The arguments of `release`."""
    parser.add_argument("id", help="of an order or a batch, whole or how it starts")
    _add_end(parser, has_reason=True)


def _add_terms(parser: argparse.ArgumentParser, is_batch: bool = False) -> None:
    if not is_batch:
        parser.add_argument("--gateway", help="when several gateways announce the meter")
    parser.add_argument("--incident", help="a label by which all of it can be undone")
    parser.add_argument("--not-before", metavar="ISO", help="UTC")
    parser.add_argument("--not-after", metavar="ISO", help="UTC")
    parser.add_argument("--life-s", type=int, help="how long it lives once it is sent on")
    parser.add_argument(
        "--lower-assurance",
        action="store_true",
        help="accept a meter that can not prove the effect",
    )
    parser.add_argument("--draft", action="store_true", help="do not submit it yet")
    parser.add_argument("--idempotency-key", help="of this request; the same key makes one order")
    _add_end(parser, has_reason=True)


def _add_end(parser: argparse.ArgumentParser, has_reason: bool = False) -> None:
    if has_reason:
        parser.add_argument("--reason", required=True, help="why, for whoever reads it later")
    parser.add_argument("--json", action="store_true", help="the answer as one object")
    add_door(parser)


def run_propose(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Ask for one order. CallerError, ServiceDownError."""
    given = arguments_from(arguments.kind, getattr(arguments, "arguments", []))
    order = door.call(
        "order_propose",
        meter=arguments.meter,
        gateway=arguments.gateway,
        submit=True if not arguments.draft else None,
        **_terms(arguments, given),
    )
    if arguments.json:
        print_json(out, order)
    else:
        print_order(out, order)
    return 0


def run_propose_batch(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Ask for a batch."""
    given = arguments_from(arguments.kind, arguments.arguments)
    meters = arguments.meter
    if arguments.meters is not None:
        meters = meters_of_file(arguments.meters)
    terms = _terms(arguments, given)
    batch = door.call("batch_propose", meters=meters, gateway=arguments.all_of, **terms)
    if not arguments.draft:
        batch = door.call("batch_submit", batch=batch["batch"])
    return _show_batch(out, batch, arguments)


def run_show_batch(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """A batch as it is now."""
    batch = door.call("batch_get", batch=check_id(arguments.id))
    return _show_batch(out, batch, arguments)


def run_submit(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Freeze an order or a batch."""
    kind, found = find(door, arguments.id)
    answer = door.call(f"{kind}_submit", **{kind: found[kind]})
    if kind == "batch":
        return _show_batch(out, answer, arguments)
    if arguments.json:
        print_json(out, answer)
    else:
        print_order(out, answer)
    return 0


def run_cancel(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """End an order or a batch; 1 when something of it was sent already."""
    kind, found = find(door, arguments.id)
    answer = door.call(f"{kind}_cancel", **{kind: found[kind]}, reason=arguments.reason)
    return print_ended(out, answer, arguments.json)


def run_release(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Release an order or a batch from quarantine."""
    kind, found = find(door, arguments.id)
    answer = door.call(f"{kind}_release", **{kind: found[kind]}, reason=arguments.reason)
    if arguments.json:
        print_json(out, answer)
    else:
        for one in answer.get("released", []):
            print(f"released  {one}", file=out)
    return 0


def arguments_from(kind: str, texts: list[str]) -> list[Any]:
    """The arguments of a kind as JSON has them; CallerError with one sentence when they are not
    what it takes."""
    forms = _FORMS.get(kind, (_INT,) * len(texts))
    if len(forms) != len(texts):
        raise CallerError(f"{kind} takes {len(forms)} arguments, not {len(texts)}")
    values: list[Any] = []
    for form, text in zip(forms, texts, strict=True):
        try:
            values.append(_READ[form](text))
        except ValueError:
            raise CallerError(f"{kind}: {printable(text)!r} is no {form}") from None
    check_arguments(kind, tuple(values))
    return [{"hex": one.hex()} if isinstance(one, bytes) else one for one in values]


def meters_of_file(path: Path) -> list[str]:
    """The meter ids of a file, one a line; CallerError when there is none, or one twice."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(METERS_FILE_SIZE_MAX + 1)
    except OSError as error:
        raise CallerError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CallerError(f"{path}: is not UTF-8 text") from None
    meters = [line.strip() for line in text.splitlines() if line.strip()]
    if len(text) > METERS_FILE_SIZE_MAX or not meters:
        raise CallerError(f"{path}: names no meter, or too many; an empty list selects nothing")
    if len(set(meters)) != len(meters):
        raise CallerError(f"{path}: names a meter twice")
    return meters


def _terms(arguments: argparse.Namespace, given: list[Any]) -> dict[str, Any]:
    since, until = arguments.not_before, arguments.not_after
    return {
        "action": arguments.kind,
        "reason": arguments.reason,
        "arguments": given or None,
        "incident": arguments.incident,
        "valid_from": time_from_text(since) if since else None,
        "valid_until": time_from_text(until) if until else None,
        "life_s": arguments.life_s,
        "lower_assurance": True if arguments.lower_assurance else None,
        "key": arguments.idempotency_key,
    }


def print_order(out: TextIO, order: dict[str, Any]) -> None:
    """An order as the head end tells it, shortly."""
    print(f"order     {order['order']}", file=out)
    print(f"meter     {printable(order['meter'])} at {printable(order['gateway'])}", file=out)
    print(f"action    {order['action']}, asked by {printable(order['requested_by'])}", file=out)
    print(f"because   {printable(order['reason'])}", file=out)
    print(f"state     {order['state']}", file=out)
    if order.get("waits"):
        print(f"waits     {printable(order['waits'])}", file=out)
    needed = order.get("approvals_needed")
    if needed:
        names = ", ".join(printable(str(one["approver"])) for one in order.get("approvals", []))
        print(f"approved  {len(order.get('approvals', []))} of {needed}: {names or '-'}", file=out)


def _show_batch(out: TextIO, batch: dict[str, Any], arguments: argparse.Namespace) -> int:
    if arguments.json:
        print_json(out, batch)
        return 0
    sample = ", ".join(printable(one) for one in batch["sample"])
    states = ", ".join(f"{name} {count}" for name, count in batch["states"].items())
    print(f"batch     {batch['batch']}", file=out)
    print(f"action    {batch['action']}, asked by {printable(batch['requested_by'])}", file=out)
    print(f"because   {printable(batch['reason'])}", file=out)
    print(f"meters    {batch['count']}: {sample}", file=out)
    print(f"load      {batch['load_w']} W, of {batch['load_known']} meters", file=out)
    print(f"selection {batch['selection']}", file=out)
    print(f"state     {batch['state']}: {states}", file=out)
    approved = ", ".join(printable(one) for one in batch.get("fully_approved_by", []))
    print(f"approved  {approved or '-'}, of {batch['approvals_needed']}", file=out)
    return 0


def print_ended(out: TextIO, answer: dict[str, Any], is_json: bool) -> int:
    """What was cancelled, what is being stopped, and what it was too late for; 1 for these."""
    if is_json:
        print_json(out, answer)
    else:
        rows = [
            (one, words)
            for name, words in (
                ("cancelled", "cancelled"),
                ("stopping", "the gateway was told; it answers"),
                ("too_late", "TOO LATE: it was sent, or has ended"),
            )
            for one in answer.get(name, [])
        ]
        if rows:
            print_table(out, ("order", "what became of it"), rows)
        else:
            print("there was nothing to end", file=out)
    return EXIT_NOT_ALL if answer.get("too_late") else 0


def run_list(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """`order list` over the API."""
    orders = door.call("orders_list", limit=arguments.limit)["orders"]
    if arguments.json:
        print_json(out, orders)
        return 0
    columns = ("order", "created", "gateway", "meter", "action", "state", "waits")
    rows = [{**one, "created": shown_time(one["created_at"])} for one in orders]
    print_table(out, columns, [[row.get(name) for name in columns] for row in rows])
    return 0


def run_show(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """`order show` over the API."""
    show_order(out, door.call("order_get", order=check_id(arguments.order)), arguments.json)
    return 0
