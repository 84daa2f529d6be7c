"""The witness's rule: each status of it, a split view, a crash before the signature."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from cloud.audit import note, tree
from cloud.audit.note import Checkpoint
from cloud.audit.witness import Answer, Witness, request_of
from protocols.errors import SettingError

LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ORIGIN = "busbar/t1"
NOW_S = 1_790_000_000


class Log:
    """A log that somebody keeps in memory."""

    def __init__(self, entries: list[bytes]) -> None:
        self._nodes: dict[tuple[int, int], bytes] = {}
        for index, entry in enumerate(entries):
            leaf = tree.leaf_hash(entry)
            for level, place, found in tree.completed(index, leaf, self._node):
                self._nodes[level, place] = found

    def _node(self, level: int, place: int) -> bytes:
        return self._nodes[level, place]

    def request(self, old: int, size: int, key: Ed25519PrivateKey = LOG_KEY) -> bytes:
        proof = tree.consistency_proof(old, size, self._node)
        return request_of(old, proof, self.note(size, key))

    def note(self, size: int, key: Ed25519PrivateKey = LOG_KEY) -> str:
        checkpoint = Checkpoint(ORIGIN, size, tree.root(size, self._node))
        return note.sign(checkpoint.text(), ORIGIN, key)


LOG = Log([b"entry %d" % n for n in range(20)])
FORGED = Log([b"entry %d" % n for n in range(3)] + [b"edited"] * 17)


def witness(folder: Path) -> Witness:
    logs = [note.verifier_of(ORIGIN, LOG_KEY)]
    return Witness(folder, "witness", WITNESS_KEY, logs, lambda: NOW_S)


def test_it_signs_what_only_grew(tmp_path: Path) -> None:
    one = witness(tmp_path)
    for old, size in ((0, 5), (5, 5), (5, 8), (8, 20)):
        answer = one.add_checkpoint(LOG.request(old, size))
        assert answer.status == 200
        verifier = note.verifier_of("witness", WITNESS_KEY, note.COSIGNATURE)
        assert note.open_note(LOG.note(size) + answer.body, verifier)


def test_t22_a_split_view_gets_no_signature(tmp_path: Path) -> None:
    one = witness(tmp_path)
    assert one.add_checkpoint(LOG.request(0, 8)).status == 200
    assert one.add_checkpoint(FORGED.request(8, 20)).status == 422
    assert one.add_checkpoint(FORGED.request(8, 8)) == Answer(409, "8\n", "text/x.tlog.size")
    assert one.add_checkpoint(FORGED.request(3, 20)) == Answer(409, "8\n", "text/x.tlog.size")
    assert one.add_checkpoint(LOG.request(8, 20)).status == 200


def test_a_log_that_went_back_is_told_where_it_stood(tmp_path: Path) -> None:
    one = witness(tmp_path)
    one.add_checkpoint(LOG.request(0, 8))
    assert one.add_checkpoint(LOG.request(0, 5)) == Answer(409, "8\n", "text/x.tlog.size")
    assert one.add_checkpoint(request_of(9, (), LOG.note(5))).status == 400


def test_a_stranger_s_log_and_a_stranger_s_signature(tmp_path: Path) -> None:
    one = witness(tmp_path)
    assert one.add_checkpoint(LOG.request(0, 5, OTHER_KEY)).status == 403
    elsewhere = note.sign(Checkpoint("elsewhere", 1, bytes(32)).text(), "elsewhere", LOG_KEY)
    assert one.add_checkpoint(request_of(0, (), elsewhere)).status == 404


def test_what_was_signed_holds_over_a_restart(tmp_path: Path) -> None:
    witness(tmp_path).add_checkpoint(LOG.request(0, 8))
    assert witness(tmp_path).add_checkpoint(FORGED.request(8, 20)).status == 422


def test_nothing_is_signed_that_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = witness(tmp_path)

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cloud.audit.witness.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        one.add_checkpoint(LOG.request(0, 8))
    monkeypatch.undo()
    assert one.add_checkpoint(FORGED.request(0, 5)).status == 200  # the first was never signed


def test_a_state_that_does_not_read_signs_nothing(tmp_path: Path) -> None:
    (tmp_path / "witnessed.json").write_text("{")
    with pytest.raises(SettingError, match="does not tell what was signed"):
        witness(tmp_path)


@pytest.mark.parametrize(
    "request_",
    [b"", b"old 5", b"old 05\n\n", b"new 5\n\n", b"old -1\n\n", b"\xff\n\n", b"x" * 80_000,
     b"old 0\n!!\n\n" + LOG.note(5).encode(), b"old 0\nAAAA\n\n" + LOG.note(5).encode(),
     b"old 0\n" + b"A" * 44 * 70 + b"\n\n" + LOG.note(5).encode()],
)  # fmt: skip
def test_what_is_no_request(request_: bytes, tmp_path: Path) -> None:
    assert witness(tmp_path).add_checkpoint(request_).status == 400


@given(st.binary(max_size=300))
def test_any_bytes_give_an_answer(data: bytes) -> None:
    one = witness(Path("/nonexistent"))
    assert one.add_checkpoint(data).status == 400
    assert one.add_checkpoint(b"old 0\n\n" + data).status in (400, 404)
