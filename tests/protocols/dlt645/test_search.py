"""The address search on a simulated bus: replies that overlap destroy each other, noise, echo."""

import random
from collections.abc import Callable, Iterable

import pytest

from hil.load import Load
from hil.meter import Dlt645Meter
from protocols.dlt645.frame import Frame
from protocols.dlt645.search import EXACT_LOOKS, PROBES_MAX, Search
from protocols.errors import CallerError

OWN_ADDRESS = bytes.fromhex("01 04 00 04")
WINDOW = 140  # bytes of silence that a master waits: 0.64 s at 2400 bit/s
DELAY_MAX = 110  # bytes: 0.5 s, the longest response delay of the standard


class Meter:
    """Answers reads of its address, after `delay` bytes; replies are made here, byte by byte."""

    def __init__(self, address: str, delay: int, quirk: str = "") -> None:
        self.address = address
        self.delay = delay
        self.quirk = quirk

    def answer(self, request: Frame) -> bytes:
        """The reply; b"" for silence."""
        digits = request.address.lstrip("A")
        if not self.address.endswith(digits) or len(digits) % 2:
            return b""
        if self.quirk == "full address only" and len(digits) < 12 and request.control != 0x13:
            return b""
        own = bytes.fromhex(self.address)[::-1]
        header = request.address if self.quirk == "echoes AA" else self.address
        if request.control == 0x13:
            return wire(header, 0x93, own) if not digits else b""
        assert (request.control, request.data) == (0x11, OWN_ADDRESS)
        if self.quirk == "lacks it":
            return wire(self.address, 0xD1, b"\x02")
        tail = {"long": b"\x00\x11", "short": b""}.get(self.quirk, b"")
        return wire(header, 0x91, OWN_ADDRESS + (b"" if self.quirk == "short" else own) + tail)


def wire(address: str, control: int, data: bytes) -> bytes:
    """A frame, not by our own encoder."""
    body = b"\x68" + bytes.fromhex(address)[::-1] + bytes([0x68, control, len(data)])
    body += bytes((one + 0x33) % 256 for one in data)
    return b"\xfe\xfe" + body + bytes([sum(body) % 256, 0x16])


class Bus:
    """Meters on one pair of wires. `merge(one, two)` is what is heard of two bytes at a time."""

    def __init__(
        self,
        meters: Iterable[Meter],
        seed: int = 0,
        merge: str = "noise",
        noise_percent: int = 0,
        lost_percent: int = 0,
        echo: bool = False,
    ) -> None:
        self.meters = list(meters)
        self.requests: list[Frame] = []
        self.covered: set[str] = set()  # meters whose reply was hidden to the last byte
        self._rng = random.Random(seed)
        self._merges: dict[str, Callable[[int, int], int]] = {
            "noise": lambda one, two: self._rng.randrange(256),
            "and": lambda one, two: one & two,
            "xor": lambda one, two: one ^ two,
        }
        self._merge = self._merges[merge]
        self._noise_percent = noise_percent
        self._lost_percent = lost_percent
        self._echo = echo
        self._late = b""

    def ask(self, request: Frame) -> bytes:
        """All bytes of the window after `request`."""
        self.requests.append(request)
        heard: dict[int, int] = {}
        whole: dict[str, bytes] = {}
        early, self._late = self._late, b""
        for meter in self.meters:
            reply = meter.answer(request)
            if not reply or self._hits(self._lost_percent):
                continue
            if meter.delay > WINDOW:
                self._late += reply
                continue
            whole[meter.address] = reply
            for at, byte in enumerate(reply, meter.delay):
                before = heard.get(at, byte)
                heard[at] = byte if before == byte else self._merge(before, byte)
        data = bytes(byte for _, byte in sorted(heard.items()))
        if data in whole.values():
            self.covered |= {name for name, reply in whole.items() if reply != data}
        if self._hits(self._noise_percent):
            data = self._noisy(data)
        return (request.to_bytes(4) if self._echo else b"") + early + data

    def _hits(self, percent: int) -> bool:
        return self._rng.randrange(100) < percent

    def _noisy(self, data: bytes) -> bytes:
        """Bytes put in, or changed."""
        if data and self._rng.random() < 0.5:
            at = self._rng.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << self._rng.randrange(8)]) + data[at + 1 :]
        at = self._rng.randrange(len(data) + 1)
        return data[:at] + self._rng.randbytes(self._rng.randrange(1, 30)) + data[at:]


def run(bus: Bus, **options: object) -> Search:
    """A search to its end."""
    search = Search(**options)  # type: ignore[arg-type]
    while search.request is not None:
        search.heard(bus.ask(search.request))
    return search


def bound(meters: int) -> int:
    """What the docstring promises."""
    return 2 if meters < 2 else meters + 1 + 101 * (1 + 5 * (meters // 2))


def addresses(kind: str, count: int, rng: random.Random) -> list[str]:
    """Different addresses of a kind."""
    found: set[str] = set()
    start = rng.randrange(10**11)
    tail = f"{rng.randrange(10**10):010d}"
    while len(found) < count:
        found.add({
            "random": f"{rng.randrange(10**12 - 1):012d}",
            "consecutive": f"{start + len(found):012d}",
            "one low pair": f"{rng.randrange(10**10):010d}" + tail[:2],
            "all but the top pair": f"{rng.randrange(99):02d}" + tail,
            "two families": f"{rng.randrange(1000):03d}{rng.choice('07')}" + tail[:8],
            "one bit": f"{rng.choice((0, 1, 2, 4, 8)) * 10 ** rng.randrange(12):012d}",
        }[kind])  # fmt: skip
    return sorted(found)


KINDS = ("random", "consecutive", "one low pair", "all but the top pair", "two families", "one bit")
COUNTS = (0, 1, 2, 3, 7, 20, 40)


def population(kind: str, count: int, seed: int, delay_max: int = DELAY_MAX) -> list[Meter]:
    """Meters, each with its own response delay; some collide, some come one after the other."""
    rng = random.Random(f"{kind} {count} {seed}")
    names = addresses(kind, count, rng)
    return [Meter(name, rng.randrange(4, delay_max)) for name in names]


@pytest.mark.parametrize("merge", ["noise", "xor"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_meter_is_found_once_and_none_invented(kind: str, count: int, merge: str) -> None:
    """Whatever the addresses and delays, within the number of probes that is promised."""
    for seed in range(3):
        for delay_max in (5, 30, DELAY_MAX):  # in step, half of them colliding, spread
            meters = population(kind, count, seed, delay_max)
            bus = Bus(meters, seed, merge)
            search = run(bus, probes_max=bound(count) + 1)
            assert search.found == [one.address for one in meters], (seed, delay_max)
            assert (search.conflicts, search.strays) == ([], 0), (seed, delay_max)
            assert search.is_complete
            assert search.probes == len(bus.requests) <= bound(count), (seed, delay_max)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_where_zeros_win_only_what_is_covered_is_missed(kind: str, count: int) -> None:
    """Two replies can AND to a third one with a good checksum: none is invented. A reply that is
    hidden to the last byte by another one is not heard."""
    for seed in range(4):
        meters = population(kind, count, seed, 6)
        bus = Bus(meters, seed, "and")
        search = run(bus, probes_max=100_000)
        names = {one.address for one in meters}
        assert set(search.found) <= names, seed
        assert names - set(search.found) <= bus.covered, seed
        assert (search.conflicts, search.is_complete) == ([], True)


@pytest.mark.parametrize(
    ("one", "two", "forged"),
    [
        ("645449818297", "645409434237", "645409010217"),
        ("011949131374", "011141939954", "011141131154"),
        ("673213130531", "673219914519", "673211110511"),
        ("498182975464", "094342375464", "090102175464"),
    ],
)
def test_two_replies_that_make_up_a_third_are_two_meters(one: str, two: str, forged: str) -> None:
    """In step, where zeros win: a clean frame of a meter that does not exist, header and data in
    agreement. It does not answer at its own address, so the line is searched on."""
    bus = Bus([Meter(one, 9), Meter(two, 9)], merge="and")
    heard = bus.ask(Frame("A" * 12, 0x11, OWN_ADDRESS))
    assert heard == Meter(forged, 9).answer(Frame("A" * 12, 0x11, OWN_ADDRESS))
    search = run(bus)
    assert search.found == sorted([one, two])
    assert search.conflicts == []
    assert [request.address for request in bus.requests].count(forged) == EXACT_LOOKS


def test_virtual_meters_are_found() -> None:
    """Those of hil/, whose addressing is not the one above."""
    names = ["000000000005", "000000000105", "000000000205", "123456789012"]
    meters = [Dlt645Meter(name, Load(1), lambda: 1_790_000_000_000) for name in names]
    search = Search()
    while search.request is not None:
        asked = search.request.to_bytes(4)
        replies = [reply for one in meters for _, reply in one.feed(asked, 1.0)]
        search.heard(replies[0] if len(replies) == 1 else b"\x5a" * 24 * len(replies))
    assert search.found == names
    assert search.is_complete


def test_only_reads_are_sent() -> None:
    """Of the address, at exact low-order pairs behind AA; 13 to all-AA alone."""
    bus = Bus(population("one low pair", 5, 1))
    run(bus)
    quiet = Bus([])
    run(quiet)
    for request in bus.requests + quiet.requests:
        digits = request.address.lstrip("A")
        assert digits.isdigit() or not digits
        assert len(digits) % 2 == 0
        if request.control == 0x13:
            assert (digits, request.data) == ("", b"")
        else:
            assert (request.control, request.data) == (0x11, OWN_ADDRESS)
    assert [one.control for one in quiet.requests] == [0x11, 0x13]


def test_consecutive_numbers_take_one_split() -> None:
    """What an installation looks like: N + 102 probes, in the same order each time."""
    bus, again = (Bus(population("consecutive", 32, 5)) for _ in range(2))
    assert run(bus).probes == 32 + 102
    run(again)
    assert bus.requests == again.requests


@pytest.mark.parametrize("quirk", ["lacks it", "long", "short", "echoes AA"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_meter_with_a_quirk_is_a_meter(quirk: str, count: int) -> None:
    """A refusal, another length or a header that repeats the wildcard: its own address answers."""
    meters = [Meter(f"0000000000{n:02d}", 28 * n, quirk) for n in range(1, count + 1)]
    search = run(Bus(meters))
    assert search.found == [one.address for one in meters]
    assert search.conflicts == []


def test_a_single_meter_that_wants_its_full_address_says_it_to_13() -> None:
    """One probe more on a line that seemed empty."""
    search = run(Bus([Meter("000000000017", 9, "full address only")]))
    assert (search.found, search.probes) == (["000000000017"], 3)


def test_known_meters_are_neither_asked_nor_reported() -> None:
    """They answer all the same where a branch holds them; a new one beside them is found."""
    meters = population("consecutive", 6, 2)
    known = tuple(one.address for one in meters[:5])
    bus = Bus(meters)
    search = run(bus, known=known)
    assert search.found == [meters[5].address]
    assert not {request.address for request in bus.requests} & set(known)


@pytest.mark.parametrize("delays", [(10, 15), (10, 40)])
def test_two_meters_with_one_address_are_a_conflict(delays: tuple[int, int]) -> None:
    """Whether their replies collide or come one after the other; a third one is found."""
    twins = [Meter("000000001234", delay) for delay in delays]
    search = run(Bus([*twins, Meter("000000001235", 70)]))
    assert (search.found, search.conflicts) == (["000000001235"], ["000000001234"])
    assert search.is_complete


def test_a_conflict_is_judged_once() -> None:
    """Also when its branch is split down to the full addresses, for the sake of a third meter."""
    name = "000000001234"
    bus = Bus([Meter(name, 10), Meter(name, 60), Meter("010000001234", 62)])
    search = run(bus)
    assert (search.found, search.conflicts) == (["010000001234"], [name])
    assert [request.address for request in bus.requests].count(name) == 1


def test_several_clean_replies_are_split_all_the_same() -> None:
    """A third meter may be hidden by one of them as long as both are asked."""
    search = Search()
    near, far, weak = (Meter(f"0000000000{n}", 9) for n in (17, 29, 31))
    while search.request is not None:
        heard = near.answer(search.request) + far.answer(search.request)
        search.heard(heard or weak.answer(search.request))
    assert search.found == ["000000000017", "000000000029", "000000000031"]


def test_a_hint_that_is_met_by_noise_once_is_no_conflict() -> None:
    """Damaged each time is; silent twice is nobody."""
    for windows, conflicts in (
        ((b"", b"", b"\x01\x02\x03"), []),
        ((b"\x01\x02\x03", b"", b"\x01\x02\x03"), []),
        ((b"\x01\x02\x03",) * 3, ["000000000029"]),
    ):
        search = Search()
        search.heard(Meter("000000000029", 9).answer(Frame("A" * 12, 0x11, OWN_ADDRESS)))
        for window in windows:
            search.heard(window)
        assert (search.found, search.conflicts) == ([], conflicts)


def test_a_late_reply_is_a_hint_and_nothing_more() -> None:
    """A meter that is slower than the window answers the next probe: counted, and asked for at its
    own address, again and again; the reply to that is late too, and counts."""
    slow = Meter("000000000017", WINDOW + 1)
    search = run(Bus([slow, Meter("000000000029", 9)]))
    assert search.found == ["000000000017", "000000000029"]
    assert search.strays > 0


def test_a_stray_that_no_meter_stands_behind_is_not_found() -> None:
    """Bytes of another line's conversation: a good frame, and nobody at its address."""
    search = Search()
    stray = wire("000000000029", 0x91, OWN_ADDRESS + bytes.fromhex("290000000000"))
    search.heard(stray)
    assert search.request is not None
    assert search.request.address == "000000000029"
    for _ in range(EXACT_LOOKS):
        assert search.found == []
        search.heard(b"")
    # It had settled the line alone: now its branches are asked.
    assert search.request.address == "AAAAAAAAAA00"
    for _ in range(100):
        search.heard(b"")
    assert (search.found, search.conflicts, search.is_complete) == ([], [], True)


def test_an_echo_is_no_reply() -> None:
    """The own request in front of the replies, at every probe."""
    meters = population("random", 8, 3)
    search = run(Bus(meters, echo=True))
    assert search.found == [one.address for one in meters]
    assert search.probes == run(Bus(meters)).probes
    assert run(Bus([], echo=True)).probes == 2


def test_two_odd_bytes_are_the_line_turning() -> None:
    """Alone, or around a reply: no reason for a hundred probes. A third byte is."""
    meter = Meter("000000000017", 9)
    for front, back in ((b"\x00", b"\xff"), (b"\x00\x00", b""), (b"", b"\x00\x80")):
        search = Search()
        while search.request is not None:
            search.heard(front + meter.answer(search.request) + back)
        assert (search.found, search.probes) == (["000000000017"], 2)
    search = Search()
    search.heard(meter.answer(Frame("A" * 12, 0x11, OWN_ADDRESS)) + b"\x00\x80\x00")
    search.heard(meter.answer(Frame("000000000017", 0x11, OWN_ADDRESS)))
    assert search.found == ["000000000017"]
    assert not search.is_complete


def test_noise_alone_is_asked_again_before_it_costs_a_hundred_probes() -> None:
    """Damage, then silence: noise. Damage, then one clean reply: the meter."""
    search = Search()
    search.heard(b"\x12\x34\x56")
    assert search.request == Frame("A" * 12, 0x11, OWN_ADDRESS)
    search.heard(b"")
    search.heard(b"")
    assert (search.found, search.probes, search.is_complete) == ([], 3, True)
    meter = Meter("000000000017", 9)
    search = Search()
    search.heard(b"\x12\x34\x56")
    while search.request is not None:
        search.heard(meter.answer(search.request))
    assert (search.found, search.probes) == (["000000000017"], 3)


@pytest.mark.parametrize("merge", ["noise", "and", "xor"])
@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_loss_never_invent_a_meter(kind: str, merge: str) -> None:
    """Some are missed, and a second search with `known` finds most of those; the cap holds."""
    for seed in range(4):
        meters = population(kind, 12, seed)
        names = {one.address for one in meters}
        bus = Bus(meters, seed, merge, noise_percent=20, lost_percent=10, echo=seed % 2 == 1)
        search = run(bus, probes_max=1500)
        assert set(search.found) <= names, seed
        assert len(set(search.found)) == len(search.found)
        assert search.probes <= 1500
        assert search.is_complete == (search.probes < 1500)
        again = run(bus, known=tuple(search.found), probes_max=1500)
        assert set(again.found) <= names - set(search.found), seed


def test_a_line_that_is_never_quiet_ends_by_the_cap() -> None:
    """And says how far it came."""
    rng = random.Random(1)
    steps: list[tuple[int, int, int]] = []
    search = Search(on_progress=lambda *step: steps.append(step))
    while search.request is not None:
        search.heard(rng.randbytes(40))
    assert (search.probes, search.is_complete, search.found) == (PROBES_MAX, False, [])
    assert [step[0] for step in steps] == list(range(1, PROBES_MAX + 1))
    assert steps[-1][1] > 0
    with pytest.raises(CallerError):
        search.heard(b"")


def test_progress_counts_down_to_nothing() -> None:
    """Probes made, branches waiting, meters found."""
    steps: list[tuple[int, int, int]] = []
    meters = population("consecutive", 3, 0, 5)
    search = run(Bus(meters), on_progress=lambda *step: steps.append(step))
    assert steps[1] == (2, 99, 0)  # the first of a hundred is the next question
    assert steps[-1] == (search.probes, 0, 3)


def test_known_must_be_addresses() -> None:
    """Of one meter each."""
    with pytest.raises(CallerError):
        Search(known=("AAAAAAAAAA01",))
