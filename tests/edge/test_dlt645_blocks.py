"""Energies by tariff in one block: proven before it is believed, and given up in doubt."""

import pytest

from edge.line.budget import Cost
from edge.line.line import Line, NoAnswerError
from edge.meters.dlt645_blocks import GROWTH_MAX, TRIALS_MAX, WORTH_ITEMS
from edge.meters.dlt645_driver import Dlt645Driver
from protocols.readings import Reading
from tests.edge.fakes import FakeClock, FakePort, finish, make_line

ADDRESS = "000000000161"
TARIFFS = ("1-0:1.8.0", "1-0:1.8.1", "1-0:1.8.2", "1-0:1.8.3", "1-0:1.8.4")
VOLTAGE = "1-0:32.7.0"
SINGLES = ["00010000", "00010100", "00010200", "00010300", "00010400"]
SINGLES_1997 = ["9010", "9011", "9012", "9013", "9014"]
ENERGIES = [12345678, 1234567, 2345678, 3456789, 5308644]  # 0.01 kWh: total, tariffs 1 to 4
ERR_NO_DATA, ERR_OTHER = b"\x02", b"\x01"
Answer = bytes | None  # the data behind the identifier; one byte is an error, None is silence


def bcd(*values: int) -> bytes:
    """Energies as a meter sends them."""
    return b"".join(bytes.fromhex(f"{one:08d}")[::-1] for one in values)


class Meter:
    """Answers what its table says, or what its block does; `asked` are the identifiers."""

    def __init__(self, clock: FakeClock, block: Answer, edition: int = 2007) -> None:
        self.asked: list[str] = []
        names = SINGLES if edition == 2007 else SINGLES_1997
        self.answers: dict[str, Answer] = {
            name: bcd(value) for name, value in zip(names, ENERGIES, strict=True)
        }
        self.answers["02010100"] = bytes.fromhex("01 22")
        self.answers["0001FF00" if edition == 2007 else "901F"] = block
        self._read = 0x11 if edition == 2007 else 0x01
        self.line: Line = make_line(clock, FakePort(clock, answer=self._hear))

    def _hear(self, request: bytes) -> list[tuple[float, bytes | Exception]]:
        frame = request.lstrip(b"\xfe")
        wire = bytes((one - 0x33) & 0xFF for one in frame[10:-2])
        name = wire[::-1].hex().upper()
        self.asked.append(name)
        answer = self.answers.get(name, ERR_NO_DATA)
        if frame[8] != self._read or answer is None:
            return []
        control, data = (0xC0, answer) if len(answer) == 1 else (0x80, wire + answer)
        body = frame[:8] + bytes([self._read | control, len(data)])
        body += bytes((one + 0x33) & 0xFF for one in data)
        return [(50, body + bytes([sum(body) & 0xFF, 0x16]))]

    def take_asked(self) -> list[str]:
        """What it was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


def make_driver(*quantities: str, edition: str = "2007") -> Dlt645Driver:
    """A meter that is asked for these, or for total and four tariffs."""
    return Dlt645Driver(
        {
            "id": "m-1",
            "protocol": "dlt645-2007",
            "address": ADDRESS,
            "edition": edition,
            "quantities": quantities or TARIFFS,
        }
    )


def values(readings: list[Reading]) -> list[tuple[str, int]]:
    """Codes without their last group, and tens of Wh."""
    return [(one.obis.text().split("*")[0], one.quantity.value) for one in readings]


ALL = list(zip(TARIFFS, ENERGIES, strict=True))
WHOLE = bcd(*ENERGIES)


@pytest.mark.parametrize(
    ("edition", "singles", "block"),
    [(2007, SINGLES, "0001FF00"), (1997, SINGLES_1997, "901F")],
)
def test_a_block_that_says_the_same_takes_the_place_of_its_items(
    clock: FakeClock, edition: int, singles: list[str], block: str
) -> None:
    """The first sweep reads both ways and gives what the items said; later ones read the block."""
    meter = Meter(clock, WHOLE, edition)
    driver = make_driver(edition=str(edition))
    assert values(finish(driver.sweep(meter.line, 0))) == ALL
    assert meter.take_asked() == [*singles, block]
    for _ in range(2):
        assert values(finish(driver.sweep(meter.line, 0))) == ALL
        assert meter.take_asked() == [block]
    assert (driver.counters.exchanges, driver.counters.refusals) == (8, 0)


@pytest.mark.parametrize(
    "block",
    [
        ERR_NO_DATA,
        ERR_OTHER,
        WHOLE[:-1],
        bcd(*ENERGIES[:4]),
        bcd(*ENERGIES[1:], ENERGIES[0]),
        bcd(ENERGIES[0] - 1, *ENERGIES[1:]),
        bcd(*ENERGIES[:4], ENERGIES[4] + GROWTH_MAX + 1),
        b"\xff" * 20,
        bcd(*ENERGIES, *[0] * (5 * WORTH_ITEMS - 4)),
    ],
    ids=[
        "lacked", "refused", "torn", "short", "in another order", "lower", "far higher",
        "void", "long",
    ],
)  # fmt: skip
def test_a_block_that_is_in_doubt_is_never_asked_for_again(clock: FakeClock, block: Answer) -> None:
    """Item by item the readings are what they were, and the meter is as ready as it was."""
    meter = Meter(clock, block)
    driver = make_driver()
    for sweep in range(3):
        assert values(finish(driver.sweep(meter.line, 2))) == ALL
        assert meter.take_asked() == [*SINGLES, *(["0001FF00"] if sweep == 0 else [])]
    assert driver.unsupported == set()
    assert driver._turnaround_ms == 0


def test_a_block_that_meets_with_silence_is_tried_a_few_times(clock: FakeClock) -> None:
    """It may be lost on the line; the meter itself is there, and as ready as it was."""
    meter = Meter(clock, None)
    driver = make_driver()
    for sweep in range(TRIALS_MAX + 2):
        assert values(finish(driver.sweep(meter.line, 2))) == ALL
        assert meter.take_asked() == [*SINGLES, *(["0001FF00"] if sweep < TRIALS_MAX else [])]
    assert driver._turnaround_ms == 0
    driver = make_driver()
    finish(driver.sweep(meter.line, 2))
    meter.answers["0001FF00"] = WHOLE
    finish(driver.sweep(meter.line, 2))
    meter.take_asked()
    assert values(finish(driver.sweep(meter.line, 2))) == ALL
    assert meter.asked == ["0001FF00"]


def test_what_grew_meanwhile_is_no_doubt(clock: FakeClock) -> None:
    """The items are read one after the other, and the meter counts on."""
    grown = [ENERGIES[0] + GROWTH_MAX, *ENERGIES[1:4], ENERGIES[4] + 1]
    meter = Meter(clock, bcd(*grown))
    driver = make_driver()
    assert values(finish(driver.sweep(meter.line, 0))) == ALL
    assert values(finish(driver.sweep(meter.line, 0))) == list(zip(TARIFFS, grown, strict=True))
    assert meter.asked[-1] == "0001FF00"


def test_only_what_was_asked_for_is_kept_and_the_rest_is_asked_for_by_itself(
    clock: FakeClock,
) -> None:
    """A meter has more tariffs than are wanted, and quantities that no block holds."""
    meter = Meter(clock, bcd(*ENERGIES, 7, 8, 9))
    driver = make_driver(VOLTAGE, *TARIFFS[:3])
    assert {one for one, _ in values(finish(driver.sweep(meter.line, 0)))} == {
        VOLTAGE,
        *TARIFFS[:3],
    }
    meter.take_asked()
    assert values(finish(driver.sweep(meter.line, 0))) == [*ALL[:3], (VOLTAGE, 2201)]
    assert meter.asked == ["0001FF00", "02010100"]


def test_what_a_proven_block_lacks_is_asked_for_by_itself(clock: FakeClock) -> None:
    """A tariff was taken out of the meter's table, say."""
    meter = Meter(clock, WHOLE)
    driver = make_driver()
    finish(driver.sweep(meter.line, 0))
    meter.answers["0001FF00"] = bcd(*ENERGIES[:4])
    meter.take_asked()
    assert values(finish(driver.sweep(meter.line, 0))) == ALL
    assert meter.asked == ["0001FF00", "00010400"]


@pytest.mark.parametrize("block", [ERR_NO_DATA, ERR_OTHER, WHOLE[:-1], b"\xff" * 20])
def test_a_proven_block_that_fails_is_given_up(clock: FakeClock, block: bytes) -> None:
    """In the same sweep the items take its place, for good."""
    meter = Meter(clock, WHOLE)
    driver = make_driver(*TARIFFS, VOLTAGE)
    finish(driver.sweep(meter.line, 0))
    meter.answers["0001FF00"] = block
    meter.take_asked()
    for first in (["0001FF00"], []):
        assert values(finish(driver.sweep(meter.line, 0))) == [*ALL, (VOLTAGE, 2201)]
        assert meter.take_asked() == [*first, *SINGLES, "02010100"]
    assert driver.unsupported == set()


def test_a_meter_that_is_silent_to_its_block_is_silent(clock: FakeClock) -> None:
    """It has answered it before: the items would be silent too."""
    meter = Meter(clock, WHOLE)
    driver = make_driver()
    finish(driver.sweep(meter.line, 0))
    meter.answers["0001FF00"] = None
    meter.take_asked()
    with pytest.raises(NoAnswerError):
        finish(driver.sweep(meter.line, 1))
    assert meter.take_asked() == ["0001FF00"] * 2
    meter.answers["0001FF00"] = WHOLE
    assert values(finish(driver.sweep(meter.line, 1))) == ALL


@pytest.mark.parametrize(
    "quantities", [TARIFFS[:2], (*TARIFFS, "0001FF00"), ("1-0:1.8.0", "1-0:2.8.0", VOLTAGE)]
)
def test_no_block_is_tried_that_would_save_nothing(
    clock: FakeClock, quantities: tuple[str, ...]
) -> None:
    """Few of its items, or it is asked for anyway."""
    meter = Meter(clock, WHOLE)
    driver = make_driver(*quantities)
    finish(driver.sweep(meter.line, 0))
    assert len(meter.take_asked()) == len(quantities)
    finish(driver.sweep(meter.line, 0))
    assert meter.asked.count("0001FF00") == quantities.count("0001FF00")


def test_a_sweep_that_breaks_off_tries_nothing(clock: FakeClock) -> None:
    """A block is compared with all of its items."""
    meter = Meter(clock, WHOLE)
    meter.answers["00010400"] = None
    driver = make_driver()
    assert values(finish(driver.sweep(meter.line, 0))) == ALL[:4]
    assert meter.take_asked() == SINGLES
    meter.answers["00010400"] = bcd(ENERGIES[4])
    finish(driver.sweep(meter.line, 0))
    assert meter.asked == [*SINGLES, "0001FF00"]


def test_the_budget_counts_a_proven_block_as_one_exchange(clock: FakeClock) -> None:
    """Until then its items, which is the most that it may take."""
    meter = Meter(clock, bcd(*ENERGIES, 7))
    driver = make_driver(*TARIFFS, VOLTAGE)
    assert driver.costs() == [Cost(20, 24)] * 5 + [Cost(20, 22)]
    finish(driver.sweep(meter.line, 0))
    assert driver.costs() == [Cost(20, 20 + 4 * 6), Cost(20, 22)]
