"""The folders that each party of a deployment gets, all files new.

A folder is filled in a workshop, a hidden one beside its place, and gets its name when it is
complete. The clock is the caller's: `now` is UTC ms.
"""

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from protocols.envelope.keys import KeyRecord
from provisioning import files, pki
from provisioning.identity import (
    CONFIG_USES,
    GATEWAY_USES,
    SERVICE_USES,
    Identity,
    keyset_json,
)

_WORKSHOP = ".new-"


@contextmanager
def workshop(directory: Path) -> Iterator[Path]:
    """A hidden folder in `directory`, where things get complete before they get their names. The
    caller holds the lock, so what a killed run left behind is nobody's: away with its keys."""
    for left in directory.glob(f"{_WORKSHOP}*"):
        shutil.rmtree(left)
    path = directory / f"{_WORKSHOP}{secrets.token_hex(4)}"
    files.make_directory(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_authority(directory: Path, authority: pki.Authority, now: int) -> None:
    """ca/, with an empty revocation list."""
    files.write_new(directory / "ca.key", pki.private_pem(authority.key), files.PRIVATE_MODE)
    files.write_new(directory / "ca.pem", pki.certificate_pem(authority.certificate))
    crl = authority.revocation_list(None, [], now)
    files.write_new(directory / "crl.pem", crl.public_bytes(Encoding.PEM))


def write_broker(root: Path, authority: pki.Authority, hosts: Sequence[str], now: int) -> None:
    """broker/ in `root`, with copies of what ca/ holds."""
    key = pki.make_tls_key()
    certificate = authority.certify_server(key.public_key(), hosts, now)
    _record_issue(root / "ca", pki.BROKER, certificate)
    directory = root / "broker"
    files.write_new(directory / "broker.key", pki.private_pem(key), files.PRIVATE_MODE)
    files.write_new(directory / "broker.pem", pki.certificate_pem(certificate))
    for name in ("ca.pem", "crl.pem"):
        files.write_new(directory / name, (root / "ca" / name).read_bytes())


def write_gateway(
    root: Path,
    ca: Path,
    authority: pki.Authority,
    gateway: Identity,
    trusted: tuple[KeyRecord, ...],
    now: int,
) -> None:
    """A gateway's whole folder in `root`; `trusted`: the head end, and who may approve."""
    directory = root / gateway.party
    files.make_directory(directory)
    write_tls(directory, ca, authority, gateway, gateway.party, now)
    _write_keys(directory / "keys.json", gateway, GATEWAY_USES)
    keyset = files.json_bytes(keyset_json(gateway.tenant, trusted))
    files.write_new(directory / "keyset.json", keyset)
    files.sync_directory(directory)


def write_tls(
    directory: Path,
    ca: Path,
    authority: pki.Authority,
    identity: Identity,
    common_name: str,
    now: int,
) -> None:
    """The TLS part of a client's folder; `ca` remembers the certificate."""
    public_key = identity.tls_key.public_key()
    certificate = authority.certify_client(public_key, identity.tenant, common_name, now)
    _record_issue(ca, common_name, certificate)
    files.write_new(directory / "tls.key", pki.private_pem(identity.tls_key), files.PRIVATE_MODE)
    files.write_new(directory / "tls.pem", pki.certificate_pem(certificate))
    files.write_new(directory / "ca.pem", pki.certificate_pem(authority.certificate))


def write_head_end_keys(directory: Path, head_end: Identity) -> None:
    """The head end's message keys, and what its gateways trust. The key that signs configurations
    is apart: who can send an order can not change what a gateway does, nor the reverse."""
    _write_keys(directory / "keys.json", head_end, SERVICE_USES)
    _write_keys(directory / "config-keys.json", head_end, CONFIG_USES)
    keyset = files.json_bytes(keyset_json(head_end.tenant, head_end.records()))
    files.write_new(directory / "keyset.json", keyset)


def _write_keys(path: Path, identity: Identity, uses: tuple[str, ...]) -> None:
    files.write_new(path, files.json_bytes(identity.to_json(uses)), files.PRIVATE_MODE)


def _record_issue(ca: Path, name: str, certificate: x509.Certificate) -> None:
    path = ca / "issued" / f"{name}-{certificate.serial_number:x}.pem"
    files.write_new(path, pki.certificate_pem(certificate))
