"""tests/fuzz/targets.py in the everyday suite: each target over its seeds, and over any bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_target_keep_its_sentence(name: str) -> None:
    """What a fuzzer starts from reaches deep and is sound."""
    assert len(TARGETS[name].seeds) >= 5
    for seed in TARGETS[name].seeds:
        assert TARGETS[name].check(seed) is None


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150)
@given(source=st.data())
def test_any_bytes_keep_the_sentence_of_a_target(name: str, source: st.DataObject) -> None:
    """Noise, and seeds with some bytes changed, lost, added or cut off."""
    seeds = TARGETS[name].seeds
    data = bytearray(source.draw(st.binary(max_size=80) | st.sampled_from(seeds)))
    for _ in range(source.draw(st.integers(0, 4))):
        at = source.draw(st.integers(0, len(data)))
        data[at : at + source.draw(st.integers(0, 3))] = source.draw(st.binary(max_size=3))
    assert TARGETS[name].check(bytes(data)) is None


def test_a_target_that_is_broken_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that gives a wrong error, or another result, does not pass."""

    def breaks(*_: object) -> None:
        raise IndexError("index out of range")

    broken = {"deframer": "fault_at", "values": "decode_items", "commands": "decode_command",
              "exchange": "Exchange", "records": "decode_freeze"}  # fmt: skip
    for name, part in broken.items():
        place = "protocols.dlt645.deframer" if name == "deframer" else "tests.fuzz.targets"
        with monkeypatch.context() as patch:
            patch.setattr(f"{place}.{part}", breaks)
            with pytest.raises(IndexError):
                check_all(name)


def check_all(name: str) -> None:
    """Every seed of a target."""
    for seed in TARGETS[name].seeds:
        TARGETS[name].check(seed)
