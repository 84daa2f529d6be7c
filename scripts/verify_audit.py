#!/usr/bin/env python3
"""Verifies an audit export or an order's bundle, for an auditor who trusts nobody's code.

It imports nothing of Busbar: the tree of RFC 6962, the notes of C2SP, the canonical CBOR of an
order and the hash chain of a gateway are written here once more, after their specifications.
Every entry is hashed again. Needs Python 3.11 and the package `cryptography`.

usage: verify_audit.py --log-key KEY [--witness-key KEY]... [--approver-key NAME=HEX]... PATH

PATH is what `busbar-cloud audit export` or `busbar-cloud audit bundle` wrote. The keys are those
that you were given by their owners, not those that lie beside the log. Exit code 0: all holds;
1: something does not, and is said; 2: PATH or a key can not be read.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

LOG, WITNESS = 1, 4  # key types of C2SP signed notes
APPROVAL, SEALED = "order-approval", "order-sealed"  # entries of the log
APPROVALS = {  # what leaves the head end has so many; docs/orders.md
    "connect": 1,
    **dict.fromkeys(("disconnect", "keep-power-off", "set-clock", "reset-demand"), 2),
    **dict.fromkeys(("prices", "time-of-use", "steps", "alarm-amounts", "overdraft"), 2),
    "arm-amount": 2,
}


class WrongError(Exception):
    """Something does not hold."""


def require(condition: bool, words: str) -> None:
    """WrongError unless it holds."""
    if not condition:
        raise WrongError(words)


# ---- RFC 6962 ------------------------------------------------------------------------------------


def leaf(entry: bytes) -> bytes:
    """2.1: the hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """2.1: the hash of a list, level by level; what has no neighbour moves up."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    while len(leaves) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + leaves[n] + leaves[n + 1]).digest()
            for n in range(0, len(leaves) - 1, 2)
        ]
        leaves = pairs + leaves[len(pairs) * 2 :]
    return leaves[0]


def root_by_path(index: int, size: int, found: bytes, path: list[bytes]) -> bytes:
    """2.1.1: the root that an audit path leads to."""
    if size == 1:
        require(not path, "a proof is too long")
        return found
    require(bool(path), "a proof is too short")
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        left = root_by_path(index, half, found, path[:-1])
        return hashlib.sha256(b"\x01" + left + path[-1]).digest()
    right = root_by_path(index - half, size - half, found, path[:-1])
    return hashlib.sha256(b"\x01" + path[-1] + right).digest()


# ---- C2SP signed notes ---------------------------------------------------------------------------


def check_note(note: str, key: str, kind: int) -> tuple[str, int, bytes]:
    """(origin, size, root) of a checkpoint that `key` ("name+id+base64") has signed."""
    name, key_id, packed = key.split("+", 2)
    data = base64.b64decode(packed, validate=True)
    require(data[0] == kind, f"the key {name} is of another kind")
    expected = hashlib.sha256(f"{name}\n".encode() + data).digest()[:4]
    require(expected.hex() == key_id, f"the id of the key {name} is wrong")
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    for line in lines.splitlines():
        dash, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        if dash != "—" or signer != name or signature[:4] != expected:
            continue
        signed, signature = text.encode(), signature[4:]
        if kind == WITNESS:
            seconds = int.from_bytes(signature[:8], "big")
            signed, signature = f"cosignature/v1\ntime {seconds}\n{text}".encode(), signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(data[1:]).verify(signature, signed)
        except InvalidSignature:
            raise WrongError(f"the signature of {name} does not fit") from None
        origin, size, root = text.split("\n")[:3]
        return origin, int(size), base64.b64decode(root, validate=True)
    raise WrongError(f"{name} has not signed")


# ---- CBOR, as far as an order needs it (RFC 8949, 4.2) -------------------------------------------


def encode(value: Any) -> bytes:
    """Canonical CBOR of integers, texts, bytes and arrays."""
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    return _head(4, len(value)) + b"".join(encode(one) for one in value)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    for more, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major << 5 | more,)) + number.to_bytes(size, "big")
    raise WrongError("a number is too large")


def decode(data: bytes) -> Any:
    """The value of exactly one such item."""
    value, rest = _decode(data)
    require(not rest and encode(value) == data, "the order is not in its canonical form")
    return value


def _decode(data: bytes) -> tuple[Any, bytes]:
    require(bool(data), "the order ends early")
    major, number, rest = data[0] >> 5, data[0] & 31, data[1:]
    if number > 23:
        require(number < 28, "the order holds what no order holds")
        size = 1 << number - 24
        number, rest = int.from_bytes(rest[:size], "big"), rest[size:]
    if major < 2:
        return (number if major == 0 else -1 - number), rest
    if major < 4:
        require(len(rest) >= number, "the order ends early")
        part, rest = rest[:number], rest[number:]
        return (part if major == 2 else part.decode()), rest
    require(major == 4, "the order holds what no order holds")
    found = []
    for _ in range(number):
        one, rest = _decode(rest)
        found.append(one)
    return found, rest


# ---- what is verified ----------------------------------------------------------------------------


def check_export(folder: Path, log_key: str, witness_keys: list[str]) -> list[str]:
    """A whole log: log.jsonl and its checkpoint."""
    note = (folder / "checkpoint").read_text(encoding="utf-8")
    origin, size, root = check_promise(note, log_key, witness_keys)
    leaves: list[bytes] = []
    with (folder / "log.jsonl").open("rb") as lines:
        for line in lines:
            entry = line.rstrip(b"\n")
            require(
                json.loads(entry).get("sequence") == len(leaves),
                f"entry {len(leaves)} is missing or out of order",
            )
            leaves.append(leaf(entry))
    require(len(leaves) >= size, f"entry {len(leaves)} and later are missing: {size} were promised")
    require(root_of(leaves[:size]) == root, f"the entries are not those that {origin} promised")
    return [f"{size} entries of {origin} hash to the signed root; {len(leaves) - size} came since"]


def check_promise(note: str, log_key: str, witness_keys: list[str]) -> tuple[str, int, bytes]:
    """The checkpoint, signed by the log and by each witness."""
    promise = check_note(note, log_key, LOG)
    for key in witness_keys:
        require(check_note(note, key, WITNESS) == promise, "a witness saw another checkpoint")
    return promise


def check_bundle(
    path: Path, log_key: str, witness_keys: list[str], approver_keys: dict[str, str]
) -> list[str]:
    """One order: its entries in the log, its digest, its approvals, its gateway's own chain."""
    bundle = json.loads(path.read_text(encoding="utf-8"))
    origin, size, root = check_promise(bundle["checkpoint"], log_key, witness_keys)
    told = []
    for one in bundle["entries"]:
        body = one["body"].encode()
        index = json.loads(body)["sequence"]
        proof = [bytes.fromhex(part) for part in one["proof"]]
        require(0 <= index < size, f"entry {index} is not under the checkpoint")
        require(root_by_path(index, size, leaf(body), proof) == root, f"entry {index} is not in it")
    told.append(f"{len(bundle['entries'])} entries are in the log of {origin} ({size} entries)")
    told += check_order(bundle, approver_keys)
    told += check_chain(bundle)
    return told


def check_order(bundle: dict[str, Any], approver_keys: dict[str, str]) -> list[str]:
    """The frozen order is the one that was approved, by those who are said to have."""
    order = bundle["order"]
    frozen = decode(bytes.fromhex(order["frozen"]))
    require(frozen[:3] == ["busbar/1/order", order["tenant"], order["gateway"]], "another order")
    require(frozen[4].hex() == order["order"], "the frozen order has another id")
    for place, name in ((5, "action"), (6, "meter"), (7, "address")):
        require(frozen[place] == order[name], f"the order's {name} is another one than was frozen")
    digest = hashlib.sha256(bytes.fromhex(order["frozen"])).digest()
    require(digest.hex() == order["digest"], "the digest is not that of the frozen order")
    logged = [json.loads(one["body"])["fields"].get("digest") for one in bundle["entries"]]
    require(digest.hex() in logged, "the log tells another digest")
    names = check_approvals(bundle, frozen, digest, approver_keys)
    given = [name for name in names if name in approver_keys]
    return [
        f"order {order['order'][:8]}: {order['action']} of {order['meter']}, digest {digest.hex()}",
        f"approved by {', '.join(sorted(names)) or 'nobody'}"
        + (f"; the keys of {len(given)} of them were given by you" if names else ""),
    ]


def check_approvals(
    bundle: dict[str, Any], frozen: list[Any], digest: bytes, approver_keys: dict[str, str]
) -> set[str]:
    """Who has approved: each by an own signature that the log tells too, none of them the
    requester, and as many as the action takes once the order was sealed."""
    entries = [json.loads(one["body"]) for one in bundle["entries"]]
    logged = {one["fields"].get("signature") for one in entries if one["kind"] == APPROVAL}
    requester = frozen[10][2] if len(frozen) > 10 else ""
    names: set[str] = set()
    for one in bundle["approvals"]:
        name = one["approver"]
        public = approver_keys.get(name, one["public"])
        signed = encode(["busbar/1/approval", digest, name, one["at"]])
        signature = bytes.fromhex(one["signature"])
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(public))
        pair = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
        try:
            key.verify(encode_dss_signature(*pair), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise WrongError(f"{name} has not approved this order") from None
        require(name != requester, f"{name} asked for the order and approved it")
        require(name not in names, f"{name} approved it twice")
        require(one["signature"] in logged, f"the log does not tell of the approval of {name}")
        names.add(name)
    needed = APPROVALS.get(frozen[5], 0) if SEALED in {one["kind"] for one in entries} else 0
    require(len(names) >= needed, f"{frozen[5]} takes {needed} approvals, {len(names)} were given")
    return names


def check_chain(bundle: dict[str, Any]) -> list[str]:
    """The gateway's own entries follow each other, and the head end has logged their hashes."""
    chain = bundle.get("gateway_audit")
    if not chain:
        return ["the gateway has told nothing of it"]
    logged = set()
    for one in bundle["entries"]:
        logged.add(json.loads(one["body"])["fields"].get("hash"))
    previous = bytes.fromhex(chain["previous"])
    for entry in chain["entries"]:
        previous = hashlib.sha256(b"\x00" + previous + bytes.fromhex(entry)).digest()
    require(previous.hex() in logged, "the gateway's chain is not the one that was logged")
    return [f"{len(chain['entries'])} entries of gateway {chain['gateway']} follow each other"]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Verifies an audit export or an order's bundle.")
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("--log-key", required=True, help="the log's public key, name+id+base64")
    parser.add_argument("--witness-key", action="append", default=[], help="must have cosigned")
    parser.add_argument("--approver-key", action="append", default=[], metavar="NAME=HEX")
    options = parser.parse_args()
    approvers = dict(one.split("=", 1) for one in options.approver_key if "=" in one)
    try:
        if options.path.is_dir():
            told = check_export(options.path, options.log_key, options.witness_key)
        else:
            told = check_bundle(options.path, options.log_key, options.witness_key, approvers)
    except WrongError as error:
        print(f"WRONG: {error}")
        return 1
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        print(f"cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print("\n".join(told))
    print("all holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
