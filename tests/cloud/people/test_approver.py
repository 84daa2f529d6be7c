"""The approver's key: what is in the files, and who can open them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud.people.approver import ApproverKey, FileKey, load_key, make_key, public_path, read_record
from cloud.people.key_file import encrypted_pem, private_of_pem
from protocols.envelope.keys import ESP256, KeyRecord, Use
from protocols.envelope.suites import Provider
from protocols.errors import CallerError, SettingError
from tests.cloud.world import NOW

PASSPHRASE = b"canary horse battery staple"
PROVIDER = Provider()
DAY_MS = 86_400_000


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "zhang.key"
    make_key(path, "zhang", PASSPHRASE, NOW, 30, PROVIDER)
    return path


def test_the_public_record_is_what_a_deployment_takes(made: Path) -> None:
    """A person's, to approve and nothing else, for its days; without a private part."""
    text = public_path(made).read_text()
    record = KeyRecord.from_json(json.loads(text))
    assert (record.owner, record.use, record.algorithm) == ("person:zhang", Use.APPROVE, ESP256)
    assert record.kid == PROVIDER.kid(record.public) and len(record.public) == 33
    assert (record.not_before, record.not_after) == (NOW - DAY_MS, NOW + 30 * DAY_MS)
    private = private_of_pem(made.read_bytes(), PASSPHRASE)
    assert private.hex() not in text and record.revoked == 0


def test_a_key_signs_what_its_record_verifies(made: Path) -> None:
    """64 bytes, the same for the same data."""
    key: ApproverKey = load_key(made, PASSPHRASE, PROVIDER)
    signature = key.sign(b"data")
    assert len(signature) == 64 and signature == key.sign(b"data")
    PROVIDER.verify(ESP256, key.record.public, b"data", signature)


def test_the_key_file_is_its_owners_and_encrypted(made: Path) -> None:
    """Standard PKCS#8 with scrypt, which the library opens with the passphrase alone."""
    assert made.stat().st_mode & 0o777 == 0o600
    pem = made.read_bytes()
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert load_pem_private_key(pem, PASSPHRASE).key_size == 256  # type: ignore[union-attr]
    with pytest.raises(TypeError):
        load_pem_private_key(pem, None)


def test_another_tool_opens_it(made: Path, tmp_path: Path, require: Callable[..., None]) -> None:
    """OpenSSL, without being told more than the passphrase."""
    require("openssl")
    openssl = "openssl"
    secret = tmp_path / "pass"
    secret.write_bytes(PASSPHRASE + b"\n")
    command = [openssl, "asn1parse", "-in", made]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert ":PBES2" in shown and ":scrypt" in shown and ":aes-256-cbc" in shown
    command = [openssl, "pkey", "-in", made, "-passin", f"file:{secret}", "-pubout"]
    assert b"BEGIN PUBLIC KEY" in subprocess.run(command, capture_output=True, check=True).stdout


def test_a_wrong_passphrase_opens_nothing(made: Path) -> None:
    """And is not shown."""
    with pytest.raises(CallerError) as refused:
        load_key(made, b"canary horse battery stable", PROVIDER)
    error = refused.value
    assert "canary" not in str(error) and error.__cause__ is None and error.__suppress_context__


@pytest.mark.parametrize("passphrase", [b"", b"short", "kürzeres äö".encode(), b"\xff" * 20])
def test_a_poor_passphrase_makes_no_key(passphrase: bytes, tmp_path: Path) -> None:
    """Neither file is begun."""
    with pytest.raises(CallerError, match="a passphrase"):
        make_key(tmp_path / "k", "zhang", passphrase, NOW, 30, PROVIDER)
    assert list(tmp_path.iterdir()) == []


def test_a_name_must_be_a_persons(tmp_path: Path) -> None:
    """The same rule as in people.json."""
    with pytest.raises(SettingError):
        make_key(tmp_path / "k", "console", PASSPHRASE, NOW, 30, PROVIDER)
    assert list(tmp_path.iterdir()) == []


def test_no_key_is_overwritten(made: Path) -> None:
    """A lost key could not approve any more, and nobody would know."""
    before = made.read_bytes()
    with pytest.raises(CallerError, match="File exists"):
        make_key(made, "zhang", PASSPHRASE, NOW, 30, PROVIDER)
    assert made.read_bytes() == before


def test_the_record_of_another_key_is_noticed(made: Path, tmp_path: Path) -> None:
    """What it signed would be refused by everybody, with a worse sentence."""
    other = tmp_path / "li.key"
    make_key(other, "li", PASSPHRASE, NOW, 30, PROVIDER)
    public_path(made).write_bytes(public_path(other).read_bytes())
    with pytest.raises(CallerError, match="another key"):
        load_key(made, PASSPHRASE, PROVIDER)


@pytest.mark.parametrize(
    "fields",
    [{"use": Use.SIGN_ORDER}, {"owner": "gw1"}, {"algorithm": -65601}, {"kid": "ab"}],
)
def test_a_record_that_does_not_approve_is_refused(fields: dict, made: Path) -> None:
    """A head end's key, or no person's."""
    row = json.loads(public_path(made).read_text())
    public_path(made).write_text(json.dumps({**row, **fields}))
    with pytest.raises(CallerError):
        read_record(public_path(made))


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n"])
def test_a_file_that_is_no_key_is_refused(pem: bytes) -> None:
    """With a sentence."""
    with pytest.raises(CallerError):
        private_of_pem(pem, PASSPHRASE)


def test_each_file_has_its_own_salt() -> None:
    """The same key and passphrase never give the same file."""
    assert encrypted_pem(b"\1" * 32, PASSPHRASE) != encrypted_pem(b"\1" * 32, PASSPHRASE)


def test_a_key_is_not_printed(made: Path) -> None:
    """Its id is."""
    key = load_key(made, PASSPHRASE, PROVIDER)
    assert repr(key) == f"FileKey({key.record.kid.hex()})" and isinstance(key, FileKey)
