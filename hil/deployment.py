"""A whole deployment on this machine, each part its own process: meters, gateway, broker, head end.

For the demo and the system tests. Parts are started by their commands and watched by what they
tell anybody; nothing of `edge/` or `cloud/` is imported. What is started here is ended here, by
its process id; if this process dies first, the kernel ends the parts.
"""

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hil.broker import HOST, Broker, BrokerFiles, bound, find_broker
from hil.namespace import Namespace
from protocols.errors import BusbarError

TENANT = "t1"
GATEWAY = "gw1"
START_S_MAX = 20
STOP_S_MAX = 15
_POLL_S = 0.05
_ANSWER_S_MAX = 5


class PartError(BusbarError):
    """A part did not start, or ended by itself; the message ends with the last lines of its log."""


class MeterPlan(NamedTuple):
    """One virtual meter and how the gateway reads it: rows of world.toml and edge.toml."""

    meter_id: str
    line: str
    world: dict[str, Any]
    edge: dict[str, Any]


class Approver(NamedTuple):
    """A person who may approve orders in a deployment, and what that person signs with: an
    encrypted key file and the file with its passphrase."""

    name: str
    key: Path
    passphrase: Path


class Plan(NamedTuple):
    """What a deployment is made of. `uplink` and `journal` are sections of edge.toml, `ingest` of
    cloud.toml."""

    lines: dict[str, dict[str, Any]]
    meters: tuple[MeterPlan, ...]
    journal: dict[str, Any]
    uplink: dict[str, Any]
    ingest: dict[str, Any]
    reconnect_s_max: int = 5
    foreign_lines: Mapping[str, str] = MappingProxyType({})  # line id -> port of meters not ours
    line_settings: Mapping[str, Any] = MappingProxyType({})  # more of every [[line]] of edge.toml
    faults: tuple[dict[str, Any], ...] = ()  # rows of world.toml
    mqtt: Mapping[str, Any] = MappingProxyType({})  # more of [mqtt] of edge.toml and cloud.toml
    approvers: tuple[str, ...] = ()  # names of people who may approve orders


class Part:
    """One process, its log in `folder/name.log`."""

    def __init__(self, folder: Path, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; PartError when it does not run."""
        if self._process is None:
            raise PartError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Starts the process in a session of its own, so that Ctrl-C reaches us alone."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                bound(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that takes too long. The exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def kill(self) -> None:
        """SIGKILL: what a power cut does to a process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def check_alive(self) -> None:
        """PartError when it ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise PartError(
                f"{self.name} ended with exit code {self._process.returncode}:\n{self.log_tail()}"
            )

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


class Deployment:
    """All parts of one gateway's path, in `folder`."""

    gateway_id = GATEWAY

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        prefer: str | None = None,
        broker_namespace: Namespace | None = None,
    ) -> None:
        self.folder = folder
        self.state = folder / "gateway"
        self._plan = plan
        host = broker_namespace.address if broker_namespace else HOST
        self.run_to_end("provisioning", "init", "--dir", str(folder / "id"), "--tenant", TENANT,
                        "--gateway", GATEWAY, "--broker-host", host)  # fmt: skip
        self.approvers = tuple(self._make_approver(name) for name in plan.approvers)
        work = folder / "broker"
        work.mkdir()
        files = BrokerFiles.from_directory(folder / "id" / "broker")
        self.broker: Broker = find_broker(work, files, TENANT, prefer, broker_namespace)
        self.world_config = folder / "world.toml"
        self.edge_config = folder / "edge.toml"
        self.cloud_config = folder / "cloud.toml"
        self._write_configs()
        module = (sys.executable, "-m")
        log = ("--log", str(folder / "meters.jsonl"))
        self.meters = Part(
            folder, "meters", (*module, "hil", "run", "--config", str(self.world_config), *log)
        )
        self.gateway = Part(
            folder, "gateway", (*module, "edge", "run", "--config", str(self.edge_config))
        )
        self.head_end = Part(
            folder, "head-end", (*module, "cloud", "run", "--config", str(self.cloud_config))
        )

    def start(self) -> None:
        """Broker, head end, meters, gateway; returns when the gateway answers."""
        self.broker.start()
        self.head_end.start()
        if self._plan.lines:
            self.meters.start()
            self.await_true(lambda: b'"ready"' in self.meters.log_path.read_bytes(), "the meters")
        self.start_gateway()

    def start_gateway(self) -> None:
        """Starts the gateway and waits for its status socket."""
        self.gateway.start()
        self.await_true(lambda: bool(self.status()), "the gateway")

    def stop(self) -> None:
        """Ends whatever runs, the gateway first."""
        for part in (self.gateway, self.head_end, self.meters):
            part.stop()
        if self.broker.pid is not None:
            self.broker.stop()

    def check_alive(self) -> None:
        """PartError when a part ended by itself."""
        for part in (self.gateway, self.head_end, self.meters):
            part.check_alive()

    def status(self) -> dict[str, Any]:
        """What the gateway tells at its status socket; empty while it does not answer."""
        chunks = []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_ANSWER_S_MAX)
                connection.connect(str(self.state / "status.sock"))
                connection.sendall(b'{"request": "status"}\n')
                while chunk := connection.recv(65536):
                    chunks.append(chunk)
            answer: dict[str, Any] = json.loads(b"".join(chunks))
        except (OSError, ValueError):
            return {}
        return answer

    def head_end_command(self, *arguments: str) -> list[str]:
        """A `busbar-cloud` command line."""
        return [sys.executable, "-m", "cloud", *arguments, "--config", str(self.cloud_config)]

    def head_end_json(self, *arguments: str) -> Any:
        """What a `busbar-cloud` command prints with --json; PartError when it prints no JSON."""
        command = self.head_end_command(*arguments, "--json")
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return json.loads(result.stdout)
        except ValueError:
            raise PartError(
                f"busbar-cloud {' '.join(arguments)}: {result.stderr.strip()}"
            ) from None

    def run_to_end(self, module: str, *arguments: str) -> str:
        """Runs one of our commands; its output, or PartError."""
        command = [sys.executable, "-m", module, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise PartError(f"{module} {arguments[0]} failed: {result.stderr.strip()}")
        return result.stdout

    def await_true(
        self, condition: Callable[[], bool], what: str, seconds: float = START_S_MAX
    ) -> None:
        """Waits until `condition()`; PartError after `seconds`, or when a part ended by itself."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise PartError(f"waited {seconds:.0f} s for {what}\n{self.gateway.log_tail()}")
            time.sleep(_POLL_S)

    def _make_approver(self, name: str) -> Approver:
        """Fresh keys in `approvers/NAME.key`, made and made known by the commands for it."""
        directory = self.folder / "approvers"
        directory.mkdir(mode=0o700, exist_ok=True)
        key, passphrase = directory / f"{name}.key", directory / f"{name}.passphrase"
        passphrase.touch(0o600)
        passphrase.write_text(f"{secrets.token_hex(16)}\n")
        self.run_to_end("cloud", "approver-key", "new", "--name", name, "--out", str(key),
                        "--passphrase-file", str(passphrase))  # fmt: skip
        self.run_to_end("provisioning", "approver", "add", name, "--public",
                        f"{key}.public.json", "--dir", str(self.folder / "id"))  # fmt: skip
        return Approver(name, key, passphrase)

    def _write_configs(self) -> None:
        plan, broker = self._plan, self.broker
        mqtt = {"host": broker.host, "port": broker.port, "version": broker.mqtt_version}
        mqtt |= plan.mqtt
        world: list[str] = []
        # Where bytes take no time, the budget of the gateway counts too much.
        is_unpaced = any(not line.get("paced", True) for line in plan.lines.values())
        edge = [
            section("gateway", {
                "id": GATEWAY, "tenant": TENANT, "state_dir": "gateway",
                "identity_dir": f"id/gateways/{GATEWAY}",
                "allow_over_budget": is_unpaced or bool(plan.foreign_lines),
            }),
            section("mqtt", {**mqtt, "reconnect_s_max": plan.reconnect_s_max}),
            section("journal", plan.journal),
            section("uplink", plan.uplink),
        ]  # fmt: skip
        for name, line in plan.lines.items():
            link = str(self.folder / name)
            world.append(section("[line]", {"id": name, "link": link, **line}))
            # A pty has no parity, and refuses to be opened twice with one.
            tty = {"id": name, "port": link, "baud": line["baud"], "parity": "N"}
            edge.append(section("[line]", {**tty, **plan.line_settings}))
        for name, port in plan.foreign_lines.items():
            edge.append(section("[line]", {"id": name, "port": port, "parity": "N"}))
        for meter in plan.meters:
            if meter.world:
                world.append(section("[meter]", {"line": meter.line, **meter.world}))
            place = {"id": meter.meter_id, "line": meter.line}
            edge.append(section("[meter]", {**place, **meter.edge}))
        world.extend(section("[fault]", fault) for fault in plan.faults)
        self.world_config.write_text("\n".join(world))
        self.edge_config.write_text("\n".join(edge))
        head_end = {"tenant": TENANT, "state_dir": "head-end", "identity_dir": "id/cloud"}
        sections = (
            section("head_end", head_end),
            section("mqtt", mqtt),
            section("ingest", plan.ingest),
        )
        self.cloud_config.write_text("\n".join(sections))


def section(name: str, values: dict[str, Any]) -> str:
    """One TOML table of plain values; JSON writes text, numbers, booleans and lists as TOML
    does."""
    rows = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join((f"[{name}]", *rows, ""))
