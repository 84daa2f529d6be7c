"""One deployment as a directory: its authority, broker, head end and gateways.

    ca/         ca.key ca.pem crl.pem issued/NAME-SERIAL.pem
    broker/     broker.key broker.pem ca.pem crl.pem
    cloud/      tls.key tls.pem ca.pem keys.json config-keys.json keyset.json registry.json
                approvers.json, when somebody may approve (`approvers.py`)
    gateways/ID tls.key tls.pem ca.pem keys.json keyset.json

* Nothing is ever overwritten but the revocation list and the files that say whom to trust; those
  are replaced whole.
* A run does all that it was asked for, or nothing. A gateway's folder is made under another name
  and gets its own when it is complete; then the registry learns its keys. A run that was killed
  between the two is finished by the next one that names the gateway.
* `ca/issued` remembers each certificate, so a gateway whose folder has moved to the device can
  still be revoked.

The clock is the caller's: `now` is UTC ms.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from protocols.envelope.keys import KeyRecord
from protocols.errors import SettingError
from protocols.messages import HEAD_END
from protocols.topics import NAME_SIZE_MAX, is_name
from provisioning import files, folders, pki
from provisioning.approvers import read_approvers
from provisioning.identity import (
    INGEST,
    NOT_REVOKED,
    RESERVED_NAMES,
    keyset_json,
    make_gateway,
    make_head_end,
)
from provisioning.keysets import Keyset, read_keyset, read_records

GATEWAYS_MAX = 1024  # of one run; a typing error must not fill the disk
DEFAULT_TENANT = "t1"
DEFAULT_HOSTS = ("localhost", "127.0.0.1")
T = TypeVar("T")
_PARTS = ("ca", "broker", "cloud", "gateways")


class Deployment:
    """The directory and what may be done to it. Every error is a SettingError with one sentence, or
    an OSError that names the file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca = directory / "ca"
        self._registry = directory / "cloud" / "registry.json"
        self._gateways = directory / "gateways"

    def init(
        self, tenant: str | None, gateways: Sequence[str], hosts: Sequence[str] | None, now: int
    ) -> list[Path]:
        """The folders of the new gateways. Makes the whole deployment when there is none yet;
        `tenant` and `hosts` None mean those that it has, or the defaults."""
        _check_names(tenant, gateways)
        names = pki.server_names(hosts or ())
        if not self.directory.exists():
            self.directory.mkdir(parents=True, mode=files.DIRECTORY_MODE)
            files.sync_directory(self.directory.parent)
        with files.locked(self.directory):
            if self._ca.exists():
                return self._add(tenant, gateways, names, now)
            return self._create(tenant or DEFAULT_TENANT, gateways, hosts or DEFAULT_HOSTS, now)

    def revoke(self, gateway_id: str, now: int) -> int:
        """Ends a gateway: its keys in the registry, its certificates on the revocation list. Gives
        the UTC ms of the revocation, which is an earlier one when it was revoked before."""
        self._require()
        with files.locked(self.directory):
            tenant, records, version = self._read_registry()
            own = [record for record in records if record.owner == gateway_id]
            if not own:
                raise SettingError(
                    f"there is no gateway {gateway_id!r} in {self._registry}: {_known(records)}"
                )
            at: int = max(record.revoked for record in own) or now
            changed = tuple(
                record._replace(revoked=at)
                if record.owner == gateway_id and record.revoked == NOT_REVOKED
                else record
                for record in records
            )
            # The registry comes first: the head end refuses the gateway even where the broker lags.
            if changed != records:
                self._write_registry(tenant, changed, version + 1)
            self._write_revocations(self._issued(gateway_id), now)
            return at

    def renew_revocations(self, now: int) -> None:
        """A fresh revocation list with the same entries; the former one ends after 30 days, and
        with it every connection."""
        self._require()
        with files.locked(self.directory):
            self._write_revocations([], now)

    # ---- making ------------------------------------------------------------------------------

    def _create(
        self, tenant: str, gateways: Sequence[str], hosts: Sequence[str], now: int
    ) -> list[Path]:
        for part in _PARTS:
            if (self.directory / part).exists():
                raise SettingError(
                    f"{self.directory / part} exists but {self._ca} does not: no deployment; "
                    "name a directory that is new or empty"
                )
        authority = pki.Authority.make(tenant, now)
        head_end = make_head_end(tenant, now)
        with folders.workshop(self.directory) as new:
            for part in _PARTS:
                files.make_directory(new / part)
            files.make_directory(new / "ca" / "issued")
            folders.write_authority(new / "ca", authority, now)
            folders.write_broker(new, authority, hosts, now)
            folders.write_tls(new / "cloud", new / "ca", authority, head_end, INGEST, now)
            folders.write_head_end_keys(new / "cloud", head_end)
            records: list[KeyRecord] = []
            public = head_end.records()
            for name in gateways:
                gateway = make_gateway(name, tenant, now)
                records += gateway.records()
                folders.write_gateway(new / "gateways", new / "ca", authority, gateway, public, now)
            registry = files.json_bytes(keyset_json(tenant, tuple(records)))
            files.write_new(new / "cloud" / "registry.json", registry)
            # The authority comes last: with it the deployment is one.
            for part in reversed(_PARTS):
                (new / part).rename(self.directory / part)
                files.sync_directory(self.directory)
        return [self._gateways / name for name in gateways]

    def _add(
        self,
        tenant: str | None,
        gateways: Sequence[str],
        names: tuple[x509.GeneralName, ...],
        now: int,
    ) -> list[Path]:
        own_tenant, records, version = self._read_registry()
        self._check_same(tenant, own_tenant, names)
        known = {record.owner for record in records}
        for name in gateways:
            if name in known:
                raise SettingError(
                    f"gateway {name!r} exists in {self.directory}: its keys stay as they are; "
                    "nothing was changed"
                )
        added: list[KeyRecord] = []
        authority = self._read_authority()
        trusted = (*self._read_head_end(), *read_approvers(self.directory).records)
        self._write_revocations([], now)
        with folders.workshop(self._gateways) as new:
            for name in gateways:
                if not (self._gateways / name).exists():
                    gateway = make_gateway(name, own_tenant, now)
                    folders.write_gateway(new, self._ca, authority, gateway, trusted, now)
            for name in gateways:
                if (new / name).exists():
                    (new / name).rename(self._gateways / name)
                added += _read_own_records(self._gateways / name / "keys.json", name)
        files.sync_directory(self._gateways)
        self._write_registry(own_tenant, (*records, *added), version + 1)
        return [self._gateways / name for name in gateways]

    def _check_same(
        self, tenant: str | None, own_tenant: str, names: tuple[x509.GeneralName, ...]
    ) -> None:
        if tenant not in (None, own_tenant):
            raise SettingError(
                f"--tenant {tenant!r}: the tenant of {self.directory} is {own_tenant!r} and stays"
            )
        path = self.directory / "broker" / "broker.pem"
        broker = _load(path, x509.load_pem_x509_certificate)
        if not pki.is_covered(broker, names):
            raise SettingError(
                f"--broker-host: {path} holds for {pki.names_text(broker)} alone and is never "
                "overwritten; leave the option out, or make a new deployment"
            )

    # ---- reading -----------------------------------------------------------------------------

    def _require(self) -> None:
        if not self._ca.exists():
            raise SettingError(
                f"{self.directory} is no deployment: make one with busbar-provision init"
            )

    def _write_registry(self, tenant: str, records: tuple[KeyRecord, ...], version: int) -> None:
        files.replace(self._registry, files.json_bytes(keyset_json(tenant, records, version)))

    def _read_registry(self) -> Keyset:
        return read_keyset(self._registry)

    def _read_head_end(self) -> tuple[KeyRecord, ...]:
        """What gateways trust of it. The private keys may have moved to where they are used."""
        path = self.directory / "cloud" / "keyset.json"
        rows = files.read_json(path).get("keys")
        if not isinstance(rows, list) or not rows:
            raise SettingError(f"{path} is damaged: it must hold keys")
        records = read_records(path, rows)
        if any(record.owner != HEAD_END for record in records):
            raise SettingError(f"{path} does not hold the keys of {HEAD_END!r}")
        return records

    def _read_authority(self) -> pki.Authority:
        key, certificate = self._ca / "ca.key", self._ca / "ca.pem"
        try:
            return pki.Authority.from_pem(key.read_bytes(), certificate.read_bytes())
        except (ValueError, TypeError) as error:
            raise SettingError(f"{key} or {certificate} is damaged") from error

    def _issued(self, name: str) -> list[x509.Certificate]:
        """All certificates that ever carried the common name."""
        found = []
        for path in sorted((self._ca / "issued").glob("*.pem")):
            certificate = _load(path, x509.load_pem_x509_certificate)
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            if [one.value for one in names] == [name]:
                found.append(certificate)
        return found

    def _write_revocations(self, revoked: Sequence[x509.Certificate], now: int) -> None:
        path = self._ca / "crl.pem"
        former = _load(path, x509.load_pem_x509_crl)
        fresh = self._read_authority().revocation_list(former, revoked, now)
        content = fresh.public_bytes(Encoding.PEM)
        files.replace(path, content)
        files.replace(self.directory / "broker" / "crl.pem", content)


def _check_names(tenant: str | None, gateways: Sequence[str]) -> None:
    allowed = f"1 to {NAME_SIZE_MAX} of a-z, 0-9 and -, not starting with -"
    if tenant is not None and not is_name(tenant):
        raise SettingError(f"--tenant {tenant!r} is no tenant id: allowed are {allowed}")
    if len(gateways) > GATEWAYS_MAX:
        raise SettingError(f"{len(gateways)} times --gateway: at most {GATEWAYS_MAX} are allowed")
    for index, name in enumerate(gateways):
        if not is_name(name):
            raise SettingError(f"--gateway {name!r} is no gateway id: allowed are {allowed}")
        if name in RESERVED_NAMES:
            raise SettingError(
                f"--gateway {name!r} is taken by the system itself: choose another one"
            )
        if name in gateways[:index]:
            raise SettingError(f"--gateway {name!r} is named twice: name each gateway once")


def _read_own_records(path: Path, party: str) -> tuple[KeyRecord, ...]:
    """The public records of a party's keys.json."""
    table = files.read_json(path)
    keys = table.get("keys")
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise SettingError(f"{path} is damaged: it must hold keys")
    records = read_records(path, [one.get("record") for one in keys])
    if table.get("party") != party or any(record.owner != party for record in records):
        raise SettingError(f"{path} does not hold the keys of {party!r}")
    return records


def _load(path: Path, loader: Callable[[bytes], T]) -> T:
    """What a PEM file holds; SettingError when it is damaged."""
    try:
        return loader(path.read_bytes())
    except ValueError as error:
        raise SettingError(f"{path} is damaged: it must be PEM") from error


def _known(records: tuple[KeyRecord, ...]) -> str:
    owners = sorted({record.owner for record in records})
    return "it knows " + ", ".join(owners) if owners else "it knows no gateway"
