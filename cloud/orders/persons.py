"""Who asks: a name that somebody else has proved, and what the roles of that name allow here.

Roles that ask for orders are in the kinds' table; these are the others. "console" is whoever may
open the control socket: a machine's administrator, and no named person. It may read, stop, hold,
protect and restore; it never cuts, approves, releases or lifts anything.
"""

from typing import Any, NamedTuple

from protocols.errors import CallerError
from protocols.orders.kinds import ORDER_KINDS, ROLES, Effect, OrderKind, Role
from protocols.orders.order import PERSON, RULE
from protocols.topics import is_name

APPROVER = "approver"
AUDITOR = "auditor"
VIEWER = "viewer"
ADMINISTRATOR = "administrator"
CONSOLE = "console"

STOPPERS = (Role.OPERATOR, Role.AUTOMATION, APPROVER, CONSOLE)  # may stop, cancel, hold, protect
RELEASERS = (APPROVER,)  # may release a quarantine, lift a hold, remove from the never-cut list
UNDOERS = (Role.OPERATOR, APPROVER, CONSOLE)
ACCOUNTANTS = (Role.OPERATOR, Role.AUTOMATION)  # may tell of a payment or of a flag
READERS = (*ROLES, APPROVER, AUDITOR, VIEWER, ADMINISTRATOR, CONSOLE)


class Person(NamedTuple):
    """A proven name with its roles; no `areas` means every one."""

    name: str
    roles: frozenset[str]
    areas: frozenset[str]

    @classmethod
    def from_json(cls, value: object) -> "Person":
        """CallerError with one sentence unless it is one."""
        if not isinstance(value, dict):
            raise CallerError("person must be an object with name and roles")
        name, roles, areas = value.get("name"), value.get("roles"), value.get("areas", [])
        if not isinstance(name, str) or not is_name(name):
            raise CallerError("person.name must be 1 to 32 of a-z, 0-9 and -")
        for what, listed in (("roles", roles), ("areas", areas)):
            if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
                raise CallerError(f"person.{what} must be a list of texts")
        return cls(name, frozenset(roles or ()), frozenset(areas or ()))

    @property
    def party(self) -> str:
        """The name as orders and approvals carry it."""
        return (RULE if Role.AUTOMATION in self.roles else PERSON) + self.name

    def check_role(self, allowed: tuple[str, ...], what: str) -> None:
        """CallerError unless one of the roles is among those that may."""
        if not self.roles.intersection(allowed):
            raise CallerError(f"not allowed: to {what} takes the role {' or '.join(allowed)}")

    def check_kind(self, kind: OrderKind) -> None:
        """CallerError unless the person may ask for this kind of order."""
        is_harmless = kind.effect == Effect.RESTORES and kind.approvals == 0
        if CONSOLE in self.roles and (is_harmless or kind.is_plain()):
            return
        self.check_role(kind.requesters, f"ask for {kind.action}")

    def check_area(self, area: str) -> None:
        """CallerError unless the area is one of the person's."""
        if self.areas and area not in self.areas:
            raise CallerError(f"not allowed: area {area!r} is not one of {self.name}'s")


def kind_of(action: Any) -> OrderKind:
    """The row of the kinds' table; CallerError for what is none, or goes another way."""
    kind = ORDER_KINDS.get(action) if isinstance(action, str) else None
    if kind is None or kind.is_plain():
        known = ", ".join(name for name, one in ORDER_KINDS.items() if not one.is_plain())
        raise CallerError(f"action must be one of {known}")
    assert isinstance(kind, OrderKind)  # noqa: S101 -- the table holds nothing else
    return kind
