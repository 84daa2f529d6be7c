"""Makes a signed configuration: where the configuration key is, which the service never reads.

The version is the time of signing in seconds, so it rises without a counter: also when the head
end's database was restored, and on whichever machine the key is kept.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple

from cloud.clock import Clock
from cloud.identity.sealing import Sealer
from protocols.envelope.claims import EPOCH_SIZE, Claims
from protocols.envelope.seal import MESSAGE_SIZE_MAX
from protocols.errors import CallerError, EnvelopeError
from protocols.messages import CONFIG, CONFIG_SIZE_MAX, Config

VALIDITY_MS = 7 * 86_400_000  # as long as a broker keeps the session of a gateway that is away
_NO_EPOCH = bytes(EPOCH_SIZE)  # it is not for one journal


class Signed(NamedTuple):
    """A configuration that is ready to be sent. Times UTC ms."""

    config: Config
    created_at: int
    expires_at: int
    message: bytes


def read_config(path: Path) -> str:
    """The text of a file; CallerError with one sentence unless it can be a configuration. Whether
    it fits a gateway only the gateway can tell."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CallerError(f"{path}: cannot be read: {error.strerror}") from error
    if not 0 < len(content) <= CONFIG_SIZE_MAX:
        raise CallerError(
            f"{path}: has {len(content)} bytes; a configuration has 1 to {CONFIG_SIZE_MAX}"
        )
    try:
        text = content.decode()
        tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise CallerError(f"{path}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise CallerError(f"{path}: is not TOML: {error}") from error
    return text


def sign(sealer: Sealer, gateway_id: str, text: str, is_dry_run: bool, clock: Clock) -> Signed:
    """Signed and sealed to the gateway; CallerError when it has no valid key, or it is too long."""
    now = clock.utc_ms()
    config = Config(now // 1000, is_dry_run, text)
    expires_at = now + VALIDITY_MS
    claims = Claims(config.version, now, expires_at, b"", _NO_EPOCH, CONFIG.content_type)
    try:
        message = sealer.seal(CONFIG, gateway_id, claims, config.to_body())
    except EnvelopeError as error:
        raise CallerError(
            f"no configuration can be sealed to gateway {gateway_id!r}: {error}"
        ) from error
    if len(message) > MESSAGE_SIZE_MAX:
        raise CallerError(f"the sealed configuration has more than {MESSAGE_SIZE_MAX} bytes")
    return Signed(config, now, expires_at, message)
