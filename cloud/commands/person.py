"""`busbar-cloud person add | list | remove | token`: who may ask, on the head end's own machine.

A token is shown once, on the terminal or in a file for its owner, and is in no other output.
"""

import argparse
import os
from pathlib import Path
from typing import TextIO

from cloud.commands.tables import print_json, print_table
from cloud.people.book import PeopleBook
from cloud.people.people import ALL_AREAS, ROLES, Person, check_areas, check_name, check_roles
from cloud.settings import Settings
from protocols.errors import CallerError


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    more = actions.add_parser("add", help="a new person, or program; shows the token once")
    more.add_argument("name", help="1 to 32 of a-z, 0-9 and -")
    more.add_argument("--role", action="append", required=True, choices=ROLES, help="may repeat")
    more.add_argument(
        "--area", action="append", help=f"that the person may touch; {ALL_AREAS}, all, without it"
    )
    token = actions.add_parser("token", help="a new token; the old one ends at once")
    less = actions.add_parser("remove", help="nobody of that name any more, at once")
    several = actions.add_parser("list", help="who there is")
    for one in (token, less):
        one.add_argument("name", help="the person's name")
    for one in (more, token):
        one.add_argument("--out", type=Path, help="file to make for the token, instead of here")
    for one in (more, token, less, several):
        one.add_argument("--json", action="store_true", help="one object, or a list of them")
        one.add_argument("--config", required=True, help="cloud.toml")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Do the subcommand. CallerError, SettingError."""
    book = PeopleBook(settings.identity_dir, settings.tenant)
    if arguments.action == "list":
        return _list(book, arguments, out)
    if arguments.action == "remove":
        book.remove(arguments.name)
        if arguments.json:
            print_json(out, {"removed": arguments.name})
        else:
            print(f"{arguments.name} is out", file=out)
        return 0
    if arguments.json and arguments.out is None:
        raise CallerError("--json shows no token: name --out FILE for it")
    if arguments.out is not None and arguments.out.exists():
        raise CallerError(f"{arguments.out}: is there already")
    if arguments.action == "add":
        name, roles = check_name(arguments.name), check_roles(arguments.role)
        token = book.add(name, roles, check_areas(arguments.area or [ALL_AREAS]))
    else:
        token = book.renew_token(arguments.name)
    _give(arguments, token, out)
    return 0


def _give(arguments: argparse.Namespace, token: str, out: TextIO) -> None:
    """The token to its owner."""
    if arguments.out is None:
        print(f"token of {arguments.name}, which is shown this once:", file=out)
        print(token, file=out)
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(arguments.out, flags, 0o600), "w") as file:
            file.write(token + "\n")
    except OSError as error:
        raise CallerError(
            f"{arguments.out}: cannot be written: {error.strerror}; `person token` gives another"
        ) from None
    if arguments.json:
        print_json(out, {"name": arguments.name, "token_file": str(arguments.out)})
    else:
        print(f"token of {arguments.name}: in {arguments.out}", file=out)


def _list(book: PeopleBook, arguments: argparse.Namespace, out: TextIO) -> int:
    rows = [_row(one) for one in book.all()]
    if arguments.json:
        print_json(out, rows)
    else:
        table = [(row["name"], ", ".join(row["roles"]), ", ".join(row["areas"])) for row in rows]
        print_table(out, ("name", "roles", "areas"), table)
    return 0


def _row(one: Person) -> dict[str, list[str] | str]:
    """Without the token's digest."""
    return {"name": one.name, "roles": list(one.roles), "areas": list(one.areas)}
