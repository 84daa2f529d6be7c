"""The packages on real Debian systems: installed, started by systemd, upgraded, removed, purged.

Root, mmdebstrap and systemd-nspawn are needed. CI does one life on Debian 12 and one
reading on 13; the rest, an emulated arm64 included, takes minutes and runs with `make deb-test`.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.container import Container, Machine

HERE = Path(__file__).parent
UNIT = "busbar-edge.service"
PURGE = ("apt-get", "--yes", "purge", "busbar")
CONFIG = """\
[gateway]
id = "gw1"
tenant = "t1"
state_dir = "/var/lib/busbar"
identity_dir = "/etc/busbar/identity"

[mqtt]
host = "127.0.0.1"

[journal]
commit_interval_ms = 100

[[line]]
id = "line1"
port = "socket://127.0.0.1:1502"

[[meter]]
id = "feeder"
line = "line1"
protocol = "modbus-tcp"
unit = 1
model = "eastron-sdm630"
period_s = 1
"""
# Without systemd: the gateway runs until its journal holds a reading; its status is kept.
READ_ONCE = """\
unset NOTIFY_SOCKET  # it is for the container's first process
as_gateway="setpriv --reuid busbar --regid busbar --init-groups busbar-edge"
config="--config /etc/busbar/edge.toml"
python3 /root/meter.py >/root/meter.log 2>&1 & meter=$!
$as_gateway run $config >/root/log 2>&1 & gateway=$!
for _ in $(seq 120); do
    sleep 1
    $as_gateway status --json $config >/root/status 2>/root/why &&
        grep -q '"head": [1-9]' /root/status && break
done
kill $meter $gateway
wait $meter
test -s /root/status || { cat /root/why /root/log; exit 1; }
"""
EVERY_LIBRARY = "import sys; sys.path.insert(0, '/opt/busbar/current/lib'); " + "; ".join(
    f"import {name}"
    for name in (
        "cbor2._cbor2", "cryptography.hazmat.bindings._rust", "_cffi_backend", "paho.mqtt.client",
        "pymodbus.client", "serial", "sqlite3", "ssl",
    )
)  # fmt: skip

ALL = os.environ.get("BUSBAR_DEB_TEST") == "all"
LONG = pytest.mark.skipif(not ALL, reason="takes minutes: `make deb-test` runs it")
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture
def make(tmp_path: Path, require: Callable[..., None]) -> Iterator[Callable[[Machine], Container]]:
    """Makes machines, and ends them."""
    require("mmdebstrap", "systemd-nspawn", "nsenter")
    if os.getuid() != 0:
        pytest.skip("needs root")
    made: list[Container] = []

    def start(machine: Machine) -> Container:
        made.append(Container(tmp_path, machine))
        return made[-1]

    yield start
    for container in made:
        container.stop()


def configure(container: Container) -> None:
    """As docs/installation.md says, with an identity of its own."""
    container.run(
        *("busbar-provision", "init", "--dir", "/root/identities", "--tenant", "t1"),
        *("--gateway", "gw1", "--broker-host", "127.0.0.1"),
    )
    container.run("cp", "-r", "/root/identities/gateways/gw1", "/etc/busbar/identity")
    container.run("chown", "-R", "busbar:busbar", "/etc/busbar/identity")
    container.write("/etc/busbar/edge.toml", CONFIG)
    container.run("chown", "root:busbar", "/etc/busbar/edge.toml")
    container.run("chmod", "0640", "/etc/busbar/edge.toml")


def is_active(container: Container) -> bool:
    """Whether the gateway runs."""
    return container.unit(UNIT, "ActiveState") == "active"


def sets_beyond(container: Container, count: int) -> bool:
    """Whether the journal holds more reading sets than that."""
    return journal_head(container.status()) > count


def journal_head(status: dict[str, Any]) -> int:
    """The highest sequence of the journal, 0 when nobody answered."""
    return int(status["journal"]["head"]) if status else 0


@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=LONG)])
def test_the_life_of_a_gateway(
    release: str, make: Callable[[Machine], Container], packages: dict[str, Path], newer: Path
) -> None:
    """Nothing starts unconfigured; then it reads, survives a kill and an upgrade with configuration
    and journal, comes back after removal, and a purge leaves the journal, and says so."""
    container = make(Machine(release, "amd64"))
    container.boot()
    container.add(HERE / "meter.py", "/root/meter.py")
    container.run("systemd-run", "--unit=meter", "/usr/bin/python3", "/root/meter.py")
    container.install(packages["amd64"])
    check_nothing_started(container)
    check_first_start(container)
    check_kill(container)
    check_upgrade(container, newer)
    check_removal(container, newer)
    check_purge(container)


def check_nothing_started(container: Container) -> None:
    """Installed, enabled, and even a start by hand starts nothing and is no error."""
    assert container.unit(UNIT, "UnitFileState") == "enabled"
    container.run("systemctl", "start", UNIT)
    assert container.unit(UNIT, "ActiveState") == "inactive"
    assert container.unit(UNIT, "ConditionResult") == "no"
    assert not container.has("/var/lib/busbar/journal.db")
    for command in ("busbar-edge", "busbar-provision"):
        assert container.run(command, "--help").startswith(f"usage: {command}")


def check_first_start(container: Container) -> None:
    """Configured, it reads its meter; what its service may do is what it needs."""
    configure(container)
    container.add(HERE / "probe.py", "/usr/local/lib/probe.py")
    container.write(
        f"/etc/systemd/system/{UNIT}.d/probe.conf",
        "[Service]\nExecStartPre=/usr/bin/python3 -IS /usr/local/lib/probe.py\n",
    )
    container.run("systemctl", "daemon-reload")
    container.run("systemctl", "start", UNIT)
    assert is_active(container), container.run("journalctl", "-u", UNIT, "--no-pager")
    container.await_true(lambda: sets_beyond(container, 2), "reading")
    told = json.loads((container.root / "var/lib/busbar/probe.json").read_text())
    assert told == {
        "kernel_tells_of_its_clock": True,
        "may_set_the_clock": False,
        "boot_id_size": 36,
        "writes": ["/var/lib/busbar", "/run/busbar"],
        "reads_shadow": False,
        "key_size": 256,
    }
    assert oct((container.root / "var/lib/busbar").stat().st_mode)[-4:] == "0700"
    assert oct((container.root / "etc/busbar").stat().st_mode)[-4:] == "0750"


def check_kill(container: Container) -> None:
    """Killed, it is started again and reads on."""
    before = container.status()
    pid = container.unit(UNIT, "MainPID")
    container.run("sh", "-c", f"kill -9 {pid}")
    container.await_true(
        lambda: is_active(container) and container.unit(UNIT, "MainPID") != pid, "restart"
    )
    container.await_true(lambda: sets_beyond(container, journal_head(before)), "reading")


def check_upgrade(container: Container, newer: Path) -> None:
    """The new release runs, the old one is gone; configuration, a changed conffile and the journal
    are as they were."""
    place = "etc/modules-load.d/busbar.conf"
    changed = (container.root / place).read_text() + "ch341\n"
    container.write(place, changed)
    before = container.status()
    assert before["version"] == "1.0.0"
    pid = container.unit(UNIT, "MainPID")
    container.install(newer)
    assert container.unit(UNIT, "MainPID") != pid
    container.await_true(lambda: sets_beyond(container, journal_head(before)), "reading")
    after = container.status()
    assert after["version"] == "1.0.1"
    assert after["journal"]["epoch"] == before["journal"]["epoch"]
    assert (container.root / "etc/busbar/edge.toml").read_text() == CONFIG
    assert (container.root / place).read_text() == changed
    releases = (container.root / "opt/busbar/releases").iterdir()
    assert [path.name for path in releases] == ["1.0.1"]


def check_removal(container: Container, newer: Path) -> None:
    """No code is left and nothing runs; what is the administrator's and the journal stay. Installed
    again, it reads on."""
    before = container.status()
    container.run("apt-get", "--yes", "remove", "busbar")
    running = container.run("sh", "-c", "cat /proc/[0-9]*/cmdline", allowed=(0, 1))
    assert "meter.py" in running and "busbar-edge" not in running
    for gone in ("/opt/busbar", "/usr/bin/busbar-edge", "/usr/bin/busbar-provision"):
        assert not container.has(gone)
    for kept in ("edge.toml", "identity"):
        assert container.has(f"/etc/busbar/{kept}")
    container.install(newer)
    container.await_true(lambda: sets_beyond(container, journal_head(before)), "reading")
    assert container.status()["journal"]["epoch"] == before["journal"]["epoch"]


def check_purge(container: Container) -> None:
    """The journal stays with its owner, and the purge tells. Without a journal nothing stays."""
    told = container.run(*PURGE)
    assert "busbar: the journal in /var/lib/busbar is kept" in told
    assert container.has("/var/lib/busbar/journal.db")
    container.run("getent", "passwd", "busbar")
    for gone in ("/etc/busbar", "/opt/busbar", "/etc/modules-load.d/busbar.conf"):
        assert not container.has(gone)
    assert container.unit(UNIT, "LoadState") == "not-found"


@pytest.mark.parametrize(
    ("release", "architecture"),
    [
        pytest.param("bookworm", "amd64", marks=LONG),
        ("trixie", "amd64"),
        pytest.param("bookworm", "arm64", marks=LONG),
        pytest.param("trixie", "arm64", marks=LONG),
    ],
)
def test_a_reading_is_taken(
    release: str,
    architecture: str,
    make: Callable[[Machine], Container],
    packages: dict[str, Path],
    require: Callable[..., None],
) -> None:
    """Under the system's Python, every compiled module; the gateway reads a meter; a purge leaves
    nothing where no journal is."""
    if architecture == "arm64":
        require("qemu-aarch64-static", "arch-test")
    container = make(Machine(release, architecture))
    container.install(packages[architecture])
    container.run("/usr/bin/python3", "-IS", "-c", EVERY_LIBRARY)
    assert container.run("busbar-edge", "--help").startswith("usage: busbar-edge")
    configure(container)
    container.add(HERE / "meter.py", "/root/meter.py")
    container.write("/root/read.sh", READ_ONCE)
    container.run("sh", "/root/read.sh")
    assert journal_head(json.loads((container.root / "root/status").read_text())) > 0
    compiled = list((container.root / "opt/busbar").rglob("*.pyc"))
    assert len(compiled) > 100
    container.run("sh", "-c", "rm /var/lib/busbar/journal*")
    container.run(*PURGE)
    for gone in ("/etc/busbar", "/opt/busbar", "/var/lib/busbar"):
        assert not container.has(gone)
    container.run("getent", "passwd", "busbar", allowed=(2,))
