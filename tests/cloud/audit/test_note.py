"""Signed notes, checkpoints and cosignatures."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import note
from cloud.audit.note import Checkpoint, NoteError, Verifier

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NAME = "busbar.example/t1"
CHECKPOINT = Checkpoint(NAME, 42, bytes(32))

# The example of the signed-note specification: a public key and a note that it signed.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2p"
    "ZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_a_stranger_opens() -> None:
    assert note.open_note(PETERS_NOTE, Verifier.from_text(PETER)).startswith("If you think")


def test_a_note_of_a_stranger_that_was_edited_does_not() -> None:
    with pytest.raises(NoteError, match="does not fit"):
        note.open_note(PETERS_NOTE.replace("answer", "cause"), Verifier.from_text(PETER))


def test_a_checkpoint_comes_back() -> None:
    signed = note.sign(CHECKPOINT.text(), NAME, KEY)
    text = note.open_note(signed, note.verifier_of(NAME, KEY))
    assert Checkpoint.from_text(text) == CHECKPOINT


def test_a_key_goes_as_one_word() -> None:
    verifier = note.verifier_of(NAME, KEY)
    assert Verifier.from_text(verifier.text()) == verifier
    assert " " not in verifier.text()


@pytest.mark.parametrize(
    "text",
    ["", "a+b", "name+00000000+AAAA", PETER.replace("c74f", "c74e"), PETER.replace("AR", "BR")],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Verifier.from_text(text)


def test_another_key_of_the_same_name_opens_nothing() -> None:
    signed = note.sign(CHECKPOINT.text(), NAME, KEY)
    with pytest.raises(NoteError, match="bears no signature"):
        note.open_note(signed, note.verifier_of(NAME, OTHER))


def test_a_witness_says_when_it_saw_the_text() -> None:
    signed = note.sign(CHECKPOINT.text(), NAME, KEY)
    seen = signed + note.cosign(signed, "witness", OTHER, 1_790_000_000)
    verifier = note.verifier_of("witness", OTHER, note.COSIGNATURE)
    assert note.open_note(seen, verifier) == CHECKPOINT.text()
    assert note.open_note(seen, note.verifier_of(NAME, KEY)) == CHECKPOINT.text()
    line = seen.splitlines()[-1]
    packed = base64.b64decode(line.split(" ")[2])
    assert int.from_bytes(packed[4:12], "big") == 1_790_000_000
    moved = base64.b64encode(packed[:4] + (5).to_bytes(8, "big") + packed[12:]).decode()
    with pytest.raises(NoteError, match="does not fit"):
        note.open_note(signed + f"— witness {moved}\n", verifier)


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", f"a\n01\n{base64.b64encode(bytes(32)).decode()}\n", "a\n1\nAAAA\n", "a\n-1\nA\n",
     "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n", "a\n" + "9" * 30 + "\nAAAA\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.from_text(text)


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n\n", "a\n\nx y z\n", "a\n\n— n !!\n", "a\n\n— n AAAA\n", "a" * 70_000]
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        note.split(text)
