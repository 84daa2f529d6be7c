"""people.json: who a token belongs to, who may read the file, and what it must be."""

import json
import logging
from pathlib import Path

import pytest

from cloud.people import people as module
from cloud.people.book import PeopleBook
from cloud.people.people import ROLES, People, Person, token_digest
from protocols.errors import CallerError, SettingError
from tests.cloud.world import TENANT


@pytest.fixture
def book(tmp_path: Path) -> PeopleBook:
    return PeopleBook(tmp_path, TENANT)


def people_of(folder: Path) -> People:
    return People(folder, TENANT)


def write(folder: Path, document: object, mode: int = 0o600) -> Path:
    path = folder / "people.json"
    path.touch()
    path.chmod(mode)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def row(**fields: object) -> dict:
    values: dict = {
        "name": "zhang",
        "roles": ["operator"],
        "areas": ["*"],
        "token_sha256": "ab" * 32,
    }
    return {**values, **fields}


def test_where_there_is_no_file_there_is_nobody(tmp_path: Path) -> None:
    """No default person, and no empty token."""
    people = people_of(tmp_path)
    assert people.all() == ()
    assert people.of_token("") is None and people.of_token("admin") is None


def test_a_token_is_its_persons(book: PeopleBook, tmp_path: Path) -> None:
    """And nobody else's; a part of it is nobody's, and so is more than it."""
    tokens = {name: book.add(name, ("operator",), ("*",)) for name in ("zhang", "li")}
    people = people_of(tmp_path)
    for name, token in tokens.items():
        found = people.of_token(token)
        assert found is not None and found.name == name
        for other in (token[:-1], token + "x", token.upper(), " " + token, "\ud800" + token):
            assert people.of_token(other) is None


def test_the_file_holds_no_token(book: PeopleBook, tmp_path: Path) -> None:
    """Its SHA-256 alone, in a file for its owner; 256 bits, never twice the same."""
    tokens = [book.add(f"p{n}", ("viewer",), ("*",)) for n in range(20)]
    path = tmp_path / "people.json"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(token in text or token[3:] in text for token in tokens)
    assert len(set(tokens)) == 20 and all(len(token) == 3 + 43 for token in tokens)
    assert all(token_digest(token).hex() in text for token in tokens)


def test_every_digest_is_compared(
    book: PeopleBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first match does not end the search, or its time would tell who is first."""
    tokens = [book.add(f"p{n}", ("viewer",), ("*",)) for n in range(5)]
    people, seen = people_of(tmp_path), []
    compare = module.hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        seen.append(one)
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", counted)
    for token in (tokens[0], tokens[4], "nobody's"):
        seen.clear()
        people.of_token(token)
        assert len(seen) == 5


def test_a_change_holds_at_once(book: PeopleBook, tmp_path: Path) -> None:
    """Removal, a new token, and the file going away altogether."""
    token = book.add("zhang", ("operator",), ("*",))
    people = people_of(tmp_path)
    assert people.of_token(token) is not None
    renewed = book.renew_token("zhang")
    assert people.of_token(token) is None and people.of_token(renewed) is not None
    book.remove("zhang")
    assert people.of_token(renewed) is None
    book.add("li", ("viewer",), ("*",))
    (tmp_path / "people.json").unlink()
    assert people.all() == ()


@pytest.mark.parametrize("text", ["", "{", '{"tenant": "t2", "people": []}'])
def test_a_file_that_does_not_read_leaves_the_last_good_one(
    text: str, book: PeopleBook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so once."""
    token = book.add("zhang", ("operator",), ("*",))
    people = people_of(tmp_path)
    write(tmp_path, text)
    caplog.set_level(logging.INFO)
    assert people.of_token(token) is not None and people.of_token(token) is not None
    assert len([one for one in caplog.messages if one.startswith("people_refused")]) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_file_that_others_may_open_is_refused(mode: int, tmp_path: Path) -> None:
    """Whoever can write it is everybody; whoever can read it should not."""
    write(tmp_path, {"tenant": TENANT, "people": [row()]}, mode)
    with pytest.raises(SettingError, match="mode 0600"):
        people_of(tmp_path)


@pytest.mark.parametrize(
    "document",
    [
        "[" * 100_000,
        [],
        {},
        {"tenant": "t2", "people": []},
        {"tenant": TENANT, "people": {}},
        {"tenant": TENANT, "people": ["zhang"]},
        {"tenant": TENANT, "people": [row(), row(token_sha256="cd" * 32)]},
        {"tenant": TENANT, "people": [row(), row(name="li")]},
        {"tenant": TENANT, "people": [row(name="Zhang")]},
        {"tenant": TENANT, "people": [row(name="console")]},
        {"tenant": TENANT, "people": [row(name="head-end")]},
        {"tenant": TENANT, "people": [row(roles=[])]},
        {"tenant": TENANT, "people": [row(roles=["boss"])]},
        {"tenant": TENANT, "people": [row(roles="operator")]},
        {"tenant": TENANT, "people": [row(roles=["automation", "operator"])]},
        {"tenant": TENANT, "people": [row(roles=[["operator"]])]},
        {"tenant": TENANT, "people": [row(areas=[])]},
        {"tenant": TENANT, "people": [row(areas=["a\nb"])]},
        {"tenant": TENANT, "people": [row(token_sha256="ab" * 31)]},
        {"tenant": TENANT, "people": [row(token_sha256=None)]},
        {"tenant": TENANT, "people": [row(password="x")]},
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(document: object, tmp_path: Path) -> None:
    """With one sentence that names the file."""
    path = write(tmp_path, document)
    with pytest.raises(SettingError) as refused:
        people_of(tmp_path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


def test_a_person_is_not_printed_with_the_digest() -> None:
    """Logs and tracebacks get the name."""
    person = Person("zhang", ROLES, ("*",), token_digest("bb_x"))
    assert repr(person) == "Person(zhang)"


def test_the_book_refuses_what_makes_no_sense(book: PeopleBook) -> None:
    """A name twice, and a name that is not there."""
    book.add("zhang", ("operator",), ("*",))
    with pytest.raises(CallerError, match="already"):
        book.add("zhang", ("viewer",), ("*",))
    for change in (book.remove, book.renew_token):
        with pytest.raises(CallerError, match="no person"):
            change("li")
    assert [one.name for one in book.all()] == ["zhang"]


def test_a_change_that_fails_leaves_the_file(
    book: PeopleBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or not at all."""
    token = book.add("zhang", ("operator",), ("*",))

    def refuse(_path: Path, _to: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(SettingError, match="No space left"):
            book.remove("zhang")
    assert people_of(tmp_path).of_token(token) is not None
    book.remove("zhang")
    assert book.all() == ()
