"""cloud.toml: what is not allowed is one sentence that names file, key, value and what is
allowed."""

from pathlib import Path

import pytest

from cloud.__main__ import main
from cloud.settings import TABLES, load_settings
from protocols.errors import SettingError
from tests.cloud.world import World

GOOD = {
    "head_end": {"tenant": '"t1"', "state_dir": '"state"', "identity_dir": '"identity"'},
    "mqtt": {"host": '"127.0.0.1"', "port": "8883"},
    "ingest": {},
}
FAULTS = [
    ("head_end", "tenant", '"T 1"', "1 to 32 of a-z"),
    ("head_end", "tenant", None, "1 to 32 of a-z"),
    ("head_end", "state_dir", '""', "a text of 1 to"),
    ("head_end", "identity_dir", "7", "a text of 1 to"),
    ("mqtt", "host", None, "a text of 1 to"),
    ("mqtt", "port", "0", "1 to 65535"),
    ("mqtt", "port", "65536", "1 to 65535"),
    ("mqtt", "port", '"8883"', "1 to 65535"),
    ("mqtt", "port", "true", "1 to 65535"),
    ("mqtt", "version", "4", "one of 5, 3"),
    ("mqtt", "tls", '"yes"', "true or false"),
    ("mqtt", "keepalive_s", "1", "5 to 3600"),
    ("mqtt", "password", '"host"', "allowed are"),
    ("ingest", "commit_messages", "0", "1 to 1000"),
    ("ingest", "commit_interval_ms", "6000", "1 to 5000"),
    ("ingest", "queue_messages", "9", "10 to 65535"),
]


def write(path: Path, table: str = "", key: str = "", value: str | None = None) -> Path:
    text = ""
    for name, rows in GOOD.items():
        chosen = dict(rows)
        if name == table:
            chosen.pop(key, None)
            if value is not None:
                chosen[key] = value
        text += f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in chosen.items())
    path.write_text(text)
    return path


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of `run` with this file; the exit code is 2."""
    assert main(["run", "--config", str(path)]) == 2
    text = capsys.readouterr().err
    assert text.startswith("busbar-cloud: ") and text.count("\n") == 1
    return text


def test_defaults_and_paths(tmp_path: Path) -> None:
    """What is left out has a default, and paths are relative to the file."""
    settings = load_settings(write(tmp_path / "cloud.toml"))
    assert (settings.version, settings.tls, settings.keepalive_s) == (5, True, 30)
    assert (settings.commit_messages, settings.queue_messages) == (20, 1000)
    assert settings.state_dir == tmp_path / "state"
    assert settings.database == tmp_path / "state" / "head-end.db"


@pytest.mark.parametrize(("table", "key", "value", "allowed"), FAULTS)
def test_a_faulty_setting_is_one_sentence(
    table: str,
    key: str,
    value: str | None,
    allowed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, key, value and what is allowed; exit code 2; nothing is made."""
    path = write(tmp_path / "cloud.toml", table, key, value)
    text = refused(path, capsys)
    shown = "" if value is None else value.strip('"').replace("true", "True")
    assert str(path) in text and key in text and shown in text and allowed in text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[mqtt\n", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[mqqt]\nport = 1\n", "unknown table 'mqqt'; allowed are [head_end]"),
        (b"head_end = 3\n", "must be a table, not 3"),
    ],
)
def test_a_file_that_is_no_configuration(
    text: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken TOML, other encodings and unknown tables are named."""
    path = tmp_path / "cloud.toml"
    path.write_bytes(text)
    assert said in refused(path, capsys)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The system's own words say why."""
    assert "cannot be read: No such file" in refused(tmp_path / "none.toml", capsys)


@pytest.mark.parametrize("name", ["keys.json", "registry.json"])
@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"tenant": "other"}'])
def test_identity_files_that_are_missing_or_wrong(
    name: str, text: str | None, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is named, and nothing is started."""
    path = world.identity / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    assert str(path) in refused(world.config, capsys)
    assert not (world.base / "state").exists()


def test_missing_tls_files(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With TLS each of its files is needed, and must be what it should be."""
    world.config.write_text(world.config.read_text().replace("tls = false", "tls = true"))
    assert "ca.pem: cannot be read" in refused(world.config, capsys)
    for name in ("ca.pem", "tls.pem", "tls.key"):
        (world.identity / name).write_text("no certificate")
    assert "make no TLS identity" in refused(world.config, capsys)


def test_a_state_directory_that_can_not_be(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in its place is named, with what is allowed."""
    (world.base / "state").write_text("")
    text = refused(world.config, capsys)
    assert "state_dir" in text and "must be a directory" in text


def test_a_database_that_is_not_ours(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no database, or another tenant's, is left alone."""
    (world.base / "state").mkdir()
    database = world.base / "state" / "head-end.db"
    database.write_bytes(b"something else, longer than a header of a database" * 100)
    assert f"{database}: cannot be used" in refused(world.config, capsys)
    assert database.read_bytes().startswith(b"something else")


def test_every_rule_has_a_meaning() -> None:
    """The table also feeds the documentation."""
    assert all(rule.meaning for rules in TABLES.values() for rule in rules)


# ---- [api] --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "address", "port"),
    [
        ('listen = "127.0.0.1:8645"', "127.0.0.1", 8645),
        ('listen = "127.8.0.1:1"', "127.8.0.1", 1),
        ('listen = "[::1]:8645"', "::1", 8645),
        ('listen = "0.0.0.0:8645"\ntls_cert = "a.pem"\ntls_key = "a.key"', "0.0.0.0", 8645),
    ],
)
def test_the_api_listens_where_it_is_told(
    lines: str, address: str, port: int, world: World
) -> None:
    """An address of this machine alone, or any with TLS; files are relative to cloud.toml."""
    world.config.write_text(world.config.read_text() + f"[api]\n{lines}\n")
    api = world.settings().api
    assert api is not None and (api.address, api.port) == (address, port)
    assert api.tls_cert is None or api.tls_cert == world.base / "a.pem"


def test_without_api_nobody_is_served(world: World) -> None:
    """It is off unless it is configured."""
    assert world.settings().api is None
    world.config.write_text(world.config.read_text() + "[api]\n")
    assert world.settings().api is None


@pytest.mark.parametrize(
    "lines",
    [
        'listen = "0.0.0.0:8645"',
        'listen = "192.0.2.1:8645"',
        'listen = "[::]:8645"',
        'listen = "localhost:8645"',
        'listen = "127.0.0.1"',
        'listen = "127.0.0.1:0"',
        'listen = "127.0.0.1:65536"',
        'listen = "::1:8645"',
        'listen = "[127.0.0.1]:8645"',
        'listen = "127.0.0.1:٨"',
        "listen = 8645",
        'listen = "127.0.0.1:8645"\ntls_cert = "a.pem"',
        'listen = "127.0.0.1:8645"\ntls_key = "a.key"',
        'tls_cert = "a.pem"\ntls_key = "a.key"',
        'password = "x"',
    ],
)
def test_an_api_that_is_not_allowed_is_refused(lines: str, world: World) -> None:
    """With one sentence; above all, no token travels in the clear."""
    world.config.write_text(world.config.read_text() + f"[api]\n{lines}\n")
    with pytest.raises(SettingError) as refused:
        world.settings()
    assert "[api]" in str(refused.value) and "\n" not in str(refused.value)
