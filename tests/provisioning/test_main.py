"""The command: sentences, exit codes, and nothing secret on any output."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.__main__ import main
from tests.provisioning.vectors import frame_of

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """(exit code, output, errors); argparse leaves by SystemExit."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_without_arguments_it_helps(capsys: Capture) -> None:
    """And says by its exit code that nothing was done."""
    code, out, err = run(capsys)
    assert (code, err) == (2, "")
    for command in ("init", "revoke", "renew-crl", "explain"):
        assert command in out


@pytest.mark.parametrize("command", ["init", "revoke", "renew-crl", "explain"])
def test_each_command_explains_itself(capsys: Capture, command: str) -> None:
    """--help is a success."""
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"busbar-provision {command}" in out


def test_a_deployment_by_command(capsys: Capture, tmp_path: Path) -> None:
    """Made, added to, revoked; each step tells what it made and where."""
    site = str(tmp_path / "site")
    code, out, err = run(capsys, "init", "--dir", site, "--gateway", "gw1", "--gateway", "gw2")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"gateway {one}: {site}/gateways/{one}" for one in ("gw1", "gw2")]
    assert run(capsys, "init", "--dir", site, "--gateway", "gw3")[0] == 0
    code, out, err = run(capsys, "revoke", "--dir", site, "--gateway", "gw1")
    assert (code, err) == (0, "")
    assert "gateway gw1: revoked since 2" in out
    assert f"{site}/broker/crl.pem" in out
    assert run(capsys, "renew-crl", "--dir", site)[0] == 0


def test_an_existing_gateway_is_refused_in_one_sentence(capsys: Capture, tmp_path: Path) -> None:
    """On the error output, exit code 2."""
    site = str(tmp_path)
    run(capsys, "init", "--dir", site, "--gateway", "gw1")
    code, out, err = run(capsys, "init", "--dir", site, "--gateway", "gw2", "--gateway", "gw1")
    assert (code, out) == (2, "")
    assert err == (
        f"busbar-provision: gateway 'gw1' exists in {site}: its keys stay as they are; "
        "nothing was changed\n"
    )
    assert not (tmp_path / "gateways" / "gw2").exists()


def test_a_directory_that_can_not_be_written_gets_one_sentence(
    capsys: Capture, tmp_path: Path
) -> None:
    """Which path, and why; no traceback."""
    (tmp_path / "file").write_text("")
    code, out, err = run(capsys, "init", "--dir", str(tmp_path / "file"), "--gateway", "gw1")
    assert (code, out) == (2, "")
    assert err == f"busbar-provision: {tmp_path / 'file'}: Not a directory\n"


def test_no_secret_is_ever_told(capsys: Capture, tmp_path: Path) -> None:
    """Neither key nor PEM in any output of any step, refused ones included."""
    site = str(tmp_path)
    told = ""
    for arguments in (
        ("init", "--dir", site, "--gateway", "gw1"),
        ("init", "--dir", site, "--gateway", "gw1"),
        ("init", "--dir", site, "--gateway", "gw2", "--tenant", "t2"),
        ("revoke", "--dir", site, "--gateway", "gw1"),
        ("revoke", "--dir", site, "--gateway", "gw9"),
    ):
        _, out, err = run(capsys, *arguments)
        told += out + err
    secrets = ["PRIVATE KEY"]
    for path in tmp_path.rglob("*keys.json"):
        secrets += [row["private"] for row in json.loads(path.read_text())["keys"]]
    for path in tmp_path.rglob("*.key"):
        secrets += path.read_text().splitlines()[1:-1]
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in told] == []


def test_a_capture_by_command(capsys: Capture) -> None:
    """For a person by default, for a program with --json."""
    wire = frame_of("v002")
    code, out, err = run(capsys, "explain", *wire.hex(" ").split())
    assert (code, err) == (0, "")
    assert "active energy import: 0.26 kWh" in out
    code, out, err = run(capsys, "explain", wire.hex(), "--json")
    assert (code, err) == (0, "")
    (found,) = json.loads(out)
    assert found["readings"] == [
        {
            "obis": "1-0:1.8.0*255",
            "name": "active energy import",
            "value": "0.26",
            "unit": "kWh",
        }
    ]


def test_a_capture_on_standard_input(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads it, before, after or between what the arguments give."""
    wire = frame_of("v002").hex(" ")
    monkeypatch.setattr(sys, "stdin", io.StringIO(wire[15:].replace(" ", "\n")))
    code, out, _ = run(capsys, "explain", "--json", wire[:15], "-")
    assert (code, len(json.loads(out))) == (0, 1)


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("wire", ["no hex", "68 6", ""])
def test_what_is_no_hex_is_refused_in_one_sentence(
    capsys: Capture, flags: list[str], wire: str
) -> None:
    """On the error output, exit code 2, and nothing on the other one."""
    code, out, err = run(capsys, "explain", wire, *flags)
    assert (code, out) == (2, "")
    assert err.startswith("busbar-provision: the capture is ")
    assert err.count("\n") == 1


def test_what_is_no_frame_is_told_by_the_exit_code(capsys: Capture) -> None:
    """1, with the answer on the output."""
    code, out, err = run(capsys, "explain", "5555")
    assert (code, err) == (1, "")
    assert "no frame" in out


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x80" * 5])
def test_the_program_itself(data: bytes) -> None:
    """As a process: binary on its standard input is one sentence, whatever the locale."""
    for encoding in ("utf-8", "ascii:strict"):
        done = subprocess.run(
            [sys.executable, "-m", "provisioning", "explain", "-"],
            input=data,
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.count(b"\n") == 1
        assert b"Traceback" not in done.stderr
