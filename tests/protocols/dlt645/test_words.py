"""protocols/dlt645/words.py and relay.py: what the bits of a meter's words say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645.identifiers import identifier_bytes, items_of
from protocols.dlt645.relay import (
    ACTION_BY_NAME,
    ACTION_NAMES,
    DELAYED,
    UNKNOWN_TERMS,
    RelayAction,
    relay_state,
)
from protocols.dlt645.rows import BITS
from protocols.dlt645.words import WORDS, word_texts

# Word, value, what it says: typed from the reference, bit by bit.
SAID = [
    ("04000501", 0x0000, ("external switch control: level, demand method: sliding, "
                         "multifunction output+: clock")),
    ("04000501", 0x0087, ("external switch control: pulse, demand method: block, clock battery "
                         "low, multifunction output+: tariff")),
    ("04000501", 0xF300, ("external switch control: level, demand method: sliding, multifunction "
                         "output+: clock, control circuit error+, security module error+, program "
                         "error+, memory fault+, overdraft+, clock fault+")),
    ("04000502", 0x0071, ("active power reversed phase A, reactive power reversed phase A, "
                         "reactive power reversed phase B, reactive power reversed phase C")),
    ("04000503", 0x0050, ("day period set: first, supply: main, relay: open, year zone set: first, "
                         "relay command: open, prepayment: none, rate price set: first, "
                         "step set: first")),
    ("04000503", 0xFA8D, ("day period set: second, supply: battery, programming permitted, relay: "
                         "closed, year zone set: first, relay command: close, alarm before a "
                         "disconnect, prepayment: money, rate price set: first, step set: second, "
                         "keep power+, identity authentication valid+, local account not opened+, "
                         "remote account not opened+")),
    ("04000504", 0x0181, "loss of voltage, phase break, current break"),
    ("04000506", 0x007E, ("under-voltage, over-voltage, loss of current, over-current, overload, "
                         "reverse flow")),
    ("04000505", 0x8000, "bit 15"),
    ("04000507", 0x0701, ("voltage reverse sequence, severe current unbalance, meter cover open+, "
                         "terminal cover open+")),
    ("04000601", 0x05, "forward added, reverse added"),
    ("04000602", 0x41, "quadrant 1 added, quadrant 4 added"),
    ("04000603", 0x28, "quadrant 2 subtracted, quadrant 3 subtracted"),
    ("04000703", 0x20, "9600 bit/s"),
    ("04000801", 0x7E, ("Sunday: rest, Monday: work, Tuesday: work, Wednesday: work, Thursday: "
                       "work, Friday: work, Saturday: work")),
    ("04000901", 0x21, "voltage, current, frequency, demand"),
    ("04000906", 0x91, "forward active, quadrants, variables"),
    ("C020", 0x84, "battery low, bit 7"),
    ("C021", 0x61, "phase A out, over-voltage phase B, over-voltage phase C"),
]  # fmt: skip


@pytest.mark.parametrize(("di", "value", "said"), SAID)
def test_a_word_is_told_bit_by_bit(di: str, value: int, said: str) -> None:
    """Facts when they hold, choices always, and set bits without a name by their number."""
    assert ", ".join(word_texts(identifier_bytes(di), value)) == said


@pytest.mark.parametrize("di", WORDS)
def test_every_word_that_has_names_is_one_of_the_catalog(di: str) -> None:
    """And no bit of it has two names, or lies outside."""
    (item,) = items_of(identifier_bytes(di), 0)
    assert item.form == BITS
    seen = [bit for one in WORDS[di] for bit in range(one.first, one.first + one.count)]
    assert len(set(seen)) == len(seen)
    assert max(seen) < 8 * item.size
    for one in WORDS[di]:
        assert len(one.values) == (1 << one.count if one.values else 0)


@given(st.sampled_from(sorted(WORDS)), st.integers(0, 0xFFFF))
def test_every_set_bit_of_a_word_is_told(di: str, value: int) -> None:
    """Nothing that a meter says is swallowed."""
    named = sum(((1 << one.count) - 1) << one.first for one in WORDS[di])
    texts = word_texts(identifier_bytes(di), value)
    rest = [f"bit {bit}" for bit in range(16) if value & ~named & 1 << bit]
    assert list(texts[len(texts) - len(rest) :]) == rest
    facts = [one.name for one in WORDS[di] if not one.values and value >> one.first & 1]
    assert [text for text in texts if text in facts] == facts


@pytest.mark.parametrize("di", ["00010000", "04001101", "FFFFFFFF", "C022"])
def test_a_word_without_names_says_nothing(di: str) -> None:
    """The raw number is all there is."""
    assert word_texts(identifier_bytes(di), 0xFF) == ()


@pytest.mark.parametrize(
    ("word", "state"),
    [(0x0000, "connected"), (0x0050, "disconnected"), (0x0010, "armed"), (0x0040, "opening"),
     (0xFFAF, "connected"), (0xFFFF, "disconnected")],
)  # fmt: skip
def test_the_relay_is_told_by_contact_and_command(word: int, state: str) -> None:
    """Bit 4 is the contact, bit 6 the command; nothing else counts."""
    assert relay_state(word) == state


def test_the_relay_commands_are_those_of_the_field() -> None:
    """N1 by its name, both ways; a model takes nothing until its file says so."""
    assert ACTION_NAMES == {
        0x1A: "disconnect", 0x1B: "arm", 0x1C: "connect", 0x1D: "delayed_connect",
        0x1E: "delayed_arm", 0x2A: "alarm_on", 0x2B: "alarm_off", 0x3A: "keep_power_on",
        0x3B: "keep_power_off",
    }  # fmt: skip
    assert {ACTION_BY_NAME[name]: name for name in ACTION_BY_NAME} == ACTION_NAMES
    assert DELAYED == (RelayAction.DELAYED_CONNECT, RelayAction.DELAYED_ARM)
    assert UNKNOWN_TERMS == ((), (), False)
