"""Which registers to ask for together.

A request costs its header and the meter's response delay, so neighbours are read in one go, unread
registers between them included as long as the gap is shorter than a request of its own would be.
"""

from collections import namedtuple

SPAN_REGISTERS_MAX = 125  # of one request (Modbus application protocol 1.1b3, 6.3)
GAP_REGISTERS_MAX = (
    8  # 16 bytes of gap are cheaper than 8 + 5 bytes, the silences and a response delay
)


class Span(namedtuple("Span", ("address", "count"))):
    """One request: `count` registers from `address`."""


def plan_spans(
    registers: tuple, gap_max: int = GAP_REGISTERS_MAX, span_max: int = SPAN_REGISTERS_MAX
) -> list:
    """The fewest sensible requests that cover `registers`, in address order."""
    spans: list = []
    for register in sorted(registers, key=lambda one: one.address):
        end = register.address + register.words
        if spans:
            last = spans[-1]
            grown = max(end, last.address + last.count) - last.address
            if register.address - (last.address + last.count) <= gap_max and grown <= span_max:
                spans[-1] = Span(last.address, grown)
                continue
        spans.append(Span(register.address, register.words))
    return spans


def with_factors(registers: tuple, wanted: tuple) -> tuple:
    """`wanted` and the registers that their `times` name, in the model's order."""
    names = [register.name for register in wanted]
    for register in wanted:
        names.extend(register.times)
    return tuple([register for register in registers if register.name in names])
