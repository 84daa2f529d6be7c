"""`busbar-cloud`: the head end's service, and the commands of those who run it, use it and approve.
`main` returns the exit code.

0 done · 1 the answer is no (something is missing, an order came to nothing) · 2 asked for what is
not allowed · 3 the service is not running.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TextIO

from cloud import app
from cloud.commands import (
    approve,
    asking,
    audit,
    config,
    events,
    gateways,
    halting,
    order,
    person,
    readings,
    status,
)
from cloud.commands.door import Command, at_door, with_settings
from cloud.orders.client import ServiceDownError
from cloud.settings import Settings
from cloud.store.database import StoreError
from protocols.errors import CallerError, SettingError

EXIT_USAGE = 2
EXIT_DOWN = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command; one sentence on stderr when it can not be done."""
    arguments = _parser().parse_args(argv)
    run: Command = arguments.run
    try:
        code = run(arguments, sys.stdout)
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

    plain = [command("run", with_settings(_run_service), "the service, until SIGTERM")]
    plain.append(command("readings", with_settings(readings.run), "what a meter showed"))
    readings.add(plain[-1])
    plain.append(command("gateways", with_settings(gateways.run), "who reports"))
    gateways.add(plain[-1])
    run_completeness = with_settings(gateways.run_completeness)
    plain.append(command("completeness", run_completeness, "what is missing"))
    gateways.add_completeness(plain[-1])
    told = "what gateways and meters told of themselves"
    plain.append(command("events", with_settings(events.run), told))
    events.add(plain[-1])
    running = "the running service, and refusals"
    plain.append(command("status", with_settings(status.run), running))
    status.add(plain[-1])
    for one in plain:
        one.add_argument("--config", required=True, help="cloud.toml")
    order.add(command("order", with_settings(order.run), "ask a meter, or something of it"))
    trying = "a gateway's configuration: try it, send it, show it"
    config.add(command("config", with_settings(config.run), trying))
    person.add(command("person", with_settings(person.run), "who may ask, and their tokens"))
    _add_people_commands(command)
    logged = "the log of all orders: verified, taken away, cosigned"
    audit.add(command("audit", with_settings(audit.run), logged))
    seeing = "a second party that signs what a head end has logged"
    audit.add_witness(command("witness", audit.run_witness, seeing))
    return parser


def _add_people_commands(command: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """What people do over the API, each with an own token; the console may do some of it."""
    approve.add(command("approve", at_door(approve.run), "sign a frozen order, or a batch of them"))
    making = "the key that you approve with"
    approve.add_key(command("approver-key", approve.run_key, making))
    batching = "one action for several meters"
    asking.add_batch(command("batch", at_door(asking.run_show_batch), batching))
    asking.add_release(
        command("release", at_door(asking.run_release), "let go on what was over a ceiling")
    )
    halting.add_stop(command("stop", at_door(halting.run_stop), "end orders that were not sent"))
    halting.add_hold(command("hold", at_door(halting.run_hold_status), "no cuts, fleet-wide"))
    halting.add_undo(command("undo", at_door(halting.run_undo), "restore what an incident cut"))
    protecting = "the meters that are never to be cut"
    halting.add_never_cut(command("never-cut", at_door(halting.run_never_cut_list), protecting))


if __name__ == "__main__":
    sys.exit(main())
