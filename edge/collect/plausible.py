"""Which readings are doubtful: registers that fall, leap, or stand still under load.

* Judged are registers that only grow: electric energies, volumes, heat. Not net energies, which may
  fall; not settlements, which leap once a month; not codes of a manufacturer's own.
* The baseline of a register is its last plausible reading. A doubtful one never becomes it, so the
  good reading after a spike is good. CONFIRMATIONS doubtful ones in a row that are plausible after
  one another are a register that began again: then the last of them is the baseline.
* The growth that is possible is MARGIN_PERCENT of what the breaker lets through in the time since
  the baseline and LATE_MS, and one count of the register.
* A value is flagged, never edited or withheld. A finding is told when its episode begins, and at
  most once in REPEAT_MS for each register; what was not told is counted.
"""

from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect import registers
from protocols.obis import CURRENT, Obis
from protocols.quantity import Quantity
from protocols.readings import Flag, Origin, Reading, ReadingSet, TimeQuality

CONFIRMATIONS = 3  # doubtful readings that agree, before a register counts as begun again
MARGIN_PERCENT = 120  # of the breaker's rating: it carries more for a while
# A set is stamped when its sweep begins; meters, and converters that keep values, bring registers
# up to date late. So much more time may lie between two readings than between their stamps.
LATE_MS = 300_000
POWER_MS = 900_000  # a reading of power is believed for so long, at most
STUCK_READINGS = 4  # under load, without a count
STUCK_MS = 3_600_000
STUCK_COUNTS = 2  # of the register, that the load is worth
STARTING_SHARE = 500  # below this part of its largest load a meter need not count (IEC 62053-21)
STARTING_MW = 50_000  # the same where the breaker is not known: 50 W
REPEAT_MS = 3_600_000
OUTAGE_MS = 365 * 86_400_000  # between two boots, where no clock tells how long
LISTED_MAX = 4  # registers that a finding names besides its first

_HOUR_MS = 3_600_000
# (counts, name) at which a register may begin again at 0.
_TOPS = [*((10**digits, f"{digits} digits") for digits in range(5, 13)), (1 << 32, "32 bits")]


class Verdict(NamedTuple):
    """What is doubtful about readings: bits of Flag, and (event kind, detail) for each reason."""

    flags: int = 0
    findings: tuple[tuple[str, str], ...] = ()


class Limits(NamedTuple):
    """What a meter's breaker lets through; `breaker_a` None: not known."""

    breaker_a: int | None = None
    phases: int = 3
    voltage_v: int = 230

    def watts(self) -> int:
        """The largest load (W, and as well var and VA)."""
        if self.breaker_a is None:
            return registers.WATTS_MAX
        return self.breaker_a * self.phases * self.voltage_v

    def starting_mw(self) -> int:
        """The load from which on the meter certainly counts."""
        if self.breaker_a is None:
            return STARTING_MW
        return self.watts() * 1000 // STARTING_SHARE


def limits_of(meter: dict[str, Any]) -> Limits:
    """Of a checked meter section."""
    return Limits(meter["breaker_a"], meter["phases"], meter["voltage_v"])


class Plausibility:
    """The registers of all meters. Each meter always from one thread, whichever it is."""

    def __init__(self, limits: dict[str, Limits]) -> None:
        self._limits = limits
        # All meters now: no thread adds one while another looks.
        self._meters: dict[str, dict[tuple[Obis, str], _Register]] = {one: {} for one in limits}

    def change(self, limits: dict[str, Limits]) -> None:
        """These are the meters now; what is known of those that stay stays. No meter that is new
        or gone may be read meanwhile."""
        self._meters = {one: self._meters.get(one, {}) for one in limits}
        self._limits = limits

    def recall(self, one: ReadingSet, clock: Clock) -> None:
        """Takes a set of the journal as baseline, before the meter is read again. The sets of a
        meter come oldest first; one that was doubtful is passed over, and so is a meter that is
        read no longer."""
        if one.origin != Origin.LIVE or one.flags & (Flag.ROLL_BACK | Flag.JUMP):
            return
        if one.meter_id not in self._limits:
            return
        boot_ms = _boot_ms_of(one, clock)
        for reading in one.readings:
            if registers.is_register(reading):
                self._register(one.meter_id, reading).begin(reading.quantity, boot_ms)

    def judge(self, meter_id: str, readings: tuple[Reading, ...], boot_ms: int) -> Verdict:
        """Judges what a sweep that began at `boot_ms` has read."""
        limits = self._limits[meter_id]
        powers = registers.powers_mw(readings)
        flags = 0
        findings: dict[str, list[tuple[str, str]]] = {}
        counted: list[Obis] = []
        for reading in readings:
            if not registers.is_register(reading):
                continue
            register = self._register(meter_id, reading)
            load_mw = registers.load_mw(reading.obis, powers)
            if load_mw < limits.starting_mw():
                load_mw = 0
            flag, found = register.judge(
                reading.quantity, boot_ms, registers.rate(reading, limits.watts()), load_mw
            )
            flags |= flag
            if register.has_counted:
                counted.append(reading.obis)
            code = reading.obis.text().removesuffix(f"*{CURRENT}")
            for kind, words in found:
                findings.setdefault(kind, []).append((code, words))
        for obis in counted:
            self._excuse_other_way(meter_id, obis)
        return Verdict(flags, tuple((kind, _joined(found)) for kind, found in findings.items()))

    def _excuse_other_way(self, meter_id: str, obis: Obis) -> None:
        """Power flows the way that `obis` counts, whatever the sign of the power readings says:
        some meters give none."""
        register = self._meters[meter_id].get((registers.other_way(obis), "Wh"))
        if register:
            register.excuse()

    def _register(self, meter_id: str, reading: Reading) -> "_Register":
        # By the unit too: values of two units are not comparable.
        key = (reading.obis, reading.quantity.unit)
        return self._meters[meter_id].setdefault(key, _Register())


class _Mark(NamedTuple):
    """A reading that others are compared with, and when its value was seen first and last."""

    value: int
    scaler: int
    since: int  # boot ms
    read_at: int  # boot ms

    @classmethod
    def first(cls, quantity: Quantity, boot_ms: int) -> "_Mark":
        """Of a value that was not there before."""
        return cls(quantity.value, quantity.scaler, boot_ms, boot_ms)

    def after(self, quantity: Quantity, boot_ms: int) -> "_Mark":
        """The mark once a plausible reading has followed; a register read coarser than before may
        be lower by less than a count, and then the higher value stays."""
        if _difference(self, quantity) > 0:
            return _Mark.first(quantity, boot_ms)
        return self._replace(read_at=boot_ms)


class _Growth(NamedTuple):
    """How a reading follows a mark."""

    flag: int  # 0, ROLL_BACK or JUMP
    elapsed_ms: int
    possible: int  # counts of `scaler`
    scaler: int


class _Register:
    """One register of one meter: a few integers."""

    def __init__(self) -> None:
        self._mark: _Mark | None = None  # the baseline
        self._rival: _Mark | None = None  # of doubtful readings that agree
        self._rivals = 0
        self._load_mw = 0  # at the last plausible reading
        self._still = 0  # readings under load without a count, ...
        self._still_ms = 0  # ... their time ...
        self._owed = 0  # ... and the load in it (mW ms)
        self._is_stuck = False
        self.has_counted = False  # at the last reading
        self._told: dict[str, tuple[int, int]] = {}  # kind -> boot ms, kept back since

    def begin(self, quantity: Quantity, boot_ms: int, load_mw: int = 0) -> None:
        """Makes a reading the baseline."""
        self._mark = _Mark.first(quantity, boot_ms)
        self._rival, self._rivals = None, 0
        self._move(load_mw)

    def judge(
        self, quantity: Quantity, boot_ms: int, rate: int, load_mw: int
    ) -> tuple[int, list[tuple[str, str]]]:
        """(bits of Flag, (event kind, words) of what is to be told). `rate` in units per hour;
        `load_mw` that the register should be counting."""
        mark = self._mark
        self.has_counted = False
        if mark is None:
            self.begin(quantity, boot_ms, load_mw)
            return 0, []
        growth = _growth(mark, quantity, boot_ms, rate, self._is_stuck)
        if growth.flag:
            return growth.flag, self._doubt(mark, growth, quantity, boot_ms, rate)
        self._rival, self._rivals = None, 0
        self._mark = mark.after(quantity, boot_ms)
        if _difference(mark, quantity) > 0:
            self.has_counted = True
            self._move(load_mw)
            return 0, []
        self._stand(mark, load_mw, boot_ms, max(mark.scaler, quantity.scaler))
        if not self._is_stuck:
            return 0, []
        owed = Quantity(self._owed // _HOUR_MS, -3, quantity.unit, quantity.kind)
        words = (
            f"stands at {_shown(quantity)} through {self._still_ms // 1000} s of load; by the power"
            f" readings {_shown(owed)} are missing"
        )
        return Flag.STUCK, self._tell("stuck", words, boot_ms)

    def excuse(self) -> None:
        """It need not have counted: begins anew to see whether it stands still."""
        self._move(self._load_mw)

    def _move(self, load_mw: int) -> None:
        """It counted."""
        self._load_mw = load_mw
        self._still, self._still_ms, self._owed, self._is_stuck = 0, 0, 0, False

    def _stand(self, mark: _Mark, load_mw: int, boot_ms: int, scaler: int) -> None:
        """It did not count. Of the loads at both ends of the time the smaller one is believed, and
        not for longer than POWER_MS."""
        load, self._load_mw = min(self._load_mw, load_mw), load_mw
        if not load:
            return
        time_ms = min(boot_ms - mark.read_at, POWER_MS)
        self._still += 1
        self._still_ms += time_ms
        self._owed += load * time_ms
        count = _scaled(1000 * _HOUR_MS, scaler)  # mW ms, of a register in Wh
        self._is_stuck = (
            self._still >= STUCK_READINGS
            and self._still_ms >= STUCK_MS
            and self._owed >= STUCK_COUNTS * count
        )

    def _doubt(
        self, mark: _Mark, growth: _Growth, quantity: Quantity, boot_ms: int, rate: int
    ) -> list[tuple[str, str]]:
        """A reading that does not follow the baseline; the findings to be told."""
        old = Quantity(mark.value, mark.scaler, quantity.unit, quantity.kind)
        rolled = ""
        if growth.flag == Flag.ROLL_BACK:
            rolled = _rolled_over(mark, growth, quantity)
            before_s = (boot_ms - mark.read_at) // 1000
            words = f"fell to {_shown(quantity)} from {_shown(old)} {before_s} s before{rolled}"
            found = self._tell("roll-back", words, boot_ms)
        else:
            possible = Quantity(growth.possible, growth.scaler, quantity.unit, quantity.kind)
            words = (
                f"rose from {_shown(old)} to {_shown(quantity)}, by more than the"
                f" {_shown(possible)} that are possible in {growth.elapsed_ms // 1000} s"
            )
            found = self._tell("jump", words, boot_ms)
        rival = self._rival
        if rival is not None and not _growth(rival, quantity, boot_ms, rate, False).flag:
            self._rival = rival.after(quantity, boot_ms)
            self._rivals += 1
        else:
            self._rival = _Mark.first(quantity, boot_ms)
            self._rivals = 1
        if self._rivals == CONFIRMATIONS:
            self.begin(quantity, boot_ms)
            words = f"goes on at {_shown(quantity)} after {_shown(old)}{rolled}"
            found += self._tell("register-restarted", words, boot_ms)
        return found

    def _tell(self, kind: str, words: str, boot_ms: int) -> list[tuple[str, str]]:
        told_at, kept_back = self._told.get(kind, (boot_ms - REPEAT_MS, 0))
        if boot_ms - told_at < REPEAT_MS:
            self._told[kind] = (told_at, kept_back + 1)
            return []
        self._told[kind] = (boot_ms, 0)
        return [(kind, words + (f" ({kept_back} more since the last)" if kept_back else ""))]


def _growth(mark: _Mark, quantity: Quantity, boot_ms: int, rate: int, was_stuck: bool) -> _Growth:
    """Whether `quantity`, read by a sweep that began at `boot_ms`, may follow `mark`."""
    scaler = min(mark.scaler, quantity.scaler)
    count = int(10 ** abs(mark.scaler - quantity.scaler))  # of the coarser one
    # What stood still may catch up.
    elapsed_ms = max(boot_ms - (mark.since if was_stuck else mark.read_at), 0) + LATE_MS
    possible = _scaled(rate * elapsed_ms * MARGIN_PERCENT, -scaler) // (100 * _HOUR_MS) + count
    grown = _difference(mark, quantity)
    flag = 0
    if grown + count <= 0:
        flag = Flag.ROLL_BACK
    elif grown > possible:
        flag = Flag.JUMP
    return _Growth(flag, elapsed_ms, possible, scaler)


def _difference(mark: _Mark, quantity: Quantity) -> int:
    """How much higher `quantity` is, in counts of the finer one."""
    scaler = min(mark.scaler, quantity.scaler)
    return int(
        quantity.value * 10 ** (quantity.scaler - scaler)
        - mark.value * 10 ** (mark.scaler - scaler)
    )


def _scaled(value: int, scaler: int) -> int:
    """value x 10^scaler, rounded down."""
    return int(value * 10**scaler if scaler >= 0 else value // 10**-scaler)


def _rolled_over(mark: _Mark, growth: _Growth, quantity: Quantity) -> str:
    """In words, when it fell as a register falls that has no further digits."""
    if mark.scaler == quantity.scaler and quantity.value >= 0:
        for top, name in _TOPS:
            if 0 <= mark.value < top and top - mark.value + quantity.value <= growth.possible:
                return f", as if its {name} had rolled over"
    return ""


def _boot_ms_of(one: ReadingSet, clock: Clock) -> int:
    """When a set was read, on this boot's clock and so below 0 where it was before the boot; a
    time that is not known was OUTAGE_MS ago."""
    now = clock.boot_ms()
    if one.boot_id == clock.boot_id:
        return int(one.boot_at)
    is_known = min(one.quality, clock.quality()) > TimeQuality.UNSYNCED
    elapsed_ms = clock.utc_ms() - one.read_at
    if not is_known or elapsed_ms < 0 or one.flags & Flag.CLOCK_SUSPECT:
        elapsed_ms = OUTAGE_MS
    return int(now - elapsed_ms)


def _shown(quantity: Quantity) -> str:
    value, unit = quantity.shown()
    return f"{value} {unit}"


def _joined(found: list[tuple[str, str]]) -> str:
    """One detail for all registers of a set that the same befell."""
    (code, words), *others = found
    detail = f"{code} {words}"
    if others:
        detail += "; also " + ", ".join(code for code, _ in others[:LISTED_MAX])
    if len(others) > LISTED_MAX:
        detail += f" and {len(others) - LISTED_MAX} more"
    return detail
