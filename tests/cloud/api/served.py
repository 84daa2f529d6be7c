"""The API over a service that is not there: each operation is answered by what a test says."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cloud.api.server import ApiServer
from cloud.ingest.mailbox import Mailbox, Request, Stop
from cloud.people.book import PeopleBook
from cloud.people.people import ROLES, People
from cloud.settings import ApiSettings
from tests.cloud.world import TENANT, FakeClock

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Response(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: Any


class Served:
    """A running API, people of every role, and a stand-in for the writer's thread."""

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.folder = folder
        self.book = PeopleBook(folder, TENANT)
        self.tokens = {role: self.book.add(role, (role,), ("*",)) for role in ROLES}
        self.clock = FakeClock()
        self.mailbox = Mailbox(10)
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer = lambda _body: {"final": True}
        cert, key = tls or (None, None)
        settings = ApiSettings("127.0.0.1", 0, cert, key)
        self.server = ApiServer(settings, People(folder, TENANT), self.mailbox, self.clock)
        self._writer = threading.Thread(target=self._work)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def token_file(self, role: str) -> Path:
        path = self.folder / f"{role}.token"
        path.touch(0o600)
        path.write_text(self.tokens[role] + "\n")
        return path

    @contextlib.contextmanager
    def running(self) -> Iterator["Served"]:
        self._writer.start()
        self.server.start()
        try:
            yield self
        finally:
            self.server.stop()
            self.mailbox.put(Stop())
            self._writer.join()

    def _work(self) -> None:
        while not isinstance(event := self.mailbox.take(1000), Stop):
            if isinstance(event, Request):
                self.asked.append(event.body)
                event.reply(self.answer(event.body))

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        role: str = "operator",
        raw: bytes | None = None,
        **headers: str,
    ) -> Response:
        """One request; `raw` is sent as it is."""
        sent = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, data, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            text = response.read()
        return Response(response.status, dict(response.headers), json.loads(text))
