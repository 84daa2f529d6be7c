"""Sends signed configurations, and sends them again until their gateway tells what came of them.

* The service can neither make nor open one. It keeps the text beside the sealed message, as it was
  handed over, so that people can see what was sent; the gateway obeys the message alone.
* Sent once on each connection, and again when the gateway has said hello since. The gateway takes a
  version once, and tells its outcome again when it is asked again.
* A newer one ends the sending of those before it; so do its expiry, and an event of its gateway
  whose detail begins with its version.

All of it runs in the writer's thread.
"""

import base64
import binascii
import logging
from typing import Any, NamedTuple

from cloud.clock import Clock
from cloud.ingest.acks import Outbound, Publisher
from cloud.store.configs import ConfigRow, ConfigStore
from cloud.store.writer import Writer
from protocols.envelope.claims import is_count
from protocols.envelope.seal import MESSAGE_SIZE_MAX
from protocols.errors import CallerError
from protocols.messages import CONFIG, CONFIG_SIZE_MAX
from protocols.topics import Topic, is_name

HEARD_AGAIN_MS = 60_000  # how far back a sweep looks behind the one before

log = logging.getLogger("cloud.configs")


class ConfigRequest(NamedTuple):
    """What the command hands over."""

    gateway_id: str
    version: int
    is_dry_run: bool
    text: str
    message: bytes
    expires_at: int

    @classmethod
    def from_json(cls, request: dict[str, Any]) -> "ConfigRequest":
        """CallerError with one sentence unless every field fits."""
        gateway, text = request.get("gateway"), request.get("text")
        version, expires_at = request.get("version"), request.get("expires_at")
        is_dry_run = request.get("dry_run")
        if not isinstance(gateway, str) or not is_name(gateway):
            raise CallerError("gateway must be 1 to 32 of a-z, 0-9 and -")
        if not is_count(version) or not is_count(expires_at) or not isinstance(is_dry_run, bool):
            raise CallerError("version and expires_at must be whole numbers, dry_run true or false")
        if not isinstance(text, str) or not 0 < len(text.encode()) <= CONFIG_SIZE_MAX:
            raise CallerError(f"text must have 1 to {CONFIG_SIZE_MAX} bytes")
        try:
            message = base64.b64decode(str(request.get("message")), validate=True)
        except (binascii.Error, ValueError):
            message = b""
        if not 0 < len(message) <= MESSAGE_SIZE_MAX:
            raise CallerError(f"message must be base64 of 1 to {MESSAGE_SIZE_MAX} bytes")
        return cls(gateway, int(version), is_dry_run, text, message, int(expires_at))  # type: ignore[arg-type]


class ConfigDesk:
    """Configurations in the writer's thread."""

    def __init__(
        self, tenant: str, store: Writer, configs: ConfigStore, publisher: Publisher, clock: Clock
    ) -> None:
        self._tenant = tenant
        self._store = store
        self._configs = configs
        self._publisher = publisher
        self._clock = clock
        self._sent: dict[tuple[str, int], int] = {}  # -> the gateway's last hello by then
        self._heard_from = 0  # events that came before this are known (UTC ms, our clock)

    def send(self, request: ConfigRequest) -> None:
        """Takes one into the open transaction; after the commit, call `publish`. CallerError with
        one sentence when it can not be sent."""
        gateway = self._store.find_gateway(request.gateway_id)
        if gateway is None:
            raise CallerError(f"gateway {request.gateway_id!r} was never heard")
        last = self._configs.last_version(gateway)
        if request.version <= last:
            raise CallerError(
                f"version {request.version} is not above {last}, the last one of"
                f" {request.gateway_id}; check the clock of whoever signs"
            )
        now = self._clock.utc_ms()
        if request.expires_at <= now:
            raise CallerError("the configuration has expired; check the clock of whoever signs")
        self._store.begin()
        self._configs.close_all(gateway)
        self._configs.add(
            gateway,
            ConfigRow(
                request.gateway_id,
                request.version,
                request.is_dry_run,
                request.text,
                now,
                request.expires_at,
                request.message,
                gateway.hello_at,
            ),
        )
        self._heard_from = min(self._heard_from, now)

    def sweep(self) -> None:
        """Ends the sending of what is told, or has expired; needs a commit."""
        rows = self._configs.open()
        if not rows:
            return
        now = self._clock.utc_ms()
        since = max(self._heard_from, min(row.created_at for row in rows))
        told = self._configs.told(since)
        # Events are stored with the time of their arrival, a little before their commit.
        self._heard_from = now - HEARD_AGAIN_MS
        for row in rows:
            is_told = any(
                gateway_id == row.gateway_id and is_about(detail, row.version)
                for gateway_id, detail in told
            )
            if is_told or row.expires_at <= now:
                self._store.begin()
                self._configs.close(row)
                log.info("config_closed gateway=%s version=%d", row.gateway_id, row.version)

    def publish(self) -> None:
        """Hands to the broker what is due."""
        now = self._clock.utc_ms()
        for row in self._configs.open():
            key, hello_at = (row.gateway_id, row.version), row.hello_at or 0
            if self._sent.get(key, -1) >= hello_at or row.message is None or row.expires_at <= now:
                continue
            topic = Topic(self._tenant, row.gateway_id, CONFIG.suffix).text()
            left_s = max((row.expires_at - now) // 1000, 1)
            if not self._publisher.publish(Outbound(topic, row.message, left_s)):
                return  # no connection: the next one begins here again
            self._sent[key] = hello_at

    def connection_lost(self) -> None:
        """What was on its way may not have arrived."""
        self._sent.clear()


def is_about(detail: str, version: int) -> bool:
    """Whether the detail of a gateway's event is about this version."""
    return detail.startswith(f"version {version}:")
