"""An MQTT broker as a child process, for the demo and for system tests.

What is guaranteed:

* The broker listens on its `host` only, over TLS 1.3 with client certificates required. The common
  name in one is the user, and `acl_rules` is all that a user may do. Both kinds of broker enforce
  that one table, and both refuse a certificate on the revocation list they read when they start.
* The port is chosen once and kept, so clients find the broker again after `kill` or `restart`.
* `start` returns when a TLS connection was accepted, or raises `BrokerStartError` with the last
  lines of the broker's log. No method waits without a limit.
* The process is ended by `stop`, by its pid, and no child outlives this process: see `_bound`.

`mosquitto` speaks MQTT 5 and keeps sessions and retained messages over a restart. `amqtt` is for a
demo on a machine without mosquitto: MQTT 3.1.1 only, and it forgets everything when it ends.
"""

import importlib.metadata
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from hil.namespace import Namespace
from protocols.errors import BusbarError, CallerError
from protocols.topics import VERSION, is_name

HOST = "127.0.0.1"  # unless the broker lives in a network namespace
KINDS = ("mosquitto", "amqtt")
INGEST_USER = "ingest"  # the head end's common name
AMQTT_VERSION = "0.12.1"  # hil.embedded_broker mends private parts of exactly this version
PACKET_SIZE_MAX = 262_144  # bytes of one MQTT packet
INFLIGHT_MESSAGES_MAX = 20  # sent to a client and not yet acknowledged by it
AUTOSAVE_INTERVAL_S = 1  # what a killed mosquitto may forget
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 5.0  # then SIGKILL
PROBE_TIMEOUT_S = 1.0
PROBE_INTERVAL_S = 0.02
LOG_LINES_MAX = 20  # in an error

# Below Linux's ephemeral ports (32768 and up). A client that retries a dead port in that range can
# be given the same number as its own source port, connect to itself, and so keep the broker out.
_PORTS = range(20_000, 32_000)
_PORT_ATTEMPTS_MAX = 100

# Children are started by one thread that lives as long as this process: the kernel's parent-death
# signal fires when the *thread* that forked ends, and callers may start a broker from any thread.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-spawner")


class BrokerError(BusbarError):
    """The broker is not in the state that the call needs: not running, or running already."""


class BrokerMissingError(BrokerError):
    """No broker of the wanted kind is installed; the sentence says what to install."""


class BrokerStartError(BrokerError):
    """The broker did not come up; the message ends with the last lines of its log."""


class BrokerFiles(NamedTuple):
    """What a broker needs to prove itself and to judge others; all PEM."""

    ca: Path
    crl: Path | None
    certificate: Path
    key: Path

    @classmethod
    def from_directory(cls, directory: Path) -> "BrokerFiles":
        """ca.pem, broker.pem, broker.key and, when it is there, crl.pem of `directory`."""
        directory = directory.resolve()
        crl = directory / "crl.pem"
        files = cls(
            directory / "ca.pem",
            crl if crl.exists() else None,
            directory / "broker.pem",
            directory / "broker.key",
        )
        for path in (files.ca, files.certificate, files.key):
            if not path.exists():
                raise CallerError(f"a broker needs {path}")
        return files


class AclRule(NamedTuple):
    """`user` may `access` ("read" or "write") what `filter` matches. User None is everybody, and
    then `%u` in the filter stands for the user's own name."""

    user: str | None
    access: str
    filter: str


def acl_rules(tenant: str) -> tuple[AclRule, ...]:
    """All that is allowed within a tenant; whatever no rule allows is refused."""
    if not is_name(tenant):
        raise CallerError(f"{tenant!r} is no tenant id")
    root = f"busbar/{VERSION}/{tenant}"
    return (
        AclRule(INGEST_USER, "read", f"{root}/+/up/#"),
        AclRule(INGEST_USER, "read", f"{root}/+/st"),
        AclRule(INGEST_USER, "write", f"{root}/+/dn/#"),
        AclRule(None, "write", f"{root}/%u/up/#"),
        AclRule(None, "write", f"{root}/%u/st"),
        AclRule(None, "read", f"{root}/%u/dn/#"),
    )


class Broker:
    """One broker process at a time, on one port, with its files in `work_dir`."""

    def __init__(
        self,
        kind: str,
        mqtt_version: int,
        command: Sequence[str],
        port: int,
        files: BrokerFiles,
        work_dir: Path,
        namespace: Namespace | None = None,
    ) -> None:
        self.host = namespace.address if namespace else HOST
        self.kind = kind
        self.mqtt_version = mqtt_version
        self.port = port
        self.log_path = work_dir / "broker.log"
        self._command = bound(namespace.command(*command) if namespace else command)
        self._files = files
        self._work_dir = work_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._log_offset = 0

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs, frozen or not."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the last process ended, as `subprocess` tells it; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the process and wait until it accepts TLS connections."""
        if self.pid is not None:
            raise BrokerError(f"{self.kind} is running already, pid {self.pid}")
        self._process = _SPAWNER.submit(self._spawn).result()
        try:
            self._await_tls(self._process, time.monotonic() + START_DEADLINE_S)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the process and wait for its end; it may save its state first. Does nothing when
        there is none."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            # A frozen process keeps SIGTERM pending until it is thawed.
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self._reap(process)

    def kill(self) -> None:
        """SIGKILL: the broker's side of a power cut. Does nothing when there is no process."""
        process = self._process
        if process is not None:
            process.kill()
            self._reap(process)

    def restart(self) -> None:
        """`stop`, then `start` on the same port. Reads certificates and revocation list afresh."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. Holds when the call returns."""
        pid = self._running_pid()
        os.kill(pid, signal.SIGSTOP)
        # WNOWAIT leaves the state for Popen; WEXITED keeps a process that dies now from hanging us.
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """SIGCONT: what came in while the broker was frozen is answered now."""
        os.kill(self._running_pid(), signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines that the process started last has logged."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            lines = log.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES_MAX:])

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _running_pid(self) -> int:
        pid = self.pid
        if pid is None:
            raise BrokerError(f"{self.kind} is not running")
        return pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        # The child runs in work_dir and must still find this package when it is not installed.
        paths = [str(Path(__file__).resolve().parents[1]), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        with self.log_path.open("ab") as log:
            self._log_offset = log.tell()
            return subprocess.Popen(
                self._command,
                cwd=self._work_dir,
                env=environment,
                stdin=subprocess.PIPE,  # its end of file tells hil.embedded_broker that we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _await_tls(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        # Under TLS 1.3 our handshake completes before the broker misses the client certificate, so
        # the probe needs none, and it checks the broker's certificate the way clients will.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self._files.ca)
        while time.monotonic() < deadline:
            try:
                with (
                    socket.create_connection((self.host, self.port), PROBE_TIMEOUT_S) as plain,
                    context.wrap_socket(plain, server_hostname=self.host),
                ):
                    is_accepted = True
            except ssl.SSLCertVerificationError as error:
                raise BrokerStartError(f"{self.kind}: clients will refuse it: {error}") from error
            except OSError:
                is_accepted = False
            try:
                code = process.wait(PROBE_INTERVAL_S)
            except subprocess.TimeoutExpired:
                if is_accepted:
                    return
            else:
                raise BrokerStartError(f"{self.kind} ended with {code}:\n{self.log_tail()}")
        raise BrokerStartError(
            f"{self.kind} accepts no TLS on port {self.port} after {START_DEADLINE_S} s:\n"
            + self.log_tail()
        )

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        process.wait(STOP_DEADLINE_S)
        if process.stdin is not None:
            process.stdin.close()


def find_broker(
    work_dir: Path, files: BrokerFiles, tenant: str,
    prefer: str | None = None, namespace: Namespace | None = None,
) -> Broker:  # fmt: skip
    """The best broker this machine has, configured and not yet started: mosquitto, else amqtt.

    `prefer` ("mosquitto" or "amqtt") asks for that kind and no other; `BrokerMissingError` when it
    is not installed. Everything that the broker writes goes into `work_dir`. A broker in a
    `namespace` is always mosquitto.
    """
    if prefer not in (None, *KINDS):
        raise CallerError(f"there is no broker kind {prefer!r}")
    work_dir = work_dir.resolve()
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    mosquitto = find_mosquitto()
    if mosquitto is not None and prefer != "amqtt":
        return _mosquitto(mosquitto, work_dir, files, tenant, namespace)
    if has_amqtt() and prefer != "mosquitto" and namespace is None:
        return _amqtt(work_dir, files, tenant)
    raise BrokerMissingError(
        f"no {prefer or 'MQTT'} broker here: apt install mosquitto, "
        f"or pip install amqtt=={AMQTT_VERSION}"
    )


def find_mosquitto() -> str | None:
    """The path of mosquitto. Debian puts it in /usr/sbin, which a user's PATH does not have."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which("mosquitto", path=path)


def has_amqtt() -> bool:
    """Whether the one version of amqtt is installed that `hil.embedded_broker` can make safe."""
    try:
        return importlib.metadata.version("amqtt") == AMQTT_VERSION
    except importlib.metadata.PackageNotFoundError:
        return False


def _mosquitto(
    executable: str, work_dir: Path, files: BrokerFiles, tenant: str, namespace: Namespace | None
) -> Broker:
    port = _free_port()
    acl = work_dir / "mosquitto.acl"
    acl.write_text(_mosquitto_acl(acl_rules(tenant)), encoding="utf-8")
    lines = [
        "per_listener_settings true",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        "persistence true",
        f"persistence_location {work_dir}/",
        f"autosave_interval {AUTOSAVE_INTERVAL_S}",
        f"listener {port} {namespace.address if namespace else HOST}",
        f"cafile {files.ca}",
        f"certfile {files.certificate}",
        f"keyfile {files.key}",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {acl}",
        "tls_version tlsv1.3",
        f"max_packet_size {PACKET_SIZE_MAX}",
        f"max_inflight_messages {INFLIGHT_MESSAGES_MAX}",
    ]
    if files.crl is not None:
        lines.append(f"crlfile {files.crl}")
    if os.geteuid() == 0:
        # Started as root, mosquitto becomes the user `mosquitto`, who can neither read a 0600 key
        # nor write into our private directory. On a test machine in a container we are root.
        lines.insert(0, "user root")
    config = work_dir / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = (executable, "-c", str(config))
    return Broker("mosquitto", 5, command, port, files, work_dir, namespace)


def _mosquitto_acl(rules: Sequence[AclRule]) -> str:
    lines = [
        f"pattern {rule.access} {rule.filter}\n"
        if rule.user is None
        else f"user {rule.user}\ntopic {rule.access} {rule.filter}\n"
        for rule in rules
    ]
    return "".join(lines)


def _amqtt(work_dir: Path, files: BrokerFiles, tenant: str) -> Broker:
    port = _free_port()
    settings = {
        "host": HOST,
        "port": port,
        "ca": str(files.ca),
        "crl": str(files.crl) if files.crl is not None else None,
        "certificate": str(files.certificate),
        "key": str(files.key),
        "rules": acl_rules(tenant),
    }
    config = work_dir / "amqtt.json"
    config.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    command = (sys.executable, "-m", "hil.embedded_broker", str(config))
    return Broker("amqtt", 3, command, port, files, work_dir)


def bound(command: Sequence[str]) -> tuple[str, ...]:
    """The command, so started that the kernel ends it with us, however we end.

    `setpriv` replaces itself by the command, so the pid stays the broker's. SIGKILL, because a
    frozen broker would not hear SIGTERM. Where there is no setpriv, hil.embedded_broker still
    notices the end of its standard input; mosquitto would stay.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", *command) if setpriv else tuple(command)


def _free_port() -> int:
    chooser = random.SystemRandom()  # test runs with one seed must not all choose one port
    for _ in range(_PORT_ATTEMPTS_MAX):
        port = chooser.choice(_PORTS)
        with socket.socket() as attempt:
            try:
                attempt.bind((HOST, port))
            except OSError:
                continue
        return port
    raise BrokerError(f"no free port among {_PORT_ATTEMPTS_MAX} tried")
