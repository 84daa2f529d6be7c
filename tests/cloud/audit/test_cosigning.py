"""A head end's log before a witness that runs as a server on this machine."""

import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import keys, note
from cloud.audit.cosigning import cosign
from cloud.audit.serve import WitnessServer
from cloud.audit.witness import Witness
from cloud.store.audit import CheckpointRow
from protocols.errors import CallerError, SettingError
from tests.cloud.audit.bench import LOG, Bench

WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WITNESS = note.verifier_of("witness", WITNESS_KEY, note.COSIGNATURE)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    witness = Witness(tmp_path, "witness", WITNESS_KEY, [LOG], lambda: 1_790_000_000)
    server = WitnessServer(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def last(bench: Bench) -> CheckpointRow:
    bench.checkpoints.make()
    row = bench.store.last_checkpoint()
    assert row is not None
    return row


def test_a_growing_log_is_cosigned_again_and_again(url: str) -> None:
    bench = Bench(3)
    for _ in range(4):
        row = last(bench)
        line = cosign(bench.store, row, url, WITNESS)
        assert note.open_note(row.note + line, WITNESS)
        assert cosign(bench.store, row, url, WITNESS)  # the same once more
        bench.log.append("order", "x", {})


def test_t22_a_log_that_was_written_anew_is_not(url: str) -> None:
    bench, forged = Bench(8), Bench(0)
    cosign(bench.store, last(bench), url, WITNESS)
    for n in range(9):
        forged.log.append("order", "y", {"n": n})
    with pytest.raises(CallerError, match="422"):
        cosign(forged.store, last(forged), url, WITNESS)


def test_t22_a_log_that_was_cut_short_is_not(url: str) -> None:
    bench = Bench(8)
    cosign(bench.store, last(bench), url, WITNESS)
    with pytest.raises(CallerError, match="signed 8 entries already, this log has 5"):
        cosign(Bench(5).store, last(Bench(5)), url, WITNESS)


def test_another_witness_s_signature_is_not_taken(url: str) -> None:
    bench = Bench(2)
    other = note.verifier_of("witness", Ed25519PrivateKey.generate(), note.COSIGNATURE)
    with pytest.raises(CallerError, match="no signature of it"):
        cosign(bench.store, last(bench), url, other)


def test_a_witness_that_is_away(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    bench = Bench(1)
    with pytest.raises(CallerError, match="does not answer"):
        cosign(bench.store, last(bench), f"http://127.0.0.1:{port}", WITNESS)
    with pytest.raises(CallerError, match="not allowed"):
        cosign(bench.store, last(bench), "file:///etc/passwd", WITNESS)


@pytest.mark.parametrize(
    "asked",
    [b"POST /other HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
     b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
     b"POST /add-checkpoint HTTP/1.1\r\n\r\n",
     b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
     b"GET / HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_gets_an_answer(asked: bytes, url: str) -> None:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(asked)
        status = int(client.makefile("rb").readline().split()[1])
    assert 400 <= status < 502


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    made = keys.load_or_make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.load_or_make_key(path).private_bytes_raw() == made.private_bytes_raw()
    assert [one.name for one in tmp_path.iterdir()] == ["audit.key"]
    path.write_text("secret nonsense")
    with pytest.raises(SettingError) as told:
        keys.load_key(path)
    assert "secret" not in str(told.value)
    with pytest.raises(SettingError, match="cannot be made"):
        keys.load_or_make_key(tmp_path / "away" / "audit.key")


def test_a_cosignature_is_kept() -> None:
    bench = Bench(1)
    bench.store.add_cosignature(1, "witness", "line\n")
    bench.store.add_cosignature(1, "witness", "other\n")
    assert bench.store.cosignatures(1) == ["line\n"]
    assert isinstance(bench.db, sqlite3.Connection)
