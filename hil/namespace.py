"""A network of its own for one part of a deployment, joined to ours by one link that can be hurt.

The link is a veth pair: one end here, the other in a Linux network namespace. `command` runs a
program in there; `lose`, `black_hole` and `slow` hurt the link, `heal` mends it. Packets are
dropped by nft rules in the namespace, so nothing of this machine's own network is touched; the rate
is held by tbf on both ends. Delay and reordering need netem, which many small kernels lack: not
here.

Nothing is left behind. The namespace has no name: it lives as long as a process in it, and that
process, `cat`, ends with the pipe that we hold, however we end. With the last process the kernel
removes the namespace, and with it the link, both queues and the rules.

Needs root, and ip, tc (Debian: iproute2), nft (nftables), unshare and nsenter (util-linux).
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network

from protocols.errors import BusbarError, CallerError

TOOLS = ("ip", "tc", "nft", "unshare", "nsenter")
RANGE = IPv4Network("198.18.0.0/15")  # RFC 2544: for benches, never routed
WAYS = ("both", "in", "out")  # seen from the namespace
SLOW_KBIT_MIN = 8
_LINK_PREFIX = 30  # two hosts
_ATTEMPTS_MAX = 20
_COMMAND_S_MAX = 10
_READY = b"ready\n"
_TBF_BURST = 1600  # bytes: one full frame of Ethernet, the least that lets everything through
_FIFO_PACKETS = "1000"  # a queue that holds nothing back
_TBF_LATENCY = "400ms"  # what waits longer is dropped, as in a modem's queue


class NamespaceError(BusbarError):
    """A command on the namespace failed; the message ends with what it said."""


class NamespaceRefusedError(NamespaceError):
    """This machine does not let us have one: no root, a missing tool, or a container that forbids
    it. No fault of the code under test."""


class Namespace:
    """One network namespace between `__enter__` and `__exit__`; faults add up until `heal`."""

    def __init__(self) -> None:
        self.address = ""  # of the far end, in the namespace
        self._holder: subprocess.Popen[bytes] | None = None
        self._link = self._far = ""
        self._rules: dict[str, list[str]] = {"in": [], "out": []}

    def __enter__(self) -> "Namespace":
        check_tools()
        self._holder = holder = subprocess.Popen(
            (_tool("unshare"), "--net", "cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        try:
            self._await_holder(holder)
            self._join(holder.pid)
            self._write_rules()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Cuts the link for good and lets the namespace go; programs in it are their owner's to
        end. May be called twice."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        try:
            if self._link:
                _run("ip", "link", "delete", self._link)
        finally:
            self._link = ""
            for pipe in (holder.stdin, holder.stdout, holder.stderr):
                if pipe is not None:
                    pipe.close()
            holder.kill()
            holder.wait(_COMMAND_S_MAX)

    @property
    def link(self) -> str:
        """The name of our end of the link; empty while there is none."""
        return self._link

    def command(self, *words: str) -> tuple[str, ...]:
        """The command line that runs `words` in the namespace; its process id is that of
        `words[0]`, since nsenter replaces itself."""
        return (_tool("nsenter"), f"--net=/proc/{self._holder_pid()}/ns/net", "--", *words)

    def lose(self, percent: int) -> None:
        """Drops this share of all packets, both ways, each by its own throw of the dice."""
        if not 0 < percent < 100:
            raise CallerError(f"a loss of {percent} %: allowed are 1 to 99")
        for rules in self._rules.values():
            rules.append(f"numgen random mod 100 < {percent}")
        self._write_rules()

    def black_hole(self, port: int, way: str = "both") -> None:
        """Drops all to and from a TCP port in the namespace without a word: connections stay half
        open. `way` "in" drops only what goes to the port, "out" only what comes from it."""
        if way not in WAYS:
            raise CallerError(f"a black hole {way!r}: allowed are {', '.join(WAYS)}")
        if way != "out":
            self._rules["in"].append(f"tcp dport {port}")
        if way != "in":
            self._rules["out"].append(f"tcp sport {port}")
        self._write_rules()

    def slow(self, kbit: int) -> None:
        """Holds each direction to this many kbit/s; what waits too long in the queue is lost."""
        if kbit < SLOW_KBIT_MIN:
            raise CallerError(f"a link of {kbit} kbit/s: allowed are {SLOW_KBIT_MIN} and more")
        self._queue("tbf", "rate", f"{kbit}kbit", "burst", str(_TBF_BURST), "latency", _TBF_LATENCY)

    def heal(self) -> None:
        """Takes every fault away."""
        for rules in self._rules.values():
            rules.clear()
        self._write_rules()
        self._queue("pfifo", "limit", _FIFO_PACKETS)

    def dropped(self) -> int:
        """How many packets the rules have dropped since a fault was last added or healed."""
        listing = json.loads(self._inside("nft", "-j", "list", "table", "inet", "busbar"))
        return sum(
            part["counter"]["packets"]
            for row in listing["nftables"]
            for part in row.get("rule", {}).get("expr", ())
            if "counter" in part
        )

    def _await_holder(self, holder: subprocess.Popen[bytes]) -> None:
        """`cat` answers once it runs, which is after unshare made the namespace."""
        if holder.stdin is None or holder.stdout is None or holder.stderr is None:
            raise NamespaceError("unshare --net: it was started without pipes")
        with contextlib.suppress(BrokenPipeError):  # it ended; its words follow
            holder.stdin.write(_READY)
        if holder.stdout.read(len(_READY)) != _READY:
            raise _error("unshare --net", holder.stderr.read().decode(errors="replace").strip())

    def _join(self, pid: int) -> None:
        ours, theirs = _free_addresses()
        link, far = f"bbo{pid}", f"bbi{pid}"  # 10 of the 15 characters that a name may have
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", far, "netns", str(pid))
        self._link, self._far, self.address = link, far, theirs
        _run("ip", "address", "add", f"{ours}/{_LINK_PREFIX}", "dev", link)
        _run("ip", "link", "set", link, "up")
        self._inside("ip", "address", "add", f"{theirs}/{_LINK_PREFIX}", "dev", far)
        self._inside("ip", "link", "set", far, "up")

    def _write_rules(self) -> None:
        """The whole table at once, so that no packet meets half of it."""
        lines = ["table inet busbar", "delete table inet busbar", "table inet busbar {"]
        for way, hook in (("in", "input"), ("out", "output")):
            lines += [f"chain {way}_rules {{", f"type filter hook {hook} priority 0"]
            lines += [f"{rule} counter drop" for rule in self._rules[way]]
            lines.append("}")
        self._inside("nft", "-f", "-", text="\n".join((*lines, "}", "")))

    def _queue(self, *words: str) -> None:
        """The queue of both ends, each of which holds what it sends."""
        _run("tc", "qdisc", "replace", "dev", self._link, "root", *words)
        self._inside("tc", "qdisc", "replace", "dev", self._far, "root", *words)

    def _inside(self, tool: str, *words: str, text: str = "") -> str:
        return _execute(self.command(_tool(tool), *words), f"{tool} {' '.join(words)}", text)

    def _holder_pid(self) -> int:
        if self._holder is None:
            raise CallerError("the namespace is not open")
        return self._holder.pid


def check_tools() -> None:
    """NamespaceRefusedError, in one sentence, without root or one of the tools."""
    if os.geteuid() != 0:
        raise NamespaceRefusedError("a network namespace needs root")
    if missing := [name for name in TOOLS if shutil.which(name, path=_path()) is None]:
        raise NamespaceRefusedError(f"a network namespace needs {', '.join(missing)}")


def _free_addresses() -> tuple[str, str]:
    """The two hosts of a random network of the range that no interface here has."""
    chooser = random.SystemRandom()  # test runs with one seed must not all choose one network
    networks = 1 << (_LINK_PREFIX - RANGE.prefixlen)
    for _ in range(_ATTEMPTS_MAX):
        first = int(RANGE.network_address) + 4 * chooser.randrange(networks)
        network = IPv4Network((first, _LINK_PREFIX))
        if not _run("ip", "-o", "address", "show", "to", str(network)).strip():
            ours, theirs = network.hosts()
            return str(ours), str(theirs)
    raise NamespaceError(f"no free network in {RANGE} among {_ATTEMPTS_MAX} tried")


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _tool(name: str) -> str:
    return shutil.which(name, path=_path()) or name


def _run(tool: str, *words: str) -> str:
    return _execute((_tool(tool), *words), f"{tool} {' '.join(words)}", "")


def _execute(command: Sequence[str], shown: str, text: str) -> str:
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=_COMMAND_S_MAX
    )
    if result.returncode:
        raise _error(shown, result.stderr.strip())
    return result.stdout


def _error(shown: str, said: str) -> NamespaceError:
    """Which of the two errors it is: only the kernel's own "not permitted" is the machine's
    doing."""
    first = (said.splitlines() or ["it said nothing"])[0]
    kind = NamespaceRefusedError if "not permitted" in said else NamespaceError
    return kind(f"{shown}: {first}")
