"""What an auditor takes away, judged by the program that shares no code with the log."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.audit import note
from cloud.audit.export import export
from protocols.errors import CallerError
from tests.cloud.audit.bench import KEY, LOG, Bench

SCRIPT = Path(__file__).parents[3] / "scripts" / "verify_audit.py"
WITNESS_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
WITNESS = note.verifier_of("witness", WITNESS_KEY, note.COSIGNATURE)
OTHER = note.verifier_of("busbar/t1", WITNESS_KEY)


def judge(path: Path, *options: str, log_key: str = LOG.text()) -> tuple[int, str]:
    """Exit code and words of the auditor's program, which sees nothing of ours."""
    command = [sys.executable, "-I", str(SCRIPT), "--log-key", log_key, *options, str(path)]
    done = subprocess.run(  # noqa: PLW1510 -- its exit code is what we ask for
        command, capture_output=True, text=True, timeout=60, cwd=path.parent
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    bench = Bench(21)
    bench.checkpoints.make()
    row = bench.store.last_checkpoint()
    assert row is not None
    bench.store.add_cosignature(21, "witness", note.cosign(row.note, "witness", WITNESS_KEY, 5))
    bench.log.append("order", "later", {})
    assert export(bench.store, tmp_path / "out") == 22
    return tmp_path / "out"


def test_it_holds(taken: Path) -> None:
    code, words = judge(taken, "--witness-key", WITNESS.text())
    assert (code, words.splitlines()[-1]) == (0, "all holds"), words
    assert "21 entries of busbar/t1 hash to the signed root; 1 came since" in words


def _alter(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[7].replace("queued", "closed"), *lines[8:]]


def _delete(lines: list[str]) -> list[str]:
    return lines[:7] + lines[8:]


def _truncate(lines: list[str]) -> list[str]:
    return lines[:15]


def _swap(lines: list[str]) -> list[str]:
    return [*lines[:7], lines[8], lines[7], *lines[9:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [(_alter, "not those that busbar/t1 promised"), (_delete, "entry 7 is missing"),
     (_truncate, "entry 15 and later are missing: 21"), (_swap, "entry 7 is missing")],
)  # fmt: skip
def test_t22_a_change_is_told(
    change: Callable[[list[str]], list[str]], words: str, taken: Path
) -> None:
    path = taken / "log.jsonl"
    lines = change(path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")
    code, told = judge(taken)
    assert code == 1 and words in told


def test_keys_that_did_not_sign(taken: Path) -> None:
    assert judge(taken, log_key=OTHER.text())[0] == 1
    other = note.verifier_of("other", KEY, note.COSIGNATURE)
    assert judge(taken, "--witness-key", other.text()) == (1, "WRONG: other has not signed\n")
    assert judge(taken, log_key="nonsense")[0] == 2
    assert judge(taken / "nowhere")[0] == 2


def test_nothing_is_overwritten_and_nothing_unpromised_leaves(taken: Path, tmp_path: Path) -> None:
    bench = Bench(1)
    with pytest.raises(CallerError, match="no checkpoint yet"):
        export(bench.store, tmp_path / "new")
    bench.checkpoints.make()
    with pytest.raises(CallerError, match="exists"):
        export(bench.store, taken)
    assert len((taken / "log.jsonl").read_text().splitlines()) == 22
    assert json.loads((taken / "log.jsonl").read_text().splitlines()[3])["sequence"] == 3


def test_the_program_imports_nothing_of_ours() -> None:
    names = ("protocols", "edge", "cloud", "hil", "provisioning", "busbar")
    for line in SCRIPT.read_text().splitlines():
        assert not line.startswith(("import ", "from ")) or not any(one in line for one in names)
