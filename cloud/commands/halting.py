"""`busbar-cloud stop`, `hold`, `undo` and `never-cut`: what ends cuts, and what brings supply back.

All of it but lifting a hold, and taking a meter off the never-cut list, works on the head end's own
console too.
"""

import argparse
from typing import Any, TextIO

from cloud.commands.asking import print_ended
from cloud.commands.door import Door, add_door, at_door
from cloud.commands.papers import ID_DIGITS, check_id
from cloud.commands.tables import print_json, print_table, printable, shown_time, time_from_text
from protocols.errors import CallerError

EXIT_HELD = 1
FLAGS = ("medical", "important-user", "life-support", "dispute", "other-by-law")


def add_stop(parser: argparse.ArgumentParser) -> None:
    """The arguments of `stop`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("orders", nargs="*", default=[], metavar="ORDER", help="whole ids")
    which.add_argument("--incident", help="all orders of this label, or of this batch")
    which.add_argument("--all-cuts", action="store_true", help="every cut that was not sent")
    _add_end(parser, has_reason=True)


def add_hold(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `hold`."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name, run, words in (
        ("on", run_hold_on, "no cuts from now on, fleet-wide; restores go on"),
        ("off", run_hold_off, "cuts again; an approver who did not set the hold"),
        ("status", run_hold_status, "whether cuts are held; 1 when they are"),
    ):
        one = actions.add_parser(name, help=words)
        _add_end(one, has_reason=name != "status")
        one.set_defaults(run=at_door(run))


def add_undo(parser: argparse.ArgumentParser) -> None:
    """The arguments of `undo`."""
    parser.add_argument("incident", help="a label of orders, or a batch's id")
    _add_end(parser, has_reason=True)


def add_never_cut(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `never-cut`."""
    actions = parser.add_subparsers(dest="action", required=True)
    more = actions.add_parser("add", help="a meter that is never to be cut; ends its pending cuts")
    more.add_argument("meter", help="the meter's id")
    more.add_argument("flag", choices=FLAGS, help="why")
    more.add_argument("--note", help="for whoever reviews it")
    more.add_argument("--review-at", metavar="ISO", help="when it is looked at again, UTC")
    _add_end(more)
    more.set_defaults(run=at_door(run_never_cut_add))
    less = actions.add_parser("remove", help="one person asks for it, a second one does it")
    less.add_argument("entry", type=int, help="the entry's number")
    _add_end(less, has_reason=True)
    less.set_defaults(run=at_door(run_never_cut_remove))
    several = actions.add_parser("list", help="the meters that are never to be cut")
    several.add_argument("--meter", help="of this meter only")
    several.add_argument("--all", action="store_true", help="with those that were removed")
    _add_end(several)
    several.set_defaults(run=at_door(run_never_cut_list))


def _add_end(parser: argparse.ArgumentParser, has_reason: bool = False) -> None:
    if has_reason:
        parser.add_argument("--reason", required=True, help="why, for whoever reads it later")
    parser.add_argument("--json", action="store_true", help="the answer as one object")
    add_door(parser)


def run_stop(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Stop orders; 1 when it was too late for one. CallerError, ServiceDownError."""
    if any(len(check_id(one)) != ID_DIGITS for one in arguments.orders):
        raise CallerError(f"a stop names whole ids of {ID_DIGITS} hex digits, or it might miss")
    answer = door.call(
        "orders_stop",
        orders=arguments.orders or None,
        incident=arguments.incident,
        all_cuts=True if arguments.all_cuts else None,
        reason=arguments.reason,
    )
    return print_ended(out, answer, arguments.json)


def run_hold_on(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Hold all cuts."""
    _print_hold(out, door.call("hold_set", reason=arguments.reason), arguments.json)
    return 0


def run_hold_off(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Lift the hold."""
    _print_hold(out, door.call("hold_release", reason=arguments.reason), arguments.json)
    return 0


def run_hold_status(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Whether cuts are held; 1 when they are."""
    hold = door.call("hold_get")
    _print_hold(out, hold, arguments.json)
    return EXIT_HELD if hold["held"] else 0


def _print_hold(out: TextIO, hold: dict[str, Any], is_json: bool) -> None:
    if is_json:
        print_json(out, hold)
        return
    print(f"cuts      {'HELD, fleet-wide' if hold['held'] else 'not held'}", file=out)
    if hold.get("by"):
        print(f"since     {shown_time(hold['since'])}, by {printable(hold['by'])}", file=out)
        print(f"because   {printable(hold['reason'])}", file=out)


def run_undo(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Restore what an incident cut."""
    answer = door.call("undo", incident=arguments.incident, reason=arguments.reason)
    if arguments.json:
        print_json(out, answer)
        return 0
    print(f"restores  {answer['restores']}, incident {printable(answer['incident'])}", file=out)
    print(f"from      {shown_time(answer['first_at'])}", file=out)
    print(f"until     {shown_time(answer['last_at'])}", file=out)
    for name in ("cancelled", "stopping"):
        print(f"{name:<10}{len(answer[name])}", file=out)
    return 0


def run_never_cut_add(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Protect a meter."""
    review = arguments.review_at
    entry = door.call(
        "never_cut_add",
        meter=arguments.meter,
        flag=arguments.flag,
        note=arguments.note,
        review_at=time_from_text(review) if review else None,
    )
    _print_entries(out, [entry], entry, arguments.json)
    return 0


def run_never_cut_remove(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """Ask to end a protection, or end it as the second person."""
    entry = door.call("never_cut_remove", entry=arguments.entry, reason=arguments.reason)
    _print_entries(out, [entry], entry, arguments.json)
    if not arguments.json and not entry["removed"]:
        print("it stands until a second approver removes it", file=out)
    return 0


def run_never_cut_list(door: Door, arguments: argparse.Namespace, out: TextIO) -> int:
    """The list."""
    is_all = True if arguments.all else None
    entries = door.call("never_cut_list", meter=arguments.meter, all=is_all)["entries"]
    _print_entries(out, entries, entries, arguments.json)
    return 0


def _print_entries(
    out: TextIO, entries: list[dict[str, Any]], document: object, is_json: bool
) -> None:
    if is_json:
        print_json(out, document)
        return
    rows = [
        (
            one["entry"],
            one["meter"],
            one["flag"],
            one["added_by"],
            shown_time(one["added_at"]),
            shown_time(one["review_at"]) + (" DUE" if one["review_due"] else ""),
            "removed" if one["removed"] else one["removal_asked_by"] or "-",
            one["note"],
        )
        for one in entries
    ]
    columns = ("entry", "meter", "flag", "by", "since", "review", "removal asked by", "note")
    print_table(out, columns, rows)
