"""Changing people.json: one change at a time, whole or not at all."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from cloud.people.people import FILE_NAME, Person, check_people, new_token, read_people
from protocols.errors import CallerError, SettingError

PRIVATE_MODE = 0o600


class PeopleBook:
    """people.json of one identity directory, for the command that changes it."""

    def __init__(self, identity_dir: Path, tenant: str) -> None:
        self._folder = identity_dir
        self._path = identity_dir / FILE_NAME
        self._tenant = tenant

    def all(self) -> tuple[Person, ...]:
        """Everybody; SettingError."""
        return read_people(self._path, self._tenant)

    def add(self, name: str, roles: tuple[str, ...], areas: tuple[str, ...]) -> str:
        """A new person; the token, which nobody can show again. CallerError when there is one of
        that name."""
        token, digest = new_token()

        def change(people: tuple[Person, ...]) -> tuple[Person, ...]:
            if any(one.name == name for one in people):
                raise CallerError(f"there is a person {name!r} already; `person token` renews it")
            return (*people, Person(name, roles, areas, digest))

        self._change(change)
        return token

    def remove(self, name: str) -> None:
        """Nobody of that name any more; CallerError when there was none."""

        def change(people: tuple[Person, ...]) -> tuple[Person, ...]:
            _find(people, name)
            return tuple(one for one in people if one.name != name)

        self._change(change)

    def renew_token(self, name: str) -> str:
        """A new token, and the end of the old one; CallerError when there is no such person."""
        token, digest = new_token()

        def change(people: tuple[Person, ...]) -> tuple[Person, ...]:
            found = _find(people, name)
            return tuple(one._replace(token=digest) if one == found else one for one in people)

        self._change(change)
        return token

    def _change(self, change: Callable[[tuple[Person, ...]], tuple[Person, ...]]) -> None:
        with self._locked():
            people = change(self.all())
            check_people(people, self._path)
            document = {"tenant": self._tenant, "people": [one.to_json() for one in people]}
            text = json.dumps(document, indent=2) + "\n"
            try:
                _replace_file(self._path, text.encode())
            except OSError as error:
                raise SettingError(f"{self._path}: cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Two commands at once: the second waits, and sees what the first wrote."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SettingError(f"{self._folder}: cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _find(people: tuple[Person, ...], name: str) -> Person:
    for one in people:
        if one.name == name:
            return one
    raise CallerError(f"there is no person {name!r}")


def _replace_file(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.geteuid() == 0:
        # It stays the service's: a file that the service can no longer read shuts everybody out.
        owner = (path if path.exists() else path.parent).stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
