"""`busbar-hil`: virtual lines and meters, and the demo.

Exit codes: 0 done, 1 failed, 2 wrong use or a wrong file, 130 Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hil.broker import KINDS
from protocols.errors import BusbarError, SettingError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return int(args.command(args))
    except SettingError as error:
        sys.stderr.write(f"busbar-hil: {error}\n")
        return 2
    except (BusbarError, OSError) as error:
        sys.stderr.write(f"busbar-hil: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="busbar-hil", description="stands in for lines and meters"
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    run = commands.add_parser("run", help="serve the lines and meters of a world file")
    run.add_argument("--config", type=Path, required=True, metavar="FILE", help="the world, TOML")
    run.add_argument("--log", type=Path, metavar="FILE", help="append each value answered, as JSON")
    run.add_argument(
        "--die-with-parent", action="store_true", help="end when the parent process ends"
    )
    run.set_defaults(command=_run)
    demo = commands.add_parser("demo", help="the whole system on this machine")
    demo.add_argument(
        "--for", type=float, dest="for_s", metavar="SECONDS", help="end after this time"
    )
    demo.add_argument("--broker", choices=KINDS, help="default: mosquitto when it is there")
    demo.set_defaults(command=_demo)
    return parser


def _run(args: argparse.Namespace) -> int:
    from hil.world import run  # noqa: PLC0415  # help must not wait for pymodbus

    return run(args.config, args.log, args.die_with_parent)


def _demo(args: argparse.Namespace) -> int:
    from hil.demo import main as demo_main  # noqa: PLC0415  # it brings edge's and cloud's needs

    return int(demo_main(args))


if __name__ == "__main__":
    sys.exit(main())
