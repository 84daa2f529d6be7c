"""Which registers to ask for together, and what a meter taught about those that it refuses.

A request costs its header and the meter's response delay, so neighbours are read in one go, unread
registers between them included as long as the gap is shorter than a request of its own would be.

What is learned rests on one rule: who refuses a request (exception 02) refuses every request that
contains it, and who answers one answers its parts.

* A hole is the smallest range that is known to be refused: a register that was refused alone, the
  gap between two registers that are readable apart but not together, or, where there is no gap,
  the seam: the two addresses at the border. Some meters answer no request across such a border,
  and some refuse by length, which then looks like one.
* A refused request is split at its gaps first, because the hole is most often there, always near
  the middle of what is still in doubt; never inside a register.
* The newest answer counts, and what is learned does not depend on the order of the answers.
"""

from collections import namedtuple

SPAN_REGISTERS_MAX = 125  # of one request (Modbus application protocol 1.1b3, 6.3)
GAP_REGISTERS_MAX = (
    8  # 16 bytes of gap are cheaper than 8 + 5 bytes, the silences and a response delay
)
HOLES_MAX = 512  # of one meter: each of 256 registers, and each border between two of them
_OPEN_MAX = (
    64  # refused requests whose hole is still sought; what is more is found in a later sweep
)
_LAST_ADDRESS = 65535


class Span(namedtuple("Span", ("function", "address", "count"))):
    """One request: `count` registers from `address`, read with `function` 3 or 4."""

    def area(self) -> tuple:
        """(function, first address, last address)."""
        return self.function, self.address, self.address + self.count - 1


def plan_spans(
    registers: tuple, gap_max: int = GAP_REGISTERS_MAX, span_max: int = SPAN_REGISTERS_MAX
) -> list:
    """The fewest sensible requests that cover `registers`, in address order."""
    return _join(_areas(registers), gap_max, span_max, [])


class ReadPlan:
    """Which requests read `registers`, and what was learned about addresses that the meter refuses.

    A sweep asks for each of `spans()`. Exception 02 goes to `refuse`, which says what to ask
    instead, within the same sweep; an answer goes to `accept`. Each register that the meter has is
    then read in every sweep, the first one included; a hole among n registers costs about
    2 log2 n further requests, once.
    """

    def __init__(
        self,
        registers: tuple,
        gap_max: int = GAP_REGISTERS_MAX,
        span_max: int = SPAN_REGISTERS_MAX,
        holes: tuple = (),
    ) -> None:
        """`holes` as another plan of this meter gave them; what is none is left out, because it
        will be learned again."""
        self._registers = registers
        self._areas = _areas(registers)
        self._gap_max = gap_max
        self._span_max = span_max
        self._answered: list = []  # areas, none within another
        self._open: list = []  # refused areas that no hole explains yet
        self._spans: list | None = None
        self._holes: list = []
        for hole in holes:
            if _is_hole(hole):
                self._add_hole(tuple(hole))

    def spans(self) -> list:
        """The requests of a full sweep now, in address order; none contains a hole."""
        if self._spans is None:
            self._spans = self._join(self._areas)
        return list(self._spans)

    def refuse(self, span: Span) -> list:
        """The meter answered `span` with exception 02: what to ask instead, in address order; []
        when nothing is left of it."""
        area = span.area()
        self._answered = [one for one in self._answered if not _contains(one, area)]
        if area in self._areas:
            self._add_hole(area)
        inside = self._inside(area)
        links = _links(inside)
        if not links:  # nothing, or one register with what lies within it
            return self._join(inside)
        if area not in self._open:
            self._open = self._open[1 - _OPEN_MAX :] + [area]
        self._explain()
        split = self._split(inside, links)
        return self._join(inside[:split]) + self._join(inside[split:])

    def accept(self, span: Span) -> None:
        """The meter answered `span`: all that it covers is readable, so that a hole of a refused
        request which contained it lies in the rest."""
        area = span.area()
        if any(_contains(one, area) for one in self._answered):
            return
        self._answered = [one for one in self._answered if not _contains(area, one)] + [area]
        if _has_one_of(area, self._holes):  # filled meanwhile
            self._holes = [hole for hole in self._holes if not _contains(area, hole)]
            self._spans = None
        self._explain()

    @property
    def holes(self) -> tuple:
        """(function, first, last) of each hole, in order, at most HOLES_MAX; to be kept across
        restarts. Of two holes neither contains the other."""
        return tuple(sorted(self._holes))

    @property
    def missing(self) -> tuple:
        """The registers that the meter does not have, in the order in which they were given."""
        return tuple([one for one in self._registers if _has_one_of(_area(one), self._holes)])

    def _join(self, areas: list) -> list:
        there = [area for area in areas if not _has_one_of(area, self._holes)]
        return _join(there, self._gap_max, self._span_max, self._holes)

    def _inside(self, area: tuple) -> list:
        """The registers that `area` covers and that are not known to be missing."""
        covered = [one for one in self._areas if _contains(area, one)]
        return [one for one in covered if not _has_one_of(one, self._holes)]

    def _is_answered(self, area: tuple) -> bool:
        return any(_contains(one, area) for one in self._answered)

    def _split(self, inside: list, links: list) -> int:
        """Before which register to cut: at the middle one of the gaps in doubt, else of the seams
        in doubt, else of all borders."""
        doubted = [link for link in links if not self._is_answered(link[1])]
        gaps = [link for link in doubted if link[1][1] > _end(inside[: link[0]])]
        candidates = gaps or doubted or links
        return candidates[len(candidates) // 2][0]

    def _explain(self) -> None:
        """Takes each open request from which all but one part is known to be readable: that part
        is the hole."""
        for area in list(self._open):
            inside = self._inside(area)
            links = _links(inside)
            if links and not _has_one_of(area, self._holes):
                doubted = [one for one in inside if not self._is_answered(one)]
                doubted += [link for _, link in links if not self._is_answered(link)]
                if len(doubted) > 1:
                    continue
                # Nothing in doubt: all parts are readable, and the meter refuses the length.
                self._add_hole(doubted[0] if doubted else area)
            self._open.remove(area)

    def _add_hole(self, hole: tuple) -> None:
        if not _has_one_of(hole, self._holes):
            kept = [one for one in self._holes if not _contains(one, hole)]
            self._holes = kept[1 - HOLES_MAX :] + [hole]
            self._spans = None


def with_factors(registers: tuple, wanted: tuple) -> tuple:
    """`wanted` and the registers that their `times` name, in the model's order."""
    names = [register.name for register in wanted]
    for register in wanted:
        names.extend(register.times)
    return tuple([register for register in registers if register.name in names])


def _join(areas: list, gap_max: int, span_max: int, holes: list) -> list:
    """Spans over sorted areas; none that grew contains a hole."""
    spans: list = []
    for function, first, last in areas:
        if spans and spans[-1].function == function:
            address = spans[-1].address
            end = address + spans[-1].count - 1
            grown = Span(function, address, max(last, end) - address + 1)
            is_near = first - end - 1 <= gap_max and grown.count <= span_max
            if last <= end or (is_near and not _has_one_of(grown.area(), holes)):
                spans[-1] = grown
                continue
        spans.append(Span(function, first, last - first + 1))
    return spans


def _links(inside: list) -> list:
    """[(n, area), ...]: what a request across the border before area n contains, and a request on
    one side of it does not: the gap, or the addresses on either side of a seam. What lies within
    the areas before it has no border."""
    links = []
    end = -1
    for n, (function, first, last) in enumerate(inside):
        if n and last > end:
            links.append((n, (function, min(first - 1, end + 1), max(first - 1, end + 1))))
        end = max(end, last)
    return links


def _areas(registers: tuple) -> list:
    """The registers' areas in address order, the longest of one address first."""
    areas = [_area(register) for register in registers]
    return sorted(areas, key=lambda area: (area[0], area[1], -area[2]))


def _area(register: object) -> tuple:
    first: int = register.address  # type: ignore[attr-defined]
    last: int = first + register.words - 1  # type: ignore[attr-defined]
    return register.function, first, last  # type: ignore[attr-defined]


def _end(areas: list) -> int:
    return max([last for _, _, last in areas])


def _has_one_of(area: tuple, holes: list) -> bool:
    return any(_contains(area, hole) for hole in holes)


def _contains(outer: tuple, inner: tuple) -> bool:
    return bool(outer[0] == inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2])


def _is_hole(hole: object) -> bool:
    if not isinstance(hole, (tuple, list)) or len(hole) != 3:
        return False
    if not all(isinstance(one, int) for one in hole):
        return False
    return hole[0] in (3, 4) and 0 <= hole[1] <= hole[2] <= _LAST_ADDRESS
