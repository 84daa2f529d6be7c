"""protocols/settings.py: rules that judge a table, and the sentence for a person."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import SettingError
from protocols.settings import (
    REQUIRED,
    Rule,
    choice,
    flag,
    matching,
    read_table,
    text,
    texts,
    whole,
)
from tests.protocols.outcome import outcome

RULES = (
    whole("period_s", 1, 3600, 60, "how often"),
    text("title", REQUIRED, "for people", 10),
    matching("id", str.isidentifier, "an identifier", "x", "name"),
    choice("function", (3, 4), 3, "Modbus function"),
    choice("order", ("big", "little"), "big", "word order"),
    flag("enabled", True, "switch"),
    texts("names", lambda one: one != "bad", "names", (), "other names"),
)
DEFAULTS = {
    "period_s": 60, "id": "x", "function": 3, "order": "big", "enabled": True, "names": (),
}  # fmt: skip


def sentence(table: object) -> str:
    """What the person is told."""
    with pytest.raises(SettingError) as caught:
        read_table(table, RULES, "line 1")
    return str(caught.value)


def test_defaults_fill_what_is_left_out() -> None:
    """And what is given stays."""
    assert read_table({"title": "a"}, RULES, "w") == {**DEFAULTS, "title": "a"}
    given_all = {
        "period_s": 3600, "title": "a" * 10, "id": "y", "function": 4, "order": "little",
        "enabled": False, "names": ["a", "b"],
    }  # fmt: skip
    assert read_table(given_all, RULES, "w") == given_all


def test_the_defaults_keep_the_order_of_the_rules() -> None:
    """A person reads the settings in the order of the table."""
    assert list(read_table({"title": "a"}, RULES, "w")) == [rule.name for rule in RULES]


def test_the_callers_table_is_not_changed() -> None:
    """Defaults go into a new table."""
    table = {"title": "a"}
    read_table(table, RULES, "w")
    assert table == {"title": "a"}


ALLOWED = {
    "period_s": "a whole number from 1 to 3600",
    "title": "a text of 1 to 10 characters",
    "id": "an identifier",
    "function": "one of 3, 4",
    "order": "one of 'big', 'little'",
    "enabled": "true or false",
    "names": "a list of names",
}
WRONG: list[tuple[str, Any]] = [
    ("period_s", 0), ("period_s", 3601), ("period_s", -1), ("period_s", True), ("period_s", "60"),
    ("period_s", 60.0), ("period_s", None), ("period_s", [60]),
    ("title", ""), ("title", "a" * 11), ("title", 5), ("title", None), ("title", ["a"]),
    ("id", "9x"), ("id", ""), ("id", 5), ("id", b"x"), ("id", None),
    ("function", 5), ("function", "3"), ("function", 3.0), ("function", True), ("function", None),
    ("function", []), ("function", {}),
    ("order", "Big"), ("order", ""), ("order", 1), ("order", ["big"]),
    ("enabled", 1), ("enabled", 0), ("enabled", "true"), ("enabled", None),
    ("names", []), ("names", ()), ("names", "a"), ("names", ["a", 5]), ("names", ["bad"]),
    ("names", {"a": 1}), ("names", None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_wrong_value_is_told_with_key_value_and_what_is_allowed(key: str, value: Any) -> None:
    """One sentence that a person can act on."""
    assert sentence({"title": "a", key: value}) == (
        f"line 1: {key} = {value!r} is not allowed; it must be {ALLOWED[key]}"
    )


@pytest.mark.parametrize("function", [1, 0])
def test_a_truth_value_is_no_number(function: int) -> None:
    """TOML's true is not 1, even where 1 is a choice."""
    rules = (choice("n", (0, 1), 0, ""), whole("m", 0, 1, 0, ""))
    assert read_table({"n": function, "m": function}, rules, "w") == {"n": function, "m": function}
    for key in ("n", "m"):
        with pytest.raises(SettingError):
            read_table({key: bool(function)}, rules, "w")


def test_a_missing_key_is_told_with_what_it_must_be() -> None:
    """Required means that there is no default."""
    assert sentence({}) == "line 1: title is missing; it must be a text of 1 to 10 characters"


def test_an_unknown_key_is_told_with_the_known_ones() -> None:
    """A typing mistake does not become a silent default."""
    assert sentence({"title": "a", "perod_s": 5}) == (
        "line 1: unknown key 'perod_s'; allowed are "
        "period_s, title, id, function, order, enabled, names"
    )
    assert sentence({"title": "a", 5: 5}).startswith("line 1: unknown key 5; ")


@pytest.mark.parametrize("table", [None, [], "title", 5, [("title", "a")]])
def test_something_else_than_a_table_is_told(table: object) -> None:
    """`[[meter]]` where `[meter]` was meant, for example."""
    assert sentence(table) == f"line 1 must be a table, not {table!r}"


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (-5, 5), (0, 65535)], ids=["one value", "signs", "word"]
)
def test_the_ends_of_a_range_are_allowed(low: int, high: int) -> None:
    """Both limits belong to the range, their neighbours do not."""
    rule = whole("n", low, high, low, "")
    assert [rule.allows(n) for n in (low - 1, low, high, high + 1)] == [False, True, True, False]


def test_a_text_has_a_limit_of_its_own_or_the_usual_one() -> None:
    """255 characters, what a file name or a certificate field holds."""
    rule = text("t", "x", "")
    assert rule.allowed == "a text of 1 to 255 characters"
    assert [rule.allows("t" * size) for size in (0, 1, 255, 256)] == [False, True, True, False]


def test_a_default_is_not_judged() -> None:
    """None as a default says that a setting is absent."""
    assert read_table({}, (whole("n", 1, 5, None, ""),), "w") == {"n": None}


@given(
    st.dictionaries(
        st.sampled_from([rule.name for rule in RULES] + ["other"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
        | st.lists(st.text(max_size=2) | st.integers(), max_size=2) | st.just({}),
        max_size=5,
    )
)  # fmt: skip
def test_any_table_gives_settings_or_a_sentence(table: dict[str, Any]) -> None:
    """The fuzz sentence: nothing but a complete set of settings or a SettingError."""
    settings, said = outcome(SettingError, read_table, table, RULES, "here")
    if said:
        assert said.startswith("here: ")
        return
    assert settings == {**DEFAULTS, **table}
    assert all(type(settings[key]) is type(value) for key, value in table.items())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_what_it_means(rule: Rule) -> None:
    """One table feeds the check, the sentence and the documentation."""
    assert type(rule) is Rule
    assert rule.meaning
    assert rule.allowed == ALLOWED[rule.name]
