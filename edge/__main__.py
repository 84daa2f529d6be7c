"""`busbar-edge`: run the gateway, ask the running one, look at its line budget and its journal.

Exit codes: 0 done · 1 something failed · 2 wrong use or configuration · 3 no agent is running.
"""

import argparse
import sys

from edge.commands import (
    budget,
    config,
    events,
    journal,
    meters,
    orders,
    read,
    reload,
    run,
    status,
    tail,
)
from edge.journal.damage import JournalRefusedError
from edge.local.lines import NotRunningError, RequestError
from edge.settings import load_settings
from protocols.errors import SettingError

COMMANDS = {
    "run": run,
    "status": status,
    "meters": meters,
    "read": read,
    "orders": orders,
    "events": events,
    "tail": tail,
    "budget": budget,
    "reload": reload,
    "journal": journal,
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command."""
    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return 2
    try:
        if arguments.command == "config":  # it names its files itself
            return config.run(arguments)
        settings = load_settings(arguments.config)
        code: int = COMMANDS[arguments.command].run(settings, arguments)
    except SettingError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return 2
    except JournalRefusedError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return 1
    except RequestError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return error.code
    except NotRunningError as error:
        print(f"busbar-edge: {error}", file=sys.stderr)
        return 3
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="busbar-edge", description="Busbar's gateway.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS.values():
        command.add(commands)
    config.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
