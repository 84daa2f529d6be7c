"""Pain 12: after an outage live readings wait for the backlog, and that takes hours."""

from pathlib import Path

from tests.edge.fakes import FakeClock, make_set
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645
from tests.pains.meters import Bus, Dlt645

ROUND_TRIP_MS = 1_000
BACKLOG = 20_000


class Slow(Gateway):
    """Its head end answers once in a round trip, for all that came by then."""

    answer_at = 0

    def talk(self, *events: object) -> None:
        """What is sent in this turn is acknowledged with the next round trip."""
        self.writer.work()
        heard = self.turn(*events)
        self.transport.sent.clear()
        if self.clock.boot_ms() >= self.answer_at and self.store.owes:
            self.answer_at = self.clock.boot_ms() + ROUND_TRIP_MS
            heard += self._acknowledged()
            self.transport.sent.clear()
        for one in heard:
            self.store.take(one)


def test_live_readings_arrive_in_time_while_a_backlog_drains(
    tmp_path: Path, clock: FakeClock
) -> None:
    """vzlogger #274, OIBus #3291 (after an outage the newest values come last): with a backlog of
    20 000 sets on a link of 1 s round trip, every live reading is there within seconds, and the
    backlog drains all the time at the speed of the link."""
    meters = [Dlt645(n, clock) for n in (1, 2, 3)]
    sections = [dlt645(n, period_s=5) for n in (1, 2, 3)]
    gateway = Slow(tmp_path, clock, {"line-1": Bus(*meters)}, sections, linger_ms=1_000)
    gateway.journal.append(
        make_set(n, "old", read_at=1_780_300_000_000 + n) for n in range(BACKLOG)
    )
    gateway.writer.head = gateway.journal.head()
    gateway.go_online()
    began = clock.boot_ms()
    while gateway.session.outbox.backlog > 50:
        gateway.run_for(1_000)
        assert clock.boot_ms() < began + HOUR_MS, "the backlog does not drain"
    took_ms = clock.boot_ms() - began
    gateway.run_for(MINUTE_MS)
    live = {key: one for key, one in gateway.store.rows.items() if one.meter_id != "old"}
    early = [one for one in live.values() if one.boot_at < began + took_ms]
    assert len(early) >= 3 * (took_ms // 5_000) - 3 >= 20
    waits = [gateway.store.came_at[key] - one.boot_at for key, one in live.items()]
    assert max(waits) <= 4_000 + 2 * ROUND_TRIP_MS
    assert len(gateway.store.rows) >= BACKLOG + len(live)
    batches = gateway.settings["window"] - 1
    slowest_ms = BACKLOG / (batches * gateway.settings["batch_sets"]) * 2 * ROUND_TRIP_MS
    assert took_ms <= slowest_ms
