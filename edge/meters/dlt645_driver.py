"""DL/T 645 meters: one exchange per identifier.

* The edition is set, or found: a meter that is silent to reads of 2007 is asked once as in 1997.
  The edition that answered holds until the agent starts again; while such a meter is silent, the
  other edition is tried now and then.
* Energies by tariff are read in one block where the meter does it (`dlt645_blocks`).
* What a meter says it does not have (ERR 02) is dropped until the agent starts again. A block that
  it refuses is asked for item by item from then on.
* An error reply carries no identifier. After a silence it may be the late answer to the question
  before, so it is believed only when it comes again.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator
from itertools import chain
from typing import Any

from edge.line.budget import Cost
from edge.line.line import Line, NoAnswerError
from edge.meters.control import Control
from edge.meters.dlt645_blocks import Blocks
from edge.meters.dlt645_quantities import (
    EDITIONS,
    edition_of,
    identifier_for,
    identifiers_for,
    members_of,
)
from edge.meters.driver import MeterCounters, Reads, groups_of
from edge.settings import meter_address
from protocols.dlt645 import exchange as dlt645
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.frame import FRAME_SIZE_MAX, OVERHEAD, PREAMBLE_SIZE
from protocols.dlt645.identifiers import (
    EDITION_1997,
    EDITION_2007,
    identifier_bytes,
    items_of,
)
from protocols.dlt645.requests import read_request
from protocols.dlt645.values import decode_readings, decode_reply
from protocols.errors import (
    RefusedError,
    SettingError,
    UnsupportedError,
    ValueFormatError,
)
from protocols.obis import Obis
from protocols.readings import Reading

CAREFUL_TURNAROUND_MS = 20  # for a meter that missed a request: its transceiver may be slow to turn
LATE_ANSWER_S = 0.5  # the longest response delay of the standard
OTHER_EDITION_EVERY = 16  # sweeps of a silent meter whose edition is known
_PROBES = {EDITION_2007: "00010000", EDITION_1997: "9010"}  # energy: what every meter has
_DI_SIZES = {EDITION_2007: 4, EDITION_1997: 2}

# The exchange, and the readings of an answer that needed none.
Answers = Generator[None, None, tuple[dlt645.Exchange, list[Reading] | None]]
log = logging.getLogger("edge.meters")


class Dlt645Conversation:
    """One request of an exchange: a Conversation of `edge/line`."""

    silence_characters = 0.0  # the preamble bytes of the request are the silence that a meter needs
    drops_echo = True  # an echo has no reply bit; dropped early all the same

    def __init__(self, exchange: dlt645.Exchange, is_raw: bool = False) -> None:
        """`is_raw`: the answer is wanted as the exchange's data, not as readings."""
        asked = exchange.request
        if asked.control == Function.READ and len(asked.data) == _DI_SIZES[EDITION_2007]:
            self.request = read_request(asked.address, asked.data)
        else:
            self.request = asked.to_bytes(PREAMBLE_SIZE)
        self.readings: list[Reading] | None = None  # of an answer that needs no exchange
        self._exchange = exchange
        self._deframer = Deframer()
        self._asked = asked
        self._heard = b""
        self._is_raw = is_raw

    def receive(self, data: bytes) -> bool:
        """True when this request is answered, wholly or in part."""
        if self._is_plain_answer(data):
            return True
        return self._take(self._deframer.feed(data))

    def _is_plain_answer(self, data: bytes) -> bool:
        """Whether all that was heard is the one frame that nearly every answer is: from the meter
        asked, with the identifier asked, one good number, nothing in front or behind."""
        if self._is_raw or self._asked.control != Function.READ:
            return False
        if len(self._heard) > FRAME_SIZE_MAX:
            return False
        self._heard += data
        reply = decode_reply(self._heard)
        if reply is None or reply[:2] != (self._asked.address, self._asked.data):
            return False
        self.readings = reply[2]
        return True

    def flush(self) -> bool:
        """Looks behind a false start that waited for more bytes."""
        return self._take(self._deframer.flush())

    def _take(self, frames: list[Any]) -> bool:
        for frame in frames:
            strays = self._exchange.strays
            self._exchange.receive(frame)
            if self._exchange.strays == strays:
                return True
        return False


class Dlt645Driver:
    """A DL/T 645 meter: one exchange per identifier. `edition` is 0 until the meter has told it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.meter_id: str = settings["id"]
        self.address = meter_address(settings)
        self.counters = MeterCounters()
        self.unsupported: set[str] = set()
        self.control: Control | None = None
        self._groups = {name: tuple(wanted or ()) for name, wanted in groups_of(settings).items()}
        self._quantities = tuple(dict.fromkeys(chain.from_iterable(self._groups.values())))
        allowed = EDITIONS[settings["edition"]]
        self._editions = [one for one in allowed if identifiers_for(self._quantities, one)]
        self._schedules = {  # (group, edition) -> identifiers
            (group, edition): identifiers_for(wanted, edition)
            for group, wanted in self._groups.items()
            for edition in self._editions
        }
        self.edition = self._editions[0] if len(self._editions) == 1 else 0
        self._blocks = Blocks()
        self._behind: dict[str, list[str]] = {}  # item of a refused block -> those behind it
        self._turnaround_ms = 0
        self._silent_sweeps = 0
        self._is_answer_due = False  # of a question before, and it may still come

    def sweep(self, line: Line, retries: int, group: str = "") -> Reads:
        """All identifiers of the group that the meter has not declared unknown."""
        return (yield from self._in_its_edition(line, lambda: self._sweep(line, retries, group)))

    def read(self, line: Line, obis: Obis, retries: int) -> Reads:
        """One quantity by its identifier; what else the identifier holds comes with it."""
        return (yield from self._in_its_edition(line, lambda: self._read(line, obis, retries)))

    def costs(self, group: str = "") -> list[Cost]:
        """One exchange per identifier, or per block that the meter has proven."""
        edition = self._asked_edition()
        schedule = self._schedules[group, edition]
        blocks = self._blocks.proven(schedule)
        together = set(chain.from_iterable(blocks.values()))
        sizes = [self._blocks.size(block) for block in blocks]
        sizes += [
            sum(item.size for item in items_of(identifier_bytes(di), 0))
            for di in schedule
            if di not in together
        ]
        overhead = PREAMBLE_SIZE + OVERHEAD + _DI_SIZES[edition]
        return [Cost(overhead, overhead + size) for size in sizes]

    def _asked_edition(self) -> int:
        return self.edition or self._editions[0]

    def _in_its_edition(self, line: Line, work: Callable[[], Reads]) -> Reads:
        """What `work` reads; when the meter is silent, perhaps in the other edition."""
        try:
            return (yield from work())
        except NoAnswerError:
            if not (yield from self._answers_otherwise(line)):
                raise
        return (yield from work())

    def _answers_otherwise(self, line: Line) -> Generator[None, None, bool]:
        """Whether the silent meter answers one question of the other edition, if it is time."""
        asked = self._asked_edition()
        others = [edition for edition in self._editions if edition != asked]
        self._silent_sweeps += 1
        if not others or (self.edition and self._silent_sweeps % OTHER_EDITION_EVERY):
            return False
        yield
        if not (yield from self._is_there(line, others[0])):
            return False
        if others[0] != EDITION_2007:
            # A meter that knows both was silent by accident: 2007 tells more.
            yield
            yield from self._is_there(line, EDITION_2007)
        return True

    def _is_there(self, line: Line, edition: int) -> Generator[None, None, bool]:
        try:
            yield from self._read_identifier(line, _PROBES[edition], 0)
        except (RefusedError, ValueFormatError):
            pass
        except NoAnswerError:
            return False
        return True

    def _note_answer(self, edition: int) -> None:
        self._silent_sweeps = 0
        if edition == self.edition:
            return
        self.edition = edition
        log.info("edition_detected meter=%s edition=%d", self.meter_id, edition)
        own = {one for group in self._groups for one in self._schedules[group, edition]}
        self.unsupported = {
            one for one in self._quantities if not identifiers_for((one,), edition)
        } | (self.unsupported & own)

    def _sweep(self, line: Line, retries: int, group: str) -> Reads:
        readings: list[Reading] = []
        scheduled = self._schedules[group, self._asked_edition()]
        schedule = [one for one in scheduled if one not in self.unsupported]
        blocks = self._blocks.proven(schedule)
        together = set(chain.from_iterable(blocks.values()))
        waiting = deque([*blocks, *(one for one in schedule if one not in together)])
        while waiting:
            di = waiting.popleft()
            found: list[Reading] = []
            try:
                found = yield from self._read_identifier(line, di, retries)
            except UnsupportedError:
                self.counters.refusals += 1
                if di not in blocks:
                    gone, instead = self._drop(di, group)
                    waiting = deque([*instead, *(one for one in waiting if one not in gone)])
            except RefusedError:
                self.counters.refusals += 1
            except ValueFormatError:
                self.counters.bad_values += 1
            except NoAnswerError:
                if not readings:
                    raise
                return _first_of_each(readings)  # what it said before it fell silent still counts
            if di in blocks:
                found, missing = self._blocks.split(di, blocks[di], found)
                waiting.extendleft(reversed(missing))
            readings.extend(found)
            yield
        for block in self._blocks.untried(schedule):
            yield from self._try_block(line, block, readings)
            yield
        return _first_of_each(readings)

    def _try_block(
        self, line: Line, block: str, readings: list[Reading]
    ) -> Generator[None, None, None]:
        """Asks for a block beside `readings`, which the meter has just given item by item."""
        turnaround_ms = self._turnaround_ms
        found: list[Reading] = []
        self._blocks.note_trial(block)
        try:
            found = yield from self._read_identifier(line, block, 0)
        except NoAnswerError:
            self._turnaround_ms = turnaround_ms  # it may be silent to what it does not know
            return
        except (RefusedError, ValueFormatError):
            pass  # no fault of either side: it is only asked whether it can
        is_proven = self._blocks.judge(block, readings, found)
        log.info("block_tried meter=%s block=%s proven=%s", self.meter_id, block, is_proven)

    def _drop(self, di: str, group: str) -> tuple[list[str], list[str]]:
        """The meter does not have it: (what goes with it, what is asked for in its place)."""
        edition = edition_of(di)
        schedule = self._schedules[group, edition]
        members, is_open = members_of(di)
        instead = [one for one in members if one not in schedule]
        if is_open:  # tariffs, say: behind the first that it lacks there are no more
            self._behind.update((one, instead[n + 1 :]) for n, one in enumerate(instead))
        gone = self._behind.get(di, [])
        at = schedule.index(di) + 1
        schedule = [*schedule[:at], *instead, *schedule[at:]]
        self._schedules[group, edition] = [one for one in schedule if one not in gone]
        self.unsupported = self.unsupported | {di}  # a new one: another thread may be showing it
        return gone, instead

    def _read(self, line: Line, obis: Obis, retries: int) -> Reads:
        try:
            di = identifier_for(obis.text(), self._asked_edition())
        except SettingError as error:
            raise UnsupportedError(f"{obis.text()} cannot be read: {error}", 0) from error
        return (yield from self._read_identifier(line, di, retries))

    def run(
        self, line: Line, ask: Callable[[], dlt645.Exchange], retries: int
    ) -> Generator[None, None, bytes]:
        """The data of a whole answer, identifier first, to the exchange that `ask` makes: repeated
        and believed like a read of a quantity. Yields between exchanges, not behind the last."""
        exchange, _ = yield from self._believe(line, ask, retries, is_raw=True)
        return exchange.data()

    def once(self, line: Line, exchange: dlt645.Exchange) -> bytes:
        """The data of the answer to one request that is never repeated, whatever comes of it. After
        silence its answer is waited for a little longer, so that no other one is taken for it."""
        before = exchange.strays
        self.counters.exchanges += 1
        try:
            line.converse(Dlt645Conversation(exchange, is_raw=True), self._turnaround_ms)
        except NoAnswerError:
            self.counters.silences += 1
            self._is_answer_due = True
            line.drain(LATE_ANSWER_S)
            raise
        finally:
            self.counters.strays += exchange.strays - before
        return exchange.data()

    def _read_identifier(self, line: Line, di: str, retries: int) -> Reads:
        edition = edition_of(di)
        read = dlt645.read if edition == EDITION_2007 else dlt645.read_1997
        exchange, readings = yield from self._believe(
            line, lambda: read(self.address, di), retries, is_raw=False
        )
        if readings is None:
            return decode_readings(exchange.data(), _DI_SIZES[edition])
        return readings

    def _believe(
        self, line: Line, ask: Callable[[], dlt645.Exchange], retries: int, is_raw: bool
    ) -> Answers:
        is_doubtful = self._is_answer_due
        try:
            return (yield from self._ask(line, ask(), retries, is_raw))
        except RefusedError:
            if not is_doubtful:
                raise
        line.drain(LATE_ANSWER_S)
        self._is_answer_due = False
        yield
        return (yield from self._ask(line, ask(), retries, is_raw))

    def _ask(self, line: Line, exchange: dlt645.Exchange, retries: int, is_raw: bool) -> Answers:
        edition = EDITION_1997 if exchange.is_1997 else EDITION_2007
        attempts = 0
        while True:
            self.counters.exchanges += 1
            before = exchange.strays
            conversation = Dlt645Conversation(exchange, is_raw)
            try:
                line.converse(conversation, self._turnaround_ms)
                attempts = 0
            except NoAnswerError:
                self.counters.silences += 1
                self._turnaround_ms = CAREFUL_TURNAROUND_MS
                self._is_answer_due = True
                attempts += 1
                if is_raw:  # an answer that is late might pass for that to a like question
                    line.drain(LATE_ANSWER_S)
                if attempts > retries or (exchange.is_1997 and exchange.state == dlt645.MORE):
                    raise  # a part of 1997 has no number: asked for again, it might be the next one
                self.counters.retries += 1
            except RefusedError as error:
                self._note_answer(edition)
                if exchange.state == dlt645.MORE:  # it forgot the rest, it does not lack the whole
                    raise RefusedError(str(error), error.code, error.names) from error
                raise
            finally:
                self.counters.strays += exchange.strays - before
            if conversation.readings is not None or exchange.state == dlt645.DONE:
                self._is_answer_due = False
                self._note_answer(edition)
                return exchange, conversation.readings
            if attempts:
                yield  # not between parts: another question would make the meter forget the rest


def _first_of_each(readings: list[Reading]) -> list[Reading]:
    """A block and a single item may both hold a quantity; the first one read counts."""
    by_code: dict[Obis, Reading] = {}
    for reading in readings:
        by_code.setdefault(reading.obis, reading)
    return list(by_code.values())
