"""protocols/orders/refusals.py: one table of codes."""

import re
from pathlib import Path

import pytest

from protocols.envelope.claims import Claims, check_order
from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError, EnvelopeError
from protocols.orders.refusals import _REFUSALS, REFUSALS, code_of, refusal

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_by_code_and_words(code: str) -> None:
    """And the code comes back from it."""
    reason = refusal(code)
    assert reason == f"{code}: {REFUSALS[code]}"
    assert re.fullmatch(r"[a-z-]+: [a-z].*[a-z]", reason)
    assert code_of(reason) == code
    assert code_of(refusal(code, "5 of 5")) == code
    assert refusal(code, "5 of 5") == f"{reason} (5 of 5)"


def test_every_code_is_there_once() -> None:
    """A second row would silently be the one that counts."""
    rows = [line.split(" ")[0] for line in _REFUSALS.split("\n") if line]
    assert rows == list(REFUSALS)


def test_a_long_detail_is_cut() -> None:
    """A receipt's reason has a limit."""
    assert len(refusal("identity", "x" * 500)) == TEXT_SIZE_MAX


def test_an_unknown_code_is_a_fault_of_the_caller() -> None:
    """A code that is in no table is on no page."""
    with pytest.raises(CallerError, match="'tired' is no refusal"):
        refusal("tired")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("", ""),
        ("the meter is asleep", ""),
        ("clock_untrusted", "clock-untrusted"),
        ("approvals_missing: 1 of 2", "approvals-missing"),
        ("window: outside the hours", "window"),
    ],
)
def test_a_code_is_found_in_any_reason(reason: str, code: str) -> None:
    """An EnvelopeError's word is written with an underscore."""
    assert code_of(reason) == code


def test_every_word_with_which_an_order_is_refused_is_in_the_table() -> None:
    """Those that its approvals and its claims raise."""
    words = {"bad_signature", "unknown_key", "key_owner", "key_use", "key_time", "revoked_key"}
    for name in ("orders/approvals.py", "orders/order.py", "envelope/claims.py"):
        text = (ROOT / "protocols" / name).read_text()
        words |= set(re.findall(r'raise EnvelopeError\(\s*"([a-z_]+)"', text))
    assert len(words) >= 15
    assert [word for word in sorted(words) if not code_of(word)] == []


def test_every_code_that_is_used_is_in_the_table() -> None:
    """On the gateway and at the head end, wherever one is written out."""
    used = set()
    for folder in ("edge", "cloud"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            used |= set(re.findall(r'(?:RefusedHere|[^_]refusal)\(\s*"([a-z-]+)"', text))
    assert len(used) > 10
    assert used - set(REFUSALS) == set()


def test_what_a_late_order_raises_has_a_code() -> None:
    """As the gateway tells it."""
    claims = Claims(3, 1, 2, b"", bytes(8), 5)
    with pytest.raises(EnvelopeError) as caught:
        check_order(claims, 2, 1 << 40, {})
    assert code_of(str(caught.value)) == "expired"
