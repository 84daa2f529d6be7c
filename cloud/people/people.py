"""The people of a deployment: `people.json`, and who a token belongs to.

* There is no password and no default person: who has no token of ours can do nothing.
* A token is 32 random bytes, shown once; the file holds its SHA-256, which is enough because 256
  random bits can not be guessed, and worth nothing to a thief.
* A token is compared with everybody's, in constant time.
* The file is for its owner alone. It is read again when it has changed, so a person who is removed
  is out at the next request. One that does not read leaves the last good one in force, and says so;
  one that is gone means nobody.
"""

import hashlib
import hmac
import json
import logging
import secrets
import stat
import threading
from pathlib import Path
from typing import Any, NamedTuple

from protocols.errors import SettingError
from protocols.topics import is_name

log = logging.getLogger("cloud.people")

FILE_NAME = "people.json"
FILE_SIZE_MAX = 1024 * 1024  # bytes; ~4,000 people
PEOPLE_MAX = 1000
ROLES = (
    "viewer",
    "operator",
    "approver",
    "tariff-manager",
    "technician",
    "auditor",
    "administrator",
    "automation",
)
AUTOMATION = "automation"
CONSOLE = "console"  # who asks over the control socket: the head end's own user, not a person
RESERVED = (CONSOLE, "head-end")
TOKEN_PREFIX = "bb_"  # noqa: S105 -- lets a scanner of leaked secrets know one of ours
TOKEN_SIZE = 32  # random bytes
TOKEN_LENGTH_MAX = 200  # characters that are looked at
ALL_AREAS = "*"
AREA_LENGTH_MAX = 64
AREAS_MAX = 100


class Person(NamedTuple):
    """One person, or one program with the role automation. `token` is the SHA-256 of the token;
    `areas` are those that the person may touch, `*` for all."""

    name: str
    roles: tuple[str, ...]
    areas: tuple[str, ...]
    token: bytes

    def __repr__(self) -> str:
        return f"Person({self.name})"

    def to_json(self) -> dict[str, Any]:
        """The form of people.json."""
        return {
            "name": self.name,
            "roles": list(self.roles),
            "areas": list(self.areas),
            "token_sha256": self.token.hex(),
        }

    @classmethod
    def from_json(cls, row: object) -> "Person":
        """SettingError with half a sentence unless every field fits."""
        if not isinstance(row, dict) or set(row) != {"name", "roles", "areas", "token_sha256"}:
            raise SettingError("a person has name, roles, areas and token_sha256")
        token = row["token_sha256"]
        try:
            digest = bytes.fromhex(token)
        except (TypeError, ValueError):
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise SettingError("token_sha256 is 64 hex digits")
        return cls(
            check_name(row["name"]), check_roles(row["roles"]), check_areas(row["areas"]), digest
        )


def check_name(name: object) -> str:
    """The name, or SettingError."""
    if not isinstance(name, str) or not is_name(name) or name in RESERVED:
        raise SettingError(
            f"{name!r} is no name of a person: 1 to 32 of a-z, 0-9 and -, and not "
            + " or ".join(RESERVED)
        )
    return name


def check_roles(roles: object) -> tuple[str, ...]:
    """The roles, in the order of ROLES, or SettingError."""
    if not isinstance(roles, list | tuple) or not roles or not all(one in ROLES for one in roles):
        raise SettingError(f"roles are one or more of {', '.join(ROLES)}")
    if AUTOMATION in roles and len(set(roles)) > 1:
        raise SettingError(f"{AUTOMATION} is a program's only role: no person acts as one")
    return tuple(one for one in ROLES if one in roles)


def check_areas(areas: object) -> tuple[str, ...]:
    """The areas, sorted, or SettingError."""
    if not isinstance(areas, list | tuple) or not 0 < len(areas) <= AREAS_MAX:
        raise SettingError(f"areas are 1 to {AREAS_MAX} names, or {ALL_AREAS} for all")
    for one in areas:
        is_good = isinstance(one, str) and 0 < len(one) <= AREA_LENGTH_MAX and one.isprintable()
        if not is_good:
            raise SettingError(f"an area is 1 to {AREA_LENGTH_MAX} printable characters")
    return tuple(sorted(set(areas)))


def new_token() -> tuple[str, bytes]:
    """(a token, its digest)."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_SIZE)
    return token, token_digest(token)


def token_digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


class People:
    """The people of people.json as it is at this moment; used by many threads."""

    def __init__(self, identity_dir: Path, tenant: str) -> None:
        """SettingError when there is a file and it does not read now."""
        self._path = identity_dir / FILE_NAME
        self._tenant = tenant
        self._lock = threading.Lock()
        self._stamp = self._file_stamp()
        self._people = read_people(self._path, tenant)

    def all(self) -> tuple[Person, ...]:
        """Everybody, as the file has them now."""
        with self._lock:
            stamp = self._file_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
            return self._people

    def of_token(self, token: str) -> Person | None:
        """Whose token it is; None when nobody's. Takes the same time for everybody."""
        digest = token_digest(token[:TOKEN_LENGTH_MAX])
        found = None
        for person in self.all():
            if hmac.compare_digest(person.token, digest):
                found = person
        return found

    def _reload(self) -> None:
        try:
            self._people = read_people(self._path, self._tenant)
        except SettingError as error:
            log.error("people_refused reason=%r", str(error))
            return
        log.info("people_reloaded people=%d", len(self._people))

    def _file_stamp(self) -> tuple[int, int, int, int]:
        try:
            status = self._path.stat()
        except OSError:
            return (0, 0, 0, 0)
        return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_mode)


def read_people(path: Path, tenant: str) -> tuple[Person, ...]:
    """The people of a file, none when there is no file; SettingError with one sentence when it is
    not what it should be, or others could read it."""
    try:
        status = path.stat()
        if status.st_size > FILE_SIZE_MAX:
            raise SettingError(f"{path}: is larger than {FILE_SIZE_MAX} bytes")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SettingError(f"{path}: others than its owner may open it; it must have mode 0600")
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise SettingError(f"{path}: is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("people"), list):
        raise SettingError(f"{path}: is not an object with a list of people")
    if document.get("tenant") != tenant:
        raise SettingError(f"{path}: tenant is {document.get('tenant')!r}; it must be {tenant!r}")
    try:
        people = tuple(Person.from_json(row) for row in document["people"])
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from error
    check_people(people, path)
    return people


def check_people(people: tuple[Person, ...], path: Path) -> None:
    """SettingError when two have one name or one token, or there are too many."""
    if len(people) > PEOPLE_MAX:
        raise SettingError(f"{path}: holds more than {PEOPLE_MAX} people")
    for field in ("name", "token"):
        if len({getattr(one, field) for one in people}) != len(people):
            raise SettingError(f"{path}: two people have the same {field}")
