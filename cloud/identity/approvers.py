"""The public keys of the people who approve orders: `approvers.json`.

The same form and the same rules as the registry of the gateways: read again when it has changed,
never with a lower version, and one that does not read leaves the last good one in force. Where
there is no file, nobody approves. A private key is never here: it stays with its person.
"""

import logging
from pathlib import Path

from cloud.identity.keyring import Registry
from protocols.envelope.keys import KeySet, Use
from protocols.errors import SettingError

log = logging.getLogger("cloud.identity")

FILE_NAME = "approvers.json"


class Approvers:
    """Who may approve, as the file has it at this moment."""

    def __init__(self, identity_dir: Path, tenant: str) -> None:
        """SettingError when there is a file that does not read."""
        self._path = identity_dir / FILE_NAME
        self._tenant = tenant
        self._registry = Registry(self._path, tenant) if self._path.exists() else None

    def keys(self) -> KeySet:
        """The key set in force."""
        if self._registry is None and self._path.exists():
            try:
                self._registry = Registry(self._path, self._tenant)
            except SettingError as error:
                log.error("approvers_refused reason=%r", str(error))
        return self._registry.keys() if self._registry else KeySet()

    def age(self) -> None:
        """A transaction has ended: the next one looks at the file."""
        if self._registry is not None:
            self._registry.age()

    def names(self, now: int) -> list[str]:
        """The people ("person:NAME") who have a key that is valid at `now` (UTC ms)."""
        return sorted(
            {
                record.owner
                for record in self.keys().records()
                if record.use == Use.APPROVE
                and not record.revoked
                and record.not_before <= now <= record.not_after
            }
        )
