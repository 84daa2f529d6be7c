"""A consumer behind a meter: slowly varying power per phase, and the registers that it moves.

* Everything is a pure function of seed and time: two meters with one seed agree, however often
  they are read, and a restarted world shows energies that go on where they were.
* Each phase's power repeats daily (its cycles divide a day), so energy has a closed form: whole
  days times the energy of a day, and the part of today.
* The total energy is exactly the sum of the tariffs, and no energy ever falls, not even when the
  clock is set back.
* U, I, P, Q, S and power factor of a phase belong together: S = U x I, P = S x PF, S^2 = P^2 + Q^2,
  within the last digit shown.
"""

import math
import random
from dataclasses import dataclass
from itertools import groupby

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
EPOCH_MS = 1_735_689_600_000  # 2025-01-01: the day on which every virtual meter was installed

# Rate in use by local hour: 1 sharp, 2 peak, 3 flat, 4 valley (the custom, not a rule).
TARIFF_BY_HOUR = (4,) * 7 + (3,) * 2 + (2,) * 3 + (3,) * 3 + (2,) * 4 + (1,) * 2 + (3,) * 2 + (4,)
TARIFFS_MAX = 4
PHASES_MAX = 3
CYCLES_PER_DAY = (1, 8, 72, 900)  # a day, 3 h, 20 min and 96 s

_PHASE_STEP = 20  # OBIS C of L2 = C of L1 + 20
Shown = dict[tuple[int, int, int], int | None]
Flow = tuple[float, float]  # active in W and reactive in var, positive towards the consumer


@dataclass(frozen=True)
class _Phase:
    mean_w: float
    waves: tuple[tuple[int, float, float], ...]  # cycles a day, amplitude in W, angle
    power_factor: float
    base_wh: tuple[float, ...]  # by tariff, on the day of installation

    @property
    def tangent(self) -> float:
        """Reactive power by active power."""
        return math.sqrt(1 - self.power_factor**2) / self.power_factor

    def power_w(self, day_ms: int) -> float:
        turn = math.tau * day_ms / DAY_MS
        return self.mean_w + sum(a * math.sin(c * turn + angle) for c, a, angle in self.waves)

    def energy_wh(self, begin_ms: int, end_ms: int) -> float:
        """Energy between two moments of one day: the integral of `power_w`."""
        begin, end = (math.tau * ms / DAY_MS for ms in (begin_ms, end_ms))
        waves = sum(
            a / c * (math.cos(c * begin + angle) - math.cos(c * end + angle))
            for c, a, angle in self.waves
        )
        return (self.mean_w * (end - begin) + waves) / math.tau * 24


class Load:
    """A seeded load on `phases` phases, metered in `tariffs` rates (0: only a total).

    `power_w` is the range of each phase's power in W, `energy_step_wh` the meter's last digit.
    """

    def __init__(
        self,
        seed: int,
        phases: int = 3,
        tariffs: int = 4,
        *,
        power_w: tuple[int, int] = (200, 3000),
        energy_step_wh: int = 10,
        utc_offset_ms: int = 0,
    ) -> None:
        rng = random.Random(seed)
        self.tariffs = tariffs
        self._step_wh = energy_step_wh
        self._utc_offset_ms = utc_offset_ms
        self._rates = max(1, tariffs)
        self._windows = _windows(self._rates)
        self._phases = [_phase(rng, power_w, self._rates) for _ in range(phases)]
        self._daily = [self._today(phase, DAY_MS) for phase in self._phases]
        self._angles = [rng.uniform(0, math.tau) for _ in range(PHASES_MAX + 1)]
        self._latest_ms = 0
        self._cached: tuple[int, Shown] = (-1, {})

    def shown(self, now_ms: int) -> Shown:
        """(OBIS C, D, E) -> value in thousandths of its unit (mV, mA, mW, mWh, 0.001 of a power
        factor); None where the phase is not fitted. `now_ms` is UTC."""
        self._latest_ms = max(self._latest_ms, now_ms, EPOCH_MS)
        at, shown = self._cached
        if at != self._latest_ms:
            shown = self._energies(self._latest_ms) | self._instants(self._latest_ms)
            self._cached = (self._latest_ms, shown)
        return shown

    def mean_flows(self, begin_ms: int, end_ms: int) -> tuple[Flow, ...]:
        """Mean flow of each phase between two moments of one local day, in ms since midnight."""
        hours = (end_ms - begin_ms) / HOUR_MS
        return tuple(
            (mean_w, mean_w * phase.tangent)
            for phase in self._phases
            for mean_w in (phase.energy_wh(begin_ms, end_ms) / hours,)
        )

    def _local(self, at_ms: int) -> tuple[int, int]:
        """Local days since the installation, and ms since midnight."""
        return divmod(at_ms + self._utc_offset_ms - EPOCH_MS, DAY_MS)

    def _flows(self, at_ms: int) -> tuple[Flow, ...]:
        """The flow of each phase at a moment."""
        day_ms = self._local(at_ms)[1]
        powers = ((phase, phase.power_w(day_ms)) for phase in self._phases)
        return tuple((power_w, power_w * phase.tangent) for phase, power_w in powers)

    def _today(self, phase: _Phase, day_ms: int) -> list[float]:
        """Energy in Wh by tariff since local midnight."""
        energies = [0.0] * self._rates
        for begin, end, rate in self._windows:
            if begin < day_ms:
                energies[rate] += phase.energy_wh(begin, min(end, day_ms))
        return energies

    def _energies(self, at_ms: int) -> Shown:
        days, day_ms = self._local(at_ms)
        rows = [  # by phase, by tariff, in Wh
            [
                base + days * whole + part
                for base, whole, part in zip(
                    phase.base_wh, daily, self._today(phase, day_ms), strict=True
                )
            ]
            for phase, daily in zip(self._phases, self._daily, strict=True)
        ]
        active = self._by_tariff([1.0] * len(rows), rows)
        reactive = self._by_tariff([phase.tangent for phase in self._phases], rows)
        apparent = self._by_tariff([1 / p.power_factor for p in self._phases], rows)
        nothing = [0] * len(active)
        shown: Shown = {}
        for codes, energies in (
            ((1, 15, 16), active),
            ((3, 5), reactive),
            ((9,), apparent),
            ((2, 4, 6, 7, 8, 10), nothing),
        ):
            for c in codes:
                for tariff, energy in enumerate(energies):
                    shown[c, 8, tariff] = energy
        for index in range(PHASES_MAX):
            fitted = index < len(rows)
            c = 21 + index * _PHASE_STEP
            shown[c, 8, 0] = self._floor(sum(rows[index])) if fitted else None
            shown[c + 1, 8, 0] = 0 if fitted else None
        return shown

    def _by_tariff(self, factors: list[float], rows: list[list[float]]) -> list[int]:
        """Total and tariffs in mWh; a tariff is cut to its last digit, the total is their sum."""
        rates = [
            self._floor(sum(f * row[rate] for f, row in zip(factors, rows, strict=True)))
            for rate in range(self._rates)
        ]
        return [sum(rates), *(rates if self.tariffs else [])]

    def _floor(self, energy_wh: float) -> int:
        return int(energy_wh // self._step_wh) * self._step_wh * 1000

    def _instants(self, at_ms: int) -> Shown:
        turn = math.tau * self._local(at_ms)[1] / DAY_MS
        rows = []
        for (p_w, q_w), angle in zip(self._flows(at_ms), self._angles, strict=False):
            p_mw = _round(p_w, 100)
            u_mv = _round(229 + 4 * math.sin(24 * turn + angle), 100)
            i_ma = round(1000 * math.hypot(p_w, q_w) / (u_mv / 1000))
            s_mw = max(abs(p_mw), _round(u_mv * i_ma / 1e6, 100))
            q_mw = _round(math.copysign(math.sqrt(s_mw**2 - p_mw**2), q_w) / 1000, 100)
            rows.append((u_mv, i_ma, p_mw, q_mw, s_mw, _ratio(p_mw, s_mw)))
        shown: Shown = {}
        for index in range(PHASES_MAX):
            values = rows[index] if index < len(rows) else (None,) * 6
            for c, value in zip((32, 31, 36, 151, 29, 33), values, strict=True):
                shown[c + index * _PHASE_STEP, 7, 0] = value
        p_mw, q_mw = (sum(row[column] for row in rows) for column in (2, 3))
        s_mw = _round(math.hypot(p_mw, q_mw) / 1000, 100)
        shown[16, 7, 0], shown[131, 7, 0], shown[9, 7, 0] = p_mw, q_mw, s_mw
        shown[13, 7, 0] = _ratio(p_mw, s_mw)
        shown[14, 7, 0] = _round(50 + 0.04 * math.sin(300 * turn + self._angles[-1]), 10)
        currents = [row[1] for row in rows]
        shown[90, 7, 0] = sum(currents)
        shown[91, 7, 0] = _neutral_ma(currents)
        return shown


def _phase(rng: random.Random, power_w: tuple[int, int], rates: int) -> _Phase:
    low, high = power_w
    mean = rng.uniform(low + (high - low) * 0.3, low + (high - low) * 0.7)
    room = min(mean - low, high - mean)
    shares = [rng.uniform(0.5, 1) for _ in CYCLES_PER_DAY]
    waves = tuple(
        (cycles, room * share / sum(shares), rng.uniform(0, math.tau))
        for cycles, share in zip(CYCLES_PER_DAY, shares, strict=True)
    )
    base = tuple(float(rng.randrange(10_000, 500_000)) for _ in range(rates))
    return _Phase(mean, waves, rng.uniform(0.86, 0.99), base)


def _windows(rates: int) -> list[tuple[int, int, int]]:
    """(begin, end, index of the rate) in ms of a local day, neighbours of one rate joined."""
    windows = []
    hour = 0
    for rate, hours in groupby(min(tariff, rates) - 1 for tariff in TARIFF_BY_HOUR):
        length = len(list(hours))
        windows.append((hour * HOUR_MS, (hour + length) * HOUR_MS, rate))
        hour += length
    return windows


def _round(value: float, step: int) -> int:
    """`value` in thousandths, to the nearest `step`."""
    return round(value * 1000 / step) * step


def _ratio(p_mw: int, s_mw: int) -> int:
    return round(1000 * p_mw / s_mw) if s_mw else 1000


def _neutral_ma(currents: list[int]) -> int:
    """The phasor sum of currents 120 degrees apart."""
    if len(currents) == 1:
        return currents[0]
    squares = sum(i * i for i in currents)
    products = sum(a * b for a, b in zip(currents, currents[1:] + currents[:1], strict=True))
    return round(math.sqrt(max(0, squares - products)))
