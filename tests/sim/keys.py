"""The identities of the worlds' gateways and head end: made once, for the life of the process.

Nothing in a world depends on them but ciphertext, which no history holds.
"""

import json
from functools import lru_cache
from pathlib import Path

from protocols.envelope.keys import Use
from protocols.messages import HEAD_END
from tests.cloud.world import TENANT, make_key

_HEAD_END_FOLDER = "head-end"
_TLS_FILES = ("ca.pem", "tls.pem", "tls.key")

__all__ = ["TENANT", "write_identities"]


@lru_cache(maxsize=1)
def _head_end_keys() -> list:
    return [make_key(HEAD_END, use) for use in (Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN)]


@lru_cache(maxsize=16)
def _gateway_keys(gateway_id: str) -> list:
    return [make_key(gateway_id, use) for use in (Use.SIGN_DATA, Use.OPEN)]


def _private(party: str, keys: list) -> dict[str, object]:
    rows = [{"record": key.record.to_json(), "private": key.private.hex()} for key in keys]
    return {"party": party, "tenant": TENANT, "keys": rows}


def _public(keys: list) -> dict[str, object]:
    rows = [key.record.to_json() for key in keys]
    return {"tenant": TENANT, "version": 1, "keys": rows}


def write_identities(base: Path, gateways: tuple[str, ...]) -> tuple[dict[str, Path], Path]:
    """The folders of each gateway's identity, and of the head end's, which knows them all."""
    ours = _head_end_keys()
    folders = {}
    for gateway_id in gateways:
        folder = folders[gateway_id] = base / f"identity-{gateway_id}"
        _write(folder / "keys.json", _private(gateway_id, _gateway_keys(gateway_id)))
        _write(folder / "keyset.json", _public(ours))
        for name in _TLS_FILES:
            (folder / name).write_text("none")
    theirs = [key for gateway_id in gateways for key in _gateway_keys(gateway_id)]
    head_end = base / _HEAD_END_FOLDER
    _write(head_end / "keys.json", _private(HEAD_END, ours))
    _write(head_end / "registry.json", _public(theirs))
    return folders, head_end


def _write(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
