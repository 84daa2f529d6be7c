"""The Merkle tree against the roots that other logs publish, and against its own definition."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from cloud.audit import tree

# The leaves and roots by which implementations of RFC 6962 compare themselves.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
          "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 70)


class Kept:
    """Subtree hashes as a store keeps them."""

    def __init__(self, entries: list[bytes]) -> None:
        self.hashes: dict[tuple[int, int], bytes] = {}
        for index, entry in enumerate(entries):
            leaf = tree.leaf_hash(entry)
            for level, place, found in tree.completed(index, leaf, self.node):
                self.hashes[level, place] = found

    def node(self, level: int, place: int) -> bytes:
        return self.hashes[level, place]


def by_definition(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    half = 1
    while half * 2 < len(entries):
        half *= 2
    halves = by_definition(entries[:half]) + by_definition(entries[half:])
    return hashlib.sha256(b"\x01" + halves).digest()


def entries_of(size: int) -> list[bytes]:
    return [f"entry {n}".encode() for n in range(size)]


def test_published_roots() -> None:
    entries = [bytes.fromhex(leaf) for leaf in LEAVES]
    kept = Kept(entries)
    assert [tree.root(n + 1, kept.node).hex() for n in range(len(entries))] == ROOTS
    assert tree.root(0, kept.node) == by_definition([])


@given(SIZES)
def test_roots_follow_the_definition(size: int) -> None:
    entries = entries_of(size)
    assert tree.root(size, Kept(entries).node) == by_definition(entries)


@given(SIZES, st.data())
def test_an_entry_is_proven_and_no_other(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    entries = entries_of(size)
    kept = Kept(entries)
    expected, leaf = tree.root(size, kept.node), tree.leaf_hash(entries[index])
    proof = tree.inclusion_proof(index, size, kept.node)
    assert tree.verify_inclusion(index, size, leaf, proof, expected)
    assert not tree.verify_inclusion(index, size, tree.leaf_hash(b"other"), proof, expected)
    assert not tree.verify_inclusion(size, size, leaf, proof, expected)
    for other in range(size):
        if other != index:
            assert not tree.verify_inclusion(other, size, leaf, proof, expected)
    assert not tree.verify_inclusion(index, size, leaf, (*proof, leaf), expected)
    if proof:
        assert not tree.verify_inclusion(index, size, leaf, proof[1:], expected)


@given(SIZES, st.data())
def test_a_log_that_only_grew_is_proven_and_no_other(size: int, data: st.DataObject) -> None:
    earlier = data.draw(st.integers(0, size))
    entries = entries_of(size)
    kept = Kept(entries)
    old, new = tree.root(earlier, kept.node), tree.root(size, kept.node)
    proof = tree.consistency_proof(earlier, size, kept.node)
    assert tree.verify_consistency(earlier, size, old, new, proof)
    if earlier:
        changed = list(entries)
        changed[data.draw(st.integers(0, earlier - 1))] = b"edited"
        edited = Kept(changed)
        other = tree.root(size, edited.node)
        forged = tree.consistency_proof(earlier, size, edited.node)
        assert not tree.verify_consistency(earlier, size, old, other, forged)
        assert not tree.verify_consistency(earlier, size, old, other, proof)
        assert not tree.verify_consistency(size + 1, size, old, new, proof)
        assert not tree.verify_consistency(earlier, size, old, new, (*proof, old))


def test_leaves_and_nodes_are_told_apart() -> None:
    left, right = tree.leaf_hash(b"a"), tree.leaf_hash(b"b")
    assert tree.leaf_hash(left + right) != tree.node_hash(left, right)
