"""The day's bytes: counted over restarts, and never less than what went."""

import json
import random

import pytest

from edge.sync.allowance import DAY_MS, MESSAGE_OVERHEAD, Allowance

MOST = 100_000
TODAY = 20_700 * DAY_MS


def begun(most: int = MOST, saved: object = None) -> Allowance:
    """A trusted day."""
    one = Allowance(most, saved)
    one.look(TODAY, is_trusted=True)
    return one


def spend(one: Allowance, total: int) -> None:
    """Up to this many bytes."""
    one.add(total - one.bytes_today - MESSAGE_OVERHEAD)
    assert one.bytes_today == total


def test_the_backlog_stops_first_and_live_rows_at_the_end() -> None:
    """At 80 % and at 100 %; each is told once."""
    one = begun()
    spend(one, 79_999)
    assert (one.takes_backlog, one.takes_live, one.news()) == (True, True, "")
    spend(one, 80_150)
    assert (one.takes_backlog, one.takes_live) == (False, True)
    assert one.news() == "80 % of 100000 bytes: the backlog waits for the next UTC day"
    assert one.news() == ""
    spend(one, 100_150)
    assert (one.takes_backlog, one.takes_live) == (False, False)
    words = "all of 100000 bytes: greetings, receipts, audit entries and alarms"
    assert one.news().startswith(words)
    assert one.news() == ""


def test_rows_that_would_exceed_the_day_do_not_go() -> None:
    """To the byte; what is left may still be used by others."""
    one = begun()
    spend(one, 70_000)
    assert one.fits(10_000 - MESSAGE_OVERHEAD, is_backlog=True)
    assert not one.fits(10_001 - MESSAGE_OVERHEAD, is_backlog=True)
    assert (one.takes_backlog, one.takes_live) == (False, True)
    assert one.fits(30_000 - MESSAGE_OVERHEAD, is_backlog=False)
    assert not one.fits(30_001 - MESSAGE_OVERHEAD, is_backlog=False)
    assert not one.takes_live


def test_without_a_limit_everything_goes_and_is_counted() -> None:
    """Nothing is kept, because nothing depends on it."""
    one = begun(0)
    one.add(1 << 40)
    assert one.fits(1 << 40, is_backlog=True)
    assert (one.takes_backlog, one.takes_live, one.news(), one.is_unsaved) == (
        True,
        True,
        "",
        False,
    )
    assert one.bytes_today == (1 << 40) + MESSAGE_OVERHEAD


def test_a_new_day_begins_at_utc_midnight() -> None:
    """With all of its bytes."""
    one = begun()
    spend(one, 100_150)
    one.look(TODAY + DAY_MS - 1, is_trusted=True)
    assert not one.takes_live
    one.look(TODAY + DAY_MS, is_trusted=True)
    assert (one.takes_backlog, one.takes_live, one.bytes_today) == (True, True, 0)
    spend(one, 80_150)
    assert one.news().startswith("80 %"), "it is told again"


def test_an_untrusted_clock_that_goes_back_gives_no_bytes() -> None:
    """A gateway without a battery starts in the past; a trusted clock may correct a future."""
    one = begun()
    spend(one, 100_150)
    one.look(TODAY - 30 * DAY_MS, is_trusted=False)
    assert (one.takes_live, one.bytes_today) == (False, 100_150)
    one.look(TODAY - DAY_MS, is_trusted=True)
    assert (one.takes_live, one.bytes_today) == (True, 0)


@pytest.mark.parametrize("seed", range(20))
def test_a_restart_never_counts_less_than_was_sent(seed: int) -> None:
    """Kill it anywhere: of the count only the last message may be missing, and at most a hundredth
    of the day is counted that was not sent; an orderly stop keeps it exactly."""
    chance = random.Random(seed)
    one = begun()
    kept = one.memo() if one.is_unsaved else None
    sent = writes = last = 0
    for _ in range(chance.randrange(1, 120)):
        last = chance.randrange(1, 900) + MESSAGE_OVERHEAD
        one.add(last - MESSAGE_OVERHEAD)
        sent += last
        dies_now = chance.random() < 0.02
        if one.is_unsaved and not dies_now:
            kept = one.memo()
            writes += 1
        if dies_now:
            break
    counted = begun(saved=kept).bytes_today
    assert sent - last <= counted <= sent + MOST // 100
    assert writes <= sent * 100 // MOST + 4, "the disk is not written for each message"
    assert begun(saved=one.memo(is_exact=True)).bytes_today == sent


def test_a_level_that_was_told_is_not_told_again_after_a_restart() -> None:
    """Unless another limit was set."""
    one = begun()
    spend(one, 85_000)
    assert one.news()
    saved = one.memo()
    again = begun(saved=saved)
    again.add(10)
    assert (again.takes_backlog, again.news()) == (False, "")
    more = begun(2 * MOST, saved)
    more.add(10)
    assert (more.takes_backlog, more.news()) == (True, "")
    less = begun(MOST // 2, saved)
    less.add(10)
    assert less.news().startswith("all of 50000 bytes")


@pytest.mark.parametrize("saved", [None, "", "no", 5, b"\x00", "[1, 2]", json.dumps({"a": 1})])
def test_a_memo_that_is_none_begins_a_day(saved: object) -> None:
    """Of a first start, or another version."""
    assert begun(saved=saved).bytes_today == 0
