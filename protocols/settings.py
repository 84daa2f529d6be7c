"""Settings are tables of rules: one table feeds the check, the sentence for a person and the docs.

Pure: it judges parsed tables (TOML files, meter models, later a configuration that arrives as a
message) and never opens a file.
"""

from collections import namedtuple

from protocols.errors import SettingError

REQUIRED = object()


class Rule(namedtuple("Rule", ("name", "allows", "allowed", "default", "meaning", "form"))):
    """One setting: `allows(value)` judges it, `allowed` says in words what is allowed, `form` what
    JSON Schema can say of it."""


def whole(name: str, low: int, high: int, default: object, meaning: str) -> Rule:
    """A whole number from `low` to `high`."""

    def allows(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    form = {"type": "integer", "minimum": low, "maximum": high}
    return Rule(name, allows, f"a whole number from {low} to {high}", default, meaning, form)


def text(name: str, default: object, meaning: str, size_max: int = 255) -> Rule:
    """A text that is not empty."""

    def allows(value: object) -> bool:
        return isinstance(value, str) and 0 < len(value) <= size_max

    form = {"type": "string", "minLength": 1, "maxLength": size_max}
    return Rule(name, allows, f"a text of 1 to {size_max} characters", default, meaning, form)


def matching(name: str, test: object, allowed: str, default: object, meaning: str) -> Rule:
    """A text that `test` accepts."""

    def allows(value: object) -> bool:
        return isinstance(value, str) and bool(test(value))  # type: ignore[operator]

    return Rule(name, allows, allowed, default, meaning, {"type": "string"})


def choice(name: str, choices: tuple, default: object, meaning: str) -> Rule:
    """One of a few values."""

    def allows(value: object) -> bool:
        # By type too: true is not 1, and 3.0 is not 3.
        return any(type(one) is type(value) and one == value for one in choices)

    words = ", ".join([repr(one) for one in choices])
    return Rule(name, allows, "one of " + words, default, meaning, {"enum": list(choices)})


def flag(name: str, default: object, meaning: str) -> Rule:
    """true or false."""

    def allows(value: object) -> bool:
        return isinstance(value, bool)

    return Rule(name, allows, "true or false", default, meaning, {"type": "boolean"})


def texts(name: str, test: object, allowed: str, default: object, meaning: str) -> Rule:
    """A list of texts that `test` accepts, at least one."""

    def allows(value: object) -> bool:
        if not isinstance(value, (list, tuple)) or not value:
            return False
        return all(isinstance(one, str) and test(one) for one in value)  # type: ignore[operator]

    form = {"type": "array", "minItems": 1, "items": {"type": "string"}}
    return Rule(name, allows, "a list of " + allowed, default, meaning, form)


def read_table(table: object, rules: tuple, where: str) -> dict:
    """The settings of one table, defaults filled in; SettingError with one sentence otherwise."""
    if not isinstance(table, dict):
        raise SettingError(f"{where} must be a table, not {table!r}")
    names = [rule.name for rule in rules]
    for key in table:
        if key not in names:
            raise SettingError(f"{where}: unknown key {key!r}; allowed are " + ", ".join(names))
    settings = {}
    for rule in rules:
        value = table.get(rule.name, rule.default)
        if value is REQUIRED:
            raise SettingError(f"{where}: {rule.name} is missing; it must be {rule.allowed}")
        if rule.name in table and not rule.allows(value):
            raise SettingError(
                f"{where}: {rule.name} = {value!r} is not allowed; it must be {rule.allowed}"
            )
        settings[rule.name] = value
    return settings
