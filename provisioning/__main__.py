"""busbar-provision: the technician's command."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from protocols.errors import SettingError
from provisioning import model_check
from provisioning.approvers import FILE_NAME, Approvers, Changed, described
from provisioning.deployment import DEFAULT_HOSTS, DEFAULT_TENANT, Deployment

OK = 0
BAD_INPUT = 2
BAUDS = (600, 1200, 2400, 4800, 9600, 19200)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 the input or the files did not allow it and nothing was done."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return BAD_INPUT
    try:
        return int(arguments.run(arguments))
    except SettingError as error:
        print(f"busbar-provision: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"busbar-provision: {where}{error.strerror or error}", file=sys.stderr)
    return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="busbar-provision",
        description="Identities of a deployment, what a bus capture says, and meter models.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    init = commands.add_parser(
        "init",
        help="make a deployment, or add gateways to one",
        description="Makes authority, broker, head end and gateways, with fresh keys. In a "
        "directory that is a deployment already it adds gateways, and overwrites no key.",
    )
    _add_directory(init)
    init.add_argument("--tenant", metavar="NAME", help=f"default {DEFAULT_TENANT}")
    _add_gateway(init, action="append")
    init.add_argument(
        "--broker-host",
        action="append",
        metavar="HOST",
        help="host name or IP address under which the broker is reached; may be repeated; default "
        + " and ".join(DEFAULT_HOSTS),
    )
    init.set_defaults(run=_init)
    revoke = commands.add_parser(
        "revoke",
        help="end a gateway",
        description="Marks the keys of a gateway as revoked and puts its certificate on the "
        "revocation list. Harmless when repeated.",
    )
    _add_directory(revoke)
    _add_gateway(revoke)
    revoke.set_defaults(run=_revoke)
    _add_approver(commands)
    renew = commands.add_parser(
        "renew-crl",
        help="renew the revocation list",
        description="The revocation list holds 30 days; without a fresh one the broker then "
        "refuses everybody. init and revoke renew it too.",
    )
    _add_directory(renew)
    renew.set_defaults(run=_renew_crl)
    _add_explain(commands)
    _add_model(commands)
    _add_search(commands)
    return parser


def _add_approver(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("approver", help="say who may approve orders")
    actions = parser.add_subparsers(dest="approver_command", metavar="COMMAND", required=True)
    add = actions.add_parser(
        "add",
        help="let a person approve orders",
        description="Takes the public record of a key that busbar-cloud approver-key new made on "
        "the person's own machine, and has head end and gateways trust it. Harmless when repeated.",
    )
    add.add_argument("name", metavar="NAME", help="of the person, as in people.json")
    add.add_argument("--public", required=True, type=Path, metavar="FILE", help="the public record")
    _add_directory(add)
    add.set_defaults(run=_approver_add)
    revoke = actions.add_parser(
        "revoke",
        help="end every key of a person",
        description="Marks the keys as revoked for head end and gateways. Harmless when repeated.",
    )
    revoke.add_argument("name", metavar="NAME", help="of the person")
    _add_directory(revoke)
    revoke.set_defaults(run=_approver_revoke)
    shown = actions.add_parser("list", help="name the people who may approve, and their keys")
    _add_directory(shown)
    shown.set_defaults(run=_approver_list)


def _add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "explain",
        help="say what a bus capture means",
        description="Takes the bytes of a line in hex, as a terminal or an analyser shows them, "
        "and says frame by frame what they mean: DL/T 645-2007 and 1997, CJ/T 188, Modbus RTU.",
        epilog="exit code: 0 a frame was recognised, damaged ones included; 1 none was; 2 the "
        "input is not hex. Passwords are shown as ••, in --json too.",
    )
    parser.add_argument(
        "hex",
        nargs="+",
        metavar="HEX",
        help="bytes in hex, with or without 0x, spaces, commas, colons; - reads standard input",
    )
    parser.add_argument("--json", action="store_true", help="a list with one object for each frame")
    parser.set_defaults(run=_explain)


def _add_model(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("model", help="check a meter model, or list those that we ship")
    models = parser.add_subparsers(dest="model_command", metavar="COMMAND", required=True)
    check = models.add_parser(
        "check",
        help="say what is wrong with a meter model",
        description="Reads Modbus meter models as a gateway does, and says every fault that it"
        " finds, and what is allowed but odd.",
        epilog="exit code: 0 a gateway takes each file, warnings or not; 2 it does not.",
    )
    check.add_argument("file", nargs="+", metavar="FILE", help="a meter model, NAME.toml")
    check.add_argument("--json", action="store_true", help="a list with one object for each file")
    check.set_defaults(run=_model_check)
    shipped = models.add_parser("list", help="name the meter models that come with Busbar")
    shipped.set_defaults(run=_model_list)


def _add_search(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "search",
        help="find the DL/T 645-2007 meters of a line",
        description="Asks abbreviated addresses and splits a branch where several meters answer. "
        "It only reads. Nobody else may use the line meanwhile: stop the gateway.",
        epilog="exit code: 0 meters found, search complete; 1 none found, or ended by --probes; 2 "
        "the line cannot be used.",
    )
    parser.add_argument("port", metavar="PORT", help="tty, socket://host:port or rfc2217://…")
    parser.add_argument("--baud", type=int, default=2400, choices=BAUDS, help="default 2400")
    parser.add_argument("--parity", default="E", choices=("E", "N", "O"), help="default E")
    parser.add_argument(
        "--known", nargs="*", default=(), metavar="ADDRESS", help="meters that need not be found"
    )
    parser.add_argument(
        "--probes", type=int, default=2000, metavar="N", help="end after so many; default 2000"
    )
    parser.add_argument("--json", action="store_true", help="one object")
    parser.set_defaults(run=_search)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", required=True, type=Path, metavar="DIR", help="the deployment")


def _add_gateway(parser: argparse.ArgumentParser, action: str = "store") -> None:
    meaning = "gateway id; may be repeated" if action == "append" else "gateway id"
    parser.add_argument("--gateway", required=True, action=action, metavar="ID", help=meaning)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _init(arguments: argparse.Namespace) -> int:
    deployment = Deployment(arguments.dir)
    folders = deployment.init(arguments.tenant, arguments.gateway, arguments.broker_host, _now())
    for folder in folders:
        print(f"gateway {folder.name}: {folder}")
    return OK


def _revoke(arguments: argparse.Namespace) -> int:
    at = Deployment(arguments.dir).revoke(arguments.gateway, _now())
    since = datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f"gateway {arguments.gateway}: revoked since {since}")
    print(
        "the head end refuses it from now on; the broker does when it has read "
        f"{arguments.dir / 'broker' / 'crl.pem'} again (mosquitto: SIGHUP)"
    )
    return OK


def _approver_add(arguments: argparse.Namespace) -> int:
    approvers = Approvers(arguments.dir)
    _tell_changed(arguments.dir, approvers.add(arguments.name, arguments.public, _now()))
    return OK


def _approver_revoke(arguments: argparse.Namespace) -> int:
    _tell_changed(arguments.dir, Approvers(arguments.dir).revoke(arguments.name, _now()))
    return OK


def _approver_list(arguments: argparse.Namespace) -> int:
    for record in Approvers(arguments.dir).records():
        print(described(record))
    return OK


def _tell_changed(directory: Path, changed: Changed) -> None:
    for record in changed.records:
        print(described(record))
    for name in changed.gateways:
        path = directory / "gateways" / name / "keyset.json"
        print(f"gateway {name}: copy {path} to it and restart it")
    for name in changed.absent:
        source = directory / "cloud" / FILE_NAME
        print(f"gateway {name}: its folder is not here; put the keys of {source} into its keyset")


def _renew_crl(arguments: argparse.Namespace) -> int:
    Deployment(arguments.dir).renew_revocations(_now())
    print(f"renewed: {arguments.dir / 'broker' / 'crl.pem'}; make the broker read it again")
    return OK


def _explain(arguments: argparse.Namespace) -> int:
    from provisioning import explain  # noqa: PLC0415 - a head end makes identities without pymodbus

    return explain.run(arguments.hex, as_json=arguments.json)


def _search(arguments: argparse.Namespace) -> int:
    # A head end makes identities without pyserial.
    from edge.line.port import PortLostError, SerialPort  # noqa: PLC0415
    from provisioning import search  # noqa: PLC0415

    port = SerialPort(arguments.port, arguments.baud, arguments.parity, 1)
    try:
        return search.run(
            port, arguments.baud, arguments.known, arguments.probes, as_json=arguments.json
        )
    except PortLostError as error:
        raise SettingError(str(error)) from error


def _model_check(arguments: argparse.Namespace) -> int:
    return model_check.check(arguments.file, as_json=arguments.json)


def _model_list(_: argparse.Namespace) -> int:
    return model_check.list_models()


if __name__ == "__main__":
    sys.exit(main())
