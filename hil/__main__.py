"""`busbar-hil`: virtual lines and meters, transcripts of real ones, and the demo.

Exit codes: 0 done, 1 failed, 2 wrong use or a wrong file, 130 Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hil import replayer
from hil.broker import KINDS
from protocols.errors import BusbarError, SettingError

BAUDS = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
SEED_MAX = 2**32
SPEED_MIN, SPEED_MAX = 0.01, 1000.0


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
    world = run.add_mutually_exclusive_group(required=True)
    world.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="the world, TOML: a path or a shipped one",
    )
    world.add_argument("--config", type=Path, metavar="FILE", help="the same")
    world.add_argument("--list", action="store_true", help="name the shipped worlds")
    run.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="another world of its kind; default: 0"
    )
    run.add_argument("--log", type=Path, metavar="FILE", help="append each value answered, as JSON")
    run.add_argument(
        "--die-with-parent", action="store_true", help="end when the parent process ends"
    )
    run.set_defaults(command=_run)
    record = commands.add_parser("record", help="write down what passes between gateway and port")
    record.add_argument("port", metavar="PORT", help="the real port: a device path or socket://")
    record.add_argument("--link", type=Path, required=True, metavar="PATH", help="the gateway's")
    record.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new transcript")
    record.add_argument("--baud", type=int, choices=BAUDS, default=2400, help="default: 2400")
    record.add_argument("--parity", choices="NEO", default="E", help="default: E")
    record.set_defaults(command=_record)
    replay = commands.add_parser("replay", help="play the meters of a transcript")
    replay.add_argument("file", type=Path, metavar="FILE", help="the transcript")
    replay.add_argument("--link", type=Path, required=True, metavar="PATH", help="the gateway's")
    replay.add_argument(
        "--any-order", action="store_true", help="answer its requests in any order, repeatedly"
    )
    pace = replay.add_mutually_exclusive_group()
    pace.add_argument("--speed", type=_speed, default=1.0, metavar="X", help="divides the pauses")
    pace.add_argument(
        "--no-pauses", action="store_const", const=None, dest="speed", help="answer at once"
    )
    replay.set_defaults(command=_replay)
    demo = commands.add_parser("demo", help="the whole system on this machine")
    demo.add_argument(
        "--for", type=float, dest="for_s", metavar="SECONDS", help="end after this time"
    )
    demo.add_argument("--broker", choices=KINDS, help="default: mosquitto when it is there")
    demo.set_defaults(command=_demo)
    return parser


def _run(args: argparse.Namespace) -> int:
    from hil.scenario import shipped_scenarios  # noqa: PLC0415  # help must not wait
    from hil.world import run  # noqa: PLC0415  # for pymodbus

    if args.list:
        sys.stdout.writelines(f"{name}\n" for name in shipped_scenarios())
        return 0
    return run(args.file or args.config, args.log, args.die_with_parent, args.seed)


def _seed(text: str) -> int:
    """A whole number; argparse turns the error into a sentence."""
    if not text.isdecimal() or int(text) > SEED_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; a whole number from 0 to {SEED_MAX}"
        )
    return int(text)


def _speed(text: str) -> float:
    """A factor above 0; argparse turns the error into a sentence."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SPEED_MIN <= value <= SPEED_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; from {SPEED_MIN} to {SPEED_MAX}"
        )
    return value


def _record(args: argparse.Namespace) -> int:
    from hil.recorder import run  # noqa: PLC0415  # only this one needs pyserial

    return run(args.port, args.link, args.out, args.baud, args.parity)


def _replay(args: argparse.Namespace) -> int:
    return replayer.run(args.file, args.link, args.speed, args.any_order)


def _demo(args: argparse.Namespace) -> int:
    from hil.demo import main as demo_main  # noqa: PLC0415  # it brings edge's and cloud's needs

    return int(demo_main(args))


if __name__ == "__main__":
    sys.exit(main())
