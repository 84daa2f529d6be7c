"""Asks a meter whether it answers, out of its turn, and keeps nothing of what it says."""

from edge.collect.jobs import Priority, Steps
from edge.line.line import Line
from edge.meters.driver import Driver
from protocols.errors import LineError


class Probe:
    """A Job: a sweep of the meter's own register group."""

    priority = Priority.ON_DEMAND
    recording = None
    may_send = None

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id
        self.has_answered = False
        self.is_over = False

    def steps(self, line: Line, driver: Driver, retries: int) -> Steps:
        """Reads, and remembers only whether there was an answer."""
        try:
            yield from driver.sweep(line, retries)
            self.has_answered = True
        except LineError:
            pass
        finally:
            self.is_over = True

    def drop(self, _: str) -> None:
        """It will never be carried out."""
        self.is_over = True
