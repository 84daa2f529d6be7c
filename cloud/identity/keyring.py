"""The head end's own keys, and the public keys of its gateways.

* Our private keys are read once, at start; a set without a valid key for each use is refused.
* The key that signs configurations is in a file of its own, and the service never reads it: who
  takes the service over can not change what a gateway does. It may be kept on another machine.
* `registry.json` is read again when the file has changed, looked at once for each transaction, so a
  revocation or a new gateway holds without a restart. A registry that does not read leaves the last
  good one in force, and says so.
* A registry with a lower version than the one in force is not taken: it would un-revoke keys.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from cloud.clock import Clock
from protocols.envelope.keys import KeyRecord, KeySet, PrivateKey, Use
from protocols.errors import EnvelopeError, SettingError
from protocols.messages import HEAD_END

log = logging.getLogger("cloud.identity")

OWN_USES = (Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN)
CONFIG_USES = (Use.SIGN_CONFIG,)
FILE_SIZE_MAX = 64 * 1024 * 1024  # bytes; ~150,000 gateways
TLS_FILES = ("ca.pem", "tls.pem", "tls.key")


class OwnKeys:
    """Our private keys."""

    def __init__(self, keys: tuple[PrivateKey, ...]) -> None:
        self._keys = keys
        self.opening = {key.record.kid: key for key in keys if key.record.use == Use.OPEN}

    def current(self, use: str, now: int) -> PrivateKey:
        """The newest key for `use` that is valid at `now` (UTC ms); EnvelopeError without one."""
        record = KeySet(tuple(key.record for key in self._keys)).current(HEAD_END, use, now)
        return next(key for key in self._keys if key.record.kid == record.kid)


def load_own_keys(identity_dir: Path, tenant: str, clock: Clock) -> OwnKeys:
    """The service's keys; SettingError when the file is missing or not what it should be."""
    return _load_keys(identity_dir / "keys.json", tenant, OWN_USES, clock)


def load_config_keys(identity_dir: Path, tenant: str, clock: Clock) -> OwnKeys:
    """The keys that sign configurations; SettingError as above."""
    return _load_keys(identity_dir / "config-keys.json", tenant, CONFIG_USES, clock)


def _load_keys(path: Path, tenant: str, uses: tuple[str, ...], clock: Clock) -> OwnKeys:
    document = _read_document(path)
    if document.get("party") != HEAD_END:
        raise SettingError(f"{path}: party is {document.get('party')!r}; it must be {HEAD_END!r}")
    _check_tenant(path, document, tenant)
    keys = []
    try:
        for row in document["keys"]:
            record = KeyRecord.from_json(row["record"])
            keys.append(PrivateKey(record, bytes.fromhex(row["private"])))
    except (KeyError, TypeError, ValueError, EnvelopeError):
        # Without the cause: it could quote a private key.
        raise SettingError(f"{path}: keys holds something that is no key of ours") from None
    own = OwnKeys(tuple(keys))
    for use in uses:
        try:
            own.current(use, clock.utc_ms())
        except EnvelopeError:
            raise SettingError(f"{path}: there is no valid key for {use}") from None
    return own


def check_tls_files(identity_dir: Path) -> None:
    """SettingError unless the files of the client certificate can be read."""
    for name in TLS_FILES:
        path = identity_dir / name
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from error


class Registry:
    """The public keys of the gateways, as registry.json has them at this moment."""

    def __init__(self, path: Path, tenant: str) -> None:
        """SettingError when the file does not read now."""
        self._path = path
        self._tenant = tenant
        self._stamp = self._file_stamp()
        self._version, self._keys = self._read()
        self._gateways = self._owners()
        self._is_fresh = False

    def keys(self) -> KeySet:
        """The key set in force; looks at the file first unless that was done since `age`."""
        if not self._is_fresh:
            self._is_fresh = True
            stamp = self._file_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
        return self._keys

    def age(self) -> None:
        """A transaction has ended: the next one looks at the file."""
        self._is_fresh = False

    def is_gateway(self, gateway_id: str) -> bool:
        """Whether the registry in force has a key of this gateway."""
        return gateway_id in self._gateways

    def _reload(self) -> None:
        try:
            version, keys = self._read()
        except SettingError as error:
            log.error("registry_refused reason=%r", str(error))
            return
        if version < self._version:
            log.error("registry_refused reason=version has=%d is=%d", version, self._version)
            return
        self._version, self._keys = version, keys
        self._gateways = self._owners()
        log.info("registry_reloaded version=%d gateways=%d", version, len(self._gateways))

    def _owners(self) -> frozenset[str]:
        return frozenset(record.owner for record in self._keys.records())

    def _read(self) -> tuple[int, KeySet]:
        document = _read_document(self._path)
        _check_tenant(self._path, document, self._tenant)
        version = document.get("version")
        if not isinstance(version, int) or version < 0:
            raise SettingError(f"{self._path}: version is {version!r}; it must be a whole number")
        try:
            records = tuple(_public_record(row) for row in document["keys"])
        except (KeyError, TypeError, EnvelopeError) as error:
            raise SettingError(f"{self._path}: keys holds something that is no key") from error
        return version, KeySet(records)

    def _file_stamp(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)  # noqa: PTH116 -- on the way of every message, and half the price
        except OSError:
            return (0, 0, 0)
        return (status.st_mtime_ns, status.st_ino, status.st_size)


def _public_record(row: dict[str, Any]) -> KeyRecord:
    record = KeyRecord.from_json(row)
    terms = (record.not_before, record.not_after, record.revoked)
    if not isinstance(record.owner, str) or not all(isinstance(one, int) for one in terms):
        raise TypeError("a key record's terms")
    return record


def _read_document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise SettingError(f"{path}: is larger than {FILE_SIZE_MAX} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError:
        raise SettingError(f"{path}: is not JSON") from None
    if not isinstance(document, dict):
        raise SettingError(f"{path}: is not a JSON object")
    return document


def _check_tenant(path: Path, document: dict[str, Any], tenant: str) -> None:
    if document.get("tenant") != tenant:
        raise SettingError(
            f"{path}: tenant is {document.get('tenant')!r}; cloud.toml says {tenant!r}"
        )
