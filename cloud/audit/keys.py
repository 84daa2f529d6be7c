"""Keys of the log and of a witness: Ed25519 in PKCS#8 PEM files of mode 0600, made where they are
used, so that no private key travels."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocols.errors import SettingError

LOG_KEY_NAME = "audit.key"  # in the head end's identity folder


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key in the file; SettingError without its content."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise SettingError(f"{path}: holds no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingError(f"{path}: holds a key of another kind than Ed25519")
    return key


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """The key in the file, made now if there is none. Whole or not at all, and never overwritten;
    SettingError when the folder takes none."""
    if path.exists():
        return load_key(path)
    content = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(fresh, path)  # fails where somebody else was faster: theirs holds
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    except OSError as error:
        raise SettingError(f"{path}: cannot be made: {error.strerror}") from error
    return load_key(path)
