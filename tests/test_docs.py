"""Documentation fails the build: every setting, order state and command stands in docs/, as it is
in the code. `python -m tests.test_docs` prints the setting tables, to be pasted into
docs/operations.md, docs/hil.md and docs/meter-models.md, and the others into their places."""

import argparse
import sys
import tomllib
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
from edge.metrics import METRICS, label_of
from protocols.dlt645.controls import CONTROLS
from protocols.errors import EnvelopeError
from protocols.events import EVENT_KINDS
from protocols.messages import MESSAGE_KINDS, ORDER_STATES
from protocols.modbus.model import MODEL_RULES, REGISTER_RULES, WRITE_RULES, read_model
from protocols.modbus.plan import plan_spans
from protocols.orders.kinds import ORDER_KINDS
from protocols.orders.refusals import REFUSALS
from protocols.readings import FLAG_NAMES, ORIGIN_NAMES
from protocols.settings import REQUIRED, Rule
from provisioning.model_check import warnings
from tests.protocols.orders.samples import ARGUMENTS as WITH_ARGUMENTS

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = ROOT / "docs" / "operations.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
HIL = ROOT / "docs" / "hil.md"
DLT645 = ROOT / "docs" / "dlt645.md"
METER_MODELS = ROOT / "docs" / "meter-models.md"
WORLD_TABLES = {
    "world.toml [line]": hil.scenario.LINE_RULES,
    **{
        f"world.toml [meter ({name})]": rules
        for name, rules in hil.scenario.RULES_BY_PROTOCOL.items()
    },
    "world.toml [feeder]": hil.scenario.FEEDER_RULES,
    "world.toml [generation]": hil.scenario.GENERATION_RULES,
    "world.toml [theft]": hil.scenario.THEFT_RULES,
    "world.toml [outage]": hil.scenario.OUTAGE_RULES,
    "world.toml [fault]": hil.scenario.FAULT_RULES,
}
MODEL_TABLES = {
    "NAME.toml": MODEL_RULES,
    "NAME.toml [register]": REGISTER_RULES,
    "NAME.toml [write]": WRITE_RULES,
}
TABLES = {
    **{f"edge.toml [{name}]": rules for name, rules in edge.settings.RULES.items()},
    **{f"cloud.toml [{name}]": rules for name, rules in cloud.settings.TABLES.items()},
}
DOCUMENTS = {
    **dict.fromkeys(TABLES, OPERATIONS),
    **dict.fromkeys(WORLD_TABLES, HIL),
    **dict.fromkeys(MODEL_TABLES, METER_MODELS),
}
RULES = TABLES | WORLD_TABLES | MODEL_TABLES
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
        default = ", ".join(value) if isinstance(value, tuple) else str(value)
        if isinstance(value, bool):
            default = default.lower()
        default = f"`{default}`" if default else "–"
    return f"| `{rule.name}` | {rule.allowed} | {default} | {rule.meaning} |"


def tables() -> Iterable[str]:
    """All tables as Markdown."""
    for name, rules in RULES.items():
        yield f"### {name}\n\n| key | allowed | default | meaning |\n| --- | --- | --- | --- |"
        yield "\n".join(row(rule) for rule in rules) + "\n"
    yield "\n".join(model_rows()) + "\n"
    yield "\n".join(function_rows()) + "\n"
    yield "\n".join(event_rows()) + "\n"
    yield "\n".join(metric_rows())


def model_rows() -> Iterable[str]:
    """The shipped meter models as rows of their table."""
    for path in sorted((ROOT / "protocols" / "meter_models").glob("*.toml")):
        model = read_model(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
        requests = len(plan_spans(model.registers, model.gap_max, model.span_max))
        yield f"| `{model.name}` | {model.title} | {len(model.registers)} | {requests} |"


@pytest.mark.parametrize("table", RULES)
def test_every_setting_is_documented_as_it_is(table: str) -> None:
    """Name, allowed values, default and meaning, under the heading of its section."""
    text = DOCUMENTS[table].read_text()
    heading = f"### {table}\n"
    assert heading in text
    section = text.split(heading)[1].split("\n### ")[0].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == [row(rule) for rule in RULES[table]]


def function_rows() -> Iterable[str]:
    """The functions of DL/T 645-2007 as rows of their table."""
    for code, one in sorted(CONTROLS.items()):
        everyday = "yes" if one.is_everyday else "no"
        yield f"| `{code:02X}` | {one.name} | {', '.join(one.targets)} | {one.reply} | {everyday} |"


def test_every_function_is_documented_as_it_is() -> None:
    """Code, name, targets, reply, and whether a gateway sends it."""
    section = DLT645.read_text().split("## Functions\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == list(
        function_rows()
    )


def test_every_shipped_meter_model_is_documented_as_it_is() -> None:
    """Name, types, registers and requests of a sweep."""
    section = METER_MODELS.read_text().split("## What is shipped\n")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == list(model_rows())


def test_every_order_state_is_documented() -> None:
    """docs/protocol.md has a row for each state."""
    text = PROTOCOL.read_text()
    assert [state for state in ORDER_STATES if f"| `{state}` |" not in text] == []


def kind_rows() -> Iterable[str]:
    """The kinds of orders as rows of their table."""
    for one in ORDER_KINDS.values():
        family, who = one.family or "–", ", ".join(one.requesters)
        yield (
            f"| `{one.action}` | {one.effect} | {family} | {one.approvals} | {who} | {one.life_s} |"
            f" {one.life_s_max} | {one.observed_by} |"
        )


def test_every_kind_of_order_is_documented_as_it_is() -> None:
    """Effect, family, approvals, roles, lives and observation; and each has its arguments."""
    section = PROTOCOL.read_text().split("### The kinds of orders\n")[1].split("\n### ")[0]
    kinds, arguments = section.split("| action | arguments |")
    assert [line for line in kinds.splitlines() if line.startswith("| `")] == list(kind_rows())
    assert [one for one in WITH_ARGUMENTS if f"`{one}`" not in arguments] == []


def test_every_refusal_of_an_order_is_documented_as_it_is() -> None:
    """Code and words."""
    section = PROTOCOL.read_text().split("## Why an order is refused\n")[1].split("\n## ")[0]
    wanted = [f"| `{code}` | {words} |" for code, words in REFUSALS.items()]
    assert [line for line in section.splitlines() if line.startswith("| `")] == wanted


def event_rows() -> Iterable[str]:
    """The kinds of events as rows of their table."""
    for name, kind in EVENT_KINDS.items():
        yield f"| `{name}` | {kind.severity} | {kind.meaning} |"


def test_every_kind_of_event_is_documented_as_it_is() -> None:
    """Name, severity and meaning."""
    section = PROTOCOL.read_text().split("## Events\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("| `")] == list(event_rows())


def metric_rows() -> Iterable[str]:
    """The gateway's metrics as rows of their table."""
    for one in METRICS:
        label = f"`{label_of(one)}`" if label_of(one) else "–"
        yield f"| `{one.name}` | {one.kind} | {label} | {one.meaning} |"


def test_every_metric_is_documented_as_it_is() -> None:
    """Name, type, label and meaning."""
    section = OPERATIONS.read_text().split("## Metrics\n")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| `")]
    assert found == list(metric_rows())


def test_every_origin_and_flag_is_documented() -> None:
    """docs/protocol.md has a row for each, the flags with their bits."""
    section = PROTOCOL.read_text().split("## A batch\n")[1].split("\n## ")[0]
    rows = [line.split(" | ")[:-1] for line in section.splitlines() if line.startswith("| `")]
    wanted = [[f"| `{name}`"] for name in ORIGIN_NAMES]
    wanted += [[f"| `{name}`", str(bit)] for bit, name in FLAG_NAMES.items()]
    assert rows == wanted


def test_every_message_kind_is_documented() -> None:
    """docs/protocol.md has a row for each kind, with its topic."""
    text = PROTOCOL.read_text()
    wanted = [f"| `{kind.name}` | `{kind.suffix}` |" for kind in MESSAGE_KINDS]
    assert [one for one in wanted if one not in text] == []


def test_the_example_of_a_meter_model_is_good() -> None:
    """It passes the check that the page speaks of, without a warning."""
    example = METER_MODELS.read_text().split("```toml\n")[1].split("```")[0]
    model = read_model("example", tomllib.loads(example))
    assert warnings(model) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    """docs/operations.md or docs/meter-models.md names each sub-command."""
    text = OPERATIONS.read_text() + METER_MODELS.read_text()
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
