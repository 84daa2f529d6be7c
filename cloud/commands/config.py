"""`busbar-cloud config check | push | show`: a gateway's configuration: try it, send it, show it.

The command signs, and the service only carries: the configuration key is read here, from wherever
it is kept.
"""

import argparse
import base64
from pathlib import Path
from typing import Any, TextIO

from cloud.clock import Clock, SystemClock
from cloud.commands.tables import print_json, print_table, printable, shown_time
from cloud.configs.desk import is_about
from cloud.configs.making import Signed, read_config, sign
from cloud.identity.keyring import Registry, load_config_keys
from cloud.identity.sealing import Sealer
from cloud.orders.client import ask
from cloud.settings import Settings
from cloud.store.configs import ConfigRow
from cloud.store.reader import Reader
from protocols.envelope.suites import Provider
from protocols.errors import CallerError
from protocols.topics import is_name

SHOWN = 10  # configurations that `show` lists
EXIT_NONE = 1
_REPLY_S = 10
_KINDS = ("config-applied", "config-refused", "config-reverted", "config-checked")


def add(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="let the gateway try a file, and change nothing")
    push = actions.add_parser("push", help="send a file; the gateway tries it on probation")
    for one in (check, push):
        one.add_argument("gateway", help="the gateway's id")
        one.add_argument("file", type=Path, help="sections of edge.toml")
        one.add_argument(
            "--keys", type=Path, help="folder of config-keys.json; identity_dir without it"
        )
    show = actions.add_parser("show", help="what was sent, and what the gateway told of it")
    show.add_argument("gateway", help="the gateway's id")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects, with the texts")
    form.add_argument("--text", action="store_true", help="the text of the last one that was sent")
    for one in (check, push, show):
        one.add_argument("--config", required=True, help="cloud.toml")


def run(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    """Do the subcommand. CallerError, SettingError, ServiceDownError."""
    if not is_name(arguments.gateway):
        raise CallerError("a gateway's id is 1 to 32 of a-z, 0-9 and -")
    if arguments.action == "show":
        return _show(settings, arguments, out)
    return _send(settings, arguments, out, SystemClock())


def _send(settings: Settings, arguments: argparse.Namespace, out: TextIO, clock: Clock) -> int:
    text = read_config(arguments.file)
    own = load_config_keys(arguments.keys or settings.identity_dir, settings.tenant, clock)
    registry = Registry(settings.identity_dir / "registry.json", settings.tenant)
    sealer = Sealer(settings.tenant, own, registry, Provider())
    is_dry_run = arguments.action == "check"
    signed = sign(sealer, arguments.gateway, text, is_dry_run, clock)
    for _ in ask(settings.state_dir, _request(arguments.gateway, signed), _REPLY_S):
        pass
    what = "a dry run" if is_dry_run else "a configuration"
    print(
        f"version {signed.config.version}: {what} for {arguments.gateway}; `busbar-cloud config"
        f" show {arguments.gateway}` tells what became of it",
        file=out,
    )
    return 0


def _request(gateway_id: str, signed: Signed) -> dict[str, Any]:
    return {
        "op": "config_send",
        "gateway": gateway_id,
        "version": signed.config.version,
        "dry_run": signed.config.is_dry_run,
        "text": signed.config.text,
        "message": base64.b64encode(signed.message).decode(),
        "expires_at": signed.expires_at,
    }


def _show(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    with Reader(settings.database) as reader:
        if not reader.is_gateway(arguments.gateway):
            raise CallerError(f"gateway {arguments.gateway!r} is not known")
        sent = reader.configs(arguments.gateway, 1 if arguments.text else SHOWN)
        rows = [_row(reader, one) for one in sent]
    if not rows:
        print(f"nothing was sent to {arguments.gateway}", file=out)
        return EXIT_NONE
    if arguments.text:
        print(rows[0]["text"], file=out, end="")
    elif arguments.json:
        print_json(out, rows)
    else:
        _print_rows(out, rows)
    return 0


def _row(reader: Reader, one: ConfigRow) -> dict[str, Any]:
    """One configuration, and all that its gateway told of it, the first first."""
    told = [
        {
            "heard": shown_time(found.received_at),
            "kind": found.event.kind,
            "detail": found.event.detail,
        }
        for found in reader.latest_events(one.gateway_id, one.created_at)
        if found.event.kind in _KINDS and is_about(found.event.detail, one.version)
    ]
    return {
        "gateway": one.gateway_id,
        "version": one.version,
        "sent": shown_time(one.created_at),
        "expires": shown_time(one.expires_at),
        "dry_run": one.is_dry_run,
        "is_waiting": one.message is not None,
        "told": told[::-1],
        "text": one.text,
    }


def _print_rows(out: TextIO, rows: list[dict[str, Any]]) -> None:
    table = []
    for row in rows:
        state = "waits for the gateway" if row["is_waiting"] else "not heard of"
        if row["told"]:
            state = row["told"][-1]["kind"]
        what = "dry run" if row["dry_run"] else "to apply"
        table.append((str(row["version"]), row["sent"], what, state))
    print_table(out, ("version", "sent", "what", "state"), table)
    for one in rows[0]["told"]:
        print(f"{one['heard']}  {one['kind']}  {printable(one['detail'])}", file=out)
