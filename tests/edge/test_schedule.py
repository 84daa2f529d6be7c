"""Which meter is due: wall alignment, coalescing, clock jumps and fairness; time is an argument."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.collect.schedule import IDLE_MS, JUMP_MS, Schedule
from tests.edge.fakes import BOOT_MS, UTC_MS

QUARTER_MS = 900_000
ALIGNED = UTC_MS // QUARTER_MS * QUARTER_MS


def take_due(schedule: Schedule, utc: int, boot: int) -> list[tuple[str, int]]:
    """All that is due now, with its slot."""
    taken = []
    while due := schedule.due(utc, boot):
        taken.append((due[0], schedule.take(due[0], utc)))
        assert len(taken) < 100
    return taken


def test_slots_are_aligned_to_the_wall_clock() -> None:
    """A period of 900 s polls at :00, :15, :30, :45, whenever the agent was started."""
    schedule = Schedule({"m": QUARTER_MS})
    start = ALIGNED + 100_000
    slots = []
    for ms in range(0, 4 * QUARTER_MS, 1_000):
        slots += [(ms, slot) for _, slot in take_due(schedule, start + ms, BOOT_MS + ms)]
    assert [slot for _, slot in slots] == [ALIGNED + n * QUARTER_MS for n in range(5)][: len(slots)]
    assert [ms for ms, _ in slots] == [0, 800_000, 1_700_000, 2_600_000, 3_500_000]


def test_the_wait_ends_at_the_next_slot() -> None:
    """The soonest of all meters."""
    schedule = Schedule({"a": QUARTER_MS, "b": 60_000})
    assert schedule.next_in_ms(ALIGNED) == 60_000
    assert schedule.next_in_ms(ALIGNED + 59_999) == 1
    assert schedule.next_in_ms(ALIGNED + QUARTER_MS - 10) == 10


def test_missed_slots_become_one_poll() -> None:
    """After a long pause each meter is read once, for the present slot."""
    schedule = Schedule({"a": 60_000, "b": 60_000})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 600_123, BOOT_MS + 600_123) == [
        ("a", ALIGNED + 600_000),
        ("b", ALIGNED + 600_000),
    ]
    assert schedule.jumps == 0


def test_a_step_forward_makes_one_poll_due_at_once() -> None:
    """And it is counted as a jump."""
    schedule = Schedule({"m": QUARTER_MS})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 86_400_000, BOOT_MS + 1_000) == [
        ("m", ALIGNED + 86_400_000)
    ]
    assert schedule.jumps == 1


def test_a_step_backward_resumes_at_the_next_slot_of_the_new_time() -> None:
    """A clock that was a year ahead does not silence the meters for a year."""
    schedule = Schedule({"m": QUARTER_MS})
    year = 365 * 86_400_000
    take_due(schedule, ALIGNED + year, BOOT_MS)
    assert take_due(schedule, ALIGNED + 5, BOOT_MS + 1_000) == []
    assert schedule.jumps == 1
    assert take_due(schedule, ALIGNED + QUARTER_MS - 1, BOOT_MS + QUARTER_MS + 994) == []
    assert take_due(schedule, ALIGNED + QUARTER_MS, BOOT_MS + QUARTER_MS + 995) == [
        ("m", ALIGNED + QUARTER_MS)
    ]


@pytest.mark.parametrize("drift", [-JUMP_MS, JUMP_MS])
def test_a_small_correction_is_no_jump(drift: int) -> None:
    """A slewing clock neither repeats nor skips a slot."""
    schedule = Schedule({"m": 60_000})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 10_000 + drift, BOOT_MS + 10_000) == []
    assert schedule.jumps == 0
    assert take_due(schedule, ALIGNED + 60_000, BOOT_MS + 60_000) == [("m", ALIGNED + 60_000)]


PERIODS = {"a": 15_000, "b": 60_000, "c": 7_000}
steps = st.lists(
    st.tuples(
        st.integers(0, 40_000),  # time passes, and UTC is stepped
        st.sampled_from((0, 0, 0, 0, 1)) | st.integers(-(10**9), 10**9) | st.integers(-1500, 1500),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(steps)
def test_no_slot_comes_twice_without_a_jump_backward(walk: list[tuple[int, int]]) -> None:
    """Whatever the clocks do, a slot is polled once per way forward, and always the present one."""
    schedule = Schedule(PERIODS)
    utc, boot = UTC_MS, BOOT_MS
    done: dict[str, set[int]] = {name: set() for name in PERIODS}
    for passed, jump in walk:
        utc, boot = utc + passed + jump, boot + passed
        if jump < 0:
            done = {name: set() for name in PERIODS}
        for name, slot in take_due(schedule, utc, boot):
            assert slot == utc // PERIODS[name] * PERIODS[name]
            assert slot not in done[name]
            done[name].add(slot)


@settings(max_examples=200)
@given(steps)
def test_polling_resumes_within_one_period_of_any_jump(walk: list[tuple[int, int]]) -> None:
    """After the last step every meter is polled before its period has passed, and the small steps
    back that are no jumps."""
    schedule = Schedule(PERIODS)
    utc, boot = UTC_MS, BOOT_MS
    for passed, jump in walk:
        utc, boot = utc + passed + jump, boot + passed
        take_due(schedule, utc, boot)
    seen: dict[str, int] = {}
    corrected = sum(-jump for _, jump in walk if -JUMP_MS <= jump < 0)
    for ms in range(0, max(PERIODS.values()) + corrected + 1_000, 500):
        for name, _ in take_due(schedule, utc + ms, boot + ms):
            seen.setdefault(name, ms)
    assert set(seen) == set(PERIODS)
    assert all(ms <= PERIODS[name] + corrected + 500 for name, ms in seen.items())


@pytest.mark.parametrize("sweep_ms", [9_000, 25_000, 70_000])
def test_an_overloaded_line_reads_all_its_meters_in_turn(sweep_ms: int) -> None:
    """When the periods can not be kept, every meter is late alike; none is forgotten."""
    names = [f"m-{n}" for n in range(10)]
    schedule = Schedule({name: 60_000 if n % 2 else 20_000 for n, name in enumerate(names)})
    polls = dict.fromkeys(names, 0)
    last = dict.fromkeys(names, 0)
    longest = 0
    now = 0
    for _ in range(400):
        due = schedule.due(UTC_MS + now, BOOT_MS + now)
        if not due:
            now += 1_000
            continue
        name = due[0]
        schedule.take(name, UTC_MS + now)
        polls[name] += 1
        longest = max(longest, now - last[name])
        last[name] = now
        now += sweep_ms
    assert min(polls.values()) > 0, polls
    assert longest <= 2 * (len(names) * sweep_ms + 60_000), polls


def test_a_line_without_meters_waits() -> None:
    """Nothing is due there, and that is no fault."""
    schedule = Schedule({})
    assert schedule.due(1_000, 500) == []
    assert schedule.next_in_ms(1_000) == IDLE_MS
