"""When a meter says that something is wrong with its supply: one rule an event.

Thresholds and the delay are the defaults of two public meter firmwares, which agree with each
other; what only one of them says, or none, is marked. Voltages are parts of the rated one, currents
of the base or the maximum one, as a meter of 220 V, 5(60) A has them (ours).
"""

from collections.abc import Callable
from typing import NamedTuple

from hil.load import PHASES_MAX, Shown

DELAY_MS = 60_000  # a state must last so long before it is an event, or the end of one
# In thousandths.
LOSS_VOLTAGE, LOSS_VOLTAGE_END = 780, 850
UNDER_VOLTAGE = 780
OVER_VOLTAGE = 1200
CRITICAL_VOLTAGE = 600  # below it on every phase a meter has no power
LOSS_CURRENT_VOLTAGE = 700
NO_CURRENT = 5
LOSS_CURRENT_END = 50
SOME_CURRENT = 50  # on another phase (one firmware)
OVER = 1200  # of the maximum current, and of the power that belongs to it
REVERSE_POWER = 5  # of rated voltage x base current
UNBALANCE, SEVERE_UNBALANCE = 300, 900  # (largest - smallest) / largest (ours)
FACTOR = 300
_STEP = 20  # OBIS C of L2 = C of L1 + 20
_INSTANTANEOUS = 7


class Limits(NamedTuple):
    """What a meter is built for, in mV and mA."""

    voltage_mv: int = 220_000
    base_ma: int = 5_000
    max_ma: int = 60_000


USUAL = Limits()


class Look(NamedTuple):
    """What a meter sees at a moment, by fitted phase, in mV, mA and mW; the total power factor in
    thousandths."""

    volts: tuple[int, ...]
    currents: tuple[int, ...]
    powers: tuple[int, ...]
    factor: int
    limits: Limits

    @property
    def has_power(self) -> bool:
        """Whether the meter runs."""
        return any(self.volt(phase) >= CRITICAL_VOLTAGE for phase in range(len(self.volts)))

    @property
    def most_current(self) -> int:
        """The largest current, in thousandths of the base current."""
        return max(self.current(phase) for phase in range(len(self.currents)))

    def volt(self, phase: int) -> int:
        """A voltage in thousandths of the rated one."""
        return self.volts[phase] * 1000 // self.limits.voltage_mv

    def current(self, phase: int) -> int:
        """A current in thousandths of the base one."""
        return self.currents[phase] * 1000 // self.limits.base_ma

    def unbalance(self, of: str) -> int:
        """Of "volts" or "currents", in hundredths of a percent."""
        sizes = self.volts if of == "volts" else self.currents
        return (max(sizes) - min(sizes)) * 10_000 // max(sizes) if max(sizes) else 0


def look_at(shown: Shown, limits: Limits) -> Look:
    """The look that a meter's registers give."""
    phases = [at * _STEP for at in range(PHASES_MAX)]
    fitted = [at for at in phases if shown[32 + at, _INSTANTANEOUS, 0] is not None]

    def of(c: int) -> tuple[int, ...]:
        return tuple([shown[c + at, _INSTANTANEOUS, 0] or 0 for at in fitted])

    currents = tuple([abs(one) for one in of(31)])
    return Look(of(32), currents, of(36), abs(shown[13, _INSTANTANEOUS, 0] or 0), limits)


Rule = Callable[[Look, int, bool], bool]  # a look, a phase from 0, whether the event goes on


class Kind(NamedTuple):
    """One kind of event: the first two bytes of its identifier, the first one in the amendment,
    its bit in status words 4 to 6 (of a phase) or 7, the layouts of its records, and its rule."""

    code: str
    amended: str
    bit: int
    layout: str
    rule: Rule
    is_of_phase: bool = True
    phases_min: int = 1
    delay_ms: int = DELAY_MS
    runs_dark: bool = False  # judged without power


def _loss_of_voltage(look: Look, phase: int, goes_on: bool) -> bool:
    limit = LOSS_VOLTAGE_END if goes_on else LOSS_VOLTAGE
    return look.volt(phase) < limit and look.current(phase) > NO_CURRENT


def _under_voltage(look: Look, phase: int, _: bool) -> bool:
    return CRITICAL_VOLTAGE <= look.volt(phase) < UNDER_VOLTAGE  # the lower end is ours


def _over_voltage(look: Look, phase: int, _: bool) -> bool:
    return look.volt(phase) > OVER_VOLTAGE


def _phase_break(look: Look, phase: int, _: bool) -> bool:
    return look.volt(phase) < CRITICAL_VOLTAGE and look.current(phase) < NO_CURRENT


def _loss_of_current(look: Look, phase: int, goes_on: bool) -> bool:
    limit = LOSS_CURRENT_END if goes_on else NO_CURRENT
    is_low = look.current(phase) < limit and look.volt(phase) > LOSS_CURRENT_VOLTAGE
    return is_low and look.most_current > SOME_CURRENT


def _current_break(look: Look, phase: int, _: bool) -> bool:
    return look.volt(phase) > CRITICAL_VOLTAGE and look.current(phase) < NO_CURRENT


def _over_current(look: Look, phase: int, _: bool) -> bool:
    return look.currents[phase] * 1000 > OVER * look.limits.max_ma


def _reverse_flow(look: Look, phase: int, _: bool) -> bool:
    base_mw = look.limits.voltage_mv * look.limits.base_ma // 1000
    return -look.powers[phase] * 1000 > REVERSE_POWER * base_mw


def _overload(look: Look, phase: int, _: bool) -> bool:
    max_mw = look.limits.voltage_mv * look.limits.max_ma // 1000
    return look.powers[phase] * 1000 > OVER * max_mw


def _loss_of_all_voltages(look: Look, _: int, __: bool) -> bool:
    return not look.has_power and look.most_current > SOME_CURRENT


def _power_down(look: Look, _: int, __: bool) -> bool:
    return not look.has_power and look.most_current <= SOME_CURRENT


def _never(_: Look, __: int, ___: bool) -> bool:
    """The order of the phases is always right here."""
    return False


def _voltage_unbalance(look: Look, _: int, __: bool) -> bool:
    return look.unbalance("volts") > 10 * UNBALANCE


def _current_unbalance(look: Look, _: int, __: bool) -> bool:
    return look.unbalance("currents") > 10 * UNBALANCE and look.most_current > SOME_CURRENT


def _severe_unbalance(look: Look, _: int, __: bool) -> bool:
    return look.unbalance("currents") > 10 * SEVERE_UNBALANCE and look.most_current > SOME_CURRENT


def _low_factor(look: Look, _: int, __: bool) -> bool:
    return look.factor < FACTOR and look.most_current > SOME_CURRENT


NO_BIT = -1
KINDS = (
    Kind("0301", "10", 0, "voltage", _loss_of_voltage, phases_min=2),
    Kind("0302", "11", 1, "voltage", _under_voltage),
    Kind("0303", "12", 2, "voltage", _over_voltage),
    Kind("0304", "13", 7, "voltage", _phase_break, phases_min=2),
    Kind("030B", "18", 3, "current", _loss_of_current, phases_min=2),
    Kind("030C", "19", 4, "current", _over_current),
    Kind("030D", "1A", 8, "current", _current_break, phases_min=2),
    # Bit 6 says the direction of the moment.
    Kind("030E", "1B", NO_BIT, "growth", _reverse_flow),
    Kind("030F", "1C", 5, "growth", _overload),
    Kind("0305", "", NO_BIT, "all_voltages", _loss_of_all_voltages, False, 1, DELAY_MS, True),
    Kind("0307", "14", 0, "growth", _never, False, 3),
    Kind("0308", "15", 1, "growth", _never, False, 3),
    Kind("0309", "16", 2, "unbalance", _voltage_unbalance, False, 2),
    Kind("030A", "17", 3, "unbalance", _current_unbalance, False, 2),
    Kind("", "", 8, "", _severe_unbalance, False, 2),
    Kind("", "1F", 7, "factor", _low_factor, False),
    # One firmware waits a minute here too, the other does not.
    Kind("0311", "", NO_BIT, "span", _power_down, False, 1, 0, True),
)
