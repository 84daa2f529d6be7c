"""The files that say whom to trust: registry.json, keyset.json, approvers.json. All of one form."""

from pathlib import Path
from typing import Any, NamedTuple

from protocols.envelope.claims import is_count
from protocols.envelope.keys import KeyRecord
from protocols.errors import EnvelopeError, SettingError
from protocols.topics import is_name
from provisioning import files
from provisioning.identity import keyset_json


class Keyset(NamedTuple):
    """What such a file holds."""

    tenant: str
    records: tuple[KeyRecord, ...]
    version: int


def read_keyset(path: Path) -> Keyset:
    """SettingError when the file is damaged, OSError when it is missing."""
    table = files.read_json(path)
    tenant, rows = table.get("tenant"), table.get("keys")
    if not isinstance(tenant, str) or not is_name(tenant) or not isinstance(rows, list):
        raise SettingError(f"{path} is damaged: it must hold a tenant and keys")
    version = table.get("version")
    if not isinstance(version, int) or not is_count(version):
        raise SettingError(f"{path} is damaged: its version is no whole number")
    return Keyset(tenant, read_records(path, rows), version)


def replace_keyset(path: Path, former: Keyset, records: tuple[KeyRecord, ...]) -> bool:
    """Whether the records are others: then the file has them, and a version more."""
    if records == former.records:
        return False
    table = keyset_json(former.tenant, records, former.version + 1)
    files.replace(path, files.json_bytes(table))
    return True


def read_records(path: Path, rows: list[Any]) -> tuple[KeyRecord, ...]:
    """The records of the rows of `path`; SettingError when one is none."""
    try:
        records = tuple(KeyRecord.from_json(row) for row in rows)
    except EnvelopeError as error:
        raise SettingError(f"{path} is damaged: {error}") from error
    for record in records:
        times = (record.not_before, record.not_after, record.revoked)
        if not isinstance(record.owner, str) or not all(is_count(time) for time in times):
            raise SettingError(f"{path} is damaged: a key record has no owner or no times")
    return records
