"""The identities of the worlds' gateway and head end: made once, for the life of the process.

Nothing in a world depends on them but ciphertext, which no history holds.
"""

import json
from functools import lru_cache
from pathlib import Path

from protocols.envelope.keys import Use
from protocols.messages import HEAD_END
from tests.cloud.world import TENANT, make_key

GATEWAY = "gw-1"
_TLS_FILES = ("ca.pem", "tls.pem", "tls.key")

__all__ = ["GATEWAY", "TENANT", "write_identities"]


@lru_cache(maxsize=1)
def _documents() -> dict[str, dict[str, object]]:
    ours = [make_key(HEAD_END, use) for use in (Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN)]
    theirs = [make_key(GATEWAY, use) for use in (Use.SIGN_DATA, Use.OPEN)]

    def private(party: str, keys: list) -> dict[str, object]:
        rows = [{"record": key.record.to_json(), "private": key.private.hex()} for key in keys]
        return {"party": party, "tenant": TENANT, "keys": rows}

    def public(keys: list) -> dict[str, object]:
        rows = [key.record.to_json() for key in keys]
        return {"tenant": TENANT, "version": 1, "keys": rows}

    return {
        "gateway/keys.json": private(GATEWAY, theirs),
        "gateway/keyset.json": public(ours),
        "head-end/keys.json": private(HEAD_END, ours),
        "head-end/registry.json": public(theirs),
    }


def write_identities(base: Path) -> tuple[Path, Path]:
    """The folders of the gateway's and of the head end's identity."""
    for name, document in _documents().items():
        path = base / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
    for name in _TLS_FILES:
        (base / "gateway" / name).write_text("none")
    return base / "gateway", base / "head-end"
