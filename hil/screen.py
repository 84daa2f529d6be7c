"""What the demo shows: readings as they come, and one line that says how the whole path does."""

import sys
import time
from datetime import UTC, datetime
from typing import Any

READINGS_PER_SWEEP_MAX = 5  # shown of one sweep; the next sweep shows the next ones
SUMMARY_EVERY_S = 2.0


class Screen:
    """Prints to stdout, line by line, so that it can be piped."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._sweeps: dict[str, int] = {}
        self._next_reading: dict[str, int] = {}
        self._summary_at = 0.0
        self._resealed = -1

    def say(self, text: str) -> None:
        """One line, with the time of day."""
        now = datetime.now(UTC).strftime("%H:%M:%S")
        sys.stdout.write(f"{now}  {text}\n")
        sys.stdout.flush()

    def show(self, status: dict[str, Any]) -> None:
        """What is new since the last snapshot."""
        if not status:
            return
        for meter in status["meters"]:
            self._show_meter(meter)
        if time.monotonic() >= self._summary_at:
            self._summary_at = time.monotonic() + SUMMARY_EVERY_S
            self._show_path(status)

    def _show_meter(self, meter: dict[str, Any]) -> None:
        name, readings = meter["meter"], meter["readings"]
        if not readings or self._sweeps.get(name) == meter["sweeps"]:
            return
        if name not in self._found:
            self._found.add(name)
            self.say(
                f"found meter {name}: {meter['protocol']} address {meter['address']}"
                f" on {meter['line']}, {len(readings)} registers every {meter['period_s']} s"
            )
        self._sweeps[name] = meter["sweeps"]
        at = datetime.fromtimestamp(meter["read_at"] / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        first = self._next_reading.get(name, 0) % len(readings)
        shown = readings[first : first + READINGS_PER_SWEEP_MAX]
        self._next_reading[name] = first + len(shown)
        for reading in shown:
            value = f"{reading['value']} {reading['unit']}"
            self.say(f"  {name:<8} {at}  {reading['obis']:<16} {reading['name']:<32} {value:>16}")
        if len(readings) > len(shown):
            self.say(f"  {name:<8} {at}  … and {len(readings) - len(shown)} more registers")

    def _show_path(self, status: dict[str, Any]) -> None:
        uplink, journal = status["uplink"], status["journal"]
        wire = sum(line["bytes_sent"] + line["bytes_received"] for line in status["lines"])
        read = sum(meter["sweeps"] * len(meter["readings"]) for meter in status["meters"])
        self.say(
            f"[{'broker connected' if status['connected'] else 'BROKER AWAY'}] "
            f"journaled {journal['head']} sets (+{journal['held_sets']} held) · "
            f"sealed {uplink['batches_sealed']} batches · "
            f"acknowledged {uplink['acknowledged_sets']} sets · backlog {uplink['backlog_sets']} · "
            f"bytes per reading: {_ratio(wire, read)} on RS-485, "
            f"{_ratio(uplink['bytes_sent'], uplink['readings_sent'])} sealed"
        )

    def summary(self, status: dict[str, Any], completeness: Any) -> None:
        """The end of a run: both ends compared."""
        journal, uplink = status["journal"], status["uplink"]
        self._show_path(status)
        self.say(
            f"gateway: {journal['head']} reading sets journaled, {journal['lost_sets']} lost,"
            f" {uplink['acknowledged_sets']} acknowledged,"
            f" {uplink['batches_resent']} batches sent again"
        )
        for epoch in completeness["epochs"]:
            self.say(
                f"head end: epoch {epoch['epoch']}: sequences {epoch['first']} to {epoch['last']}, "
                f"{epoch['count']} reading sets stored, missing: {epoch['missing'] or 'none'}"
            )


def _ratio(amount: int, count: int) -> str:
    return f"{amount / count:.1f}" if count else "–"
