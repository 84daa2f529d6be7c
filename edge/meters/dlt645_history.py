"""What a DL/T 645 meter remembers, and its clock: generators over its driver.

* Every exchange is repeated, and a refusal believed, as the driver does it with polls.
* A generator yields between two exchanges, so that an order gets in; the parts of one answer belong
  together.
* What a meter says of its past is passed on as it is; who asks judges the stamps.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

from edge.line.line import Line, NoAnswerError, TooLateError
from edge.meters.dlt645_driver import Dlt645Driver
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.clock import MeterTime, time_from_bytes
from protocols.dlt645.commands import BroadcastTime, ReadRecords
from protocols.dlt645.controls import Function
from protocols.dlt645.frame import PREAMBLE_SIZE, Frame
from protocols.dlt645.identifiers import EDITION_1997, EDITION_2007, identifier_bytes, items_of
from protocols.dlt645.records import TIME_FORM, Record, decode_freeze, decode_load_records
from protocols.dlt645.requests import request
from protocols.dlt645.texts import decode_text
from protocols.dlt645.values import decode_item
from protocols.errors import LineError, UnsupportedError, ValueFormatError
from protocols.readings import Reading

CLOCK = "0400010C"  # date and time in one; not every meter has it
DATE_AND_TIME = {EDITION_2007: ("04000101", "04000102"), EDITION_1997: ("C010", "C011")}
DAILY_FREEZES_MAX = 62  # kept by a meter at most (public firmware)
ENERGY_PARTS = range(1, 9)  # of a freeze: forward, reverse, combined reactive 1 and 2, quadrants
EARLIEST, FROM = "00", "01"  # last byte of an identifier of load records
ROUND_TRIP_MS_MAX = 3_000  # beyond the time on the wire; a slower answer tells no time
SEND_MS_MAX = 500  # between naming a time and sending it
_DI_SIZES = {EDITION_2007: 4, EDITION_1997: 2}
_WEEKDAY = 3  # place of the weekday in a clock's bytes: ss mm hh WW DD MM YY

Exchanges = Generator[None, None, None]
Data = Generator[None, None, bytes]


class Shown(NamedTuple):
    """What a meter's clock showed: its time, in whole seconds; when it did, on the gateway's boot
    clock; and how far that may be off (ms)."""

    time: MeterTime
    boot_ms: int
    error_ms: int


def read_raw(line: Line, driver: Dlt645Driver, di: str, retries: int) -> Data:
    """The bytes behind an identifier, identifier first."""
    read = dlt645.read_1997 if len(di) == 2 * _DI_SIZES[EDITION_1997] else dlt645.read
    return (yield from driver.run(line, lambda: read(driver.address, di), retries))


def read_load_records(
    line: Line,
    driver: Dlt645Driver,
    load_class: int,
    blocks: int,
    start: MeterTime | None,
    retries: int,
) -> Generator[None, None, list[Record]]:
    """`blocks` load records of a class, at most, in the meter's order: from `start` on, or the
    earliest ones. An empty list: there are none."""
    di = f"06{load_class:02X}00" + (FROM if start else EARLIEST)
    command = ReadRecords(di, blocks, start)
    data = yield from driver.run(
        line, lambda: dlt645.Exchange(request(driver.address, command)), retries
    )
    return decode_load_records(data) if len(data) > len(identifier_bytes(di)) else []


def read_daily_freeze(
    line: Line, driver: Dlt645Driver, number: int, retries: int
) -> Generator[None, None, Record]:
    """The daily freeze `number`, 1 being the latest, as one block. Its time is None where the meter
    keeps none."""
    data = yield from read_raw(line, driver, f"0506FF{number:02X}", retries)
    return decode_freeze(data)


def read_freeze_parts(
    line: Line, driver: Dlt645Driver, number: int, parts: tuple[int, ...], retries: int
) -> Generator[None, None, Record]:
    """The same, part by part (of ENERGY_PARTS), for a meter that does not give the block."""
    stamp = yield from read_raw(line, driver, f"050600{number:02X}", retries)
    time = None if _is_filled(stamp[4:]) else decode_text(TIME_FORM, stamp[4:])
    if time is None:
        return Record(None, (), "")
    readings: list[Reading] = []
    for part in parts:
        yield
        try:
            data = yield from read_raw(line, driver, f"0506{part:02X}{number:02X}", retries)
        except UnsupportedError:
            continue
        readings.extend(_energies(part, data[4:]))
    yield
    if (yield from read_raw(line, driver, f"050600{number:02X}", retries)) != stamp:
        raise ValueFormatError("the meter froze anew while its freeze was read in parts")
    return Record(time, tuple(readings), "")


def read_clock(
    line: Line,
    driver: Dlt645Driver,
    boot_ms: Callable[[], int],
    character_s: float,
    retries: int,
    is_whole: bool,
) -> Generator[None, None, Shown]:
    """What the meter's clock shows, and when: in the middle of what remains of the exchange without
    the time of its bytes on the wire. `is_whole`: date and time by one identifier, which
    UnsupportedError may refuse; else by two, LineError when midnight comes between."""
    if is_whole and driver.edition == EDITION_2007:
        data, at, error = yield from _timed(line, driver, CLOCK, boot_ms, character_s, retries)
        return Shown(_time(data[4:]), at, error)
    date_di, time_di = DATE_AND_TIME[driver.edition]
    size = _DI_SIZES[driver.edition]
    date = yield from read_raw(line, driver, date_di, retries)
    yield
    data, at, error = yield from _timed(line, driver, time_di, boot_ms, character_s, retries)
    yield
    if (yield from read_raw(line, driver, date_di, retries)) != date:
        raise LineError("midnight came between a meter's time and its date")
    return Shown(_time(data[size:] + date[size:]), at, error)


def set_clock(
    line: Line,
    driver: Dlt645Driver,
    boot_ms: Callable[[], int],
    time_at: Callable[[int], MeterTime],
    character_s: float,
) -> None:
    """Sends the time to this one meter, whom nothing makes answer (08). `time_at` names the time at
    an instant of the boot clock: that at which the frame will have arrived. TooLateError, and
    nothing was sent, when the line was not free at once.

    Some meters take the function only from the broadcast address and ignore this; but a broadcast
    would set every clock of the line. Hence the frame is made here: the table of functions knows
    the broadcast alone."""
    now = boot_ms()
    size = len(_clock_frame(driver.address, time_at(now)))
    wire = _clock_frame(driver.address, time_at(now + round(1000 * size * character_s)))
    before, line.may_send = line.may_send, lambda: boot_ms() - now <= SEND_MS_MAX
    try:
        line.converse(_Unanswered(wire))
    except TooLateError as error:
        raise TooLateError("the line was not free at once; no clock was set") from error
    finally:
        line.may_send = before


class _Unanswered:
    """A request that nobody answers; the line falls silent for the response time-out."""

    silence_characters = 0.0
    drops_echo = True

    def __init__(self, request: bytes) -> None:
        self.request = request

    def receive(self, data: bytes) -> bool:
        """Whatever comes, it is no answer."""
        return False

    def flush(self) -> bool:
        """Silence is what is waited for."""
        return True


def _clock_frame(address: str, time: MeterTime) -> bytes:
    data = BroadcastTime(time).data()
    return Frame(address, Function.BROADCAST_TIME, data).to_bytes(PREAMBLE_SIZE)


def _timed(
    line: Line,
    driver: Dlt645Driver,
    di: str,
    boot_ms: Callable[[], int],
    character_s: float,
    retries: int,
) -> Generator[None, None, tuple[bytes, int, int]]:
    """(data, boot ms at which the meter looked, how far that may be off). Repeated here, because
    only the exchange that was answered counts."""
    for attempt in range(retries + 1):
        if attempt:
            yield
        began = boot_ms()
        try:
            data = yield from read_raw(line, driver, di, 0)
        except NoAnswerError:
            if attempt == retries:
                raise
            continue
        elapsed = boot_ms() - began
        there, back = (
            round(
                1000
                * character_s
                * sum(len(data) for way, _, data in line.transcript if way == one)
            )
            for one in (">", "<")
        )
        left = max(elapsed - there - back, 0)
        if left <= ROUND_TRIP_MS_MAX:
            return data, began + there + left // 2, left // 2
    raise LineError("the meter's answer came too late to tell the time by")


def _time(wire: bytes) -> MeterTime:
    """The time in ss mm hh WW DD MM YY."""
    time = time_from_bytes(wire[:_WEEKDAY] + wire[_WEEKDAY + 1 :])
    if time is None:
        raise ValueFormatError("the meter's clock was never set")
    return time


def _is_filled(data: bytes) -> bool:
    return data.count(0xFF) == len(data)


def _energies(part: int, payload: bytes) -> list[Reading]:
    """The total and the tariffs of one energy."""
    readings = []
    at = 0
    for item in items_of(identifier_bytes(f"00{part:02X}FF00"), len(payload)):
        quantity = decode_item(item, payload[at : at + item.size])
        if quantity is not None:
            readings.append(Reading(item.obis, quantity))
        at += item.size
    if at != len(payload):
        raise ValueFormatError(f"{len(payload)} bytes are no energies")
    return readings
