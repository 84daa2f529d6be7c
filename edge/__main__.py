"""`busbar-edge`: run the gateway, or ask the running one.

Exit codes: 0 done · 1 something failed · 2 wrong use or configuration · 3 no agent is running.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from edge.settings import load_settings
from edge.status import NotRunningError, ask
from edge.table import render
from protocols.errors import SettingError


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command."""
    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return 2
    try:
        settings = load_settings(arguments.config)
        if arguments.command == "status":
            return _status(settings.gateway["state_dir"], arguments.json)
        return _run(arguments.config)
    except SettingError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return 2
    except NotRunningError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="busbar-edge", description="Busbar's gateway.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (
        ("run", "run the gateway"),
        ("status", "show what the running gateway knows"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, help="edge.toml")
        if name == "status":
            command.add_argument("--json", action="store_true", help="as one JSON object")
    return parser


def _run(config: Path) -> int:
    from edge.agent import run  # noqa: PLC0415 - here, so that `status` starts without cryptography and pymodbus

    settings = load_settings(config)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.gateway["log"].upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("pymodbus").setLevel(logging.ERROR)
    return run(settings)


def _status(folder: Path, as_json: bool) -> int:
    snapshot = ask(folder)
    if as_json:
        print(json.dumps(snapshot, indent=2))
        return 0
    print(render(snapshot))
    return 0


if __name__ == "__main__":
    sys.exit(main())
