"""When this gateway cuts and when it does not: protection, hours, ceilings, lease, clock. What
forbids a cut never forbids a restore."""

from typing import Any

import pytest

from edge.journal.ledger import Intent
from protocols.orders.states import OrderState
from protocols.readings import TimeQuality
from tests.edge.orders.desk_world import (
    CLOSED,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOW,
    OPEN,
    World,
)

FRIDAY_MS = 3 * DAY_MS  # from NOW, a Tuesday


def expect_restores(world: World) -> None:
    """Nothing of it holds them up."""
    assert world.carry_out("arm", meter_id="m-39") == ""


def far_policy(world: World, **fields: Any) -> None:
    """One that holds for long."""
    now = world.clock.utc_ms()
    world.policy(**{"cuts_until": now + 40 * DAY_MS, "calendar_until": now + 60 * DAY_MS} | fields)


# ---- I5: protected meters and keep-power --------------------------------------------------------


@pytest.mark.parametrize("where", ["settings", "policy"])
@pytest.mark.parametrize("action", ["disconnect", "keep-power-off"])
def test_i05_a_protected_meter_is_not_cut(world: World, where: str, action: str) -> None:
    """Either of the two says so, also after the order was taken up."""
    order = world.order(action)
    assert world.send(order) == ""
    if where == "settings":
        world.protected = frozenset({"m-1"})
    else:
        world.policy(protected=("m-1", "m-9"))
    world.run()
    assert world.end(order) == (OrderState.REFUSED, "protected")
    assert world.carry_out("arm") == ""
    assert world.carry_out(action, meter_id="m-2") == ""


@pytest.mark.parametrize("kept", [True, None])
def test_i05_keep_power_in_the_meter_forbids_the_cut(world: World, kept: bool | None) -> None:
    """Read just before; what could not be read counts as set."""
    found = CLOSED._replace(keep_power=kept)
    assert world.carry_out(found=found) == "keep-power"
    assert world.carry_out("arm", found=OPEN._replace(keep_power=kept)) == ""
    assert world.carry_out("keep-power-off", found=found, meter_id="m-2") == ""


@pytest.mark.parametrize("overdrawn", [True, None])
def test_i05_lifting_keep_power_never_cuts_by_itself(world: World, overdrawn: bool | None) -> None:
    """An overdrawn purse in the meter would open at once; not known counts as overdrawn."""
    found = CLOSED._replace(keep_power=True, account="local", is_overdrawn=overdrawn)
    assert world.carry_out("keep-power-off", found=found) == "local-account-overdrawn"
    assert world.carry_out("keep-power-off", found=found._replace(is_overdrawn=False)) == ""


def test_a_meter_that_is_open_already_is_not_cut(world: World) -> None:
    """§9.9: that order did not cause the state."""
    assert world.carry_out(found=OPEN) == "already-open"


@pytest.mark.parametrize("identified", [False, None])
def test_i20_another_meter_is_not_cut(world: World, identified: bool | None) -> None:
    """Who it is was read; where that could not be, a cut does not go and a restore does."""
    found = CLOSED._replace(is_identified=identified)
    assert world.carry_out(found=found) == "identity"
    expected = "identity" if identified is False else ""
    assert world.carry_out("arm", found=OPEN._replace(is_identified=identified)) == expected


def test_a_direct_close_needs_a_dead_load_side(world: World) -> None:
    """I18, where the meter can tell."""
    live = OPEN._replace(has_load_voltage=True)
    assert world.carry_out("connect", found=live) == "load-voltage"
    assert world.carry_out("connect", found=live._replace(has_load_voltage=None)) == ""


def test_lower_assurance_needs_the_installers_and_the_orders_word(world: World) -> None:
    """A meter that can not prove the effect is not cut unless both say so."""
    vague = CLOSED._replace(is_trustworthy=False, is_identified=None, keep_power=None)
    assert world.carry_out(found=vague) == "assurance"
    assert world.carry_out(found=vague, assurance=1) == "assurance"
    world.settings["allow_lower_assurance"] = True
    assert world.carry_out(found=vague) == "assurance"
    assert world.carry_out(found=vague, assurance=1) == ""


# ---- I11: hours, calendar, weather, clock -------------------------------------------------------


@pytest.mark.parametrize(
    ("later_ms", "code"),
    [
        (0, ""),
        (6 * HOUR_MS - 1, ""),
        (6 * HOUR_MS, "window"),  # 16:00
        (-HOUR_MS - 1, "window"),  # before 09:00
        (14 * HOUR_MS, "window"),  # midnight
        (2 * DAY_MS, ""),  # Thursday
        (FRIDAY_MS, "window"),
        (4 * DAY_MS, "window"),
        (5 * DAY_MS, "window"),
        (6 * DAY_MS, ""),  # Monday
    ],
)
def test_i11_cuts_stay_within_the_windows_of_the_meters_civil_time(
    world: World, later_ms: int, code: str
) -> None:
    """Shanghai's, not UTC's and not this machine's."""
    world.clock.set_utc(NOW + later_ms)
    far_policy(world)
    assert world.carry_out() == code
    expect_restores(world)


def test_i11_the_window_is_judged_when_the_frame_would_go(world: World) -> None:
    """Taken up inside, its turn comes outside."""
    world.clock.set_utc(NOW + 6 * HOUR_MS - MINUTE_MS)
    far_policy(world)
    order = world.order()
    assert world.send(order) == ""
    world.clock.advance(2 * MINUTE_MS)
    world.run()
    assert world.end(order) == (OrderState.REFUSED, "window")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"blocked_days": (20260922,)}, "calendar-day"),
        ({"blocked_days": (20260923,)}, "calendar-day"),  # its eve
        ({"blocked_days": (20260921, 20260924)}, ""),
        ({"calendar_until": NOW - 1}, "calendar-ended"),
        ({"calendar_until": NOW + DAY_MS - 1}, "calendar-ended"),  # tomorrow is not known
        ({"calendar_until": NOW + DAY_MS + HOUR_MS}, ""),
        ({"calendar_until": 0}, "calendar-ended"),
        ({"weather_blocked_until": NOW + HOUR_MS}, "weather"),
        ({"weather_known_until": NOW - 1}, "weather-unknown"),
        ({"weather_known_until": NOW + HOUR_MS}, ""),
    ],
)
def test_i11_holidays_eves_and_weather_forbid(
    world: World, fields: dict[str, Any], code: str
) -> None:
    """What is not known forbids."""
    world.policy(**fields)
    assert world.carry_out() == code
    expect_restores(world)


def test_i11_settings_say_what_unknown_weather_and_eves_mean(world: World) -> None:
    """The installer may be stricter about the weather, and laxer about eves and calendars."""
    world.settings["block_without_weather"] = True
    assert world.carry_out() == "weather-unknown"
    world.settings |= {"block_without_weather": False, "block_eves": False}
    world.policy(blocked_days=(20260923,), calendar_until=NOW + HOUR_MS)
    assert world.carry_out() == ""
    world.settings["block_without_calendar"] = False
    world.policy(calendar_until=0)
    assert world.carry_out() == ""


@pytest.mark.parametrize("quality", [TimeQuality.UNSYNCED, TimeQuality.RTC])
def test_i11_an_unknown_clock_forbids_a_cut_that_was_taken_up(world: World, quality: int) -> None:
    """T11: boot without RTC; the clock lost its quality meanwhile."""
    order = world.order()
    assert world.send(order) == ""
    world.clock.set_quality(quality)
    world.run()
    assert world.end(order) == (OrderState.REFUSED, "clock-untrusted")
    assert world.frames == []


def test_i11_a_disputed_clock_forbids(world: World) -> None:
    """The system clock claims another time: nobody knows which of them is right."""
    world.clock.set_doubt(True)
    assert world.carry_out() == "clock-untrusted"
    world.clock.set_doubt(False)
    order = world.order()
    world.send(order)
    world.clock.set_doubt(True)
    world.run()
    assert world.end(order)[1] == "clock-untrusted"


@pytest.mark.parametrize("off_ms", [DAY_MS, -DAY_MS, -365 * DAY_MS, 7 * DAY_MS, -10 * MINUTE_MS])
def test_t11_a_clock_that_is_set_carries_no_cut_into_another_hour(
    world: World, off_ms: int
) -> None:
    """±1 d, −1 y, a week, ten minutes, with the quality of NTP: the policy's signed time does not
    agree. Neither a new order nor one that waits runs; a restore that waits does."""
    far_policy(world)
    waits, restore = world.order(), world.order("arm", "m-2")
    for n, one in enumerate((waits, restore)):
        assert world.send(one, world.claims(one, n + 1)) == ""
    world.clock.set_utc(NOW + off_ms)
    world.run()
    assert world.frames == [restore]
    fresh = world.order(meter_id="m-3")
    assert world.send(fresh) == ""
    world.run()
    assert world.end(fresh) == (OrderState.REFUSED, "clock-untrusted")
    assert world.frames == [restore]


def test_t11_of_two_clocks_the_earlier_end_holds_for_a_cut(world: World) -> None:
    """UTC went a minute and a half ahead, which is within what clocks may differ by: over is
    over."""
    order = world.order()
    assert world.send(order, world.claims(order, expires_at=NOW + MINUTE_MS)) == ""
    world.clock.set_utc(NOW + 90_000)
    world.run()
    assert world.end(order) == (OrderState.EXPIRED, "expired")


def test_t11_a_frozen_clock_revives_nothing(world: World) -> None:
    """UTC stands still while an order gets old: its life is of the clock that does not jump."""
    order = world.order()
    assert world.send(order) == ""
    world.clock.advance(16 * MINUTE_MS)
    world.clock.set_utc(NOW)
    world.run()
    assert world.end(order) == (OrderState.EXPIRED, "expired")
    far_policy(world)
    world.clock.advance(HOUR_MS)
    world.clock.set_utc(NOW)
    assert world.carry_out() == "clock-untrusted"


def test_t11_an_expired_cut_never_runs_after_a_step_back(world: World) -> None:
    """It was dropped, and comes again with the clock set back to its hour."""
    order = world.order()
    claims = world.claims(order)
    world.clock.advance(DAY_MS)
    assert world.send(order, claims) == "expired"
    world.clock.set_utc(NOW)
    assert world.send(order, claims) == "replayed"
    assert world.send(order, claims._replace(sequence=9)) == ""
    world.run()
    assert world.frames == []


# ---- I22: wear ----------------------------------------------------------------------------------


def test_i22_opposite_operations_keep_apart(world: World) -> None:
    """A disconnect and a connect of one meter; a permission to close moves nothing by itself, so
    paying is not punished; keep-power is no operation."""
    world.settings["dwell_s"] = 600
    assert world.carry_out() == ""
    assert world.carry_out("connect", meter_id="m-1") == "dwell"
    assert world.carry_out("keep-power-on") == ""
    assert world.carry_out("arm") == ""
    assert world.carry_out(meter_id="m-2") == ""
    world.clock.advance(5 * MINUTE_MS)
    assert world.carry_out() == "dwell"
    world.clock.advance(5 * MINUTE_MS)
    assert world.carry_out("connect") == ""
    world.clock.advance(10 * MINUTE_MS - 1)
    assert world.carry_out() == "dwell"
    world.clock.advance(1)
    assert world.carry_out() == ""


def test_i22_a_meter_is_not_switched_too_often_a_day(world: World) -> None:
    """Four in 24 h; the last word is always a restore. A restart forgets nothing."""
    far_policy(world)
    world.settings |= {"cuts_per_hour": 100, "cuts_per_day_percent": 100}
    for _ in range(2):
        assert world.carry_out() == ""
        assert world.carry_out("arm") == ""
    assert world.carry_out() == "daily-maximum"
    world.restart()
    far_policy(world)
    assert world.carry_out() == "daily-maximum"
    assert world.carry_out("arm") == ""
    assert world.carry_out(meter_id="m-2") == ""
    world.clock.advance(DAY_MS)
    assert world.carry_out() == ""


# ---- I23: ceilings ------------------------------------------------------------------------------


def test_i23_t02_two_colluding_approvers_get_the_ceiling_and_no_more(world: World) -> None:
    """A hundred cuts, each rightly approved: five run, the gateway refuses the others, and each has
    its entry in the audit chain."""
    world.settings["cuts_per_day_percent"] = 100
    orders = [world.order(meter_id=f"m-{n % 40 + 1}") for n in range(100)]
    for n, order in enumerate(orders):
        assert world.send(order, world.claims(order, n + 1)) == ""
    world.run()
    assert len(world.frames) == 5
    ends = [world.end(order) for order in orders]
    assert ends.count((OrderState.CONFIRMED, "")) == 5
    refused = [order for order in orders if order not in world.frames]
    codes = {"ceiling-hour", "lower-counter"}  # a meter's older order gives way to its newer one
    assert {world.end(order)[1] for order in refused} <= codes
    assert {world.end(order)[1] for order in refused} >= {"ceiling-hour"}
    told = [(entry[5], str(entry[6].get("reason", "")).split(":")[0]) for entry in world.entries()]
    entries = {order_id for order_id, code in told if code in codes}
    assert entries == {order.order_id for order in refused}
    assert ("ceiling-reached", refused[-1].meter_id) in world.told
    expect_restores(world)


def test_i23_the_hour_rolls_and_the_day_counts_meters(world: World) -> None:
    """Ten percent of forty meters are four a day; a restart, a reboot and a clock that is set do
    not count anew."""
    far_policy(world)
    for n in range(1, 5):
        assert world.carry_out(meter_id=f"m-{n}") == ""
    assert world.carry_out(meter_id="m-5") == "ceiling-day"
    world.restart()
    far_policy(world)
    assert world.carry_out(meter_id="m-5") == "ceiling-day"
    world.restart(is_boot=True)
    far_policy(world)
    assert world.carry_out(meter_id="m-5") == "ceiling-day"
    assert world.desk.figures()["cuts_day"] == 4
    world.settings["cuts_per_day_percent"] = 50
    assert world.carry_out(meter_id="m-5") == ""
    assert world.carry_out(meter_id="m-6") == "ceiling-hour"
    world.clock.advance(HOUR_MS)
    assert world.carry_out(meter_id="m-6") == ""


def test_i23_a_clock_that_goes_ahead_counts_nothing_anew(world: World) -> None:
    """Even when the head end's time goes along: within a boot ages are not UTC's."""
    world.settings["cuts_per_day_percent"] = 0
    assert world.carry_out() == ""
    world.clock.set_utc(NOW + 2 * DAY_MS)
    far_policy(world)
    assert world.carry_out(meter_id="m-2") == "ceiling-day"
    world.clock.set_utc(NOW - DAY_MS)
    far_policy(world)
    assert world.carry_out(meter_id="m-3") == "ceiling-day"


def test_i23_of_two_that_ask_at_once_one_has_the_last_place(world: World) -> None:
    """Looking and counting are one step."""
    world.settings["cuts_per_hour"] = 1
    ceilings, moment = world.desk._known.ceilings, world.clock.moment()
    codes = []
    for n in (1, 2):
        order = world.order(meter_id=f"m-{n}")
        intent = Intent(
            n, order.meter_id, order.action, order.kind.effect, moment.utc_ms, moment.boot_ms,
            world.clock.boot_id,
        )  # fmt: skip
        codes.append(ceilings.reserve(intent, order, world.settings, 40))
    assert codes == ["", "ceiling-hour"]


def test_i23_a_small_gateway_may_cut_one_meter_a_day(world: World) -> None:
    """Ten percent of three meters is none, and one at least is allowed."""
    world.settings["cuts_per_day_percent"] = 0
    assert world.carry_out() == ""
    assert world.carry_out(meter_id="m-2") == "ceiling-day"


def test_i23_lifting_keep_power_counts_as_a_cut(world: World) -> None:
    """It is one step from it."""
    world.settings["cuts_per_hour"] = 1
    assert world.carry_out("keep-power-off") == ""
    assert world.carry_out(meter_id="m-2") == "ceiling-hour"


def test_i23_two_lines_do_not_share_the_last_place(world: World) -> None:
    """Both looked before either counted."""
    world.settings["cuts_per_hour"] = 1
    first, second = world.order(meter_id="m-1"), world.order(meter_id="m-2")
    for n, one in enumerate((first, second)):
        world.send(one, world.claims(one, n + 1))
    one, other = world.jobs

    def between(step: str) -> None:
        if step == "checked":
            other.run()

    one.run(step=between)
    assert world.frames == [second]
    assert world.end(first) == (OrderState.REFUSED, "ceiling-hour")


def test_i23_after_a_lost_journal_nothing_is_cut_for_a_day(world: World) -> None:
    """Nobody knows what the day before had."""
    world.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.crash()
    with (world.folder / "journal.db").open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * 8192)
    world.build()
    assert world.journal.salvaged
    far_policy(world)
    assert world.carry_out() == "ceiling-day"
    expect_restores(world)
    world.clock.advance(DAY_MS - 1)
    assert world.carry_out(meter_id="m-2") == "ceiling-day"
    world.clock.advance(1)
    assert world.carry_out(meter_id="m-2") == ""


# ---- I26: hold and lease ------------------------------------------------------------------------


def test_i26_a_hold_stops_cuts_and_no_restores(world: World) -> None:
    """Also those that are taken up, up to the last byte."""
    waits, late = world.order(), world.order(meter_id="m-2")
    for n, one in enumerate((waits, late)):
        world.send(one, world.claims(one, n + 1))
    job, last = world.jobs

    def hold(step: str) -> None:
        if step == "sent":
            world.policy(cuts_until=0)

    last.run(step=hold)
    job.run()
    assert world.frames == []
    assert world.end(waits) == (OrderState.REFUSED, "on-hold")
    assert world.carry_out(meter_id="m-3") == "on-hold"
    expect_restores(world)


def test_i26_without_a_lease_nothing_is_cut(world: World) -> None:
    """The gateway heard nothing for an hour; a clock that is set back prolongs nothing."""
    world.clock.advance(HOUR_MS)
    assert world.carry_out() == ""
    world.clock.advance(1)
    assert world.carry_out(meter_id="m-2") == "lease-ended"
    assert ("lease-ended", "m-2") in world.told
    assert world.desk.figures()["lease_left_ms"] == 0
    expect_restores(world)
    world.clock.set_utc(NOW)
    assert world.carry_out(meter_id="m-3") == "lease-ended"


def test_i26_the_lease_is_counted_from_its_nonce(world: World) -> None:
    """A broker that holds a policy back prolongs nothing."""
    nonce = world.greet()
    issued_at = world.clock.utc_ms()
    world.clock.advance(50 * MINUTE_MS)
    world.policy(nonce, issued_at, cuts_until=issued_at + HOUR_MS)
    world.clock.advance(10 * MINUTE_MS + 1)
    world.clock.set_utc(issued_at)
    assert world.carry_out() == "lease-ended"


def test_cuts_are_off_unless_the_installer_allows_them(world: World) -> None:
    """As delivered."""
    world.settings["allow_cuts"] = False
    assert world.carry_out() == "not-allowed"
    assert world.carry_out("keep-power-off", meter_id="m-2") == "not-allowed"
    expect_restores(world)


# ---- I21: credentials ---------------------------------------------------------------------------


def test_i21_a_refused_credential_is_not_tried_again(world: World) -> None:
    """Not for another order, not after a restart; that for restoring works on, and somebody who
    looked opens it again."""
    order = world.order()
    world.send(order)
    gate = world.jobs[0].gate
    world.run()
    gate.credential_refused("cut", "file of Monday")
    found = CLOSED._replace(credential_mark="file of Monday")
    assert ("credential-refused", "m-1") in world.told
    for _ in range(2):
        assert world.carry_out(found=found) == "credential-locked"
        world.restart()
        world.policy()
    assert world.carry_out("arm") == ""
    assert world.carry_out(meter_id="m-2") == ""
    assert world.desk.figures()["refused_credentials"] == ["m-1/cut"]
    assert world.desk.unlock("m-1") == ["cut"]
    assert world.carry_out(found=found) == ""
    assert [entry[3] for entry in world.entries() if entry[3].startswith("credential")] == [
        "credential-refused",
        "credential-unlocked",
    ]


def test_i21_another_credential_gets_a_try(world: World) -> None:
    """The file changed meanwhile."""
    order = world.order("arm")
    world.send(order)
    world.jobs[0].gate.credential_refused("restore", "1")
    world.run(OPEN._replace(credential_mark="1"))
    assert world.end(order) == (OrderState.REFUSED, "credential-locked")
    assert world.carry_out("arm", found=OPEN._replace(credential_mark="2")) == ""
