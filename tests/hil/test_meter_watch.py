"""Events of the supply: what the virtual meter saw, byte by byte where records are concerned. Bytes
are written by hand from the layouts that meter firmware builds (33h removed, low byte first)."""

import copy

import pytest

from hil.course import SLOT_MS, CourseLoad, DailyCourse, Outage, Supplied, energy_wh
from hil.load import DAY_MS, EPOCH_MS, HOUR_MS, Load, Shown
from hil.meter import Dlt645Meter
from hil.meter_judgements import Limits
from hil.supply import Supply
from hil.tampering import BYPASS, MAGNET, NO_VOLTAGE, REVERSED, Metered, Tampering
from tests.hil.masters import ADDRESS, WHO, FakeClock, ask, make_meter, order, shown

NOON_MS = 1_770_033_600_000  # 2026-02-02 12:00:00 UTC
MINUTE_MS = 60_000
FOREVER = "595923311299"
Phase = tuple[int, int, int]  # mV, mA, mW
USUAL: Phase = (220_000, 1_000, 220_000)
EVEN = (USUAL, USUAL, USUAL)


class Bench(Load):
    """A source of `phases` that an engineer turns at set moments; it makes 1 kWh an hour."""

    def __init__(self, *steps: tuple[int, tuple[Phase, ...]], factor: int = 1000) -> None:
        super().__init__(1, len(steps[0][1]), 0)
        self._steps = steps
        self._factor = factor

    def shown(self, now_ms: int) -> Shown:
        phases = [phases for since_ms, phases in self._steps if since_ms <= now_ms][-1]
        told: Shown = copy.copy(super().shown(now_ms))
        for c in (*range(1, 11), 15, 16, 21, 22, 41, 42, 61, 62):
            if told[c, 8, 0] is not None:
                told[c, 8, 0] = 0
        grown = (now_ms - EPOCH_MS) * 1_000_000 // HOUR_MS // 10_000 * 10_000
        told[1, 8, 0] = told[15, 8, 0] = told[16, 8, 0] = grown
        for index, (u_mv, i_ma, p_mw) in enumerate(phases):
            told[32 + 20 * index, 7, 0], told[31 + 20 * index, 7, 0] = u_mv, i_ma
            told[36 + 20 * index, 7, 0], told[151 + 20 * index, 7, 0] = p_mw, 0
            told[33 + 20 * index, 7, 0] = 1000
        told[13, 7, 0] = self._factor
        return told


def at(*phases: Phase, for_ms: int = HOUR_MS) -> tuple[FakeClock, Dlt645Meter]:
    """A meter at 11:50 whose source shows `phases` from 12:00 on for a while, then the usual."""
    clock = FakeClock(NOON_MS - 10 * MINUTE_MS)
    usual = tuple([USUAL] * len(phases))
    load = Bench((EPOCH_MS, usual), (NOON_MS, phases), (NOON_MS + for_ms, usual))
    return clock, Dlt645Meter(ADDRESS, load, clock, passwords={2: "123456"})


def payload(meter: Dlt645Meter, di: str) -> str:
    """What stands behind an identifier, in hex, parts joined; "err 02" where it is refused."""
    wire = bytes.fromhex(di)[::-1]
    reply = ask(meter, ADDRESS, 0x11, wire)
    assert reply is not None
    if reply.control == 0xD1:
        return "err " + reply.data.hex()
    body, sequence = reply.data[4:], 1
    while reply.control & 0x20:
        reply = ask(meter, ADDRESS, 0x12, wire + bytes((sequence,)))
        assert reply is not None and reply.data[-1] == sequence
        body, sequence = body + reply.data[4:-1], sequence + 1
    return body.hex()


# --- one record of each layout, by hand -----------------------------------------------------------

LOW: Phase = (100_000, 2_500, 250_000)
BEGIN, END = "000112020226", "000113020226"
KWH, NOTHING, UNKNOWN = "00010000", "00000000", "ffffffff"
GROWN = KWH + 3 * NOTHING
UNMEASURED = 2 * NOTHING + 2 * UNKNOWN  # of a phase: no combined reactive energies
AS_USUAL = "0022" + "001000" + "002200" + "000000" + "0010"
AS_LOW = "0010" + "002500" + "002500" + "000000" + "0010"


def energy_at(moment_ms: int) -> str:
    digits = f"{(moment_ms - EPOCH_MS) * 100 // HOUR_MS:08d}"
    return bytes.fromhex(digits)[::-1].hex()


def test_a_loss_of_voltage_is_one_record_in_both_layouts() -> None:
    clock, meter = at(USUAL, LOW, USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    hours = "47040000" + "00010000" + "47020000" + "00010000"  # 59 min of 2.5 A, and one of 1 A
    phases = UNMEASURED + AS_USUAL + UNMEASURED + AS_LOW + UNMEASURED + AS_USUAL
    assert payload(meter, "03010201") == BEGIN + END + GROWN + phases + hours
    first, last = energy_at(NOON_MS + MINUTE_MS), energy_at(NOON_MS + HOUR_MS + MINUTE_MS)
    assert first != last
    registers = first + 3 * NOTHING
    ends = last + 3 * NOTHING + 3 * UNMEASURED
    assert payload(meter, "1002FF01") == BEGIN + registers + phases + hours + END + ends
    assert payload(meter, "03010000") == "000000" * 2 + "010000" + "600000" + "000000" * 2
    assert payload(meter, "03010101") == payload(meter, "03010202") == "ff" * 131
    assert payload(meter, "1001FF01") == "ff" * (6 + 16 + 3 * 29 + 16 + 6 + 64)


def test_a_loss_of_current_has_no_ampere_hours() -> None:
    clock, meter = at((220_000, 0, 0), USUAL, USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    none = "0022" + "000000" * 3 + "0010"
    phases = UNMEASURED + none + 2 * (UNMEASURED + AS_USUAL)
    assert payload(meter, "030B0101") == BEGIN + END + GROWN + phases
    assert payload(meter, "030D0101") == payload(meter, "030B0101")
    assert payload(meter, "030B0000")[:12] == "010000" + "600000"
    assert payload(meter, "1801FF01")[-140:-128] == END


def test_a_reverse_flow_says_what_grew() -> None:
    clock, meter = at(USUAL, USUAL, (220_000, 1_000, -220_000))
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert payload(meter, "030E0301") == BEGIN + END + GROWN + 3 * UNMEASURED
    begin = energy_at(NOON_MS + MINUTE_MS) + 3 * NOTHING + 3 * UNMEASURED
    end = energy_at(NOON_MS + HOUR_MS + MINUTE_MS) + 3 * NOTHING + 3 * UNMEASURED
    assert payload(meter, "1B03FF01") == BEGIN + begin + END + end
    assert payload(meter, "030E0000") == "000000" * 4 + "010000" + "600000"


def test_an_unbalance_says_the_largest() -> None:
    clock, meter = at(USUAL, (220_000, 3_000, 660_000), USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert payload(meter, "030A0001") == BEGIN + END + "6666" + GROWN + 3 * UNMEASURED
    assert payload(meter, "030A0000") == "010000" + "600000"
    begin = energy_at(NOON_MS + MINUTE_MS) + 3 * NOTHING + 3 * UNMEASURED
    assert payload(meter, "1700FF01").startswith(BEGIN + begin + "006666" + END)
    assert payload(meter, "03090000") == "000000" * 2


def test_a_power_factor_under_its_limit_is_of_the_amendment() -> None:
    for factor, is_low in ((300, False), (299, True), (-299, True), (-300, False)):
        clock = FakeClock(NOON_MS)
        meter = Dlt645Meter(ADDRESS, Bench((EPOCH_MS, EVEN), factor=factor), clock)
        assert payload(meter, "1F00FF01") == "ff" * 44
        clock.now_ms += MINUTE_MS
        begin = BEGIN + energy_at(clock.now_ms) + 3 * NOTHING + "ff" * 22
        assert payload(meter, "1F00FF01") == (begin if is_low else "ff" * 44)
        assert shown(meter, "04000507") == [is_low << 7]


def test_what_cannot_happen_here_never_did() -> None:
    _, meter = at(*EVEN)
    for di in ("03070000", "03080000"):
        assert payload(meter, di) == "000000" * 2
    assert payload(meter, "03070001") == "ff" * 76
    for di in ("03060000", "03100000", "03120000", "03010401", "0301000B", "03010100", "10010001"):
        assert payload(meter, di) == "err 02"


# --- when an event begins and ends ----------------------------------------------------------------

# What a source shows on phase A, and what becomes of it: identifiers with a record, and the bits of
# status words 4 and 7. The other phases are as usual.
STATES = [
    (USUAL, [], 0, 0),
    ((171_700, 1_000, 170_000), [], 0, 0),
    ((171_500, 1_000, 170_000), ["0301", "0302"], 0b11, 0),  # below 78 % of 220 V
    ((171_500, 25, 4_000), ["0302", "030A"], 0b10, 0x108),  # without a current it is not lost
    ((132_000, 1_000, 132_000), ["0301", "0302", "0309"], 0b11, 4),
    ((131_700, 1_000, 131_000), ["0301", "0309"], 1, 4),  # below 60 % no longer merely low
    ((131_700, 24, 0), ["0304", "0309", "030A"], 1 << 7, 0x10C),
    ((0, 0, 0), ["0304", "0309", "030A"], 1 << 7, 0x10C),
    ((264_000, 1_000, 264_000), [], 0, 0),
    ((264_300, 1_000, 264_000), ["0303"], 1 << 2, 0),
    ((220_000, 24, 0), ["030A", "030B", "030D"], 1 << 3 | 1 << 8, 0x108),
    ((220_000, 25, 0), ["030A"], 0, 0x108),
    ((220_000, 72_000, 1), ["030A"], 0, 0x108),
    ((220_000, 72_001, 1), ["030A", "030C"], 1 << 4, 0x108),
    ((220_000, 1_000, 15_840_000), [], 0, 0),
    ((220_000, 1_000, 15_840_100), ["030F"], 1 << 5, 0),
    ((220_000, 1_000, -5_500), [], 1 << 6, 0),
    ((220_000, 1_000, -5_600), ["030E"], 1 << 6, 0),
    ((220_000, 1_429, 1), ["030A"], 0, 8),
]  # fmt: skip
OF_PHASE = ("0301", "0302", "0303", "0304", "030B", "030C", "030D", "030E", "030F")
OF_ALL = ("0305", "0309", "030A")


@pytest.mark.parametrize(("phase", "events", "word", "whole"), STATES)
def test_each_state_of_a_phase_is_what_it_is(
    phase: Phase, events: list[str], word: int, whole: int
) -> None:
    clock, meter = at(phase, USUAL, USUAL)
    clock.now_ms = NOON_MS + 30 * MINUTE_MS
    kinds = [kind + "01" for kind in OF_PHASE] + [kind + "00" for kind in OF_ALL]
    there = [di[:4] for di in kinds if payload(meter, di + "01")[:12] == BEGIN]
    assert sorted(there) == events
    assert shown(meter, "04000504") == [word]
    assert shown(meter, "04000507") == [whole]
    assert shown(meter, "04000505") == [0]
    for di in kinds:
        if di[:4] in events:
            assert payload(meter, di + "01")[12:24] == "ff" * 6  # it goes on


@pytest.mark.parametrize(
    ("lasts_ms", "looked_ms", "count", "minutes"),
    [
        (15 * MINUTE_MS, MINUTE_MS - 1, 0, 0),
        (15 * MINUTE_MS, MINUTE_MS, 1, 0),
        (15 * MINUTE_MS, 2 * MINUTE_MS, 1, 1),
        (15 * MINUTE_MS, 16 * MINUTE_MS - 1, 1, 14),
        (15 * MINUTE_MS, 16 * MINUTE_MS, 1, 15),
        (15 * MINUTE_MS, DAY_MS, 1, 15),
        (DAY_MS, 2 * DAY_MS, 1, 1440),
    ],
)
def test_a_state_is_an_event_after_a_minute(
    lasts_ms: int, looked_ms: int, count: int, minutes: int
) -> None:
    for asks_often in (False, True):
        clock, meter = at(USUAL, LOW, USUAL, for_ms=lasts_ms)
        steps = range(0, looked_ms, max(1, looked_ms // 7)) if asks_often else ()
        for step_ms in steps:
            clock.now_ms = NOON_MS + step_ms
            shown(meter, "040005FF")
        clock.now_ms = NOON_MS + looked_ms
        assert shown(meter, "03010000")[2:4] == [count, minutes]


def test_a_voltage_is_lost_until_it_is_well_back() -> None:
    low, between, back = ((one, 1_000, 100_000) for one in (150_000, 186_800, 187_000))
    clock = FakeClock(NOON_MS - 1)
    steps = [
        (NOON_MS + n * SLOT_MS, (one, *EVEN[1:])) for n, one in enumerate((low, between, back))
    ]
    meter = Dlt645Meter(ADDRESS, Bench((EPOCH_MS, EVEN), *steps), clock)
    for minutes, word in ((16, 0b1), (17, 0b1), (30, 0b1), (31, 0)):
        clock.now_ms = NOON_MS + minutes * MINUTE_MS
        assert shown(meter, "04000504")[0] & 1 == word
    fresh = Dlt645Meter(ADDRESS, Bench((EPOCH_MS, (between, *EVEN[1:]))), FakeClock(NOON_MS))
    assert shown(fresh, "04000504") == [0]


def test_the_last_ten_are_kept_and_all_are_counted() -> None:
    steps = [(NOON_MS + n * SLOT_MS, EVEN if n % 2 else (LOW, *EVEN[1:])) for n in range(24)]
    clock = FakeClock(NOON_MS - 1)
    meter = Dlt645Meter(ADDRESS, Bench((EPOCH_MS, EVEN), *steps), clock)
    clock.now_ms = NOON_MS + 24 * SLOT_MS
    assert shown(meter, "03010000")[:2] == [12, 12 * 15]
    times = [payload(meter, f"030101{number:02X}")[:12] for number in range(1, 11)]
    assert times[0] == "003117020226" and times[9] == "000113020226"
    assert payload(meter, "0301010B") == "err 02"


def test_a_meter_of_one_phase_knows_what_one_phase_can_have() -> None:
    clock, meter = at((264_300, 73_000, 16_000_000))
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert payload(meter, "03030000") == "010000" + "600000" + "ff" * 12
    assert payload(meter, "030C0101")[:24] == BEGIN + END
    assert payload(meter, "03030201") == "err 02"
    for di in ("03010000", "03040000", "030B0000", "030A0000", "03070000"):
        assert payload(meter, di) == "err 02"


def test_limits_are_those_of_the_meter() -> None:
    clock = FakeClock(NOON_MS)
    limits = Limits(voltage_mv=100_000, base_ma=1_000, max_ma=2_000)
    load = Bench((EPOCH_MS, ((120_100, 2_401, 300_000),)))
    meter = Dlt645Meter(ADDRESS, load, clock, limits=limits)
    clock.now_ms += MINUTE_MS
    assert shown(meter, "04000504") == [1 << 2 | 1 << 4 | 1 << 5]


# --- clears and clocks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("di", "answer", "left"),
    [
        ("FF010103", "ok", [0, 1]),
        ("FFFF0110", "ok", [0, 1]),
        ("FF000A03", "ok", [1, 0]),
        ("FFFFFFFF", "ok", [0, 0]),
        ("FF000103", "err 02", [1, 1]),
        ("01010103", "err 02", [1, 1]),
    ],
)
def test_events_of_the_supply_are_cleared(di: str, answer: str, left: list[int]) -> None:
    clock, meter = at((100_000, 3_000, 300_000), USUAL, USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert order(meter, 0x1B, WHO + di) == answer
    assert [shown(meter, "03010000")[0], shown(meter, "030A0000")[0]] == left
    assert payload(meter, "03010101") == ("ff" * 131 if not left[0] else payload(meter, "03010101"))
    assert shown(meter, "03300300") == [1 if answer == "ok" else 0]


def test_an_event_that_is_cleared_while_it_goes_on_is_not_counted_again() -> None:
    clock, meter = at(LOW, USUAL, USUAL)
    clock.now_ms = NOON_MS + 30 * MINUTE_MS
    assert order(meter, 0x1A, WHO) == "ok"
    assert shown(meter, "04000504")[0] & 1
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert shown(meter, "03010000")[:2] == [0, 0]
    assert shown(meter, "04000504") == [0]


def test_times_are_those_that_its_clock_showed_then() -> None:
    clock, meter = at(LOW, USUAL, USUAL)
    clock.now_ms = NOON_MS + 2 * HOUR_MS
    assert order(meter, 0x14, "0c010004" + WHO + "00000001010130") == "ok"
    assert payload(meter, "03010101")[:24] == BEGIN + END


# --- power ----------------------------------------------------------------------------------------


def test_a_power_cut_silences_the_meter_and_is_written_down() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    energy = shown(meter, "00010000")
    clock.now_ms += 90_000
    meter.cut_power()
    before = payload_of_cut(meter)
    clock.now_ms += 3 * HOUR_MS
    assert before is None and payload_of_cut(meter) is None
    meter.restore_power()
    assert payload(meter, "03110000") == "010000"
    assert payload(meter, "03110001") == "300112020226" + "300115020226"
    assert payload(meter, "03110002") == "ff" * 12
    assert shown(meter, "04000102") == ["15:01:30"]
    assert shown(meter, "00010000")[0] - energy[0] < 20  # of the first 90 s
    assert payload(meter, "03050000") == "000000" * 2
    untouched = make_meter(FakeClock(clock.now_ms))
    assert shown(untouched, "00010000")[0] - energy[0] > 100


def payload_of_cut(meter: Dlt645Meter) -> object:
    """The answer to a read."""
    return ask(meter, ADDRESS, 0x11, "00000100")


def test_a_short_cut_is_no_shorter_for_that() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    for _ in range(2):
        meter.cut_power()
        meter.cut_power()
        clock.now_ms += 2_000
        meter.restore_power()
        meter.restore_power()
        clock.now_ms += 2_000
    assert payload(meter, "03110000") == "020000"
    assert payload(meter, "03110001") == "040012020226" + "060012020226"


def test_the_relay_stays_as_it_is_while_the_power_is_cut() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    order(meter, 0x14, "01140004" + WHO + "0500")
    assert order(meter, 0x1C, WHO + "1A00" + FOREVER) == "ok"
    meter.cut_power()
    clock.now_ms += HOUR_MS
    meter.restore_power()
    assert shown(meter, "04000503") == [0x50]
    assert shown(meter, "1D000101") == ["2026-02-02T13:00:00"]
    meter.cut_power()
    clock.now_ms += HOUR_MS
    assert not meter.press_button()
    meter.restore_power()
    assert shown(meter, "0202FF00") == [0] * 3
    assert min(shown(meter, "0201FF00")) > 2200
    order(meter, 0x1C, WHO + "1C00" + FOREVER)
    assert shown(meter, "02030000")[0] > 0


def test_an_event_ends_when_the_power_goes() -> None:
    clock, meter = at(USUAL, LOW, USUAL)
    clock.now_ms = NOON_MS + 30 * MINUTE_MS
    meter.cut_power()
    clock.now_ms += 5 * MINUTE_MS
    meter.restore_power()
    clock.now_ms += MINUTE_MS
    assert payload(meter, "03010202")[:24] == BEGIN + "003012020226"
    assert payload(meter, "03010201")[:24] == "003612020226" + "ff" * 6
    assert shown(meter, "03010000")[2:4] == [2, 29]


def test_nothing_moves_the_contact_of_a_dead_meter() -> None:
    supply = Supply(Load(1))
    supply.cut(NOON_MS)
    supply.open(NOON_MS + 1)
    assert supply.is_cut and not supply.is_open
    supply.restore(NOON_MS + 2)
    supply.open(NOON_MS + 3)
    supply.cut(NOON_MS + 4)
    supply.close(NOON_MS + 5)
    assert supply.is_open and supply.edges_ms == [NOON_MS + at_ms for at_ms in (0, 2, 3, 4)]


def test_an_open_contact_is_a_break_of_every_current() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    order(meter, 0x1C, WHO + "1A00" + FOREVER)
    clock.now_ms += MINUTE_MS
    assert shown(meter, "040005FF")[3:6] == [1 << 8] * 3
    assert shown(meter, "030D0000")[::2] == [1, 1, 1]
    order(meter, 0x1C, WHO + "1C00" + FOREVER)
    clock.now_ms += MINUTE_MS
    assert shown(meter, "040005FF")[3:6] == [0] * 3


# --- what is done to a course ---------------------------------------------------------------------

OUT_MS, BACK_MS = NOON_MS, NOON_MS + HOUR_MS


def supplied(*outages: Outage, thefts: tuple[Tampering, ...] = ()) -> CourseLoad:
    use = DailyCourse(Load(4, 3, power_w=(2_000, 3_000)), 3)
    return CourseLoad(Metered(Supplied(use, outages), thefts), 4, energy_step_wh=1)


def test_a_supply_that_goes_takes_all_power_and_energy() -> None:
    clock = FakeClock(OUT_MS - 1)
    load = supplied(Outage(begin_ms=OUT_MS, end_ms=BACK_MS))
    meter = Dlt645Meter(ADDRESS, load, clock)
    energy = shown(meter, "0001FF00")
    clock.now_ms = OUT_MS
    assert payload_of_cut(meter) is None
    clock.now_ms = BACK_MS
    assert payload(meter, "03110001") == "000012020226" + "000013020226"
    assert shown(meter, "0001FF00") == energy
    assert min(shown(meter, "0201FF00")) > 2200


def test_a_phase_that_goes_takes_its_current_and_energy() -> None:
    clock = FakeClock(OUT_MS)
    load = supplied(Outage(phase=2, begin_ms=OUT_MS, end_ms=BACK_MS))
    meter = Dlt645Meter(ADDRESS, load, clock)
    before = [shown(meter, di)[0] for di in ("00150000", "00290000", "003D0000", "00010000")]
    assert shown(meter, "0201FF00")[1] == shown(meter, "0202FF00")[1] == 0
    assert shown(meter, "0203FF00")[2] == 0
    assert shown(meter, "02030000")[0] == sum(shown(meter, "0203FF00")[1:])
    assert shown(meter, "02800001")[0] > 5_000  # the neutral carries what the phase no longer does
    clock.now_ms = BACK_MS + MINUTE_MS
    assert payload(meter, "03040201")[:24] == BEGIN + END
    after = [shown(meter, di)[0] for di in ("00150000", "00290000", "003D0000", "00010000")]
    grown = [late - early for late, early in zip(after, before, strict=True)]
    assert grown[0] > 150 and grown[1] <= 5 and grown[2] > 150
    assert abs(grown[3] - sum(grown[:3])) <= 3


@pytest.mark.parametrize(("percent", "di", "bit"), [(70, "0302", 1), (130, "0303", 2)])
def test_a_load_takes_its_power_at_any_voltage(percent: int, di: str, bit: int) -> None:
    clock = FakeClock(OUT_MS)
    meter = Dlt645Meter(ADDRESS, supplied(Outage(percent, 1, OUT_MS, BACK_MS)), clock)
    usual = Dlt645Meter(ADDRESS, supplied(), FakeClock(OUT_MS))
    u, i, s = (shown(meter, f"020{kind}0100")[0] for kind in (1, 2, 5))
    full_u, full_i = (shown(usual, f"020{kind}0100")[0] for kind in (1, 2))
    assert abs(u - full_u * percent // 100) <= 1
    assert abs(i - full_i * 100 // percent) <= 60
    assert abs(u * i // 1000 - s) <= 12
    for kind in ("0203FF00", "00010000"):
        assert shown(meter, kind) == shown(usual, kind)
    clock.now_ms += MINUTE_MS
    assert payload(meter, di + "0101")[:12] == BEGIN
    assert shown(meter, "04000504")[0] >> bit & 1


def test_a_cut_voltage_circuit_hides_the_energy_and_shows_the_current() -> None:
    clock = FakeClock(OUT_MS)
    theft = Tampering(NO_VOLTAGE, phase=3, begin_ms=OUT_MS, end_ms=BACK_MS)
    load = supplied(thefts=(theft,))
    meter = Dlt645Meter(ADDRESS, load, clock)
    usual = Dlt645Meter(ADDRESS, supplied(), FakeClock(OUT_MS))
    assert shown(meter, "0202FF00") == shown(usual, "0202FF00")
    assert shown(meter, "0201FF00")[2] == shown(meter, "0203FF00")[3] == 0
    energy = shown(meter, "003D0000")
    clock.now_ms = BACK_MS
    assert shown(meter, "003D0000") == energy
    clock.now_ms += MINUTE_MS
    assert payload(meter, "03010301")[:24] == BEGIN + END
    hours = [shown(meter, "03010301")[index] for index in (-1, -2, -3, -4)]
    assert hours[3] == pytest.approx(sum(hours[:3]), abs=2) and min(hours) > 500
    true = Supplied(DailyCourse(Load(4, 3, power_w=(2_000, 3_000)), 3), ())
    metered = Metered(true, [theft])
    passed = [energy_wh(one, OUT_MS, BACK_MS)[0] for one in (true, metered)]
    missing = metered.missing_wh(OUT_MS, BACK_MS)[NO_VOLTAGE]
    assert missing == pytest.approx(passed[0] - passed[1]) and missing > 1500


def test_without_any_voltage_a_meter_is_dark_though_a_current_flows() -> None:
    clock = FakeClock(OUT_MS)
    theft = Tampering(NO_VOLTAGE, begin_ms=OUT_MS, end_ms=BACK_MS)
    meter = Dlt645Meter(ADDRESS, supplied(thefts=(theft,)), clock)
    assert payload_of_cut(meter) is None
    clock.now_ms = BACK_MS + MINUTE_MS
    record = payload(meter, "03050001")
    assert record[:12] + record[18:] == BEGIN + END
    assert 8_000 < int(bytes.fromhex(record[12:18])[::-1].hex()) < 14_000
    assert payload(meter, "03050000") == "010000" + "600000"
    assert payload(meter, "03110000") == "000000"


@pytest.mark.parametrize(
    ("theft", "di"),
    [
        (Tampering(REVERSED, phase=1, begin_ms=OUT_MS, end_ms=BACK_MS), "030E0101"),
        (Tampering(BYPASS, 100, 1, OUT_MS, BACK_MS), "030B0101"),
        (Tampering(MAGNET, 100, 1, OUT_MS, BACK_MS), "030A0001"),
    ],
)
def test_a_theft_that_shows_is_an_event(theft: Tampering, di: str) -> None:
    clock = FakeClock(OUT_MS)
    meter = Dlt645Meter(ADDRESS, supplied(thefts=(theft,)), clock)
    clock.now_ms = BACK_MS + HOUR_MS
    assert payload(meter, di)[:24] == BEGIN + END


def test_the_oldest_looks_are_left_out_after_a_hundred_days() -> None:
    clock, meter = at(LOW, USUAL, USUAL)
    clock.now_ms = NOON_MS + 105 * DAY_MS
    assert shown(meter, "03010000")[:2] == [0, 0]
