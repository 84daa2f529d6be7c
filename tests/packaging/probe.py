"""What the gateway may and may not do, tried from inside its service; run as its ExecStartPre.
Writes what it found into the state folder."""

import contextlib
import ctypes
import json
import sys
from pathlib import Path

sys.path.insert(0, "/opt/busbar/current/lib")

from cryptography.hazmat.primitives.asymmetric import ec

STATE = Path("/var/lib/busbar")


def is_writable(place: str) -> bool:
    """Whether a file can be made there."""
    with contextlib.suppress(OSError):
        Path(place, "probe").write_text("x")
        return True
    return False


def is_readable(place: str) -> bool:
    """Whether the file can be read."""
    with contextlib.suppress(OSError):
        return bool(Path(place).read_bytes())
    return False


libc = ctypes.CDLL(None, use_errno=True)
PLACES = (
    "/var/lib/busbar",
    "/run/busbar",
    "/etc/busbar",
    "/opt/busbar",
    "/root",
    "/var/lib",
    "/usr",
)
told = {
    "kernel_tells_of_its_clock": libc.adjtimex(ctypes.create_string_buffer(256)) >= 0,
    "may_set_the_clock": libc.clock_settime(0, ctypes.create_string_buffer(16)) == 0,
    "boot_id_size": len(Path("/proc/sys/kernel/random/boot_id").read_text().strip()),
    "writes": [place for place in PLACES if is_writable(place)],
    "reads_shadow": is_readable("/etc/shadow"),
    "key_size": ec.generate_private_key(ec.SECP256R1()).key_size,  # libraries work without W+X
}
(STATE / "probe.json").write_text(json.dumps(told))
