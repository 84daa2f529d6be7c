"""What stands before every route: request ids, the token, the size of the body, one log line.

* Nobody's request is looked at further: without a good token neither body nor path is read.
* A body has a size and a time in which it must be there.
* Nothing that comes in makes it fail: a fault of our own is a 500 in the one shape, and the log has
  where it happened, never what it happened on.
* The log names routes and people; never a path as it came, a query, a header or a body.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from cloud.api.access import Access, Asking
from cloud.api.errors import FAULT, ApiError, error_body
from cloud.faults import fault_words

log = logging.getLogger("cloud.api")

BODY_SIZE_MAX = 1024 * 1024  # bytes; the approvals of 1,000 orders are 250 kB
BODY_TIMEOUT_S = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Guard:
    """An ASGI application around another."""

    def __init__(self, inside: Application, access: Access) -> None:
        self._inside = inside
        self._access = access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # neither web sockets nor a lifespan: there is nothing of either here
        answer = _Answer(send)
        began = time.monotonic()
        name = "-"
        try:
            person = self._access.person(_header(scope, b"authorization"), _address(scope))
            name = person.name
            body = await _read_body(scope, receive)
            scope.setdefault("state", {})["asking"] = Asking(answer.request_id, person)
            await self._inside(scope, _once(body, receive), answer.send)
        except ApiError as error:
            await answer.refuse(error)
        except Exception as error:  # noqa: BLE001 -- see the module's rules
            log.error("request_failed request=%s error=%s", answer.request_id, fault_words(error))
            await answer.refuse(ApiError("internal", FAULT))
        if answer.status not in (401, 429):  # these have their own line, and a limit
            log.info(
                "request_answered request=%s person=%s method=%s route=%s status=%d ms=%d",
                answer.request_id,
                name,
                scope["method"] if scope["method"] in ("GET", "POST") else "-",
                getattr(scope.get("route"), "path", "-"),
                answer.status,
                (time.monotonic() - began) * 1000,
            )


class _Answer:
    """Sends one response, with our headers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.request_id = secrets.token_hex(8)
        self.status = 0  # of what was sent

    async def send(self, message: Message) -> None:
        """What the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self.request_id.encode()), *_HEADERS]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """An error, unless an answer has begun already."""
        if self.status:
            return
        body = json.dumps(error_body(error.code, str(error))).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status in (429, 503):
            headers.append((b"retry-after", b"60" if error.status == 429 else b"1"))
        if error.status in (401, 408, 413, 429):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})


async def _read_body(scope: Message, receive: Receive) -> bytes:
    length = _header(scope, b"content-length")
    if length.isascii() and length.isdigit() and int(length[:20]) > BODY_SIZE_MAX:
        raise ApiError("too_large", f"the body is larger than {BODY_SIZE_MAX} bytes")
    try:
        body = await asyncio.wait_for(_gather(receive), BODY_TIMEOUT_S)
    except TimeoutError:
        raise ApiError("too_slow", f"the body did not come within {BODY_TIMEOUT_S:.0f} s") from None
    kind = _header(scope, b"content-type").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise ApiError("no_json", "the body must be declared as application/json")
    return body


async def _gather(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError("too_slow", "the connection was closed before the body was there")
        body += bytes(message.get("body", b""))
        if len(body) > BODY_SIZE_MAX:
            raise ApiError("too_large", f"the body is larger than {BODY_SIZE_MAX} bytes")
        if not message.get("more_body"):
            return body


def _once(body: bytes, receive: Receive) -> Receive:
    """The body that was read, in one piece; after it, what the connection has to say."""
    waiting = [body]

    async def next_message() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return next_message


def _header(scope: Message, name: bytes) -> str:
    """The header's text; "" when it is missing, or there are two of it."""
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def _address(scope: Message) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "-"
