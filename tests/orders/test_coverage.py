"""Which test falsifies which invariant of the order path, and which row of the threat table.

A test names what it is about: `test_i15_…` for an invariant, `test_t06_…` (or `test_t6_…`) for a
threat. Here only the rows are counted; that each has its test is what this test holds.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# Number -> what it is about, in a few words.
INVARIANTS = {
    1: "no relay frame without a signed order that is durable",
    2: "what may cut is signed by keys that are not on broker, ingestion or gateway",
    3: "who asks does not approve; what is approved is frozen",
    4: "restoring needs less than cutting, and its credential only restores",
    5: "keep-power and protection: head end, gateway and meter, each forbids",
    6: "a whole and fresh chain of evidence before a cut (the decision is a stub)",
    7: "doubtful intervals never cut by themselves (the decision is a stub)",
    8: "a payment before sent cancels, after it restores (payments are told by a stub)",
    9: "money is exact and counted once (the billing is a stub)",
    10: "proof of notice (the decision is a stub)",
    11: "blocked windows in civil time; the unknown blocks",
    12: "the never-cut list is typed and takes two to shorten",
    13: "a counter per originator and meter, durable before the act",
    14: "not-before, expiry, the meter's deadline; nothing retained",
    15: "one effect at most: silence is answered by reading",
    16: "confirmed by two independent observations",
    17: "a permission to close ends in READY",
    18: "a direct close has a reason, and no voltage behind the contact",
    19: "starts, upgrades, crashes and configurations move nothing",
    20: "one concrete address, one verified identity",
    21: "one wrong credential, then none",
    22: "dwell and daily maximum of a meter",
    23: "ceilings, at the gateway too",
    24: "random delay, staggered restores, a stop ahead of the queue",
    25: "no empty, wild or too broad selection; the frozen set",
    26: "the global hold, and a lease that ends by itself",
    27: "an incident can be undone",
    28: "intended and actual state are two, and compared",
    29: "the record is ahead of the effect",
    30: "a late restore is told, and escalates",
    31: "any cut is explained from the records",
}
THREATS = {
    1: "mass cut by one stolen account",
    2: "two insiders",
    3: "forged rows and orders",
    4: "a broker that alters, swaps and reads",
    5: "a broker that withholds",
    6: "replay, also after an old SD image",
    10: "a rolled-back gateway",
    11: "false time",
    13: "two meters at one address",
    14: "a meter that lies",
    15: "an order for everybody",
    16: "password lockout",
    17: "meter passwords in anything produced",
    22: "an edited or shortened audit",
    23: "no room for the audit",
    25: "a mistake in a batch",
    28: "restores at the same moment",
}
_NUMBERS = re.compile(r"(?<=_)([it])(\d{1,2})(?=_)")


def named() -> Iterator[tuple[str, int, str]]:
    """(letter, number, test) of every test that names one."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for letter, number in _NUMBERS.findall(node.name):
                    yield letter, int(number), f"{path.relative_to(TESTS)}::{node.name}"


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, int], list[str]]:
    """(letter, number) -> its tests."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for letter, number, test in named():
        found[letter, number].append(test)
    return found


@pytest.mark.parametrize("number", INVARIANTS)
def test_each_invariant_has_its_test(table: dict[tuple[str, int], list[str]], number: int) -> None:
    """By its name, anywhere among the tests."""
    assert table["i", number], f"I{number}: {INVARIANTS[number]}"


@pytest.mark.parametrize("number", THREATS)
def test_each_threat_to_orders_has_its_test(
    table: dict[tuple[str, int], list[str]], number: int
) -> None:
    """The same."""
    assert table["t", number], f"T{number}: {THREATS[number]}"


def test_no_test_names_what_there_is_not(table: dict[tuple[str, int], list[str]]) -> None:
    """A number that is wrong counts for nobody."""
    known = {("i", n) for n in INVARIANTS} | {("t", n) for n in range(1, 29)}
    wrong = {key: tests for key, tests in table.items() if tests and key not in known}
    assert not wrong
    assert set(INVARIANTS) == set(range(1, 32))
