"""Which meter is due: wall alignment, coalescing, clock jumps and fairness; time is an argument."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.collect.schedule import IDLE_MS, JUMP_MS, MOVED, Missed, Schedule, Task
from edge.timekeeping import TOLERANCE_MS
from tests.edge.fakes import BOOT_MS, UTC_MS

QUARTER_MS = 900_000
ALIGNED = UTC_MS // QUARTER_MS * QUARTER_MS


def scheduled(periods_ms: dict[str, int], last: dict[str, int] | None = None) -> Schedule:
    """A schedule of aligned tasks."""
    return Schedule([Task(name, name, "", ms, True) for name, ms in periods_ms.items()], last)


def take_due(schedule: Schedule, utc: int, boot: int) -> list[tuple[str, int]]:
    """All that is due now, with its slot."""
    taken = []
    while due := schedule.due(utc, boot):
        taken.append((due[0], schedule.take(due[0], utc, boot)))
        assert len(taken) < 100
    return taken


def test_slots_are_aligned_to_the_wall_clock() -> None:
    """A period of 900 s polls at :00, :15, :30, :45, whenever the agent was started."""
    schedule = scheduled({"m": QUARTER_MS})
    start = ALIGNED + 100_000
    slots = []
    for ms in range(0, 4 * QUARTER_MS, 1_000):
        slots += [(ms, slot) for _, slot in take_due(schedule, start + ms, BOOT_MS + ms)]
    assert [slot for _, slot in slots] == [ALIGNED + n * QUARTER_MS for n in range(5)][: len(slots)]
    assert [ms for ms, _ in slots] == [0, 800_000, 1_700_000, 2_600_000, 3_500_000]


def test_the_wait_ends_at_the_next_slot() -> None:
    """The soonest of all meters."""
    schedule = scheduled({"a": QUARTER_MS, "b": 60_000})
    assert schedule.next_in_ms(ALIGNED, BOOT_MS) == 60_000
    assert schedule.next_in_ms(ALIGNED + 59_999, BOOT_MS) == 1
    assert schedule.next_in_ms(ALIGNED + QUARTER_MS - 10, BOOT_MS) == 10


def test_missed_slots_become_one_poll() -> None:
    """After a long pause each meter is read once, for the present slot."""
    schedule = scheduled({"a": 60_000, "b": 60_000})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 600_123, BOOT_MS + 600_123) == [
        ("a", ALIGNED + 600_000),
        ("b", ALIGNED + 600_000),
    ]
    assert schedule.jumps == 0


def test_a_step_forward_makes_one_poll_due_at_once() -> None:
    """And it is counted as a jump."""
    schedule = scheduled({"m": QUARTER_MS})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 86_400_000, BOOT_MS + 1_000) == [
        ("m", ALIGNED + 86_400_000)
    ]
    assert schedule.jumps == 1


def test_a_step_backward_resumes_at_the_next_slot_of_the_new_time() -> None:
    """A clock that was a year ahead does not silence the meters for a year."""
    schedule = scheduled({"m": QUARTER_MS})
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
    schedule = scheduled({"m": 60_000})
    take_due(schedule, ALIGNED, BOOT_MS)
    assert take_due(schedule, ALIGNED + 10_000 + drift, BOOT_MS + 10_000) == []
    assert schedule.jumps == 0
    assert take_due(schedule, ALIGNED + 60_000, BOOT_MS + 60_000) == [("m", ALIGNED + 60_000)]


@pytest.mark.parametrize("back_ms", [1, 3, JUMP_MS, JUMP_MS + 1, TOLERANCE_MS])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_slot_that_began_is_not_run_again_by_a_small_step_back(
    back_ms: int, is_restarted: bool
) -> None:
    """Nor is the one before it: nobody is told of such a step, so it makes no new time."""
    schedule = scheduled({"m": 60_000}, {"m": ALIGNED - 60_000})
    assert take_due(schedule, ALIGNED, BOOT_MS) == [("m", ALIGNED)]
    assert schedule.store("m", ALIGNED) is None
    if is_restarted:
        schedule = scheduled({"m": 60_000}, schedule.slots())
    runs = []
    for ms in range(0, 60_000 + back_ms + 100, 50):
        utc = ALIGNED + ms - back_ms
        runs += [(utc, slot) for _, slot in take_due(schedule, utc, BOOT_MS + ms)]
    assert [slot for _, slot in runs] == [ALIGNED + 60_000]
    assert runs[0][0] - (ALIGNED + 60_000) < 50


def test_a_slot_in_flight_while_utc_is_put_back_is_due_again() -> None:
    """Its readings are stored without its name: it was another time's."""
    schedule = scheduled({"m": 60_000}, {"m": ALIGNED - 60_000})
    assert take_due(schedule, ALIGNED, BOOT_MS) == [("m", ALIGNED)]
    back_ms = JUMP_MS + 200
    assert take_due(schedule, ALIGNED + 100 - back_ms, BOOT_MS + 100) == []
    assert take_due(schedule, ALIGNED, BOOT_MS + back_ms) == [("m", ALIGNED)]


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
    schedule = scheduled(PERIODS)
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
    schedule = scheduled(PERIODS)
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
    schedule = scheduled({name: 60_000 if n % 2 else 20_000 for n, name in enumerate(names)})
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
        schedule.take(name, UTC_MS + now, BOOT_MS + now)
        polls[name] += 1
        longest = max(longest, now - last[name])
        last[name] = now
        now += sweep_ms
    assert min(polls.values()) > 0, polls
    assert longest <= 2 * (len(names) * sweep_ms + 60_000), polls


def test_a_line_without_meters_waits() -> None:
    """Nothing is due there, and that is no fault."""
    schedule = scheduled({})
    assert schedule.due(1_000, 500) == []
    assert schedule.next_in_ms(1_000, BOOT_MS) == IDLE_MS


def test_an_interval_task_begins_with_its_last_run() -> None:
    """Not with the wall clock: one period after it was begun, whatever UTC does."""
    schedule = Schedule([Task("m", "m", "", 60_000, False)])
    assert take_due(schedule, ALIGNED + 7, BOOT_MS) == [("m", ALIGNED + 7)]
    assert schedule.next_in_ms(ALIGNED + 7, BOOT_MS) == 60_000
    assert take_due(schedule, ALIGNED + 999_000, BOOT_MS + 59_999) == []
    assert take_due(schedule, ALIGNED - 5, BOOT_MS + 60_000) == [("m", ALIGNED - 5)]


@pytest.mark.parametrize(("is_aligned", "due_in_ms"), [(True, 60_000), (False, 40_000)])
def test_a_restart_does_not_repeat_the_slot_that_is_journaled(
    is_aligned: bool, due_in_ms: int
) -> None:
    """The next one comes when it would have come without the restart."""
    last = ALIGNED if is_aligned else ALIGNED - 20_000
    schedule = Schedule([Task("m", "m", "", 60_000, is_aligned)], {"m": last})
    runs = []
    for ms in range(0, 70_000, 1_000):
        runs += [ms for _ in take_due(schedule, ALIGNED + ms, BOOT_MS + ms)]
    assert runs == [due_in_ms]


def test_a_slot_of_the_future_does_not_silence_a_meter() -> None:
    """It was named by a clock that was wrong; or the clock is wrong now, and is put right later:
    then the slot that is in the journal is not run again."""
    schedule = scheduled({"m": QUARTER_MS}, {"m": ALIGNED + 86_400_000})
    assert len(take_due(schedule, ALIGNED, BOOT_MS)) == 1
    assert take_due(schedule, ALIGNED + 86_400_000, BOOT_MS + 5_000) == []
    assert len(take_due(schedule, ALIGNED + 86_400_000 + QUARTER_MS, BOOT_MS + QUARTER_MS)) == 1


def test_slots_between_two_that_were_stored_are_missed() -> None:
    """Whatever became of them: the gateway was off, the meter silent, the line busy."""
    schedule = scheduled({"m": 60_000}, {"m": ALIGNED - 180_000})
    slot = take_due(schedule, ALIGNED, BOOT_MS)[0][1]
    assert schedule.store("m", slot) == Missed(ALIGNED - 120_000, ALIGNED - 60_000, 2)
    slot = take_due(schedule, ALIGNED + 60_000, BOOT_MS + 60_000)[0][1]
    assert schedule.store("m", slot) is None


def test_a_task_with_a_new_period_repeats_no_slot_and_misses_none_unsaid() -> None:
    """Its last slot, of the period before, lies between two of the new one."""
    last = ALIGNED + 420_000
    schedule = scheduled({"m": QUARTER_MS}, {"m": last})
    assert take_due(schedule, last + 60_000, BOOT_MS) == []
    missed, slot = ALIGNED + QUARTER_MS, ALIGNED + 2 * QUARTER_MS
    assert take_due(schedule, missed, BOOT_MS + 420_000) == [("m", missed)]
    assert take_due(schedule, slot, BOOT_MS + 420_000 + QUARTER_MS) == [("m", slot)]
    assert schedule.store("m", slot) == Missed(missed, missed, 1)


def test_slots_that_a_clock_jump_left_out_are_the_clocks() -> None:
    """Until a slot of the new time is stored."""
    schedule = scheduled({"m": 60_000}, {"m": ALIGNED - 60_000})
    take_due(schedule, ALIGNED, BOOT_MS)
    schedule.store("m", ALIGNED)
    later = ALIGNED + 180_000
    assert take_due(schedule, later, BOOT_MS + 1_000) == [("m", later)]
    assert schedule.store("m", later) == Missed(ALIGNED + 60_000, ALIGNED + 120_000, 2, MOVED)
    assert take_due(schedule, later + 120_000, BOOT_MS + 121_000) == [("m", later + 120_000)]
    assert schedule.store("m", later + 120_000) == Missed(later + 60_000, later + 60_000, 1)


def test_a_slot_that_is_given_back_is_due_again_while_it_lasts() -> None:
    """And then it is the next slot that is due."""
    schedule = scheduled({"m": 60_000}, {"m": ALIGNED - 60_000})
    assert take_due(schedule, ALIGNED, BOOT_MS) == [("m", ALIGNED)]
    schedule.give_back("m")
    assert take_due(schedule, ALIGNED + 59_999, BOOT_MS + 59_999) == [("m", ALIGNED)]
    schedule.give_back("m")
    assert take_due(schedule, ALIGNED + 60_000, BOOT_MS + 60_000) == [("m", ALIGNED + 60_000)]


def test_a_task_that_may_not_run_leaves_the_others_their_turn() -> None:
    """Its slot stays due."""
    schedule = scheduled({"a": 60_000, "b": 60_000})
    assert schedule.due(ALIGNED, BOOT_MS, lambda task: task.name != "a") == ["b"]
    assert schedule.due(ALIGNED, BOOT_MS) == ["a", "b"]
