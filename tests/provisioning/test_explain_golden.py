"""The sentences themselves: explained.txt, which people have read."""

from provisioning.explain import explain
from tests.provisioning.vectors import EXPLAINED, captures, explained


def test_every_sentence_is_the_one_that_was_read() -> None:
    """`python -m tests.provisioning.vectors` writes the file anew; then read the difference."""
    assert explained() == EXPLAINED.read_text()


def test_each_capture_says_something_of_its_own() -> None:
    """No sentence is empty, and none shows what only a program would write."""
    for name, wire in captures().items():
        for finding in explain(wire):
            assert finding.meaning, name
            assert not any(word in finding.meaning for word in ("None", "()", "b'", "Command("))


def test_no_capture_is_refused_by_mistake() -> None:
    """Those whose content is refused are the faulty ones."""
    faulty = {"v084", "v111", "v158", "v160", "v162"}
    refused = {name for name, wire in captures().items() if any(f.error for f in explain(wire))}
    assert {name for name in refused if name.split()[0] not in faulty} == {
        "load records, damaged inside",
        "a write of a wrong length",
        "a relay control of a wrong length",
        "a relay control whose expiry is no time",
        "rates",
        "1997: value that is none",
    }
