"""Status and mode words: what each bit says.

Of the status words' bits those marked + are additions of State Grid meters, not of the 2007 text.
A field of several bits has its values in words.
"""

from collections import namedtuple

from protocols.dlt645.identifiers import identifier_text

_PHASE_FAULTS = (
    "loss of voltage",
    "under-voltage",
    "over-voltage",
    "loss of current",
    "over-current",
    "overload",
    "reverse flow",
    "phase break",
    "current break",
)


class Bits(namedtuple("Bits", ("first", "count", "name", "values"))):
    """`count` bits from `first` on; `values` in words, or () for a single bit that is a fact."""


def _flags(*names: str) -> tuple:
    """One bit a name from bit 0 on; "" for a reserved one."""
    return tuple([Bits(bit, 1, name, ()) for bit, name in enumerate(names) if name])


def _quadrants(*names: str) -> tuple:
    """Two bits a quadrant: added, subtracted."""
    return tuple(
        [
            Bits(2 * n + half, 1, f"{name} {how}", ())
            for n, name in enumerate(names)
            for half, how in enumerate(("added", "subtracted"))
        ]
    )


_QUADRANTS = _quadrants("quadrant 1", "quadrant 2", "quadrant 3", "quadrant 4")
_FREEZE = _flags(
    "forward active",
    "reverse active",
    "combined reactive 1",
    "combined reactive 2",
    "quadrants",
    "forward demand",
    "reverse demand",
    "variables",
)
_RATE = _flags(
    "", "600 bit/s", "1200 bit/s", "2400 bit/s", "4800 bit/s", "9600 bit/s", "19200 bit/s"
)

WORDS = {
    "04000501": (
        Bits(0, 1, "external switch control", ("level", "pulse")),
        Bits(1, 1, "demand method", ("sliding", "block")),
        Bits(2, 1, "clock battery low", ()),
        Bits(3, 1, "outage battery low", ()),
        Bits(4, 1, "active power reversed", ()),
        Bits(5, 1, "reactive power reversed", ()),
        Bits(6, 2, "multifunction output+", ("clock", "demand", "tariff", "reserved")),
        Bits(8, 1, "control circuit error+", ()),
        Bits(9, 1, "security module error+", ()),
        Bits(12, 1, "program error+", ()),
        Bits(13, 1, "memory fault+", ()),
        Bits(14, 1, "overdraft+", ()),
        Bits(15, 1, "clock fault+", ()),
    ),
    "04000502": _flags(
        "active power reversed phase A",
        "active power reversed phase B",
        "active power reversed phase C",
        "",
        "reactive power reversed phase A",
        "reactive power reversed phase B",
        "reactive power reversed phase C",
    ),
    "04000503": (
        Bits(0, 1, "day period set", ("first", "second")),
        Bits(1, 2, "supply", ("main", "auxiliary", "battery", "reserved")),
        Bits(3, 1, "programming permitted", ()),
        Bits(4, 1, "relay", ("closed", "open")),
        Bits(5, 1, "year zone set", ("first", "second")),
        Bits(6, 1, "relay command", ("close", "open")),
        Bits(7, 1, "alarm before a disconnect", ()),
        Bits(8, 2, "prepayment", ("none", "energy", "money", "reserved")),
        Bits(10, 1, "rate price set", ("first", "second")),
        Bits(11, 1, "step set", ("first", "second")),
        Bits(12, 1, "keep power+", ()),
        Bits(13, 1, "identity authentication valid+", ()),
        Bits(14, 1, "local account not opened+", ()),
        Bits(15, 1, "remote account not opened+", ()),
    ),
    "04000504": _flags(*_PHASE_FAULTS),
    "04000505": _flags(*_PHASE_FAULTS),
    "04000506": _flags(*_PHASE_FAULTS),
    "04000507": _flags(
        "voltage reverse sequence",
        "current reverse sequence",
        "voltage unbalance",
        "current unbalance",
        "auxiliary supply lost",
        "power down",
        "demand over limit",
        "power factor under limit",
        "severe current unbalance",
        "meter cover open+",
        "terminal cover open+",
    ),
    "04000601": _flags(
        "forward added", "forward subtracted", "reverse added", "reverse subtracted"
    ),
    "04000602": _QUADRANTS,
    "04000603": _QUADRANTS,
    "04000701": _RATE,
    "04000702": _RATE,
    "04000703": _RATE,
    "04000704": _RATE,
    "04000705": _RATE,
    "04000801": tuple(
        [
            Bits(bit, 1, name, ("rest", "work"))
            for bit, name in enumerate(
                ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
            )
        ]
    ),
    "04000901": _flags(
        "voltage, current, frequency",
        "active and reactive power",
        "power factor",
        "active and reactive energy",
        "quadrant energy",
        "demand",
    ),
    "04000902": _FREEZE,
    "04000903": _FREEZE,
    "04000904": _FREEZE,
    "04000905": _FREEZE,
    "04000906": _FREEZE,
    # Edition 1997; the other bits of its meter status word (C020) no two sources agree on.
    "C020": (Bits(2, 1, "battery low", ()),),
    "C021": _flags(
        "phase A out",
        "phase B out",
        "phase C out",
        "",
        "over-voltage phase A",
        "over-voltage phase B",
        "over-voltage phase C",
    ),
}


def word_texts(di: bytes, value: int) -> tuple:
    """What the word of the identifier `di` (wire order) says, lowest bits first: set facts, every
    choice with its value, and set bits that have no name as `bit n`. Empty for a word that has no
    names at all."""
    rows = WORDS.get(identifier_text(di, len(di)))
    if rows is None:
        return ()
    texts = []
    named = 0
    for row in rows:
        mask = (1 << row.count) - 1
        named |= mask << row.first
        found = value >> row.first & mask
        if row.values:
            texts.append(f"{row.name}: {row.values[found]}")
        elif found:
            texts.append(row.name)
    rest = value & ~named
    bit = 0
    while rest >> bit:
        if rest >> bit & 1:
            texts.append(f"bit {bit}")
        bit += 1
    return tuple(texts)
