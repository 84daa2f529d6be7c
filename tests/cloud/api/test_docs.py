"""docs/orders.md has every route, error, role and kind as it is, and its commands exist.

`python -m tests.cloud.api.test_docs` prints the two tables."""

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import cloud.__main__
import provisioning.__main__
from cloud.api.bodies import BODIES, QUERIES
from cloud.api.errors import ERRORS
from cloud.api.table import BY_OPERATION, ROUTES
from cloud.people.people import ROLES
from protocols.orders.arguments import CONNECT_REASONS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "orders.md"
PARSERS = {
    "busbar-cloud": cloud.__main__._parser,
    "busbar-provision": provisioning.__main__._parser,
}


def route_rows() -> Iterable[str]:
    """The routes as rows of their table."""
    for one in ROUTES:
        roles = "any" if one.roles == ROLES else ", ".join(one.roles)
        key = "; needs a key" if one.has_key else ""
        name = f"| `{one.method} {one.path}` | `{one.operation}` "
        yield f"{name}| {roles} | {one.meaning}{key} |"


def error_rows() -> Iterable[str]:
    """The errors as rows of theirs."""
    for code, (status, meaning) in ERRORS.items():
        yield f"| `{code}` | {status} | {meaning} |"


@pytest.mark.parametrize("rows", [route_rows, error_rows])
def test_a_table_of_the_api_is_documented_as_it_is(rows: object) -> None:
    """Row by row, in order."""
    section = PAGE.read_text().split("## The API\n")[1].split("\n## ")[0]
    wanted = list(rows())  # type: ignore[operator]
    found = [line for line in section.splitlines() if line in wanted]
    assert found == wanted
    assert len([one for one in section.splitlines() if one.startswith("| `")]) == len(ROUTES) + len(
        ERRORS
    )


def test_every_role_and_reason_is_documented() -> None:
    """Under its own name."""
    text = PAGE.read_text()
    assert [one for one in (*ROLES, *CONNECT_REASONS) if f"`{one}`" not in text] == []


def commands() -> list[list[str]]:
    """The commands of the page, as a shell would split them."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("busbar-")]


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[:4]))
def test_a_command_of_the_page_exists(words: list[str]) -> None:
    """With these very arguments."""
    found = PARSERS[words[0]]().parse_args(words[1:])
    assert callable(found.run)


def test_the_page_has_commands() -> None:
    """A page without them would pass every check above."""
    assert len(commands()) > 15


def test_every_operation_has_what_it_takes() -> None:
    """A body where it is posted, and none where it is not."""
    posted = {one.operation for one in ROUTES if one.method == "POST"}
    assert set(BODIES) == posted and set(QUERIES) <= set(BY_OPERATION) - posted


if __name__ == "__main__":
    sys.stdout.write("\n".join([*route_rows(), "", *error_rows(), ""]))
