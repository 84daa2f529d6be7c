"""Commands against a served API: as people run them, with a token file and an address."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.__main__ import main
from tests.cloud.api.served import Served
from tests.cloud.commands.office import Office

PASSPHRASE = "canary horse battery staple"


@pytest.fixture
def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path).running() as served:
        yield served


@pytest.fixture
def office(served: Served) -> Office:
    office = Office()
    served.answer = office.answer
    return office


class Person:
    """Somebody with a token and a shell."""

    def __init__(self, served: Served, role: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.served = served
        self.role = role
        self.err = ""
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        token_file = self.served.token_file(self.role)
        door = ["--url", self.served.url, "--token-file", str(token_file)]
        assert main([*words, *door]) == code, self._capsys.readouterr()
        out = self._capsys.readouterr()
        self.err = out.err
        return out.out

    def refused(self, *words: str) -> str:
        """The one sentence of a command that ends with 2."""
        assert self(*words, code=2) == ""
        assert self.err.startswith("busbar-cloud: ") and self.err.count("\n") == 1
        return self.err


@pytest.fixture
def operator(served: Served, capsys: pytest.CaptureFixture[str]) -> Person:
    return Person(served, "operator", capsys)


class Approver(Person):
    """A person with a key."""

    def __init__(
        self, served: Served, name: str, capsys: pytest.CaptureFixture[str], office: Office
    ) -> None:
        super().__init__(served, name, capsys)
        served.tokens[name] = served.book.add(name, ("approver",), ("*",))
        self.key = served.folder / f"{name}.key"
        self.passphrase = served.folder / f"{name}.pass"
        self.passphrase.touch(0o600)
        self.passphrase.write_text(PASSPHRASE + "\n")
        words = ["approver-key", "new", "--name", name, "--out", str(self.key)]
        assert main([*words, "--passphrase-file", str(self.passphrase)]) == 0
        capsys.readouterr()
        from cloud.people.approver import public_path, read_record  # noqa: PLC0415

        office.keys.append(read_record(public_path(self.key)))

    def signing(self, *words: str) -> tuple[str, ...]:
        """The words of an `approve` that asks nothing."""
        source = ("--passphrase-file", str(self.passphrase))
        return ("approve", *words, "--key", str(self.key), "--yes", *source)


@pytest.fixture
def zhang(served: Served, capsys: pytest.CaptureFixture[str], office: Office) -> Approver:
    return Approver(served, "zhang", capsys, office)


@pytest.fixture
def li(served: Served, capsys: pytest.CaptureFixture[str], office: Office) -> Approver:
    return Approver(served, "li", capsys, office)
