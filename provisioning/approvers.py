"""Who may approve orders: `cloud/approvers.json`, and the same records in every gateway's
`keyset.json`.

* Only public records come here; a person's private key stays with the person.
* `approvers.json` is what counts. It is written first, then each gateway's file is brought to it,
  so a run that was killed is finished by any later one. A version is one more for each change.
* A gateway whose folder has moved to the device is named: nothing of it is here to be changed.
* A revoked key stays revoked, and one key is one person's.

The clock is the caller's: `now` is UTC ms.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from protocols.envelope.claims import is_count
from protocols.envelope.keys import ESP256, KeyRecord, Use
from protocols.envelope.suites import Provider
from protocols.errors import EnvelopeError, SettingError
from protocols.orders.order import PERSON
from protocols.topics import is_name
from provisioning import files
from provisioning.identity import FIRST_VERSION, NOT_REVOKED, keyset_json
from provisioning.keysets import Keyset, read_keyset, replace_keyset

FILE_NAME = "approvers.json"
PUBLIC_FILE_SIZE_MAX = 65_536  # bytes
POINT_SIZE = 33  # bytes of a compressed P-256 point


class Changed(NamedTuple):
    """What a run did: the records of the person, the gateways whose files were changed, and those
    that are not here."""

    records: tuple[KeyRecord, ...]
    gateways: tuple[str, ...]
    absent: tuple[str, ...]


class Approvers:
    """The approvers of a deployment. Every error is a SettingError with one sentence, or an OSError
    that names the file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "cloud" / FILE_NAME
        self._gateways = directory / "gateways"

    def add(self, name: str, public: Path, now: int) -> Changed:
        """Lets the person `name` approve with the key whose public record is in the file. Harmless
        when repeated."""
        owner = _owner(name)
        self._require()
        record = _read_public(public, owner, now)
        with files.locked(self._directory):
            former = self._read()
            known = {one.public[1:33]: one for one in former.records}  # by x: as a gateway does
            found = known.get(record.public[1:33])
            if found is not None and found.owner != owner:
                raise SettingError(f"{public}: the key is {_shown(found.owner)}'s already")
            if found is not None and found.revoked != NOT_REVOKED:
                raise SettingError(
                    f"{public}: the key is revoked and stays so; make {name!r} a new one"
                )
            records = former.records if found else (*former.records, record)
            return self._write(former, records, owner)

    def revoke(self, name: str, now: int) -> Changed:
        """Ends every key of the person. Harmless when repeated: the first revocation counts."""
        owner = _owner(name)
        self._require()
        with files.locked(self._directory):
            former = self._read()
            if all(one.owner != owner for one in former.records):
                raise SettingError(f"there is no approver {name!r} in {self._path}")
            records = tuple(
                one._replace(revoked=now)
                if one.owner == owner and one.revoked == NOT_REVOKED
                else one
                for one in former.records
            )
            return self._write(former, records, owner)

    def records(self) -> tuple[KeyRecord, ...]:
        """All of them, revoked ones too."""
        self._require()
        return self._read().records

    def _require(self) -> None:
        if not (self._directory / "ca").exists():
            raise SettingError(
                f"{self._directory} is no deployment: make one with busbar-provision init"
            )

    def _read(self) -> Keyset:
        return read_approvers(self._directory)

    def _write(self, former: Keyset, records: tuple[KeyRecord, ...], owner: str) -> Changed:
        if self._path.exists():
            replace_keyset(self._path, former, records)
        else:
            table = keyset_json(former.tenant, records, FIRST_VERSION)
            files.write_new(self._path, files.json_bytes(table))
        changed = []
        for path in sorted(self._gateways.glob("*/keyset.json")):
            keyset = read_keyset(path)
            others = tuple(one for one in keyset.records if one.use != Use.APPROVE)
            if replace_keyset(path, keyset, (*others, *records)):
                changed.append(path.parent.name)
        own = tuple(one for one in records if one.owner == owner)
        return Changed(own, tuple(changed), tuple(self._absent()))

    def _absent(self) -> list[str]:
        registry = read_keyset(self._directory / "cloud" / "registry.json")
        known = {one.owner for one in registry.records if one.revoked == NOT_REVOKED}
        return sorted(
            name for name in known if not (self._gateways / name / "keyset.json").exists()
        )


def read_approvers(directory: Path) -> Keyset:
    """What `cloud/approvers.json` of a deployment holds; nobody when there is none."""
    try:
        keyset = read_keyset(directory / "cloud" / FILE_NAME)
    except FileNotFoundError:
        tenant = read_keyset(directory / "cloud" / "registry.json").tenant
        return Keyset(tenant, (), FIRST_VERSION)
    for one in keyset.records:
        if one.use != Use.APPROVE or not one.owner.startswith(PERSON):
            raise SettingError(
                f"{directory / 'cloud' / FILE_NAME} is damaged: {_shown(one.owner)} may not approve"
            )
    return keyset


def described(record: KeyRecord) -> str:
    """One key as a line for a person."""
    until = datetime.fromtimestamp(record.not_after // 1000, UTC).strftime("%Y-%m-%d")
    state = "revoked" if record.revoked != NOT_REVOKED else f"until {until}"
    return f"approver {_shown(record.owner)}: key {record.kid.hex()}, {state}"


def _owner(name: str) -> str:
    if not is_name(name):
        raise SettingError(
            f"{name!r} is no person's name: allowed are 1 to 32 of a-z, 0-9 and -, "
            "not starting with -"
        )
    return PERSON + name


def _shown(owner: str) -> str:
    return owner.removeprefix(PERSON)


def _read_public(path: Path, owner: str, now: int) -> KeyRecord:
    """The record of a public key file, when it may approve from now on."""
    with path.open("rb") as file:
        content = file.read(PUBLIC_FILE_SIZE_MAX)
    try:
        row = json.loads(content)
        record = KeyRecord.from_json(row)
    except (ValueError, TypeError, EnvelopeError, RecursionError):
        raise SettingError(f"{path}: is no public key record of an approver") from None
    if set(row) != set(record.to_json()):
        # A private part that travels is a private part that is known.
        raise SettingError(f"{path}: holds more than a public key record")
    if record.use != Use.APPROVE or record.algorithm != ESP256:
        raise SettingError(f"{path}: the key is not made for approving (use {record.use!r})")
    if record.owner != owner:
        raise SettingError(f"{path}: the key is {_shown(record.owner)}'s, not {_shown(owner)}'s")
    if not all(is_count(one) for one in (record.not_before, record.not_after, record.revoked)):
        raise SettingError(f"{path}: the key record has no times")
    if record.revoked != NOT_REVOKED or not now < record.not_after > record.not_before:
        raise SettingError(f"{path}: the key is over, or revoked")
    _check_public(path, record)
    return record


def _check_public(path: Path, record: KeyRecord) -> None:
    """The name is that of the key, and the key is a point of the curve in its short form."""
    if record.kid != Provider().kid(record.public):
        raise SettingError(f"{path}: the key's name is not that of its public part")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), record.public)
    except ValueError:
        is_point = False
    else:
        is_point = len(record.public) == POINT_SIZE
    if not is_point:
        raise SettingError(f"{path}: the public part is no P-256 point of {POINT_SIZE} bytes")
