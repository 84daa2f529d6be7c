"""The gateway's keys, as `busbar-provision init` wrote them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from protocols.envelope.keys import KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.suites import FileSigner, Provider
from protocols.errors import EnvelopeError, SettingError
from protocols.messages import HEAD_END


class TlsFiles(NamedTuple):
    """What mutual TLS needs."""

    ca: Path
    certificate: Path
    key: Path


class Identity(NamedTuple):
    """Who this gateway is, and whom it trusts."""

    gateway_id: str
    tenant: str
    signer: FileSigner
    signer_kid: bytes
    own_keys: dict[bytes, PrivateKey]
    trusted: KeySet
    tls: TlsFiles


def load_identity(folder: Path, gateway_id: str, tenant: str, provider: Provider) -> Identity:
    """SettingError with one sentence when a file is missing, or belongs to another gateway."""
    own = _read(folder / "keys.json")
    trusted = _read(folder / "keyset.json")
    for path, field, expected, found in (
        (folder / "keys.json", "party", gateway_id, own.get("party")),
        (folder / "keys.json", "tenant", tenant, own.get("tenant")),
        (folder / "keyset.json", "tenant", tenant, trusted.get("tenant")),
    ):
        if found != expected:
            raise SettingError(
                f"{path}: {field} = {found!r} is not allowed; edge.toml says {expected!r}"
            )
    tls = TlsFiles(folder / "ca.pem", folder / "tls.pem", folder / "tls.key")
    for path in tls:
        if not path.is_file():
            raise SettingError(f"{path}: is missing; `busbar-provision init` makes it")
    try:
        keys = [
            PrivateKey(KeyRecord.from_json(row["record"]), bytes.fromhex(row["private"]))
            for row in own["keys"]
        ]
        records = tuple(KeyRecord.from_json(row) for row in trusted["keys"])
    except (EnvelopeError, KeyError, TypeError, ValueError):
        # The cause is not shown: a traceback of this file could show a private key.
        raise SettingError(f"{folder}: keys.json or keyset.json is damaged") from None
    signing = [key for key in keys if key.record.use == Use.SIGN_DATA and not key.record.revoked]
    if not signing:
        raise SettingError(
            f"{folder / 'keys.json'}: has no sign-data key; `busbar-provision init` makes one"
        )
    newest = max(signing, key=lambda key: key.record.not_before)
    own_keys = {key.record.kid: key for key in keys if key.record.use == Use.OPEN}
    trusted_set = KeySet(records)
    try:
        trusted_set.current(HEAD_END, Use.OPEN, 0)
    except EnvelopeError as error:
        raise SettingError(f"{folder / 'keyset.json'}: {error}") from error
    signer = provider.signer(newest.record.algorithm, newest.private)
    return Identity(gateway_id, tenant, signer, newest.record.kid, own_keys, trusted_set, tls)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(
            f"{path}: cannot be read ({error.strerror}); `busbar-provision init` makes it"
        ) from error
    except ValueError:
        raise SettingError(f"{path}: is not JSON") from None
    if not isinstance(content, dict):
        raise SettingError(f"{path}: must hold one JSON object")
    return content
