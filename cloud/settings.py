"""cloud.toml: which settings there are, what is allowed, and one sentence for everything else.

Relative paths are relative to the file, so a configuration directory can be moved as a whole.
"""

import ipaddress
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.orders.policy import ORDER_RULES, OrderPolicy
from protocols import topics
from protocols.errors import SettingError
from protocols.settings import REQUIRED, choice, flag, matching, read_table, text, whole

COMMIT_MESSAGES_MAX = 1000  # messages of one transaction: at most ~2 million readings in memory
COMMIT_INTERVAL_MS_MAX = 5000  # a gateway waits this long for its acknowledgement
QUEUE_MESSAGES_MAX = 65_535  # also MQTT 5's Receive Maximum


def _is_listen(value: str) -> bool:
    """ADDRESS:PORT, with an IP address and no name: what a name means can change."""
    address, _, port = value.rpartition(":")
    if not (port.isdecimal() and port.isascii() and 1 <= int(port) <= 65_535):
        return False
    if address.startswith("[") != address.endswith("]"):
        return False
    try:
        version = ipaddress.ip_address(address.strip("[]")).version
    except ValueError:
        return False
    return version == (6 if address.startswith("[") else 4)


TABLES = {
    "head_end": (
        matching(
            "tenant",
            topics.is_name,
            "1 to 32 of a-z, 0-9 and -",
            REQUIRED,
            "the tenant in every topic; the same as in the identity directory",
        ),
        text("state_dir", REQUIRED, "directory of the database and of the control socket"),
        text("identity_dir", REQUIRED, "directory of keys and registry, made by busbar-provision"),
    ),
    "mqtt": (
        text("host", REQUIRED, "the broker's name or address, as its certificate has it"),
        whole("port", 1, 65_535, REQUIRED, "the broker's TCP port"),
        choice("version", (5, 3), 5, "5, or 3 for MQTT 3.1.1"),
        flag("tls", True, "TLS 1.3 with our client certificate; false is for a test bench only"),
        whole("keepalive_s", 5, 3600, 30, "how soon a dead connection is noticed"),
    ),
    "ingest": (
        # 20: what brokers send ahead to a client of MQTT 3.1.1, so a busy one fills it at once.
        whole("commit_messages", 1, COMMIT_MESSAGES_MAX, 20, "most messages of one transaction"),
        whole(
            "commit_interval_ms",
            1,
            COMMIT_INTERVAL_MS_MAX,
            20,
            "how long a transaction waits for more messages",
        ),
        whole("queue_messages", 10, QUEUE_MESSAGES_MAX, 1000, "messages waiting in memory"),
    ),
    "orders": ORDER_RULES,
    "api": (
        matching(
            "listen",
            _is_listen,
            "an IP address and a port, such as 127.0.0.1:8645 or [::1]:8645",
            None,
            "where people and programs are served; without it, nowhere; without tls_cert, this"
            " machine only",
        ),
        text("tls_cert", None, "PEM file of the certificate, with its chain, for TLS 1.3"),
        text("tls_key", None, "PEM file of its private key"),
    ),
}


@dataclass(frozen=True)
class ApiSettings:
    """Where the API listens; both files, or neither."""

    address: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None


@dataclass(frozen=True)
class Settings:
    """cloud.toml, checked; paths absolute."""

    path: Path
    tenant: str
    state_dir: Path
    identity_dir: Path
    host: str
    port: int
    version: int
    tls: bool
    keepalive_s: int
    commit_messages: int
    commit_interval_ms: int
    queue_messages: int
    api: ApiSettings | None  # None: nobody is served
    orders: OrderPolicy

    @property
    def database(self) -> Path:
        """The database file."""
        return self.state_dir / "head-end.db"


def load_settings(path: Path) -> Settings:
    """The settings of a file; SettingError with one sentence when something is not allowed."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path}: is not TOML: {error}") from error
    for name in tables:
        if name not in TABLES:
            allowed = ", ".join(f"[{one}]" for one in TABLES)
            raise SettingError(f"{path}: unknown table {name!r}; allowed are {allowed}")
    values: dict[str, Any] = {}
    base = path.absolute().parent
    for name, rules in TABLES.items():
        found = read_table(tables.get(name, {}), rules, f"{path}: [{name}]")
        if name == "orders":
            found = {"orders": OrderPolicy.from_table(found, base)}
        values.update({"api": _api(found, path, base)} if name == "api" else found)
    values["state_dir"] = base / values["state_dir"]
    values["identity_dir"] = base / values["identity_dir"]
    return Settings(path=path, **values)


def _api(table: dict[str, Any], path: Path, base: Path) -> ApiSettings | None:
    where = f"{path}: [api]"
    listen, names = table["listen"], (table["tls_cert"], table["tls_key"])
    if listen is None:
        if names != (None, None):
            raise SettingError(f"{where}: tls_cert and tls_key are for listen, which is missing")
        return None
    if None in names and names != (None, None):
        raise SettingError(f"{where}: tls_cert and tls_key belong together; one is missing")
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    if names == (None, None) and not ipaddress.ip_address(address).is_loopback:
        raise SettingError(
            f"{where}: listen = {listen!r} is not allowed without tls_cert and tls_key; without"
            " them it must be an address of this machine alone, such as 127.0.0.1:8645"
        )
    cert, key = (None if name is None else base / name for name in names)
    return ApiSettings(address, int(port), cert, key)
