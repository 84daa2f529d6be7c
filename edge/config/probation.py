"""Whether new settings work: the head end acknowledges, and what answered before answers again.

Only lines that the change touched are judged, by the meters that answered before it; one meter is
enough for its line. A meter that is not polled soon is asked out of its turn.
"""

from typing import NamedTuple

from edge.collect.probe import Probe
from edge.config.reload import Checked, Difference
from edge.lines import Lines

PROBE_MS = 30_000  # between two questions to the meters of one line


class Terms(NamedTuple):
    """What has to be proven, until when (boot ms)."""

    version: int
    before: Checked  # what to return to
    answered: frozenset[str]  # meters, before the change
    since: int
    ends_at: int


class Probation:
    """One version on trial."""

    def __init__(self, terms: Terms, change: Difference, checked: Checked) -> None:
        self.terms = terms
        touched = (*change.added, *change.rebuilt)
        meters = checked.settings.meters
        self._unproven: dict[str, list[str]] = {}  # line -> meters that should answer
        for line_id in touched:
            own = [one["id"] for one in meters if one["line"] == line_id]
            if wanted := [one for one in own if one in terms.answered]:
                self._unproven[line_id] = wanted
        self._probes: dict[str, Probe] = {}
        self._probe_at = dict.fromkeys(self._unproven, terms.since)

    def look(self, lines: Lines, boot_ms: int) -> None:
        """Takes note of who answers, and asks those who have not been asked."""
        reachable = lines.reachable()
        for line_id, wanted in list(self._unproven.items()):
            probe = self._probes.get(line_id)
            if (probe and probe.has_answered) or reachable.intersection(wanted):
                del self._unproven[line_id]
            elif boot_ms >= self._probe_at[line_id] and (probe is None or probe.is_over):
                meter_id = wanted.pop(0)
                wanted.append(meter_id)  # the next time another one
                self._probes[line_id] = probe = Probe(meter_id)
                probe.is_over = not lines.offer(meter_id, probe)
                self._probe_at[line_id] = boot_ms + PROBE_MS

    def missing(self, acknowledged_at: int) -> str:
        """In words, what is not proven; "" when all is."""
        words = [f"no meter of {line_id} answers" for line_id in self._unproven]
        if acknowledged_at <= self.terms.since:
            words.insert(0, "the head end acknowledged nothing")
        return "; ".join(words)
