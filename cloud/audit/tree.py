"""The Merkle tree of RFC 6962: hashes, roots, inclusion and consistency.

The tree over `size` leaves is read through `Nodes`: `nodes(level, place)` gives the hash of the
complete subtree of 2^level leaves that begins with leaf place * 2^level. Whoever keeps those hashes
makes any root and any proof from a few dozen of them, however long the log is.

Leaves are hashed behind 00 and nodes behind 01 (clause 2.1), so that neither passes for the other.
"""

import hashlib
from collections.abc import Callable, Iterator

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
Nodes = Callable[[int, int], bytes]
Proof = tuple[bytes, ...]


def leaf_hash(entry: bytes) -> bytes:
    """What stands for an entry (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """What stands for two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed(index: int, leaf: bytes, nodes: Nodes) -> Iterator[tuple[int, int, bytes]]:
    """(level, place, hash) of each subtree that the leaf `index` makes complete, itself the first;
    `nodes` knows those of all leaves before it."""
    level, place, found = 0, index, leaf
    yield level, place, found
    while place & 1:
        found = node_hash(nodes(level, place - 1), found)
        level, place = level + 1, place >> 1
        yield level, place, found


def root(size: int, nodes: Nodes) -> bytes:
    """The hash of the tree over the first `size` leaves."""
    return _range(0, size, nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: Nodes) -> Proof:
    """The audit path of leaf `index` in the tree of `size` leaves (2.1.1), the lowest first."""
    path = []
    first, last = 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            path.append(_range(middle, last, nodes))
            last = middle
        else:
            path.append(_range(first, middle, nodes))
            first = middle
    return tuple(reversed(path))


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Proof, expected: bytes) -> bool:
    """Whether the proof leads from the leaf to the root `expected` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(other, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, other)
        place, last = place >> 1, last >> 1
    return last == 0 and found == expected


def consistency_proof(earlier: int, size: int, nodes: Nodes) -> Proof:
    """That the tree of `size` leaves only added to that of `earlier` ones (2.1.2); nothing where
    one of them is empty or both are the same."""
    if not 0 < earlier < size:
        return ()
    path = []
    first, last, is_whole = 0, size, True
    while earlier != last:
        middle = first + _split(last - first)
        if earlier <= middle:
            path.append(_range(middle, last, nodes))
            last = middle
        else:
            path.append(_range(first, middle, nodes))
            first, is_whole = middle, False
    if not is_whole:
        path.append(_range(first, last, nodes))
    return tuple(reversed(path))


def verify_consistency(
    earlier: int, size: int, earlier_root: bytes, expected: bytes, proof: Proof
) -> bool:
    """Whether the proof shows that the tree with root `expected` only added to the one with
    `earlier_root` (RFC 9162, 2.1.4.2)."""
    if earlier == size:
        return not proof and earlier_root == expected
    if earlier == 0:
        return not proof and earlier_root == EMPTY_ROOT
    if not 0 < earlier < size or not proof:
        return False
    path = list(proof)
    if earlier & (earlier - 1) == 0:  # a complete tree: its root is the first of the path
        path.insert(0, earlier_root)
    place, last = earlier - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and old == earlier_root and new == expected


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _range(first: int, last: int, nodes: Nodes) -> bytes:
    """The hash over leaves first..last - 1, which a split of the tree ends with."""
    count = last - first
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes(level, first >> level)
    middle = first + _split(count)
    return node_hash(_range(first, middle, nodes), _range(middle, last, nodes))
