"""protocols/topics.py: the topics of one gateway, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import CallerError
from protocols.topics import NAME_SIZE_MAX, SUFFIXES, Topic, is_name

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)


@given(NAMES, NAMES, st.sampled_from(SUFFIXES))
def test_a_topic_comes_back_from_its_text(tenant: str, gateway: str, suffix: str) -> None:
    """Text and parts are inverse."""
    topic = Topic(tenant, gateway, suffix)
    assert Topic.from_text(topic.text()) == topic
    assert type(Topic.from_text(topic.text())) is Topic


def test_the_topics_are_those_of_the_design() -> None:
    """Version, tenant, gateway, direction and a letter."""
    assert [Topic("t1", "gw-1", suffix).text() for suffix in SUFFIXES] == [
        "busbar/1/t1/gw-1/up/d",
        "busbar/1/t1/gw-1/up/e",
        "busbar/1/t1/gw-1/up/r",
        "busbar/1/t1/gw-1/up/h",
        "busbar/1/t1/gw-1/up/l",
        "busbar/1/t1/gw-1/st",
        "busbar/1/t1/gw-1/dn/c",
        "busbar/1/t1/gw-1/dn/a",
        "busbar/1/t1/gw-1/dn/cfg",
        "busbar/1/t1/gw-1/dn/p",
        "busbar/1/t1/gw-1/dn/s",
        "busbar/1/t1/gw-1/dn/k",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "busbar", "busbar/1/t1/gw1", "busbar/1/t1/gw1/", "busbar/1/t1/gw1/up",
        "busbar/1/t1/up/d",
        "busbar/1/t1/gw1/up/x", "busbar/1/t1/gw1/up/d/", "busbar/1/t1/gw1/up/d/x",
        "busbar/1/t1/gw1//up/d", "/busbar/1/t1/gw1/up/d", "busbar/2/t1/gw1/up/d",
        "Busbar/1/t1/gw1/up/d", "busbar/1/T1/gw1/up/d", "busbar/1/t1/GW1/up/d",
        "busbar/1//gw1/up/d", "busbar/1/t1//up/d", "busbar/1/-t/gw1/up/d", "busbar/1/t1/-g/up/d",
        "busbar/1/+/gw1/up/d", "busbar/1/t1/#", "busbar/1/t1/gw1/UP/D", "busbar/1/t1/gw1/up/d ",
        "busbar/1/t1/gw 1/up/d", "$share/g/busbar/1/t1/gw1/up/d", "busbar/1/" + "a" * 33 + "/g/st",
    ],
)  # fmt: skip
def test_any_other_text_is_not_our_topic(text: str) -> None:
    """CallerError; the text itself is not repeated in the error."""
    with pytest.raises(CallerError, match=r"^not a Busbar topic$"):
        Topic.from_text(text)


@given(st.text("busbar/1tgw-updenchkfg+#$", max_size=40))
def test_any_text_is_a_topic_or_a_caller_error(text: str) -> None:
    """The fuzz sentence: what is accepted is written in exactly one way."""
    try:
        topic = Topic.from_text(text)
    except CallerError:
        return
    assert topic.text() == text


@pytest.mark.parametrize("name", ["a", "0", "gw-1", "a-", "9" * NAME_SIZE_MAX])
def test_a_name_is_lower_case_and_short(name: str) -> None:
    """1..32 of a-z, 0-9 and -."""
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a b", "ä", "a/b", "a\n", "٣", "9" * 33])
def test_anything_else_is_no_name(name: str) -> None:
    """Nothing that a broker, a file system or a certificate would read differently."""
    assert not is_name(name)
