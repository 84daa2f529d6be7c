"""`busbar-cloud order read | backfill | list | show`: ask a meter now, or have a span of time
filled again, and see what became of it. What else may be asked for is in `asking`."""

import argparse
import json
from contextlib import closing
from typing import Any, TextIO

from cloud.commands import asking
from cloud.commands.door import add_door, at_door, either, with_settings
from cloud.commands.story import COLUMNS, frame_lines, reading_row, show_order
from cloud.commands.tables import print_json, print_table, printable, shown_time, time_from_text
from cloud.orders.client import ask
from cloud.orders.desk import RECEIPT_GRACE_MS, VALID_S_DEFAULT, VALID_S_MAX, VALID_S_MIN
from cloud.orders.records import Records
from cloud.settings import Settings
from cloud.store.database import open_reader
from cloud.store.orders import OrderRow, OrderStore
from cloud.store.reader import Reader
from cloud.store.sql_orders import SELECT_BY_PREFIX
from protocols.envelope.suites import Provider
from protocols.errors import CallerError
from protocols.messages import OrderState

LIST_LIMIT = 50
BACKFILL_OBIS = "1-0:1.8.0"  # every order names a quantity; a backfill is about all of the meter's
PREFIX_SIZE_MIN = 4  # hex digits of an order id
EXIT_NOT_DONE = 1
_REPLY_MARGIN_S = 5  # the service's own tick and commit


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    read = actions.add_parser("read", help="read one quantity of a meter now")
    read.add_argument("meter", help="the meter's id")
    read.add_argument("obis", help="the quantity, such as 1-0:1.8.0")
    backfill = actions.add_parser(
        "backfill", help="have a span of a meter's readings sent again, and its gaps filled"
    )
    backfill.add_argument("meter", help="the meter's id")
    backfill.add_argument("--from", dest="since", required=True, metavar="ISO", help="UTC")
    backfill.add_argument("--to", dest="until", required=True, metavar="ISO", help="UTC, later")
    for one in (read, backfill):
        one.add_argument(
            "--valid-s",
            type=int,
            default=VALID_S_DEFAULT,
            help=f"how long the order holds, {VALID_S_MIN} to {VALID_S_MAX}",
        )
        one.add_argument("--gateway", help="when several gateways announce the meter")
        one.add_argument("--json", action="store_true", help="each state as a line of JSON")
    several = actions.add_parser("list", help="the latest orders")
    several.add_argument("--limit", type=int, default=LIST_LIMIT)
    several.add_argument("--json", action="store_true", help="a list of objects")
    show = actions.add_parser("show", help="every step of an order")
    show.add_argument("order", help="the order's id, or how it starts")
    show.add_argument("--json", action="store_true", help="one object")
    for one in (read, backfill):
        one.add_argument("--config", required=True, help="cloud.toml")
    for one, remote in ((several, asking.run_list), (show, asking.run_show)):
        add_door(one)
        one.set_defaults(run=either(with_settings(run), at_door(remote)))
    asking.add(actions)


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Do the subcommand. CallerError, ServiceDownError."""
    if arguments.action == "read":
        return _send(settings, arguments, out, {"obis": arguments.obis})
    if arguments.action == "backfill":
        span = [time_from_text(arguments.since), time_from_text(arguments.until)]
        if span[0] >= span[1]:
            raise CallerError("--to must be later than --from")
        return _send(settings, arguments, out, {"obis": BACKFILL_OBIS, "span": span})
    if arguments.action == "list":
        return _list(settings, arguments, out)
    return _show(settings, arguments, out)


def _send(
    settings: Settings, arguments: argparse.Namespace, out: TextIO, wanted: dict[str, Any]
) -> int:
    request = {
        "op": "order_read",
        "meter": arguments.meter,
        **wanted,
        "valid_s": arguments.valid_s,
        "gateway": arguments.gateway or "",
    }
    wait_s = max(arguments.valid_s, VALID_S_MIN) + RECEIPT_GRACE_MS // 1000 + _REPLY_MARGIN_S
    state = ""
    for event in ask(settings.state_dir, request, wait_s):
        if arguments.json:
            print(json.dumps(event), file=out, flush=True)
        else:
            _print_event(out, event, is_first=not state)
        state = event["state"]
    return 0 if state == OrderState.DONE else EXIT_NOT_DONE


def _print_event(out: TextIO, event: dict[str, Any], is_first: bool) -> None:
    if is_first:
        print(f"order {event['order']} to {event['gateway']}", file=out)
    reason = f"  {printable(event['reason'])}" if event["reason"] else ""
    print(f"{shown_time(event['at'])}  {event['state']}{reason}", file=out, flush=True)
    if event["final"]:
        _print_outcome(out, event["readings"], event["evidence"])


def _print_outcome(out: TextIO, readings: list[Any], evidence: list[Any]) -> None:
    if readings:
        rows = [reading_row(*one) for one in readings]
        print_table(out, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    for one in evidence:
        print("\n".join(frame_lines(*one)), file=out)


def _list(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    if arguments.limit < 1:
        raise CallerError("--limit must be a whole number above 0")
    with Reader(settings.database) as reader:
        rows = [_row(order) for order in reader.orders(arguments.limit)]
    if arguments.json:
        print_json(out, rows)
    else:
        columns = ("order", "created", "gateway", "meter", "obis", "state")
        print_table(out, columns, [[row[name] for name in columns] for row in rows])
    return 0


def _row(order: OrderRow) -> dict[str, Any]:
    return {
        "order": order.order_id.hex(),
        "created": shown_time(order.created_at),
        "expires": shown_time(order.expires_at),
        "gateway": order.gateway_id,
        "meter": order.meter_id,
        "address": order.meter_address,
        "action": order.action,
        "obis": order.obis,
        "counter": order.counter if order.counter > 0 else None,
        "state": order.state,
    }


def _show(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    prefix = arguments.order
    if len(prefix) < PREFIX_SIZE_MIN or not prefix.isalnum():
        raise CallerError(f"an order id has at least {PREFIX_SIZE_MIN} hex digits")
    with closing(open_reader(settings.database)) as db:
        found = OrderStore(db).select(SELECT_BY_PREFIX, prefix.lower())
        if len(found) != 1:
            raise CallerError(f"{'no' if not found else 'more than one'} order starts so: {prefix}")
        records = Records(db, Provider(), settings.tenant)
        order = {**records.order(found[0]), "story": records.story(found[0])}
    show_order(out, order, arguments.json)
    return 0
