"""What only a whole machine shows: a clock of its own that may be set, and UARTs of its own.

The guest is started with a clock that is years wrong. `tests/bench_kit/guest_facts.py` tries things
there, one after the other; each test judges one of them.
"""

import json
import termios
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from protocols.readings import TimeQuality
from tests.bench_kit.guest import SHARE, Guest, python, require_guest
from tests.bench_kit.guest_facts import BETWEEN_S, DAY_S, EVERYTHING, PERIOD_S, STEPS_S
from tests.bench_kit.vm import BENCH_FILE, back_to_back, run_to_end

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
PAST, FUTURE = "2019-01-01T00:00:00", "2031-01-01T00:00:00"  # what its battery kept
RTC_UTC_MS = {PAST: 1_546_300_800_000, FUTURE: 1_924_992_000_000}
BOOT_MS_MAX = 180_000  # a slow machine
GAP_MS_MAX = 2_500  # between two readings of a second's period: a slow machine again
SLACK_MS = 500  # between two looks at a clock


def facts_of(folder: Path, rtc: str, words: str = "") -> dict[str, Any]:
    """What a guest found out that was started with this time."""
    guest = Guest(folder)
    (guest.share / "bench.toml").write_text(BENCH_FILE)
    console = run_to_end(
        guest,
        python(f"-m tests.bench_kit.guest_facts {SHARE}/bench.toml {SHARE}/facts.json {words}"),
        back_to_back(folder) + f" -rtc base={rtc}",
    )
    told, log = guest.share / "facts.json", guest.share / "log"
    assert told.exists(), log.read_text()[-3000:] if log.exists() else console[-1000:]
    found: dict[str, Any] = json.loads(told.read_text())
    return found


@pytest.fixture(scope="module")
def facts(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """Of one guest for all tests."""
    require_guest(request.config)
    return facts_of(tmp_path_factory.mktemp("machine"), FUTURE, EVERYTHING)


# --- the clock ----------------------------------------------------------------------------------


def test_a_wrong_clock_is_shown_as_one_that_nobody_vouches_for(facts: dict[str, Any]) -> None:
    """The time of the battery's clock is taken, years wrong, and every reading says rtc."""
    check_start(facts, FUTURE, TimeQuality.RTC)
    qualities = {quality for _, _, quality in facts["clock"]["polled"]["sets"]}
    assert qualities == {TimeQuality.RTC}


def test_a_clock_from_before_the_software_is_not_even_that(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Shown, and told as unsynced: it can not be right."""
    require_guest(request.config)
    check_start(facts_of(tmp_path, PAST), PAST, TimeQuality.UNSYNCED)


def check_start(facts: dict[str, Any], rtc: str, quality: int) -> None:
    """The time that the guest was started with, and this word for it."""
    start = facts["start"]
    assert start["quality"] == quality
    assert RTC_UTC_MS[rtc] <= start["utc_ms"] <= RTC_UTC_MS[rtc] + BOOT_MS_MAX
    assert 0 < start["boot_ms"] < BOOT_MS_MAX


def test_boot_time_does_not_jump_with_the_wall_clock(facts: dict[str, Any]) -> None:
    """The gateway's UTC went a day forward and back, its boot clock went on as CLOCK_MONOTONIC."""
    for seconds, moved in zip(STEPS_S, facts["clock"]["polled"]["steps"], strict=True):
        assert abs(moved["utc"] - seconds * 1000) < SLACK_MS
        assert 0 <= moved["boot"] < SLACK_MS
        assert abs(moved["boot"] - moved["monotonic"]) < SLACK_MS


def test_polling_goes_on_over_every_step(facts: dict[str, Any]) -> None:
    """No meter falls silent, no second is skipped for long, and each reading says when it was."""
    polled = facts["clock"]["polled"]
    assert polled["failures"] == ""
    boots = [boot_at for _, boot_at, _ in polled["sets"]]
    gaps = [late - soon for soon, late in pairwise(boots)]
    assert all(0 < gap <= GAP_MS_MAX for gap in gaps), gaps
    spans_s = BETWEEN_S * (len(STEPS_S) + 1)
    assert len(boots) >= spans_s / PERIOD_S / 2
    assert boots[-1] - boots[0] >= (spans_s - 2 * GAP_MS_MAX / 1000) * 1000


def test_no_slot_is_polled_twice_and_every_step_is_seen(facts: dict[str, Any]) -> None:
    """Slots of yesterday, today and tomorrow; one jump counted for each step."""
    polled = facts["clock"]["polled"]
    slots = [read_at // (PERIOD_S * 1000) for read_at, _, _ in polled["sets"]]
    assert sorted(set(slots)) == sorted(slots)
    days = {round((slot * PERIOD_S - slots[0] * PERIOD_S) / DAY_S) for slot in slots}
    assert days == {-1, 0, 1}
    assert polled["jumps"] == len(STEPS_S)


def test_signed_time_stays_when_somebody_sets_the_system_clock(facts: dict[str, Any]) -> None:
    """What the head end told goes on with the boot clock."""
    for held in facts["clock"]["anchored"]:
        assert held["quality"] == TimeQuality.SIGNED
        assert abs(held["apart_ms"]) < SLACK_MS


def test_synchronised_time_stays_when_somebody_sets_the_system_clock(
    facts: dict[str, Any],
) -> None:
    """At once, when the kernel has taken its word back, and when it gives it for the wrong time:
    then the time is in doubt, and held."""
    told = facts["clock"]["synchronised"]
    assert [held["quality"] for held in told] == [TimeQuality.NTP] * 4
    assert [held["is_in_doubt"] for held in told] == [False, False, False, True]
    assert all(abs(held["apart_ms"]) < SLACK_MS for held in told)


# --- the UARTs ----------------------------------------------------------------------------------


def test_the_gateways_port_holds_rts_and_dtr(facts: dict[str, Any]) -> None:
    """As pyserial opens it: an adapter whose driver RTS enables would talk for ever."""
    both = termios.TIOCM_RTS | termios.TIOCM_DTR
    assert facts["uart"]["opened"] & both == both


def test_rts_is_set_and_read_back_but_not_heard_at_the_other_end(facts: dict[str, Any]) -> None:
    """qemu's socket carries bytes alone: the other UART always sees CTS."""
    assert facts["uart"]["here"] == [False, True, False]
    assert facts["uart"]["there"] == [True, True, True]


def test_rts_reaches_cts_inside_the_looped_uart(facts: dict[str, Any]) -> None:
    """The only wire for it that this machine has."""
    assert facts["uart"]["looped"] == [False, True, False]


def test_the_driver_refuses_the_rs485_mode(facts: dict[str, Any]) -> None:
    """A 16550 has none: it tells that the mode is off, and will not turn it on. Nor has a pty."""
    assert facts["uart"]["rs485"] == ["flags 0", "ENOTTY"]
    assert facts["uart"]["pty"] == ["ENOTTY", "ENOTTY"]
