"""The commands' end of the API, against servers that are not what they should be."""

import socket
import threading
from collections.abc import Iterator

import pytest

from cloud.api.client import Address, ApiClient
from cloud.orders.client import ServiceDownError
from protocols.errors import CallerError
from tests.cloud.api.served import Served

TOKEN = "bb_canary-token-of-the-tests"


class Liar:
    """Answers every connection with the same bytes, and keeps what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self.heard = b""
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self._socket.getsockname()[1], False)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            client, _ = self._socket.accept()
            with client:
                client.settimeout(10)
                self.heard = client.recv(65_536)
                if not self.heard:
                    return
                client.sendall(self._answer)

    def close(self) -> None:
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def liar(request: pytest.FixtureRequest) -> Iterator[Liar]:
    liar = Liar(request.param)
    yield liar
    liar.close()


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    "liar",
    [
        b"",
        b"nonsense\r\n\r\n",
        answer("200 OK", b"{"),
        answer("200 OK", b"[" * 100_000),
        answer("204 No Content", b""),
        answer("500 Oops", b"<html>"),
        answer("503 Busy", b'{"error": {"code": "busy", "message": "later"}}'),
        answer("101 Switching Protocols", b""),
        answer("200 OK", b"{}", "content-encoding: gzip", *(f"x{n}: y" for n in range(200))),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 " + b"x" * 100_000,
    ],
    indirect=True,
)
def test_what_is_no_answer_is_nobody_there(liar: Liar) -> None:
    """One sentence, without the token."""
    with pytest.raises(ServiceDownError) as refused:
        ApiClient(liar.address, TOKEN).call("hold_get")
    error = refused.value
    assert "canary" not in str(error) and "\n" not in str(error)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)


@pytest.mark.parametrize(
    "liar",
    [
        answer("404 Not Found", b"[]"),
        answer("400 Bad", b'{"error": "x"}'),
        answer("409 Conflict", b'{"error": {"message": 7}}'),
        answer("409 Conflict", b'{"error": {"message": "a\\u001b[2J\\nb"}}'),
    ],
    indirect=True,
)
def test_a_refusal_in_any_form_is_one_sentence(liar: Liar) -> None:
    """Harmless for a terminal."""
    with pytest.raises(CallerError) as refused:
        ApiClient(liar.address, TOKEN).call("hold_get")
    assert str(refused.value).startswith("the head end refused: ")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "liar", [answer("302 Found", b"", "location: http://127.0.0.1:1/api/v1/hold")], indirect=True
)
def test_a_redirect_is_not_followed(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a proxy of the environment asked: the token goes to one address."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(ServiceDownError, match="status 302"):
        ApiClient(liar.address, TOKEN).call("hold_get")
    assert TOKEN.encode() in liar.heard


@pytest.mark.parametrize("liar", [answer("200 OK", b"x" * 2000)], indirect=True)
def test_an_answer_is_bounded(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would be."""
    monkeypatch.setattr("cloud.api.client.ANSWER_SIZE_MAX", 1000)
    with pytest.raises(ServiceDownError, match="larger than 1000 bytes"):
        ApiClient(liar.address, TOKEN).call("hold_get")


def test_a_refusal_by_the_head_is_heard_through_a_long_body(served: Served) -> None:
    """The server closes before it has all of it."""
    client = ApiClient(Address("127.0.0.1", served.server.port, False), TOKEN)
    with pytest.raises(CallerError, match="a bearer token of a known person"):
        client.call("batch_change", batch="ab" * 16, meters=["m" * 190] * 2000)


def test_fields_are_where_the_table_puts_them(served: Served) -> None:
    """In the path, quoted; in the query; in the body; and none that is None."""
    client = ApiClient(Address("127.0.0.1", served.server.port, False), served.tokens["automation"])
    client.call("account_changed", meter="a ?#%&+", change="paid", reference="p", note=None)
    client.call("never_cut_list", meter="表 1", all=True)
    fields = [
        {name: value for name, value in one.items() if name not in ("op", "person")}
        for one in served.asked
    ]
    assert fields == [
        {"meter": "a ?#%&+", "change": "paid", "reference": "p"},
        {"meter": "表 1", "all": True},
    ]


def test_a_client_is_not_printed_with_its_token() -> None:
    """Its address is."""
    assert repr(ApiClient(Address("::1", 8645, False), TOKEN)) == "ApiClient(::1:8645)"
