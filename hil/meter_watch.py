"""How a meter watches its supply: which events go on, how often each was, and the last ten.

* It looks at each full quarter of an hour of UTC and wherever its relay moved or its power went or
  came; what it sees holds until the next look. The steps of a course lie on the same grid, so what
  is done to a supply is seen at its moment; what a smooth load does in between is not.
* A state becomes an event when it has lasted for a minute, and the event ends when the state has
  been over for a minute. Without power every event ends at once but the loss of power itself.
* Nobody looks before the meter is built. The looks are made up when somebody asks: after more than
  LOOKS_MAX of them the oldest are left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hil.course import SLOT_MS
from hil.load import EPOCH_MS, PHASES_MAX
from hil.meter_clock import MeterClock
from hil.meter_events import RECORDS_MAX
from hil.meter_judgements import KINDS, NO_BIT, Kind, Limits, Look, look_at
from hil.supply import Supply

LOOKS_MAX = 10_000  # a hundred days


@dataclass
class Occurrence:
    """One event: when it began and ended (UTC, None while it goes on), what the meter's own clock
    said then, the largest unbalance in hundredths of a percent and current in mA that was seen, and
    the charge of each phase in mA x ms."""

    begin_ms: int
    begin: bytes
    end_ms: int | None = None
    end: bytes = b""
    largest: int = 0
    current_ma: int = 0
    charges: list[int] = field(default_factory=lambda: [0] * PHASES_MAX)


@dataclass
class Track:
    """What became of one kind of event, of one phase (from 0)."""

    kind: Kind
    phase: int = 0
    goes_on: bool = False
    count: int = 0
    ended_ms: int = 0  # what the events that are over lasted
    latest: list[Occurrence] = field(default_factory=list)
    turns_ms: int | None = None  # since when the state is not what the event says

    def lasted_ms(self, now_ms: int) -> int:
        """How long its events lasted in all."""
        goes_on = self.goes_on and bool(self.latest)
        return self.ended_ms + (now_ms - self.latest[0].begin_ms if goes_on else 0)


class Watch:
    """Watches `supply` by `clock()` (UTC ms); times are those of the meter's own clock."""

    def __init__(
        self, supply: Supply, own_clock: MeterClock, clock: Callable[[], int], limits: Limits
    ) -> None:
        self.limits = limits
        self._supply = supply
        self._own_clock = own_clock
        self._clock = clock
        self._done_ms = max(clock(), EPOCH_MS)
        self._look: Look | None = None
        phases = len(self.seen(self._done_ms).volts)
        self.tracks = [
            Track(kind, phase)
            for kind in KINDS
            if phases >= kind.phases_min
            for phase in range(phases if kind.is_of_phase else 1)
        ]

    @property
    def has_power(self) -> bool:
        """Whether the meter runs now."""
        return self._supply.is_steady or self.seen(self._clock()).has_power

    def seen(self, at_ms: int) -> Look:
        """What there was to see at a moment."""
        return look_at(self._supply.at(at_ms), self.limits)

    def settle(self) -> int:
        """Judges what happened meanwhile; UTC in ms of the last look."""
        now_ms = self._clock()
        if self._look is None or now_ms > self._done_ms:
            for at_ms in self._moments(now_ms):
                self._pass(at_ms)
                self._look = self.seen(at_ms)
                self._judge(self._look, at_ms)
            self._pass(now_ms)
        return self._done_ms

    def bits(self, phase: int | None) -> int:
        """The bits of status word 4, 5 or 6 (a phase from 0), or of word 7 (None)."""
        self.settle()
        word = 0
        for track in self.tracks:
            kind = track.kind
            is_meant = kind.is_of_phase == (phase is not None) and track.phase == (phase or 0)
            if track.goes_on and is_meant and kind.bit != NO_BIT:
                word |= 1 << kind.bit
        return word

    def clear(self, prefix: str = "") -> bool:
        """Forgets the events of an identifier's beginning, or all; whether there are such."""
        self.settle()
        found = False
        for track in self.tracks:
            if prefix in ("", *prefixes(track)):
                found = True
                track.count, track.ended_ms, track.latest = 0, 0, []
        return found

    def _moments(self, now_ms: int) -> Iterator[int]:
        """When it looked after the last time."""
        begin_ms = max(self._done_ms, now_ms - LOOKS_MAX * SLOT_MS)
        edges = [one for one in self._supply.edges_ms if begin_ms <= one <= now_ms]
        first_ms = begin_ms // SLOT_MS * SLOT_MS + SLOT_MS
        if self._look is None:
            yield begin_ms
        yield from sorted({*edges, *range(first_ms, now_ms + 1, SLOT_MS)})

    def _pass(self, until_ms: int) -> None:
        """Lets the time since the last look pass, in which its state lasted."""
        if self._look is None:
            self._done_ms = until_ms
            return
        for track in self.tracks:
            since_ms = self._done_ms
            if track.turns_ms is not None:
                turn_ms = max(since_ms, track.turns_ms + track.kind.delay_ms)
                if turn_ms <= until_ms:
                    self._count(track, self._look, turn_ms - since_ms)
                    self._turn(track, turn_ms)
                    since_ms = turn_ms
            self._count(track, self._look, until_ms - since_ms)
        self._done_ms = max(self._done_ms, until_ms)

    def _judge(self, look: Look, at_ms: int) -> None:
        for track in self.tracks:
            kind = track.kind
            is_judged = look.has_power or kind.runs_dark
            holds = is_judged and kind.rule(look, track.phase, track.goes_on)
            if holds == track.goes_on:
                track.turns_ms = None
            elif not is_judged:
                self._turn(track, at_ms)
            elif track.turns_ms is None:
                track.turns_ms = at_ms

    def _turn(self, track: Track, at_ms: int) -> None:
        track.turns_ms = None
        track.goes_on = not track.goes_on
        time = self._own_clock.time(at_ms).to_bytes()
        if track.goes_on:
            track.count += 1
            track.latest = [Occurrence(at_ms, time), *track.latest][:RECORDS_MAX]
        elif track.latest and track.latest[0].end_ms is None:
            one = track.latest[0]
            one.end_ms, one.end = at_ms, time
            track.ended_ms += at_ms - one.begin_ms

    @staticmethod
    def _count(track: Track, look: Look, for_ms: int) -> None:
        """Adds up what an event that goes on saw for some time."""
        if not track.goes_on or not track.latest or for_ms <= 0:
            return
        one = track.latest[0]
        for phase, current in enumerate(look.currents):
            one.charges[phase] += current * for_ms
        one.current_ma = max(one.current_ma, *look.currents)
        of = "volts" if track.kind.code == "0309" else "currents"
        one.largest = max(one.largest, look.unbalance(of))


def prefixes(track: Track) -> list[str]:
    """What the identifiers of its records begin with, in the text of 2007 and in the amendment."""
    kind = track.kind
    phase = f"{track.phase + 1:02X}" if kind.is_of_phase else "00"
    return [code + phase for code in (kind.code, kind.amended) if code]
