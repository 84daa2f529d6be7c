"""Pain 4: an old relay command is carried out after the reconnection."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.messages import OrderState
from protocols.readings import TimeQuality
from tests.edge.fakes import BOOT_ID, UTC_MS, FakeClock
from tests.edge.head_end import make_order
from tests.pains.gateway import HOUR_MS, MINUTE_MS, Gateway, dlt645
from tests.pains.meters import Bus, Dlt645

VALID_MS = 2 * MINUTE_MS
ENERGY_CODE = bytes.fromhex("33 33 34 33")  # identifier 00010000 on the wire
NEXT_BOOT = bytes(reversed(BOOT_ID))


@pytest.fixture
def gateway(tmp_path: Path, clock: FakeClock) -> Iterator[Gateway]:
    """One meter, which is not polled for its energy: who asks for that is an order."""
    bus = Bus(Dlt645(1, clock))
    one = Gateway(tmp_path, clock, {"line-1": bus}, [dlt645(1, quantities=["1-0:32.7.0"])])
    one.go_online()
    one.run_for(10_000)
    yield one
    one.crash()


def order_of(gateway: Gateway, counter: int = 1) -> tuple[str, bytes]:
    """Valid for two minutes from now on."""
    epoch, issued = gateway.journal.epoch, gateway.clock.utc_ms()
    return gateway.head_end.order(epoch, counter, make_order(counter), issued, VALID_MS)


def asked(gateway: Gateway) -> int:
    """How often the meter was asked for what orders ask for."""
    return sum(ENERGY_CODE in data for data in gateway.buses["line-1"].requests)


def states(gateway: Gateway) -> list[str]:
    """What the head end was told of the order."""
    return [one.state for one in gateway.store.receipts]


def expect_not_carried_out(gateway: Gateway, message: tuple[str, bytes]) -> None:
    """The broker delivers it now: no byte for it, and the head end is told so."""
    gateway.deliver(message)
    gateway.run_for(10_000)
    assert asked(gateway) == 0
    assert OrderState.SENT not in states(gateway)


def test_an_order_in_time_is_carried_out(gateway: Gateway) -> None:
    """So that the others here are refused for their age, and for nothing else."""
    gateway.deliver(order_of(gateway))
    gateway.run_for(10_000)
    assert states(gateway)[-1] == OrderState.DONE
    assert asked(gateway) == 1


@pytest.mark.parametrize("off_ms", [VALID_MS + 1_000, 6 * HOUR_MS, 7 * 24 * HOUR_MS])
def test_an_order_that_expired_while_the_uplink_was_down_is_refused(
    gateway: Gateway, off_ms: int
) -> None:
    """Tasmota #384, #2053, #2424: the broker keeps the message of a sleeping client, and delivers
    it when nobody wants it any more."""
    message = order_of(gateway)
    gateway.go_offline()
    gateway.clock.advance(off_ms)
    gateway.go_online()
    expect_not_carried_out(gateway, message)
    assert states(gateway) == [OrderState.EXPIRED]


def test_an_order_that_expired_while_the_gateway_was_off_is_refused(gateway: Gateway) -> None:
    """stefanbode/Sonoff-Tasmota #82: the relay moves when the power comes back. The Pi has no clock
    of its own: by the time that it starts with, the order would still hold."""
    message = order_of(gateway)
    clock, stopped_at = gateway.clock, gateway.clock.utc_ms()
    clock.advance(HOUR_MS)
    clock.boot_id, clock._us = NEXT_BOOT, 20_000_000
    clock.set_utc(stopped_at)
    clock.set_quality(TimeQuality.UNSYNCED)
    gateway.restart()
    gateway.transport.is_up = True
    expect_not_carried_out(gateway, message)
    assert gateway.inbox.last_counter == 1
    clock.set_utc(UTC_MS + HOUR_MS)
    gateway.go_online()
    gateway.run_for(10_000)
    assert states(gateway) == [OrderState.REFUSED]


@pytest.mark.parametrize("off_ms", [VALID_MS - 10_000, VALID_MS + 1])
def test_an_order_that_was_accepted_and_waited_too_long_is_not_sent(
    gateway: Gateway, off_ms: int
) -> None:
    """OpenBK #1883: it was taken up just before the power went. Afterwards it is carried out if it
    still holds, and only then."""
    gateway.deliver(order_of(gateway))
    gateway.clock.advance(off_ms)
    gateway.restart()
    gateway.go_online()
    gateway.run_for(8_000)
    holds = off_ms < VALID_MS
    assert asked(gateway) == holds
    assert states(gateway)[-1] == (OrderState.DONE if holds else OrderState.EXPIRED)


def test_a_retained_order_is_none(gateway: Gateway) -> None:
    """Tasmota #2053: a command that was published with the retain flag comes at each connection."""
    gateway.deliver(order_of(gateway), is_retained=True)
    gateway.run_for(10_000)
    assert asked(gateway) == 0
    assert gateway.session.refusals["retained"] == 1


def test_an_order_that_is_delivered_twice_runs_once(gateway: Gateway) -> None:
    """MQTT delivers at least once; also across a restart."""
    message = order_of(gateway)
    gateway.deliver(message)
    gateway.run_for(10_000)
    gateway.deliver(message)
    gateway.restart()
    gateway.go_online()
    gateway.deliver(message)
    gateway.run_for(10_000)
    assert asked(gateway) == 1
    assert OrderState.DONE in states(gateway)
