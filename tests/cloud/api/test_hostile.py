"""What nobody should send: a 4xx in the one shape, and the service is neither asked nor hurt."""

import contextlib
import json
import logging
import socket
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.api import asking, connections, guard
from cloud.api.access import FAILURES_MAX, WINDOW_MS
from cloud.api.errors import ERRORS, ApiError
from cloud.api.table import PREFIX
from tests.cloud.api.served import Response, Served

HOLD = f"{PREFIX}/hold"


def check_refused(response: Response, status: int, code: str) -> None:
    """The one shape, and its headers."""
    assert response.status == status
    assert set(response.body) == {"error"} and set(response.body["error"]) == {"code", "message"}
    assert response.body["error"]["code"] == code and response.body["error"]["message"]
    assert response.headers["cache-control"] == "no-store"
    assert len(response.headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"reason"',
        b"\xff\xfe",
        b'{"reason": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"reason": NaN}',
        b'{"reason": "\\ud800"}',
        b'{"reason": "a\\u0000b"}',
        b'{"reason": "\\u202eevil"}',
        b'{"reason": ""}',
        b'{"reason": 1}',
        b'{"reason": true}',
        b'{"reason": ["x"]}',
        b'{"reason": "' + b"x" * 201 + b'"}',
        b'{"reason": "x", "more": 1}',
        b"{}",
    ],
)
def test_a_hostile_body_is_a_400(raw: bytes, served: Served) -> None:
    """Whatever it is."""
    check_refused(served.ask("POST", HOLD, raw=raw), 400, "invalid")
    assert served.asked == []


def test_any_json_is_an_answer_below_500(served: Served) -> None:
    """Values of every kind in every field of the largest body."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
    names = ["action", "meter", "reason", "arguments", "valid_from", "life_s", "gateway", "submit"]

    @settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(st.dictionaries(st.sampled_from(names), anything) | anything)
    def attempt(body: Any) -> None:
        raw = json.dumps(body).encode()
        response = served.ask("POST", f"{PREFIX}/orders", raw=raw, Idempotency_Key="k")
        assert response.status in (200, 400)

    attempt()
    assert served.ask("GET", HOLD).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/orders/zz",
        "/orders/ABAB",
        "/orders/abab/submit",
        "/orders/..%2f..%2fetc",
        "/never-cut/0/remove",
        "/never-cut/99999999999999999999/remove",
        "/meters/%00/account-changes",
        "/meters/%ff%fe/account-changes",
    ],
)
def test_a_hostile_path_is_a_4xx(path: str, served: Served) -> None:
    """An id is hex; a number is one that the database holds."""
    method = "GET" if path.count("/") == 2 else "POST"
    body: dict[str, str] = {"reason": "x"} if "remove" in path else {}
    role = "approver" if "remove" in path else "operator"
    response = served.ask(method, PREFIX + path, body, role)
    assert response.status in (400, 404) and set(response.body) == {"error"}
    assert served.asked == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "state=gone", "metre=m", "before=-1", "limit=7.5"]
)
def test_a_query_that_is_not_allowed_is_a_400(query: str, served: Served) -> None:
    """A misspelt filter would list everything."""
    check_refused(served.ask("GET", f"{PREFIX}/orders?{query}"), 400, "invalid")


def test_there_is_nothing_else(served: Served) -> None:
    """Neither other paths and methods, nor documentation pages."""
    for path in ("/", "/docs", "/openapi.json", "/redoc", f"{PREFIX}/", f"{PREFIX}/orders/"):
        check_refused(served.ask("GET", path), 404, "not_found")
    check_refused(served.ask("DELETE", HOLD), 405, "no_method")


def test_a_body_must_be_declared_as_json(served: Served) -> None:
    """A form of a web page is none."""
    response = served.ask(
        "POST", HOLD, {"reason": "x"}, Content_Type="application/x-www-form-urlencoded"
    )
    check_refused(response, 415, "no_json")


def test_a_body_that_is_too_large_is_not_taken(served: Served) -> None:
    """By what it declares; and by what comes, when it declares nothing."""
    address = ("127.0.0.1", served.server.port)
    with socket.create_connection(address, 30) as client:
        client.sendall(_head(served, f"content-length: {guard.BODY_SIZE_MAX + 1}"))
        assert b" 413 " in client.recv(1000)
    with socket.create_connection(address, 30) as client:
        client.sendall(_head(served, "transfer-encoding: chunked"))
        for _ in range(guard.BODY_SIZE_MAX // 0x10000):
            client.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        client.sendall(b"1\r\nx\r\n")
        assert b" 413 " in client.recv(1000)
    raw = b'{"reason": "' + b"x" * (guard.BODY_SIZE_MAX - 14) + b'"}'
    assert len(raw) == guard.BODY_SIZE_MAX
    check_refused(served.ask("POST", HOLD, raw=raw), 400, "invalid")
    assert served.asked == []


def test_a_body_that_does_not_come_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is closed after a time."""
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.server.port), 30) as client:
        client.sendall(_head(served, "content-length: 20") + b'{"reason"')
        assert b" 408 " in client.recv(100)


def test_a_client_that_says_nothing_is_put_out(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a head counts as nothing."""
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.server.port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        assert _is_closed(client)


def test_connections_have_a_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed; when the others are gone there is room again."""
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(connections, "FIRST_REQUEST_S", 60)  # silence alone closes none here
    address = ("127.0.0.1", served.server.port)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(3)]
        assert _is_closed(clients[2])
    assert served.ask("GET", HOLD).status == 200


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(100) == b""
    except ConnectionError:
        return True


def _head(served: Served, *lines: str) -> bytes:
    first = f"POST {HOLD} HTTP/1.1"
    token = f"authorization: Bearer {served.tokens['operator']}"
    kind = "content-type: application/json"
    return "\r\n".join([first, "host: x", token, kind, *lines, "", ""]).encode()


# ---- tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer bb_wrong", "Basic b3A6b3A=", "bb_wrong", "Bearer é"]
)
def test_nobody_gets_nothing(header: str, served: Served) -> None:
    """Neither a route nor whether there is one; and the body is not read."""
    for path in (HOLD, "/", f"{PREFIX}/nowhere"):
        served.clock.now += WINDOW_MS
        response = served.ask("POST", path, {"reason": "x"}, "", Authorization=header)
        check_refused(response, 401, "no_token")
        assert response.headers["www-authenticate"] == "Bearer"
    assert served.asked == []


def test_two_tokens_are_none(served: Served) -> None:
    """Which of them counts is not left to chance."""
    with socket.create_connection(("127.0.0.1", served.server.port), 30) as client:
        token = f"authorization: Bearer {served.tokens['approver']}"
        client.sendall(_head(served, token, "content-length: 0"))
        assert b" 401 " in client.recv(100)


def test_bad_tokens_are_limited_and_good_ones_never(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood ends in 429 and few log lines; a good token is served all the while."""
    caplog.set_level(logging.INFO)
    for _ in range(FAILURES_MAX):
        assert served.ask("GET", HOLD, role="", Authorization="Bearer no").status == 401
    for _ in range(30):
        refused = served.ask("GET", HOLD, role="", Authorization="Bearer no")
        check_refused(refused, 429, "too_many_failures")
        assert refused.headers["retry-after"] == "60"
    assert len([one for one in caplog.messages if "token" in one]) == FAILURES_MAX + 1
    assert served.ask("GET", HOLD).status == 200
    served.clock.now += WINDOW_MS
    assert served.ask("GET", HOLD, role="", Authorization="Bearer no").status == 401
    assert served.server.failures.total == FAILURES_MAX + 31


def test_a_person_who_is_removed_is_out_at_once(served: Served) -> None:
    """And a new token ends the old one."""
    assert served.ask("GET", HOLD, role="operator").status == 200
    served.book.remove("operator")
    assert served.ask("GET", HOLD, role="operator").status == 401
    served.book.renew_token("viewer")
    assert served.ask("GET", HOLD, role="viewer").status == 401


# ---- the service --------------------------------------------------------------------------------


def test_a_service_that_does_not_answer_is_a_503(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that the thing may have been done all the same; news that is not final is none."""
    served.answer = lambda _body: {"state": "draft"}
    monkeypatch.setattr(asking, "REPLY_TIMEOUT_S", 0.1)
    check_refused(served.ask("GET", HOLD), 503, "no_answer")


def test_the_mailbox_is_not_flooded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that finds no room is told so, and is not asked; room comes back."""
    monkeypatch.setattr(asking, "WAITING_MAX", 2)
    asker = asking.MailboxAsker(served.mailbox)
    held = threading.Event()
    served.answer = lambda _body: {"final": held.wait(30)}
    waiting = [threading.Thread(target=asker.ask, args=({"op": "hold_get"},)) for _ in range(2)]
    for one in waiting:
        one.start()
    while len(served.asked) + len(served.mailbox) < 2:
        held.wait(0.01)
    with pytest.raises(ApiError) as refused:
        asker.ask({"op": "hold_get"})
    held.set()
    for one in waiting:
        one.join()
    assert refused.value.code == "busy"
    assert asker.ask({"op": "hold_get"}) == {"final": True}


def test_a_fault_of_ours_is_a_500_without_its_words(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has where it happened, never what it happened on."""

    def fail(_body: dict[str, Any]) -> dict[str, Any]:
        return {"final": True, "hold": b"canary-5150\xff"}  # no text

    served.answer = fail
    caplog.set_level(logging.DEBUG)
    check_refused(served.ask("GET", HOLD), 500, "internal")
    served.server.stop()  # the log line comes behind the answer
    assert "request_failed" in caplog.text and "canary-5150" not in caplog.text


def test_no_token_is_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Good ones, bad ones, and those that somebody put where they do not belong."""
    caplog.set_level(logging.DEBUG)
    token = served.tokens["operator"]
    served.ask("GET", f"{PREFIX}/orders?token={token}")
    served.ask("GET", f"{PREFIX}/{token}")
    served.ask("POST", HOLD, {"reason": "x", token: token})
    served.ask("POST", HOLD, {"reason": token + "\n"})
    served.ask("GET", HOLD, role="", Authorization="Bearer bb_canary-4711")
    served.ask("GET", HOLD, role="", Authorization=token)
    served.server.stop()
    assert caplog.text.count("request_answered") == 4
    assert token not in caplog.text and "canary-4711" not in caplog.text


def test_no_error_quotes_what_was_sent(served: Served) -> None:
    """It could be a token, pasted into the wrong field."""
    for body in ({"reason": 1, "canary-31": 2}, {"canary-31": 1}, {"reason": "canary-31\n"}):
        response = served.ask("POST", HOLD, body)
        assert response.status == 400 and "canary-31" not in json.dumps(response.body)


def test_every_error_has_a_status_of_its_kind() -> None:
    """The client's fault, or ours; nothing between."""
    assert {status // 100 for status, _ in ERRORS.values()} == {4, 5}
