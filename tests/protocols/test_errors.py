"""protocols/errors.py: errors named by what the caller does next."""

import inspect

import pytest

from protocols import errors
from protocols.errors import (
    BusbarError,
    CallerError,
    EnvelopeError,
    FrameError,
    LineError,
    RefusedError,
    SettingError,
    UnsupportedError,
    ValueFormatError,
)

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_every_error_is_one_of_ours(one: type[Exception]) -> None:
    """One root, a name that ends in Error, a sentence, and a mention in the module's list."""
    assert issubclass(one, BusbarError)
    assert not issubclass(one, (ValueError, KeyError, OSError))
    assert one.__name__.endswith("Error")
    assert one.__doc__
    family = {FrameError: LineError, UnsupportedError: RefusedError}
    listed = family.get(one, one)
    assert one in (BusbarError, FrameError) or f"`{listed.__name__}`" in str(errors.__doc__)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (FrameError, {LineError}),
        (UnsupportedError, {RefusedError}),
        (LineError, set()),
        (RefusedError, set()),
        (ValueFormatError, set()),
        (CallerError, set()),
        (EnvelopeError, set()),
        (SettingError, set()),
    ],
)
def test_what_repeats_a_question_does_not_catch_what_ends_it(
    error: type[Exception], parents: set[type[Exception]]
) -> None:
    """Only a damaged frame is a line error, only "unsupported" is a refusal."""
    assert {one for one in CLASSES if issubclass(error, one)} == {error, BusbarError, *parents}


def test_a_reason_and_its_detail_are_told_apart() -> None:
    """`reason` counts, the text explains."""
    for kind in (FrameError, EnvelopeError):
        assert (kind("word").reason, str(kind("word"))) == ("word", "word")
        assert (kind("word", "why").reason, str(kind("word", "why"))) == ("word", "word: why")


def test_a_refusal_keeps_the_raw_error_number() -> None:
    """Number and names stand beside the sentence."""
    error = UnsupportedError("no such item", 0x22, ("no requested data",))
    assert (str(error), error.code, error.names) == ("no such item", 0x22, ("no requested data",))
    assert RefusedError("no", 4).names == ()
