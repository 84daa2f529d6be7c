"""How a command reaches the head end: over its API, as a person; or over the control socket, as the
console of the machine that it runs on.

The console may stop, hold, protect and restore; it never cuts, approves, releases or lifts
anything: breaking the glass exists for that side alone.
"""

import argparse
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

from cloud.api.client import ApiClient, address_of, read_token
from cloud.api.table import BY_OPERATION, answer_of, request_of
from cloud.orders.client import ask
from cloud.people.people import CONSOLE
from cloud.settings import Settings, load_settings
from protocols.errors import CallerError

URL, TOKEN_FILE, TRUST = "BUSBAR_URL", "BUSBAR_TOKEN_FILE", "BUSBAR_CA"  # environment variables
REPLY_TIMEOUT_S = 30

Command = Callable[[argparse.Namespace, TextIO], int]


class Door(Protocol):
    """Asks operations of the head end."""

    def call(self, operation: str, **fields: Any) -> Any:
        """The answer; CallerError when it is refused, ServiceDownError when nobody answers. A
        field that is None is left out."""


class Console:
    """The control socket of the head end on this machine."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def call(self, operation: str, **fields: Any) -> Any:
        """As any door, without a person's name."""
        route = BY_OPERATION[operation]
        person = {"name": CONSOLE, "roles": [CONSOLE], "areas": []}
        given = {name: value for name, value in fields.items() if value is not None}
        if route.has_key:
            given.setdefault("key", secrets.token_hex(16))
        replies = list(ask(self._state_dir, request_of(route, person, given), REPLY_TIMEOUT_S))
        return answer_of(route, replies[-1])


def add_door(parser: argparse.ArgumentParser, has_console: bool = True) -> None:
    """The options that say where the head end is."""
    group = parser.add_argument_group("where the head end is")
    group.add_argument("--url", help=f"of its API, such as https://HOST:8645; or {URL}")
    group.add_argument(
        "--token-file", type=Path, help=f"file of mode 0600 with your token; or {TOKEN_FILE}"
    )
    group.add_argument(
        "--ca", type=Path, help=f"PEM file that its certificate is checked by; or {TRUST}"
    )
    if has_console:
        group.add_argument("--config", help="cloud.toml: on the head end itself, as its console")


def at_door(run: Callable[[Door, argparse.Namespace, TextIO], int]) -> Command:
    """A command that is run at the door that its arguments name."""
    return lambda arguments, out: run(open_door(arguments), arguments, out)


def with_settings(run: Callable[[Settings, argparse.Namespace, TextIO], int]) -> Command:
    """A command that is run on the head end's machine, by its cloud.toml."""
    return lambda arguments, out: run(load_settings(Path(arguments.config)), arguments, out)


def either(here: Command, there: Command) -> Command:
    """The first when cloud.toml is named, the second, over the API, when it is not."""
    return lambda arguments, out: (here if arguments.config else there)(arguments, out)


def open_door(arguments: argparse.Namespace) -> Door:
    """The door that is named; CallerError with one sentence when none is, or two are."""
    url = arguments.url
    config = getattr(arguments, "config", None)
    if config is not None:
        if url is not None:
            raise CallerError("--url and --config name two doors; one is enough")
        return Console(load_settings(Path(config)).state_dir)
    url = url or os.environ.get(URL)
    token_file = arguments.token_file or os.environ.get(TOKEN_FILE)
    trust = arguments.ca or os.environ.get(TRUST)
    if not url or not token_file:
        here = ", or --config on the head end itself" if hasattr(arguments, "config") else ""
        raise CallerError(f"where the head end is must be said: --url and --token-file{here}")
    address = address_of(url)
    return ApiClient(address, read_token(Path(token_file)), Path(trust) if trust else None)
