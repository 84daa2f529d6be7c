"""What the virtual meter does when it is told something: one row a rule, data as they stand on the
wire (33h removed), written by hand so that no shared table can be wrong on both sides."""

from datetime import datetime

import pytest

from hil.meter import Dlt645Meter
from hil.meter_events import COVER_OPENED, TERMINAL_COVER_OPENED
from protocols.dlt645.commands import SecuredControl, SecuredWrite, Security
from protocols.dlt645.controls import Function
from protocols.errors import CallerError
from tests.hil.masters import (
    ADDRESS,
    PASSWORD,
    WHO,
    FakeClock,
    ask,
    make_meter,
    order,
    shown,
)

NOON_MS = 1_770_033_600_000  # 2026-02-02 12:00:00 UTC
WRONG = "0299999978563412"
OTHER = "123456789013"
ANY, ALL, SOME = "AAAAAAAAAAAA", "999999999999", "AAAAAA789012"
DELAY = "01140004"  # 04001401, minutes, two bytes
CIPHER = "98000000" + "78563412"


class Trusting:
    """A security module that opens everything, and what was shown to it."""

    plain = b""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def answer(self, message: Security) -> bytes | int:
        self.seen.append(message)
        return b"\x01\x02" if message.di == "070000FF" else 0x0008

    def open_control(self, control: SecuredControl) -> bytes | None:
        self.seen.append(control)
        return self.plain

    def open_write(self, write: SecuredWrite) -> bytes | None:
        self.seen.append(write)
        return bytes(write.body[:2])


def state(meter: Dlt645Meter) -> list[object]:
    """What a request may change."""
    words = [shown(meter, di) for di in ("04000503", "04001401", "0400010C", "03300000")]
    return [*words, meter.name, meter.rate, meter.orders.output]


# --- whom a request may name ----------------------------------------------------------------------

CHANGES = {
    0x03: "FF000007" + "78563412",
    0x14: DELAY + WHO + "0500",
    0x17: "20",
    0x18: "050c0004" + PASSWORD + "04111111",
    0x19: WHO,
    0x1A: WHO,
    0x1B: WHO + "FFFFFFFF",
    0x1C: WHO + "1A00" + "595923311299",
}


FOR_ALL = ((0x15, ANY), (0x16, ALL), (0x1D, ALL))  # see below
ELSEWHERE = [
    (function, address)
    for function in (*CHANGES, 0x15, 0x16, 0x1D)
    for address in (ANY, ALL, SOME, OTHER)
    if (function, address) not in FOR_ALL
]


@pytest.mark.parametrize(("function", "address"), ELSEWHERE)
def test_only_its_full_address_moves_a_meter(function: int, address: str) -> None:
    meter = make_meter()
    before = state(meter)
    others = {0x15: "050000000000", 0x16: "99999999", 0x1D: "01"}
    assert order(meter, function, (CHANGES | others)[function], address) == "silent"
    assert state(meter) == before
    assert shown(meter, "05010001") == [None]


@pytest.mark.parametrize("address", [ADDRESS, ANY, SOME])
def test_the_clock_is_broadcast_to_all_only(address: str) -> None:
    meter = make_meter(FakeClock(NOON_MS))
    assert order(meter, 0x08, "300012020226", address) == "silent"
    assert shown(meter, "04000102") == ["12:00:00"]


@pytest.mark.parametrize("function", CHANGES)
def test_each_change_is_answered_at_the_full_address(function: int) -> None:
    echoes = {0x17: "ok 20", 0x18: "ok 04111111", 0x03: "err 0400"}
    assert order(make_meter(), function, CHANGES[function]) == echoes.get(function, "ok")


SIZES = {0x16: 4, 0x17: 1, 0x18: 12, 0x19: 8, 0x1A: 8, 0x1B: 12, 0x1C: 16, 0x1D: 1, 0x03: 8}
MISFITS = [
    (function, size)
    for function, due in SIZES.items()
    for size in range(30 if function != 0x03 else due)
    if size != due
]


@pytest.mark.parametrize(("function", "size"), MISFITS)
def test_data_of_a_wrong_size_are_an_error(function: int, size: int) -> None:
    meter = make_meter()
    before = state(meter)
    data = (WHO + "00" * 30)[: 2 * size]
    assert order(meter, function, data) == ("err 0100" if function == 0x03 else "err 01")
    assert state(meter) == before


# --- 14: writes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (DELAY + WHO + "0500", "ok"),
        (DELAY + WHO + "050000", "err 01"),
        (DELAY + WHO + "05", "err 01"),
        (DELAY + WHO, "err 01"),
        (DELAY + WHO + "0A00", "err 01"),  # no BCD
        (DELAY + WRONG + "0500", "err 04"),
        (DELAY + "09563412" + "78563412" + "0500", "err 04"),  # a level without a password
        ("00000100" + WHO + "00000000", "err 02"),  # an energy is not written
        ("03050004" + WHO + "0000", "err 02"),
        ("78563412" + WHO + "0000", "err 02"),
        ("04020004" + WHO + "02", "err 02"),  # the tariffs are those of its load
        ("01140004" + CIPHER + "0500" + "00000000", "err 04"),  # nobody to open it
    ],
)
def test_a_write_is_stored_or_refused(data: str, answer: str) -> None:
    meter = make_meter()
    assert order(meter, 0x14, data) == answer
    assert shown(meter, "04001401") == [5 if answer == "ok" else 0]
    assert shown(meter, "03300000") == [1 if answer == "ok" else 0]


@pytest.mark.parametrize(
    ("di", "body"),
    [
        ("04000103", "15"),
        ("04000306", "400000"),
        ("04000403", "41" * 32),
        ("04000801", "7f"),
        ("04000B01", "0128"),
        ("04001001", "50000000"),
        ("04010001", "010000" + "023006" + "030012"),
        ("040502FF", "11220000" * 4),
        ("04030001", "01011226"),
    ],
)
def test_what_is_written_is_read_back(di: str, body: str) -> None:
    meter = make_meter()
    wire = bytes(reversed(bytes.fromhex(di)))
    assert order(meter, 0x14, wire.hex() + WHO + body) == "ok"
    reply = ask(meter, ADDRESS, 0x11, wire)
    assert reply is not None and reply.data == wire + bytes.fromhex(body)


def test_a_block_shows_what_was_written_to_one_of_it() -> None:
    meter = make_meter()
    assert order(meter, 0x14, "FF020504" + WHO + "11000000" * 4) == "ok"
    assert order(meter, 0x14, "02020504" + WHO + "22000000") == "ok"
    assert shown(meter, "040502FF") == [11, 22, 11, 11]


def test_a_write_is_written_down() -> None:
    meter = make_meter(FakeClock(1_770_000_000_000))
    order(meter, 0x14, DELAY + WHO + "0500")
    record = shown(meter, "03300001")
    assert record[:3] == ["2026-02-02T02:40:00", "12345678", "04001401"]
    assert record[3:] == [None] * 9
    assert shown(meter, "0330000A") == [None] * 12


@pytest.mark.parametrize("level", range(1, 11))
def test_a_password_is_never_read(level: int) -> None:
    meter = make_meter()
    assert order(meter, 0x11, f"{level:02x}0c0004") == "err 02"
    assert order(meter, 0x14, f"{level:02x}0c0004" + WHO + "02563412").startswith("err")


def test_the_address_can_be_written() -> None:
    meter = make_meter()
    assert order(meter, 0x14, "01040004" + WHO + "050000000000") == "ok"  # from the old one
    assert meter.name == "000000000005"
    assert order(meter, 0x14, "01040004" + WHO + "999999999999", meter.name) == "err 01"
    assert shown(meter, "04000401") == ["000000000005"]


# --- passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "level", "answer"),
    [("000000", 0, "ok"), ("123456", 4, "ok"), ("123456", 5, "err 04"), ("123456", 9, "err 04")],
)
def test_a_write_needs_level_4_or_better(right: str, level: int, answer: str) -> None:
    meter = make_meter(passwords={level: right})
    digits = bytes(reversed(bytes.fromhex(right))).hex()
    assert order(meter, 0x14, f"{DELAY}{level:02x}{digits}78563412" + "0500") == answer


def test_too_many_wrong_passwords_lock_a_level_for_a_while() -> None:
    clock = FakeClock()
    meter = make_meter(clock, passwords={2: "123456", 4: "123456"}, failures_max=3, lockout_s=60)
    write = DELAY + WHO + "0500"
    for _ in range(2):
        assert order(meter, 0x14, DELAY + WRONG + "0500") == "err 04"
    assert order(meter, 0x14, write) == "ok"  # which makes the meter forget them
    for _ in range(2):
        assert order(meter, 0x14, DELAY + WRONG + "0500") == "err 04"
    assert order(meter, 0x14, write) == "ok"
    for _ in range(3):
        assert order(meter, 0x14, DELAY + WRONG + "0500") == "err 04"
    clock.now_ms += 59_999
    assert meter.access.is_locked(2)
    assert order(meter, 0x14, write) == "err 04"
    assert order(meter, 0x14, write.replace("02563412", "04563412")) == "ok"
    clock.now_ms += 1
    assert order(meter, 0x14, write) == "ok"


@pytest.mark.parametrize(
    ("data", "answer", "works"),
    [
        ("050c0004" + PASSWORD + "04111111", "ok 04111111", "04111111"),
        ("030c0004" + PASSWORD + "02111111", "ok 02111111", "02111111"),
        ("020c0004" + PASSWORD + "01111111", "err 04", PASSWORD),  # a more powerful level
        ("050c0004" + "02999999" + "04111111", "err 04", PASSWORD),
        ("060c0004" + PASSWORD + "04111111", "err 01", PASSWORD),
        ("0c0c0004" + PASSWORD + "0b111111", "err 01", PASSWORD),
    ],
)
def test_a_password_is_changed_by_one_as_powerful(data: str, answer: str, works: str) -> None:
    meter = make_meter()
    assert order(meter, 0x18, data) == answer
    assert order(meter, 0x14, DELAY + works + "78563412" + "0500") == "ok"
    stale = "ok" if works != "02111111" else "err 04"
    assert order(meter, 0x14, DELAY + WHO + "0500") == stale


@pytest.mark.parametrize("function", [0x14, 0x18, 0x19, 0x1A, 0x1B])
def test_a_meter_with_a_programming_key_wants_it_pressed(function: int) -> None:
    meter = make_meter(needs_key=True)
    assert order(meter, function, CHANGES[function]) == "err 04"
    assert order(meter, 0x15, "050000000000") == "silent"
    assert shown(meter, "04000503") == [0]
    meter.press_programming_key()
    assert shown(meter, "04000503") == [8]
    assert order(meter, function, CHANGES[function]).startswith("ok")
    assert order(meter, 0x15, "050000000000") == "ok"
    meter.press_programming_key(is_pressed=False)
    assert meter.orders.may_program is False


def test_a_meter_without_passwords_lets_nobody_in() -> None:
    meter = make_meter(passwords=None)
    for password in ("02000000", "00000000", PASSWORD):
        assert order(meter, 0x14, DELAY + password + "00000000" + "0500") == "err 04"
    with pytest.raises(CallerError):
        make_meter(passwords={2: "12345"})
    with pytest.raises(CallerError):
        make_meter(passwords={10: "123456"})


# --- 08 and the clock -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_s", "told", "is_set"),
    [
        (0, "000512020226", True),  # 5 min ahead
        (0, "010512020226", False),
        (0, "005511020226", True),
        (-300, "000012020226", True),
        (-301, "000012020226", False),
        (0, "000512030226", False),  # another day
        (0, "260202120005", False),  # the order in which documents print it
        (0, "0005120202", False),
        (0, "00051202022626", False),
        (0, "0A0512020226", False),
        (0, "000000000000", False),
    ],
)
def test_a_broadcast_moves_the_clock_a_little_and_silently(
    offset_s: int, told: str, is_set: bool
) -> None:
    meter = make_meter(FakeClock(NOON_MS), clock_offset_ms=offset_s * 1000)
    before = shown(meter, "0400010C")
    assert order(meter, 0x08, told, ALL) == "silent"
    assert (shown(meter, "0400010C") != before) == is_set
    if is_set:
        digits = bytes(reversed(bytes.fromhex(told))).hex()
        assert shown(meter, "04000102") == [f"{digits[6:8]}:{digits[8:10]}:{digits[10:]}"]


def test_a_clock_is_broadcast_once_a_day() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    order(meter, 0x08, "300012020226", ALL)
    order(meter, 0x08, "300212020226", ALL)
    assert shown(meter, "04000102") == ["12:00:30"]
    clock.now_ms += 86_400_000
    order(meter, 0x08, "300212030226", ALL)
    assert shown(meter, "0400010C") == ["2026-02-03T12:02:30"]


@pytest.mark.parametrize(
    ("now", "told", "is_set"),
    [
        ("2026-02-02T23:54:00", "2026-02-02T23:55:00", True),
        ("2026-02-02T23:54:30", "2026-02-02T23:55:01", False),
        ("2026-02-02T23:56:00", "2026-02-02T23:54:00", False),
        ("2026-02-02T23:58:00", "2026-02-03T00:02:00", False),
        ("2026-02-03T00:03:00", "2026-02-03T00:06:00", False),
        ("2026-02-03T00:05:00", "2026-02-03T00:06:00", True),
    ],
)
def test_no_broadcast_near_midnight(now: str, told: str, is_set: bool) -> None:
    now_s = datetime.fromisoformat(now + "+00:00").timestamp()
    meter = make_meter(FakeClock(int(now_s) * 1000))
    digits = "".join(told[2:].replace("T", "-").replace(":", "-").split("-"))
    order(meter, 0x08, bytes.fromhex(digits)[::-1].hex(), ALL)
    assert shown(meter, "0400010C") == [told if is_set else now]


def test_a_clock_drifts_and_is_off() -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock, clock_offset_ms=-90_000, clock_drift_ppm=1000)
    assert shown(meter, "04000102") == ["11:58:30"]
    clock.now_ms += 3_600_000
    assert shown(meter, "04000102") == ["12:58:33"]
    order(meter, 0x08, "000013020226", ALL)
    assert shown(meter, "04000102") == ["13:00:00"]
    clock.now_ms += 1_000_000
    assert shown(meter, "04000102") == ["13:16:41"]


@pytest.mark.parametrize(
    ("data", "answer", "after"),
    [
        ("0c010004" + WHO + "00151001021126", "ok", "2026-11-02T10:15:00"),
        ("01010004" + WHO + "01021126", "ok", "2026-11-02T12:00:00"),
        ("02010004" + WHO + "001510", "ok", "2026-02-02T10:15:00"),
        ("0c010004" + WHO + "00151001301126", "ok", "2026-11-30T10:15:00"),
        ("0c010004" + WHO + "00151001311126", "err 01", "2026-02-02T12:00:00"),
        ("02010004" + WHO + "ffffff", "err 01", "2026-02-02T12:00:00"),
        ("02010004" + WRONG + "001510", "err 04", "2026-02-02T12:00:00"),
    ],
)
def test_a_write_sets_the_clock_and_is_written_down(data: str, answer: str, after: str) -> None:
    meter = make_meter(FakeClock(NOON_MS))
    assert order(meter, 0x14, data) == answer
    assert shown(meter, "0400010C") == [after]
    assert shown(meter, "03300400") == [1 if answer == "ok" else 0]
    if answer == "ok":
        assert shown(meter, "03300401") == ["12345678", "2026-02-02T12:00:00", after]


# --- 15, 16, 17, 1D, 03 ---------------------------------------------------------------------------


@pytest.mark.parametrize("address", [ANY, ADDRESS])
def test_a_new_address_answers_for_itself(address: str) -> None:
    meter = make_meter()
    reply = ask(meter, address, 0x15, "050000000000")
    assert reply is not None
    assert (reply.address, reply.control, reply.data) == ("000000000005", 0x95, b"")
    assert ask(meter, ADDRESS, 0x11, "00000100") is None
    assert ask(meter, "000000000005", 0x11, "00000100") is not None


@pytest.mark.parametrize("data", ["999999999999", "aaaaaaaaaaaa", "0500000000", "05000000000000"])
def test_an_address_that_is_none_gets_silence(data: str) -> None:
    meter = make_meter()
    assert order(meter, 0x15, data, ANY) == "silent"
    assert meter.name == ADDRESS


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("99999999", "ok"),
        ("30999999", "ok"),  # hourly
        ("30129999", "ok"),  # daily
        ("30120199", "ok"),  # monthly
        ("30120106", "err 01"),  # a month is not named
        ("99129999", "err 01"),
        ("60999999", "err 01"),
        ("3a999999", "err 01"),
        ("30120099", "err 01"),
    ],
)
def test_freeze_patterns(data: str, answer: str) -> None:
    assert order(make_meter(), 0x16, data) == answer
    assert order(make_meter(), 0x16, data, ALL) == "silent"


@pytest.mark.parametrize(
    ("z", "answer", "rate"),
    [
        ("02", "ok 02", 600),
        ("04", "ok 04", 1200),
        ("08", "ok 08", 2400),
        ("10", "ok 10", 4800),
        ("20", "ok 20", 9600),
        ("40", "ok 40", 19200),
        ("00", "err 08", 2400),
        ("01", "err 08", 2400),
        ("80", "err 08", 2400),
        ("06", "err 08", 2400),
        ("32", "err 08", 2400),
    ],
)
def test_a_rate_is_one_bit(z: str, answer: str, rate: int) -> None:
    meter = make_meter()
    assert order(meter, 0x17, z) == answer
    assert meter.rate == rate


def test_the_terminal_echoes_its_output() -> None:
    meter = make_meter()
    for output, answer in (("00", "ok 00"), ("01", "ok 01"), ("02", "ok 02"), ("03", "err 01")):
        assert order(meter, 0x1D, output) == answer
    assert meter.orders.output == 2
    assert order(meter, 0x1D, "01", ALL) == "silent"
    assert meter.orders.output == 1


def test_security_messages_go_to_the_module() -> None:
    message = "FF000007" + "78563412" + "00" * 24
    assert order(make_meter(), 0x03, message) == "err 0400"  # low byte first
    module = Trusting()
    meter = make_meter(security=module)
    assert order(meter, 0x03, message) == "ok ff0000070102"
    assert order(meter, 0x03, "FF010007" + "78563412") == "err 0800"
    assert module.seen[0] == Security("070000FF", "12345678", bytes(24))


def test_a_secured_write_is_what_the_module_opens() -> None:
    module = Trusting()
    meter = make_meter(security=module)
    assert order(meter, 0x14, DELAY + CIPHER + "0700" + "00000000") == "ok"
    assert shown(meter, "04001401") == [7]
    body = bytes.fromhex("070000000000")
    assert module.seen == [SecuredWrite("04001401", 0x98, "12345678", body)]


# --- 19, 1A, 1B -----------------------------------------------------------------------------------


def test_the_demand_is_cleared_and_grows_again() -> None:
    clock = FakeClock()
    meter = make_meter(clock)
    before, _ = shown(meter, "01010000")
    assert before > 0
    assert order(meter, 0x19, WHO) == "ok"
    assert shown(meter, "01010000") == [0, None]
    assert shown(meter, "03300200") == [1]
    assert shown(meter, "00010000")[0] > 0
    clock.now_ms += 86_400_000
    assert abs(shown(meter, "01010000")[0] - before) <= 800  # one step of each rate's register
    record = ask(meter, ADDRESS, 0x11, "01023003")
    assert record is not None and record.control == 0xB1
    assert record.data[14:17].hex() == bytes(reversed(bytes.fromhex(f"{before:06d}"))).hex()


def test_a_cleared_meter_begins_at_zero() -> None:
    clock = FakeClock()
    meter = make_meter(clock)
    energy = shown(meter, "00010000")
    order(meter, 0x14, DELAY + WHO + "0500")
    order(meter, 0x16, "99999999")
    assert order(meter, 0x1A, WHO) == "ok"
    assert shown(meter, "0001FF00") == [0] * 5
    assert shown(meter, "0000FF00") == [0] * 5
    assert shown(meter, "01010000") == [0, None]
    assert shown(meter, "03300000") == [0]
    assert shown(meter, "05010001") == [None]
    assert shown(meter, "03300100") == [1]
    record = shown(meter, "03300101")
    assert record[1:3] == ["12345678", energy[0]]
    clock.now_ms += 86_400_000
    (total, *rates) = shown(meter, "0001FF00")
    assert total == sum(rates) > 0
    assert shown(meter, "04001401") == [5]


@pytest.mark.parametrize(
    ("data", "answer", "left"),
    [
        (WHO + "FFFFFFFF", "ok", (0, 0)),
        (WHO + "FF003003", "ok", (0, 1)),
        (WHO + "FF0D3003", "ok", (1, 0)),
        (WHO + "FF033003", "err 02", (1, 1)),  # nobody hides a clear
        (WHO + "00003003", "err 02", (1, 1)),
        (WHO + "FF000100", "err 02", (1, 1)),
        (WRONG + "FFFFFFFF", "err 04", (1, 1)),
    ],
)
def test_events_are_cleared_and_that_is_written_down(
    data: str, answer: str, left: tuple[int, int]
) -> None:
    meter = make_meter()
    order(meter, 0x14, DELAY + WHO + "0500")
    meter.open_cover()
    assert order(meter, 0x1B, data) == answer
    assert (shown(meter, "03300000")[0], shown(meter, "03300D00")[0]) == left
    assert shown(meter, "03300300") == [1 if answer == "ok" else 0]
    if answer == "ok":
        cleared = bytes(reversed(bytes.fromhex(data[16:]))).hex().upper()
        record = ask(meter, ADDRESS, 0x11, "01033003")
        assert record is not None and record.data[-4:] == bytes.fromhex(cleared)[::-1]


@pytest.mark.parametrize("function", [0x19, 0x1A, 0x1B])
def test_a_secured_clear_is_what_the_module_opens(function: int) -> None:
    module = Trusting()
    module.plain = b"\xff" * 4
    assert order(make_meter(), function, CIPHER + "00" * 20) == "err 04"
    meter = make_meter(security=module)
    meter.open_cover()
    assert order(meter, function, CIPHER + "00" * 20) == "ok"
    assert module.seen == [SecuredControl(function, "12345678", bytes(20))]
    counts = {0x19: "03300200", 0x1A: "03300100", 0x1B: "03300300"}
    assert shown(meter, counts[function]) == [1]
    assert shown(meter, "03300D00") == [1 if function == 0x19 else 0]


# --- covers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "di", "bit"), [(COVER_OPENED, "03300D", 9), (TERMINAL_COVER_OPENED, "03300E", 10)]
)
def test_an_opened_cover_is_seen(event: str, di: str, bit: int) -> None:
    clock = FakeClock(NOON_MS)
    meter = make_meter(clock)
    meter.open_cover(event)
    meter.open_cover(event)
    assert shown(meter, "04000507") == [1 << bit]
    assert shown(meter, di + "00") == [1]
    start, end, before, *rest = shown(meter, di + "01")
    assert (start, end, rest[-6:]) == ("2026-02-02T12:00:00", None, [None] * 6)
    clock.now_ms += 3_600_000
    meter.close_cover(event)
    assert shown(meter, "04000507") == [1 << 3]  # the unbalance of its currents
    record = shown(meter, di + "01")
    assert record[:3] == [start, "2026-02-02T13:00:00", before]
    assert record[8] == shown(meter, "00010000")[0] > before


def test_no_function_of_the_standard_is_missing() -> None:
    codes = [code for name, code in vars(Function).items() if name.isupper() and "1997" not in name]
    assert len(codes) == 15
    data = CHANGES | {0x1D: "01", 0x15: "050000000000", 0x16: "99999999", 0x13: ""}
    data |= {0x11: "00000100", 0x12: "0000010001", 0x08: "300012020226"}
    silent = [
        code
        for code in codes
        if order(make_meter(), code, data[code], ANY if code == 0x13 else ADDRESS) == "silent"
    ]
    assert silent == [0x08]
