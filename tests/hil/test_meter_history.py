"""Demands, freezes and load records of the virtual meter, and how they hang together with what its
registers show. Public captures of such blocks do not exist: layouts are those that meter firmware
builds, sizes are counted by hand."""

from typing import Any

import pytest

from hil.load import DAY_MS, EPOCH_MS, Load
from hil.meter import Dlt645Meter
from hil.supply import Supply
from protocols.dlt645.identifiers import identifier_bytes
from protocols.dlt645.records import decode_freeze, decode_load_records
from tests.hil.masters import ADDRESS, WHO, FakeClock, ask, make_meter, order, shown

MIDDAY_MS = 1_770_035_410_000  # 2026-02-02 12:30:10 UTC
HOUR_MS = 3_600_000
ENERGIES = [f"00{number:02X}FF00" for number in range(1, 9)]


def payload(meter: Dlt645Meter, data: str) -> bytes:
    """All parts of an answer to a read, identifier first; b"" for a refusal."""
    reply = ask(meter, ADDRESS, 0x11, data)
    assert reply is not None
    if reply.control == 0xD1:
        return b""
    whole, number = reply.data, 0
    while reply.has_more:
        number += 1
        reply = ask(meter, ADDRESS, 0x12, whole[:4] + bytes((number,)))
        assert reply is not None and reply.data[-1] == number
        whole += reply.data[4:-1]
    return bytes(whole)


def raw(meter: Dlt645Meter, di: str) -> bytes:
    return payload(meter, identifier_bytes(di).hex())[4:]


# --- the supply -----------------------------------------------------------------------------------


def test_a_supply_counts_only_what_its_contact_lets_through() -> None:
    load, supply = Load(3), Supply(Load(3))
    begin = EPOCH_MS + 40 * DAY_MS
    whole = Load(3).shown(begin + 9 * HOUR_MS)[1, 8, 0] or 0
    for hour in (1, 4, 7):
        supply.open(begin + hour * HOUR_MS)
        supply.close(begin + (hour + 1) * HOUR_MS)
    missed = sum(
        (Load(3).shown(begin + (hour + 1) * HOUR_MS)[1, 8, 0] or 0)
        - (Load(3).shown(begin + hour * HOUR_MS)[1, 8, 0] or 0)
        for hour in (1, 4, 7)
    )
    assert missed > 0
    assert supply.now(begin + 9 * HOUR_MS)[1, 8, 0] == whole - missed
    assert supply.at(begin) == load.shown(begin)
    assert supply.at(begin + 90 * 60_000)[16, 7, 0] == 0
    assert supply.now(begin)[1, 8, 0] == whole - missed  # a clock that goes back changes nothing


def test_no_energy_falls_whatever_happens_to_the_contact() -> None:
    supply, latest = Supply(Load(3)), [0] * 5
    at_ms = EPOCH_MS + 40 * DAY_MS
    for turn, step_ms in enumerate([7, 60_000, -3_600_000, 900_000, 5 * HOUR_MS, -1, DAY_MS] * 6):
        at_ms += step_ms
        (supply.open, supply.close, lambda _: None)[turn % 3](at_ms)
        now = [supply.now(at_ms)[1, 8, tariff] or 0 for tariff in range(5)]
        assert all(new >= old for new, old in zip(now, latest, strict=True))
        assert now[0] == sum(now[1:])
        latest = now


# --- demand ---------------------------------------------------------------------------------------


def test_the_largest_demand_is_that_of_its_block() -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    value, when = shown(meter, "01010000")
    end_ms = EPOCH_MS + (int(when[11:13]) * 60 + int(when[14:])) * 60_000
    assert when.startswith("2025-01-01T")
    load = Load(1)
    before, after = (load.shown(at)[1, 8, 0] or 0 for at in (end_ms - 900_000, end_ms))
    assert value == (after - before) * 4 // 100
    blocks = shown(meter, "0101FF00")
    assert blocks[:2] == [value, when]
    assert len(blocks) == 10 and max(blocks[2::2]) == value
    assert shown(meter, "01020000") == [0, None]
    assert shown(meter, "01010500") == shown(meter, "01010001") == shown(meter, "01030000") == []


def test_a_demand_grows_only_while_power_flows() -> None:
    clock = FakeClock(MIDDAY_MS)
    meter = make_meter(clock)
    order(meter, 0x19, WHO)
    order(meter, 0x1C, WHO + "1A00" + "595923311299")
    clock.now_ms += 2 * DAY_MS + 3 * HOUR_MS
    assert shown(meter, "01010000") == [0, None]
    assert shown(meter, "02800004") == [0]
    order(meter, 0x1C, WHO + "1C00" + "595923311299")
    clock.now_ms += HOUR_MS
    value, when = shown(meter, "01010000")
    assert value > 0 and when > "2026-02-04T15:45"
    assert shown(meter, "02800004")[0] > 0


# --- freezes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_separators", [True, False])
@pytest.mark.parametrize("tariffs", [0, 4])
def test_a_frozen_meter_shows_what_it_was(has_separators: bool, tariffs: int) -> None:
    clock = FakeClock(MIDDAY_MS)
    load = Load(1, 3, tariffs)
    meter = Dlt645Meter(ADDRESS, load, clock, has_separators=has_separators)
    meter.pin("00020000", 4711)
    was = {di: raw(meter, di) for di in [*ENERGIES, "0101FF00", "0102FF00"]}
    powers = raw(meter, "0203FF00") + raw(meter, "0204FF00")
    assert order(meter, 0x16, "99999999", "999999999999") == "silent"
    clock.now_ms += DAY_MS
    meter.pin("00020000", 4712)
    assert raw(meter, "05010001").hex() == "3012020226"
    parts = [raw(meter, f"0501{number:02X}01") for number in (*range(1, 11), 0x10)]
    assert parts == [*was.values(), powers]
    block = payload(meter, "01FF0105")
    separator = b"\xaa" if has_separators else b""
    time = raw(meter, "05010001") + separator
    assert block[4:] == time + b"".join(part + separator for part in parts)
    assert len(block) == 4 + 29 + 48 * (1 + tariffs) + 12 * has_separators
    record = decode_freeze(block)
    assert record.time == "2026-02-02T12:30"
    assert ("1-0:2.8.0*255", 4711) in [
        (reading.obis.text(), reading.quantity.value) for reading in record.readings
    ]


def test_the_last_three_instants_are_kept() -> None:
    clock = FakeClock(MIDDAY_MS)
    meter = make_meter(clock)
    for _ in range(4):
        order(meter, 0x16, "99999999")
        clock.now_ms += 60_000
    times = [shown(meter, f"050100{number:02X}") for number in (1, 2, 3)]
    assert times == [["2026-02-02T12:33"], ["2026-02-02T12:32"], ["2026-02-02T12:31"]]
    assert shown(meter, "05010004") == shown(meter, "05010000") == []


@pytest.mark.parametrize(
    ("pattern", "times"),
    [
        ("", [None, None]),
        ("45999999", ["2026-03-05T12:45", "2026-03-05T11:45"]),
        ("15069999", ["2026-03-05T06:15", "2026-03-04T06:15"]),
        ("15130599", ["2026-02-05T13:15", None]),  # set after that of February's 2nd
        ("00000299", ["2026-03-02T00:00", None]),
        ("00003199", [None, None]),  # February has none
    ],
)
def test_timed_freezes(pattern: str, times: list[str | None]) -> None:
    clock = FakeClock(MIDDAY_MS)
    meter = make_meter(clock)
    if pattern:
        assert order(meter, 0x16, pattern) == "ok"
    clock.now_ms += 31 * DAY_MS + 20 * 60_000  # 2026-03-05 12:50:10
    assert [shown(meter, f"050000{number:02X}")[0] for number in (1, 2)] == times
    if times[0]:
        at = Dlt645Meter(ADDRESS, Load(1), FakeClock(_ms(times[0])))
        assert raw(meter, "05000101") == raw(at, "0001FF00")


def test_daily_and_hourly_freezes_come_by_themselves() -> None:
    meter = make_meter(FakeClock(MIDDAY_MS), utc_offset_ms=8 * HOUR_MS)
    assert shown(meter, "05060001") == ["2026-02-02T00:00"]
    assert shown(meter, "0506003E") == ["2025-12-03T00:00"]
    assert shown(meter, "0506003F") == []
    then = Dlt645Meter(ADDRESS, Load(1), FakeClock(_ms("2026-02-01T16:00")))
    assert raw(meter, "05060101") == raw(then, "0001FF00")
    assert order(meter, 0x14, "03120004" + WHO + "3006") == "ok"  # 06:30, low byte first
    assert shown(meter, "05060001") == ["2026-02-02T06:30"]
    assert shown(meter, "05040001") == ["2026-02-02T20:00"]
    hourly = payload(meter, "01FF0405")
    assert len(hourly) == 4 + 5 + 1 + 4 + 1 + 4 + 1
    assert decode_freeze(hourly).time == "2026-02-02T20:00"
    assert decode_freeze(payload(meter, "01FF0605")).time == "2026-02-02T06:30"


def test_a_freeze_leaves_out_what_its_mode_word_says() -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    assert order(meter, 0x14, "06090004" + WHO + "01") == "ok"
    block = payload(meter, "01FF0605")[4:]
    assert block[5:6] + block[26:] == b"\xaa" * 12
    assert len(decode_freeze(payload(meter, "01FF0605")).readings) == 5


# --- load records ---------------------------------------------------------------------------------

SIZES = (17, 24, 8, 16, 16, 6)


def test_a_whole_load_record_has_103_bytes() -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    block = payload(meter, "0200000601")[4:]
    assert len(block) == 103
    assert block[:8].hex() == "a0a062" + "0012020226"
    assert block[-1] == 0xE5
    assert block[-2] == sum(block[:-2]) % 256
    at = 8
    for size in SIZES:
        assert block[at + size] == 0xAA
        at += size + 1
    then = Dlt645Meter(ADDRESS, Load(1), FakeClock(_ms("2026-02-02T12:00")))
    assert block[8:14] == raw(then, "0201FF00")
    assert block[14:23] == raw(then, "0202FF00")
    (record,) = decode_load_records(b"\x02\x00\x00\x06" + block)
    assert (record.time, len(record.readings), record.fault) == ("2026-02-02T12:00", 29, "")


@pytest.mark.parametrize("number", range(1, 7))
def test_one_class_leaves_the_others_empty(number: int) -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    data = payload(meter, f"0200{number:02x}0601")
    body = data[4 + 8 : -2]
    assert len(body) == SIZES[number - 1] + 6
    assert body[: number - 1] + body[SIZES[number - 1] + number - 1 :] == b"\xaa" * 6
    (whole,) = decode_load_records(payload(meter, "0200000601"))
    (record,) = decode_load_records(data)
    assert set(record.readings) < set(whole.readings)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        ("0200000601", ["2026-02-02T12:00"]),
        ("0000000602", ["2025-12-22T21:00", "2025-12-22T22:00"]),
        ("01000006" + "03" + "0000010226", [f"2026-02-01T0{hour}:00" for hour in (0, 1, 2)]),
        ("01000006" + "02" + "0100010226", ["2026-02-01T01:00", "2026-02-01T02:00"]),
        ("01000406" + "99" + "0010020226", [f"2026-02-02T{hour}:00" for hour in (10, 11, 12)]),
        ("01000006" + "01" + "0013020226", []),  # nothing since: the identifier alone
    ],
)
def test_which_load_records_are_given(data: str, times: list[str]) -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    found = payload(meter, data)
    assert [record.time for record in decode_load_records(found)] == times
    assert found[:4].hex() == data[:8]


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("02000006", "err 01"),
        ("0200000602", "err 01"),  # the latest is one
        ("0200000600", "err 01"),
        ("020000060A", "err 01"),
        ("0100000601", "err 01"),  # from when?
        ("0100000601" + "0000000000", "err 01"),
        ("0100000601" + "0000300226", "err 01"),
        ("0000000601" + "0000010226", "err 01"),
        ("0200070601", "err 02"),
        ("0300000601", "err 02"),
        ("0200100601", "err 02"),
    ],
)
def test_load_records_that_do_not_exist(data: str, answer: str) -> None:
    assert order(make_meter(), 0x11, data) == answer


def test_classes_are_recorded_as_their_parameters_say() -> None:
    meter = make_meter(FakeClock(MIDDAY_MS))
    assert order(meter, 0x14, "020A0004" + WHO + "1500") == "ok"  # class 1 every 15 min
    assert order(meter, 0x14, "01090004" + WHO + "09") == "ok"  # classes 1 and 4
    latest, before = (
        decode_load_records(payload(meter, data))[0]
        for data in ("0200000601", "0100000601" + "0012020226")
    )
    assert (latest.time, len(latest.readings)) == ("2026-02-02T12:30", 7)
    assert (before.time, len(before.readings)) == ("2026-02-02T12:00", 11)


def test_records_tell_when_the_contact_was_open() -> None:
    clock = FakeClock(MIDDAY_MS)
    meter = make_meter(clock)
    order(meter, 0x1C, WHO + "1A00" + "595923311299")
    clock.now_ms += 3 * HOUR_MS
    order(meter, 0x1C, WHO + "1C00" + "595923311299")
    clock.now_ms += 3 * HOUR_MS
    data = payload(meter, "01000406" + "06" + "0013020226")
    energies = [_first(record) for record in decode_load_records(data)]
    assert len(energies) == 6
    assert energies[0] == energies[1] == energies[2] < energies[3] < energies[4]
    assert energies == sorted(energies)


def _first(record: Any) -> int:
    return int(record.readings[0].quantity.value)


def _ms(text: str) -> int:
    """UTC ms of a time such as 2026-02-02T12:00."""
    meter_day, meter_time = text.split("T")
    year, month, day = map(int, meter_day.split("-"))
    hour, minute = map(int, meter_time.split(":"))
    days = (year - 1970) * 365 + (year - 1969) // 4
    months = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    days += sum(months[: month - 1]) + day - 1
    return (days * 1440 + hour * 60 + minute) * 60_000
