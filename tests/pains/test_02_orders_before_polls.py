"""Pain 2: a command waits behind the polls."""

import random
from pathlib import Path
from typing import Any

import pytest

from edge.journal.ledger import Moved
from protocols.messages import OrderState
from tests.edge.fakes import UTC_MS, FakeClock
from tests.edge.head_end import make_order
from tests.pains.gateway import Gateway, dlt645
from tests.pains.meters import Bus, Dlt645

METERS = 33
EXCHANGE_MS_MAX = 1_200.0  # at 2400 bit/s: a request, silence to the time-out, and the gap
MARGIN_MS = 50


@pytest.mark.parametrize("seed", range(3))
def test_an_order_waits_for_one_exchange_on_a_line_with_33_devices(
    tmp_path: Path, clock: FakeClock, seed: int
) -> None:
    """home-assistant #69244, #117684, #130249 (a write waits up to 20 s behind the reads of 33
    devices), OpenEMS #1977, thingsboard-gateway #1841. Here the polls never end, some meters are
    dead, and yet the order's bytes are the very next on the wire."""
    chance = random.Random(seed)
    meters = [Dlt645(n, clock) for n in range(1, METERS + 1)]
    for meter in meters[5::7]:
        meter.is_silent = True
    numbers = range(1, METERS + 1)
    gateway = Gateway(
        tmp_path,
        clock,
        {"line-1": Bus(*meters)},
        [dlt645(n, period_s=1) for n in numbers],
    )
    gateway.go_online()
    port = gateway.ports["line-1"]
    write, waited, counters = port.write, [], iter(range(1, 1000))
    came: list[tuple[int, float, int]] = []  # an order's counter, when, after how many frames

    def write_and_order(data: bytes) -> None:
        write(data)
        if not came and chance.random() < 0.02:
            counter = next(counters)
            epoch = gateway.journal.epoch
            issued = clock.utc_ms()
            order = make_order(counter)
            message = gateway.head_end.order(epoch, counter, order, issued, 60_000)
            gateway.deliver(message)
            came.append((counter, clock.monotonic() * 1000, port.count("write")))

    def note(drafts: Any, moved: Moved, *more: Any) -> None:
        record(drafts, moved, *more)
        if moved.state == OrderState.SENT:
            _, at, frames = came.pop()
            waited.append(clock.monotonic() * 1000 - at)
            assert port.count("write") == frames, "a poll went before the order"

    record, gateway.desk.ledger.record = gateway.desk.ledger.record, note  # type: ignore[method-assign]
    port.write = write_and_order  # type: ignore[method-assign]
    gateway.run_for(240_000)
    assert len(waited) >= 5
    assert max(waited) <= EXCHANGE_MS_MAX + MARGIN_MS
    done = {one.counter for one in gateway.store.receipts if one.state == OrderState.DONE}
    assert len(done) >= len(waited) - 1
    assert gateway.clock.utc_ms() >= UTC_MS + 240_000


def test_polls_go_on_while_orders_come_all_the_time(tmp_path: Path, clock: FakeClock) -> None:
    """thingsboard-gateway #1841, the other way round: an operator with a script does not end the
    metering."""
    meters = [Dlt645(n, clock) for n in (1, 2, 3)]
    gateway = Gateway(tmp_path, clock, {"line-1": Bus(*meters)}, [dlt645(n) for n in (1, 2, 3)])
    gateway.go_online()
    for counter in range(1, 241):
        epoch, issued = gateway.journal.epoch, clock.utc_ms()
        message = gateway.head_end.order(epoch, counter, make_order(counter), issued, 60_000)
        gateway.deliver(message)
        gateway.run_for(1_000)
    states = [one.state for one in gateway.store.receipts]
    assert states.count(OrderState.DONE) >= 239
    for meter in ("m-1", "m-2", "m-3"):
        assert sum(one.meter_id == meter for one in gateway.store.sets()) >= 4
