"""Carries out one order on its line.

* The expiry is checked once more, on the clock that does not jump, right before the bytes go out.
* "Sent" is durable before the first byte: if the gateway dies meanwhile, the next start says
  unknown.
* A read may be repeated within its time; silence in the end is unknown, never a value.
"""

import logging
from collections.abc import Callable, Generator

from edge.clock import Clock
from edge.collect.jobs import Priority, Steps
from edge.line.line import Line, TooLateError
from edge.meters.driver import Driver
from edge.orders.evidence import pieces_of
from protocols.errors import BusbarError, LineError, RefusedError, ValueFormatError
from protocols.messages import EVIDENCE_MAX, Order, OrderState
from protocols.readings import Reading

log = logging.getLogger("edge.orders")


class OrderJob:
    """A Job of `edge/collect/jobs`. `report(order, counter, state, reason, readings,
    evidence)`."""

    priority = Priority.ON_DEMAND  # a read; what moves a relay goes before it

    def __init__(
        self,
        order: Order,
        counter: int,
        deadline_boot_ms: int,
        clock: Clock,
        report: Callable[..., None],
    ) -> None:
        self.meter_id: str = order.meter_id
        self.recording: list[tuple[str, int, bytes]] = []
        self.may_send = self._still_holds
        self._order = order
        self._counter = counter
        self._deadline = deadline_boot_ms
        self._clock = clock
        self._report = report

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Reports what came of it; an error of our own is unknown, because bytes may have gone
        out."""
        try:
            yield from self._steps(line, driver, retries)
        except GeneratorExit:  # after at least one exchange
            self._report(
                self._order,
                self._counter,
                OrderState.UNKNOWN,
                "its line stopped on the way",
                (),
                pieces_of(self.recording)[:EVIDENCE_MAX],
            )
            raise
        except Exception:
            log.exception("order_failed counter=%d", self._counter)

    def drop(self, reason: str) -> None:
        """Reports that it had no turn."""
        self._report(self._order, self._counter, OrderState.REFUSED, reason)

    def _steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        if not self._still_holds():
            self._report(self._order, self._counter, OrderState.EXPIRED, "expired before its turn")
            return
        self._report(self._order, self._counter, OrderState.SENT, "")
        state, reason, readings = yield from self._read(line, driver, retries)
        frames = pieces_of(self.recording)[:EVIDENCE_MAX]
        self._report(self._order, self._counter, state, reason, readings, frames)

    def _still_holds(self) -> bool:
        return self._clock.boot_ms() <= self._deadline

    def _read(
        self, line: Line, driver: Driver, retries: int
    ) -> Generator[None, None, tuple[str, str, tuple[Reading, ...]]]:
        try:
            readings = tuple((yield from driver.read(line, self._order.obis, retries)))
        except RefusedError as error:
            return OrderState.REFUSED, str(error), ()
        except TooLateError as error:
            # Nothing at all went out, or a repetition did not: then the first may have arrived.
            return OrderState.UNKNOWN if self.recording else OrderState.REFUSED, str(error), ()
        except LineError as error:
            return OrderState.UNKNOWN, str(error), ()
        except (ValueFormatError, BusbarError) as error:
            return OrderState.UNKNOWN, f"the answer is no value: {error}", ()
        except Exception as error:
            log.exception("order_failed counter=%d", self._counter)
            return OrderState.UNKNOWN, f"a fault of the gateway: {type(error).__name__}", ()
        if not readings:
            return OrderState.DONE, "the meter has no value for it", ()
        return OrderState.DONE, "", readings
