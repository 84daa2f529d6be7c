"""Documentation fails the build: every setting, order state and command stands in docs/, as it is
in the code. `python -m tests.test_docs` prints the setting tables, to be pasted into
docs/operations.md and docs/hil.md."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import cloud.__main__
import cloud.settings
import edge.__main__
import edge.settings
import hil.__main__
import hil.scenario
import provisioning.__main__
from protocols.errors import EnvelopeError
from protocols.messages import MESSAGE_KINDS, ORDER_STATES
from protocols.settings import REQUIRED, Rule

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = ROOT / "docs" / "operations.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
HIL = ROOT / "docs" / "hil.md"
WORLD_TABLES = {
    "world.toml [line]": hil.scenario.LINE_RULES,
    **{
        f"world.toml [meter ({name})]": rules
        for name, rules in hil.scenario.RULES_BY_PROTOCOL.items()
    },
    "world.toml [fault]": hil.scenario.FAULT_RULES,
}
TABLES = {
    **{f"edge.toml [{name}]": rules for name, rules in edge.settings.RULES.items()},
    **{f"cloud.toml [{name}]": rules for name, rules in cloud.settings.TABLES.items()},
}
COMMANDS = {
    "busbar-edge": edge.__main__._parser,
    "busbar-cloud": cloud.__main__._parser,
    "busbar-provision": provisioning.__main__._parser,
    "busbar-hil": hil.__main__._parser,
}


def row(rule: Rule) -> str:
    """One setting as a row of its table."""
    default = "required" if rule.default is REQUIRED else "–" if rule.default is None else None
    if default is None:
        value = rule.default
        default = ", ".join(value) if isinstance(value, tuple) else str(value).lower()
        default = f"`{default}`" if default else "–"
    return f"| `{rule.name}` | {rule.allowed} | {default} | {rule.meaning} |"


def tables() -> Iterable[str]:
    """All tables as Markdown."""
    for name, rules in (TABLES | WORLD_TABLES).items():
        yield f"### {name}\n\n| key | allowed | default | meaning |\n| --- | --- | --- | --- |"
        yield "\n".join(row(rule) for rule in rules) + "\n"


@pytest.mark.parametrize("table", TABLES | WORLD_TABLES)
def test_every_setting_is_documented_as_it_is(table: str) -> None:
    """Name, allowed values, default and meaning, under the heading of its section."""
    text = (HIL if table in WORLD_TABLES else OPERATIONS).read_text()
    heading = f"### {table}\n"
    assert heading in text
    section = text.split(heading)[1].split("\n### ")[0].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == [row(rule) for rule in (TABLES | WORLD_TABLES)[table]]


def test_every_order_state_is_documented() -> None:
    """docs/protocol.md has a row for each state."""
    text = PROTOCOL.read_text()
    assert [state for state in ORDER_STATES if f"| `{state}` |" not in text] == []


def test_every_message_kind_is_documented() -> None:
    """docs/protocol.md has a row for each kind, with its topic."""
    text = PROTOCOL.read_text()
    wanted = [f"| `{kind.name}` | `{kind.suffix}` |" for kind in MESSAGE_KINDS]
    assert [one for one in wanted if one not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    """docs/operations.md names each sub-command."""
    text = OPERATIONS.read_text()
    names = list(subcommands(COMMANDS[command]()))
    assert names
    assert [name for name in names if f"`{command} {name}" not in text] == []


def subcommands(parser: argparse.ArgumentParser, before: str = "") -> Iterable[str]:
    """The commands of a parser, nested ones as "order read"."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                nested = list(subcommands(child, f"{before}{name} "))
                yield from nested or [before + name]


def test_every_reason_of_a_refusal_is_documented() -> None:
    """docs/protocol.md lists each word under which a message is refused and counted."""
    text = PROTOCOL.read_text()
    reasons = set()
    for folder in ("protocols", "edge", "cloud"):
        for path in (ROOT / folder).rglob("*.py"):
            for part in path.read_text().split(EnvelopeError.__name__ + "(")[1:]:
                word = part.lstrip()
                if word.startswith('"'):
                    reasons.add(word.split('"')[1])
    assert len(reasons) > 10
    assert [reason for reason in sorted(reasons) if f"| `{reason}` |" not in text] == []


if __name__ == "__main__":
    sys.stdout.write("\n".join(tables()))
