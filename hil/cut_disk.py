"""A disk whose plug can be pulled: a directory on which a program works, and what is left of it.

`CutDisk` mounts a file system of its own, held in memory by a process of its own, and tells it
when the power goes. It needs Linux, /dev/fuse and the right to mount (root); nothing else.
`hil.cut_disk_model` says what survives. Kill -9 proves nothing of that kind: what a killed program
has written is safe in the kernel, synced or not.

What is mounted here is unmounted here, also when the test failed or this process was killed.
"""

import ctypes
import errno
import json
import os
import select
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from hil.cut_disk_fuse import CHANGING, EVERYTHING, READ, REQUEST_SIZE_MAX, SYNCING, Fault, Server
from hil.cut_disk_model import CUT_MODES, CutMode, Disk
from protocols.errors import BusbarError

DEVICE = Path("/dev/fuse")
_STATUS = Path("/proc/self/status")
_MAY_MOUNT = 1 << 21  # CAP_SYS_ADMIN of capabilities(7)
_ANSWER_S_MAX = 20
_DETACH = 2  # MNT_DETACH of umount2(2)
_FLAGS = 2 | 4 | 8 | 1024  # MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME of mount(2)
_libc = ctypes.CDLL(None, use_errno=True)

# What a disk can refuse, by name.
FAULTS = {
    "full": Fault(errno.ENOSPC, frozenset(CHANGING)),
    "read-only": Fault(errno.EROFS, frozenset(CHANGING), opening=True),
    "unwritable": Fault(errno.EIO, frozenset(CHANGING | SYNCING)),
    "unsyncable": Fault(errno.EIO, frozenset(SYNCING)),
    "dead": Fault(errno.EIO, frozenset(CHANGING | SYNCING | {READ}), opening=True),
    "gone": Fault(errno.EIO, EVERYTHING),
}


class CutDiskError(BusbarError):
    """The disk could not be mounted, or had a fault of its own."""


def missing() -> str:
    """Why no `CutDisk` can be had here; "" when one can."""
    if not DEVICE.exists():
        return "there is no /dev/fuse on this machine"
    status = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    if not int(status["CapEff"], 16) & _MAY_MOUNT:
        return "only root may mount a file system"
    return ""


class CutDisk:
    """A mounted disk; use it as a context. `folder` must be an empty directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours, theirs = socket.socketpair()
        self._control = ours
        self._control.settimeout(_ANSWER_S_MAX)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hil.cut_disk", str(folder), str(theirs.fileno())],
                cwd=Path(__file__).parents[1],
                pass_fds=[theirs.fileno()],
            )
        self._lines = self._control.makefile("r")
        try:
            self._ask("begin")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "CutDisk":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmounts, whatever state it is in, and ends its process."""
        _unmount(self.folder)  # before the process ends, or files left open would hang on it
        self._lines.close()
        self._control.close()
        try:
            self._process.wait(_ANSWER_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cut(self, seed: int, mode: str = CutMode.NONE) -> None:
        """Pulls the plug now; nothing works until `restore`."""
        self._ask("cut", seed, mode)

    def cut_at(self, change: int, seed: int, mode: str) -> None:
        """Pulls the plug at the `change`-th change or sync from now on, before it is done."""
        self._ask("cut_at", change, seed, mode)

    def restore(self) -> bool:
        """Gives it power again. Returns whether it had been cut."""
        return bool(self._ask("restore"))

    def refuse(self, fault: str = "") -> None:
        """From now on the disk has this fault of `FAULTS`; "" heals it."""
        self._ask("refuse", fault)

    def limit(self, size: int) -> None:
        """From now on the disk holds `size` bytes; files that are there stay."""
        self._ask("limit", size)

    def renew(self) -> None:
        """An empty disk without faults, in the place of this one."""
        self._ask("renew")

    def state(self) -> dict[str, int]:
        """`changes` since power came, `pending` ones that a cut may undo, `bytes` in files."""
        return dict(self._ask("state"))

    def _ask(self, *words: object) -> Any:
        try:
            self._control.sendall(json.dumps(words).encode() + b"\n")
            answer = json.loads(self._lines.readline())
        except (OSError, ValueError) as error:
            raise CutDiskError(f"{self.folder}: the disk's process does not answer") from error
        if "error" in answer:
            raise CutDiskError(f"{self.folder}: {answer['error']}")
        return answer["result"]


class _Process:
    """The disk's own process: the kernel on one side, `CutDisk` on the other. It must never touch
    the directory itself: it would wait for its own answer."""

    def __init__(self, folder: str, control: socket.socket) -> None:
        self._folder = folder
        self._control = control
        self._lines = control.makefile("r")
        self._server = Server(Disk())
        self._fault = ""

    def run(self) -> None:
        """Until the control connection ends or the directory is unmounted."""
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            options = f"fd={device},rootmode=40755,user_id=0,group_id=0,default_permissions"
            _mount(self._folder, f"{options},allow_other")
            waiting = select.poll()
            waiting.register(device, select.POLLIN)
            waiting.register(self._control, select.POLLIN)
            while True:
                ready = dict(waiting.poll())
                if device in ready and not self._serve(device):
                    return
                if self._control.fileno() in ready and not self._obey():
                    return
        finally:
            os.close(device)
            _unmount(Path(self._folder))

    def _serve(self, device: int) -> bool:
        """One request; False when the directory is unmounted."""
        try:
            message = os.read(device, REQUEST_SIZE_MAX)
        except OSError as error:
            return error.errno != errno.ENODEV  # else: the request was withdrawn
        try:
            reply = self._server.answer(message)
        except Exception:  # noqa: BLE001 - told at the next question; a caller must not hang
            self._fault = traceback.format_exc()
            unique = message[8:16]
            reply = b"\x10\0\0\0" + (-errno.EIO).to_bytes(4, sys.byteorder, signed=True) + unique
        if reply is not None:
            try:
                os.write(device, reply)
            except OSError as error:
                if error.errno != errno.ENOENT:  # nobody waits for it any more
                    self._fault = f"the kernel refused a reply: {error}"
        return True

    def _obey(self) -> bool:
        """One command; False when nobody is there to give any."""
        line = self._lines.readline()
        if not line:
            return False
        answer: dict[str, Any] = {"result": None}
        try:
            word, *arguments = json.loads(line)
            answer["result"] = getattr(self, f"_do_{word}")(*arguments)
        except (KeyError, ValueError) as error:
            answer = {"error": repr(error)}
        if self._fault:
            answer = {"error": self._fault}
        self._control.sendall(json.dumps(answer).encode() + b"\n")
        return True

    def _do_begin(self) -> None:
        """Answered once it is mounted."""

    def _do_cut(self, seed: int, mode: str) -> None:
        self._server.cut(seed, _known(mode))

    def _do_cut_at(self, change: int, seed: int, mode: str) -> None:
        self._server.cut_due = (self._server.change_count + change, seed, _known(mode))

    def _do_restore(self) -> bool:
        was_cut = not self._server.has_power
        self._server.restore()
        self._server.cut_due = None
        return was_cut

    def _do_refuse(self, fault: str) -> None:
        self._server.fault = FAULTS[fault] if fault else None

    def _do_limit(self, size: int) -> None:
        self._server.disk.capacity = size

    def _do_renew(self) -> None:
        self._server.disk.clear()
        self._server.fault = self._server.cut_due = None
        self._server.restore()

    def _do_state(self) -> dict[str, int]:
        disk = self._server.disk
        return {
            "changes": self._server.change_count,
            "pending": disk.pending_count,
            "bytes": sum(len(node.data) for node in disk.nodes()),
        }


def _known(mode: str) -> str:
    if mode not in CUT_MODES:
        raise ValueError(f"the mode of a cut is one of {CUT_MODES}, not {mode!r}")
    return mode


def _mount(folder: str, options: str) -> None:
    place = os.fsencode(folder)
    kind = b"fuse.busbar-cut"
    if _libc.mount(b"busbar-cut", place, kind, _FLAGS, options.encode()):
        number = ctypes.get_errno()
        raise CutDiskError(f"{folder}: cannot be mounted: {os.strerror(number)}")


def _unmount(folder: Path) -> None:
    """Nothing happens where nothing is mounted. Nobody waits for files that are still open."""
    if _is_mounted(folder):
        _libc.umount2(os.fsencode(folder), _DETACH)


def _is_mounted(folder: Path) -> bool:
    wanted = f" {str(folder).replace(' ', chr(92) + '040')} fuse.busbar-cut "
    return wanted in Path("/proc/self/mounts").read_text()


def main() -> int:
    """`python -m hil.cut_disk FOLDER CONTROL`: the process of a `CutDisk`, started by it."""
    with socket.socket(fileno=int(sys.argv[2])) as control:
        try:
            _Process(sys.argv[1], control).run()
        except (CutDiskError, OSError) as error:
            answer = json.dumps({"error": str(error)})
            control.sendall(answer.encode() + b"\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
