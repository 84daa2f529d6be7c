"""The other end of the API: what the commands use, from any machine.

* A token goes to the address that was named and nowhere else: no redirect is followed, no proxy is
  asked, and without TLS only this machine is spoken to.
* The token is in no error, no log and no traceback of ours.
* What comes back is bounded, and its words are made harmless for a terminal before they are shown.
"""

import contextlib
import http.client
import ipaddress
import json
import re
import secrets
import ssl
import stat
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from cloud.api.table import BY_OPERATION, Route, path_of
from cloud.orders.client import ServiceDownError
from protocols.errors import CallerError

TIMEOUT_S = 60.0  # longer than the service takes to say that it has no answer
ANSWER_SIZE_MAX = 16 * 1024 * 1024  # bytes
TOKEN_FILE_SIZE_MAX = 1024
_TOKEN = re.compile(r"[!-~]{16,200}")


class Address(NamedTuple):
    """Where the API is."""

    host: str
    port: int
    is_tls: bool


class ApiClient:
    """Asks operations over HTTP."""

    def __init__(self, address: Address, token: str, trust: Path | None = None) -> None:
        """`trust` is a PEM file of authorities, the system's when None; CallerError when it can not
        be read."""
        self._address = address
        self._token = token
        self._context = _context(trust) if address.is_tls else None

    def __repr__(self) -> str:
        return f"ApiClient({self._address.host}:{self._address.port})"

    def call(self, operation: str, **fields: Any) -> Any:
        """The answer to an operation. CallerError with the head end's sentence when it refuses,
        ServiceDownError when nobody answers. `key`, when the operation has one, makes a repetition
        harmless; without it each call is a new one."""
        route = BY_OPERATION[operation]
        given = {name: value for name, value in fields.items() if value is not None}
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if route.has_key:
            headers["Idempotency-Key"] = given.pop("key", None) or secrets.token_hex(16)
        path = path_of(route, lambda name: str(given.pop(name)))
        body = None
        if route.method == "GET":
            path += f"?{urlencode(_query(given))}" if given else ""
        else:
            headers["Content-Type"] = "application/json"
            body = json.dumps(given).encode()
        status, answer = self._exchange(route, path, headers, body)
        return _judged(status, answer)

    def _exchange(
        self, route: Route, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        place = f"{self._address.host}:{self._address.port}"
        connection = self._connection()
        try:
            # Whoever refuses by the head alone answers and closes before a long body is through.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(route.method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_SIZE_MAX + 1)
            status, missing = response.status, response.length
        except (OSError, http.client.HTTPException) as error:
            # Without the cause: its traceback holds the headers.
            words = getattr(error, "strerror", None) or type(error).__name__
            raise ServiceDownError(f"no head end answers at {place}: {words}") from None
        finally:
            connection.close()
        if len(answer) > ANSWER_SIZE_MAX:
            raise ServiceDownError(f"the answer of {place} is larger than {ANSWER_SIZE_MAX} bytes")
        if missing:
            raise ServiceDownError(f"the answer of {place} was cut off")
        return status, answer

    def _connection(self) -> http.client.HTTPConnection:
        host, port, _ = self._address
        if self._context is not None:
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def _query(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in given.items()
    }


def _judged(status: int, answer: bytes) -> Any:
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        document = None
    if 200 <= status < 300 and document is not None:
        return document
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    words = message if isinstance(message, str) else f"answered with status {status} and no reason"
    words = words if words.isprintable() else ascii(words)[1:-1]
    if 400 <= status < 500:
        raise CallerError(f"the head end refused: {words}")
    raise ServiceDownError(f"the head end can not do it now: {words}")


def address_of(url: str) -> Address:
    """The address in a URL such as https://head-end.example:8645; CallerError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not host or not is_bare:
        raise CallerError("--url must be such as https://head-end.example:8645, and no more")
    is_tls = parts.scheme == "https"
    if not is_tls and not _is_here(host):
        raise CallerError(
            f"--url: http is for this machine only, not for {host}; a token must not travel in the"
            " clear: use https"
        )
    return Address(host, port or (443 if is_tls else 80), is_tls)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """The token in a file that is its owner's alone; CallerError, which never shows what is in
    it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = file.read(TOKEN_FILE_SIZE_MAX)
    except OSError as error:
        raise CallerError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise CallerError(f"{path}: others than its owner may open it; it must have mode 0600")
    token = data.decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise CallerError(f"{path}: holds no token, which is one line as `person add` shows it")
    return token


def _context(trust: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if trust is None else str(trust))
    except (OSError, ValueError) as error:
        raise CallerError(f"{trust}: holds no certificate: {type(error).__name__}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # a proxy before the head end may have no 1.3
    return context
