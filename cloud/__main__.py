"""`busbar-cloud`: the head end's service and its commands. `main` returns the exit code.

0 done · 1 the answer is no (something is missing, an order came to nothing) · 2 asked for what is
not allowed · 3 the service is not running.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from cloud import app
from cloud.commands import config, events, gateways, order, readings, status
from cloud.orders.client import ServiceDownError
from cloud.settings import Settings, load_settings
from cloud.store.database import StoreError
from protocols.errors import CallerError, SettingError

EXIT_USAGE = 2
EXIT_DOWN = 3

Command = Callable[[Settings, argparse.Namespace, TextIO], int]


def main(argv: list[str] | None = None) -> int:
    """Run one command; one sentence on stderr when it can not be done."""
    arguments = _parser().parse_args(argv)
    run: Command = arguments.run
    try:
        code = run(load_settings(Path(arguments.config)), arguments, sys.stdout)
        sys.stdout.flush()
    except (SettingError, StoreError, CallerError) as error:
        print(f"busbar-cloud: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ServiceDownError as error:
        print(f"busbar-cloud: {error}", file=sys.stderr)
        return EXIT_DOWN
    except BrokenPipeError:
        # The reader of our output has enough; what is buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _run_service(settings: Settings, _arguments: argparse.Namespace, _out: TextIO) -> int:
    app.start_logging()
    return app.run(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="busbar-cloud", description="The head end of Busbar.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text)
        found.set_defaults(run=run)
        return found

    plain = [command("run", _run_service, "the service, until SIGTERM")]
    plain.append(command("readings", readings.run, "what a meter showed"))
    readings.add(plain[-1])
    plain.append(command("gateways", gateways.run, "who reports"))
    gateways.add(plain[-1])
    plain.append(command("completeness", gateways.run_completeness, "what is missing"))
    gateways.add_completeness(plain[-1])
    plain.append(command("events", events.run, "what gateways and meters told of themselves"))
    events.add(plain[-1])
    plain.append(command("status", status.run, "the running service, and refusals"))
    status.add(plain[-1])
    order.add(command("order", order.run, "ask a meter now"))
    config.add(command("config", config.run, "a gateway's configuration: try it, send it, show it"))
    for one in plain:
        one.add_argument("--config", required=True, help="cloud.toml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
