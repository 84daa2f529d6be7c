"""Configurations in the store: the same connection and transaction as the Writer's."""

import sqlite3
from typing import Any, NamedTuple

from cloud.store import sql
from cloud.store.rows import GatewayRow


class ConfigRow(NamedTuple):
    """One configuration of a gateway. `message` is the sealed one while it is being sent; times UTC
    ms, `hello_at` the gateway's last hello."""

    gateway_id: str
    version: int
    is_dry_run: bool
    text: str
    created_at: int
    expires_at: int
    message: bytes | None
    hello_at: int | None


class ConfigStore:
    """Statements about configurations; the caller opens and ends the transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, gateway: GatewayRow, row: ConfigRow) -> None:
        """A new one."""
        parameters = (
            gateway.gateway_key,
            row.version,
            row.is_dry_run,
            row.text,
            row.created_at,
            row.expires_at,
            row.message,
        )
        self._db.execute(sql.INSERT_CONFIG, parameters)

    def last_version(self, gateway: GatewayRow) -> int:
        """The highest version that was ever sent to it; 0 for none."""
        found = self._db.execute(sql.SELECT_CONFIG_VERSION, (gateway.gateway_key,)).fetchone()
        return int(found[0])

    def open(self) -> list[ConfigRow]:
        """What is being sent, rising by version."""
        return [config_row(row) for row in self._db.execute(sql.SELECT_OPEN_CONFIGS)]

    def close(self, row: ConfigRow) -> None:
        """It is sent no more."""
        self._db.execute(sql.CLOSE_CONFIG, (row.gateway_id, row.version))

    def close_all(self, gateway: GatewayRow) -> None:
        """All of a gateway's are sent no more."""
        self._db.execute(sql.CLOSE_CONFIGS, (gateway.gateway_key,))

    def told(self, since: int) -> list[tuple[str, str]]:
        """[(gateway, detail), ...] of the events about configurations heard since (UTC ms)."""
        return self._db.execute(sql.SELECT_CONFIGS_TOLD, (since,)).fetchall()


def config_row(row: tuple[Any, ...]) -> ConfigRow:
    """Of sql.SELECT_OPEN_CONFIGS or sql.SELECT_CONFIGS."""
    return ConfigRow._make((*row[:2], bool(row[2]), *row[3:]))
