"""Who may use the agent's socket: its owner, root, and one group when the settings name it.

The permissions of the socket's file say the same; the kernel's word for who has connected is asked
besides, so that neither a copy of the folder nor a bind mount opens a second way in.
"""

import grp
import os
import socket
import struct
from pathlib import Path

from protocols.errors import SettingError

_CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid
_SO_PEERGROUPS = 59  # socket(7): all groups of the peer; not in the socket module
_GROUPS_SIZE_MAX = 1024  # bytes that getsockopt gives; a peer with more groups shows none


class Peers:
    """The owner of this process, root and perhaps a group; SettingError when this system has no
    such group, or we are not in it."""

    def __init__(self, group: str | None, config: Path) -> None:
        self.group_id: int | None = None
        if group is None:
            return
        try:
            self.group_id = grp.getgrnam(group).gr_gid
        except KeyError:
            raise _refused(group, config, "a group of this system") from None
        if os.geteuid() and self.group_id not in (os.getegid(), *os.getgroups()):
            raise _refused(group, config, "a group that the agent's user is in")

    def open_to(self, folder: Path, path: Path) -> None:
        """Gives the socket its permissions, and the group its way through the folder to it, in
        which it can list nothing. OSError when that can not be done."""
        if self.group_id is None:
            path.chmod(0o600)
            return
        for one, mode in ((folder, 0o710), (path, 0o660)):
            if one.stat().st_gid != self.group_id:  # else nobody need have the right to change it
                os.chown(one, -1, self.group_id)
            one.chmod(mode)

    def allow(self, connection: socket.socket) -> bool:
        """Whether who has connected may ask."""
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, group = _CREDENTIALS.unpack(raw)
        if user in (0, os.geteuid()):
            return True
        return self.group_id is not None and self.group_id in (group, *_groups(connection))


def _groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_SIZE_MAX)
    except OSError:
        return ()
    return struct.unpack(f"={len(raw) // 4}I", raw)


def _refused(group: str, config: Path, allowed: str) -> SettingError:
    return SettingError(
        f"{config}: [local]: socket_group = {group!r} is not allowed; it must be {allowed}"
    )
