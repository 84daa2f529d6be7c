"""protocols/orders/kinds.py: one row for each kind of order."""

import pytest

from protocols.orders.kinds import (
    ACTIONS,
    EFFECTS,
    FAMILIES,
    OBSERVATIONS,
    ORDER_KINDS,
    ROLES,
    Action,
    Effect,
    Family,
    Observation,
    OrderKind,
    Role,
)

KINDS = tuple(ORDER_KINDS.values())


def named(holder: type) -> set[str]:
    """The constants of a class."""
    return {value for name, value in vars(holder).items() if name.isupper()}


def test_every_action_has_one_row() -> None:
    """In the order of the table, and by its own name."""
    assert set(ACTIONS) == named(Action)
    assert tuple(ORDER_KINDS) == ACTIONS
    assert len(set(ACTIONS)) == len(ACTIONS) == 20
    assert all(type(kind) is OrderKind and ORDER_KINDS[kind.action] is kind for kind in KINDS)


def test_the_columns_hold_what_their_tables_name() -> None:
    """Effects, families, roles and observations; each is used."""
    assert set(EFFECTS) == named(Effect) == {kind.effect for kind in KINDS}
    assert set(FAMILIES) == named(Family) == {kind.family for kind in KINDS}
    assert set(ROLES) == named(Role) == {role for kind in KINDS for role in kind.requesters}
    assert set(OBSERVATIONS) == named(Observation) == {kind.observed_by for kind in KINDS}


@pytest.mark.parametrize(
    ("action", "row"),
    [
        ("read", ("reads", "", False, 0, ("operator", "technician", "automation"), 60, 3600,
                  "value")),
        ("disconnect", ("cuts", "supply", True, 2, ("operator", "automation"), 900, 3600, "open")),
        ("arm", ("restores", "supply", False, 0, ("operator", "automation"), 86_400, 86_400,
                 "ready")),
        ("connect", ("restores", "supply", False, 1, ("operator",), 86_400, 86_400, "closed")),
        ("keep-power-on", ("restores", "supply", False, 0, ("operator", "automation"), 86_400,
                           86_400, "keep-power")),
        ("keep-power-off", ("cuts", "supply", True, 2, ("operator",), 900, 3600, "keep-power")),
        ("prices", ("changes", "settings", True, 2, ("tariff-manager",), 86_400, 604_800,
                    "read-back")),
        ("top-up", ("changes", "settings", False, 0,
                    ("operator", "tariff-manager", "automation"), 3600, 86_400,
                    "purchase-count")),
        ("set-clock", ("changes", "settings", True, 2, ("operator",), 86_400, 604_800, "clock")),
        ("reset-demand", ("changes", "settings", True, 2, ("operator",), 86_400, 604_800,
                          "demand-record")),
        ("authenticate", ("changes", "", False, 0, ("technician",), 60, 3600, "value")),
        ("freeze", ("changes", "", False, 0, ("operator", "technician"), 60, 3600,
                    "nothing-to-see")),
    ],
)  # fmt: skip
def test_the_rows_are_those_of_the_law(action: str, row: tuple[object, ...]) -> None:
    """Written out once more, so that a change of the table is a change of two places."""
    assert tuple(ORDER_KINDS[action])[1:] == row


def test_i02_what_may_take_supply_or_change_a_bill_needs_two_people() -> None:
    """And nothing else does."""
    critical = {kind.action for kind in KINDS if kind.is_critical}
    assert critical == {
        "disconnect", "keep-power-off", "prices", "time-of-use", "steps", "alarm-amounts",
        "overdraft", "arm-amount", "set-clock", "reset-demand",
    }  # fmt: skip
    assert critical == {kind.action for kind in KINDS if kind.approvals == 2}
    assert all(kind.is_critical for kind in KINDS if kind.effect == Effect.CUTS)


def test_i04_restoring_needs_less_than_cutting() -> None:
    """Fewer approvals, a longer life, and whoever may ask for a cut may ask for it to end."""
    cuts = [kind for kind in KINDS if kind.effect == Effect.CUTS]
    restores = [kind for kind in KINDS if kind.effect == Effect.RESTORES]
    assert max(kind.approvals for kind in restores) < min(kind.approvals for kind in cuts)
    assert min(kind.life_s for kind in restores) > max(kind.life_s for kind in cuts)
    arm, disconnect = ORDER_KINDS["arm"], ORDER_KINDS["disconnect"]
    assert set(arm.requesters) >= set(disconnect.requesters)


def test_i13_what_switches_and_what_writes_have_counters_of_their_own() -> None:
    """So a price table that waits blocks no restore; reads have none."""
    families = {kind.action: kind.family for kind in KINDS}
    assert {action for action, family in families.items() if family == "supply"} == {
        "disconnect", "arm", "connect", "keep-power-on", "keep-power-off",
    }  # fmt: skip
    assert {action for action, family in families.items() if not family} == {
        "read", "backfill", "authenticate", "freeze",
    }  # fmt: skip


def test_i14_every_life_is_bounded() -> None:
    """The default is within the longest, and no cut lives longer than an hour."""
    assert all(0 < kind.life_s <= kind.life_s_max <= 7 * 86_400 for kind in KINDS)
    assert all(kind.life_s_max <= 3600 for kind in KINDS if kind.effect == Effect.CUTS)


def test_i16_no_switch_is_proved_by_an_answer() -> None:
    """What moves a contact is observed by a state of the meter."""
    seen = {kind.action: kind.observed_by for kind in KINDS if kind.family == Family.SUPPLY}
    assert set(seen.values()) == {"open", "ready", "closed", "keep-power"}
    assert seen["arm"] == Observation.READY


def test_only_reads_travel_in_the_short_form() -> None:
    """Everything that changes something is frozen with terms."""
    assert {kind.action for kind in KINDS if kind.is_plain()} == {"read", "backfill"}
    assert {kind.effect for kind in KINDS if kind.is_plain()} == {Effect.READS}
