"""Which job carries an order out on its line."""

from edge.clock import Clock
from edge.orders.aftermath import AftermathJob
from edge.orders.line_work import Gate, LineTerms, LineWork
from edge.orders.purse import AuthenticateJob, TopUpJob
from edge.orders.records import Facts
from edge.orders.switching import SwitchJob
from edge.orders.writing import ClockJob, DemandJob, FreezeJob, ParameterJob
from edge.settings import Settings
from protocols.orders.kinds import Action
from protocols.orders.order import Order

JOBS: dict[str, type[LineWork]] = {
    Action.DISCONNECT: SwitchJob,
    Action.ARM: SwitchJob,
    Action.CONNECT: SwitchJob,
    Action.KEEP_POWER_ON: SwitchJob,
    Action.KEEP_POWER_OFF: SwitchJob,
    Action.ALARM_ON: SwitchJob,
    Action.ALARM_OFF: SwitchJob,
    Action.PRICES: ParameterJob,
    Action.TIME_OF_USE: ParameterJob,
    Action.STEPS: ParameterJob,
    Action.ALARM_AMOUNTS: ParameterJob,
    Action.OVERDRAFT: ParameterJob,
    Action.ARM_AMOUNT: ParameterJob,
    Action.AUTHENTICATE: AuthenticateJob,
    Action.TOP_UP: TopUpJob,
    Action.SET_CLOCK: ClockJob,
    Action.RESET_DEMAND: DemandJob,
    Action.FREEZE: FreezeJob,
}


def line_terms(settings: Settings) -> LineTerms:
    """How the settings of a gateway want its orders carried out."""
    orders, collect = settings.orders, settings.collect
    return LineTerms(
        verify_ms=orders["verify_s"] * 1000,
        verify_for_ms=orders["verify_for_s"] * 1000,
        meter_utc_offset_min=collect["meter_utc_offset_min"],
    )


def job_for(
    order: Order,
    counter: int,
    deadline_boot_ms: int,
    clock: Clock,
    gate: Gate,
    terms: LineTerms = LineTerms(),  # noqa: B008  # immutable
) -> LineWork:
    """The job of any order but a read or a backfill. `deadline_boot_ms` is its expiry on the clock
    that does not jump."""
    return JOBS[order.action](order, counter, deadline_boot_ms, clock, gate, terms)


def aftermath_of(
    order: Order, counter: int, clock: Clock, gate: Gate, terms: LineTerms, known: Facts
) -> LineWork:
    """The job that looks what became of an order that was sent before a restart: reads, nothing
    else. `known` are the facts that were kept when its intent was; `gate` notes what it finds."""
    deadline = clock.boot_ms() + terms.verify_for_ms
    return AftermathJob(order, counter, deadline, clock, gate, terms, known)
