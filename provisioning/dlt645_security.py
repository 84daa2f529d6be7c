"""Function 03: what the messages for the meter's security module are called, and their fields.

Facts of public meter firmware and test benches; the contents are for the module alone.
"""

from provisioning.dlt645_values import counted
from provisioning.finding import Finding

_Fields = tuple[tuple[str, int], ...]

_PURCHASE: _Fields = (
    ("amount", 4),
    ("purchase count", 4),
    ("authentication code", 4),
    ("customer number", 6),
    ("authentication code", 4),
)
_STATE: _Fields = (
    ("remaining amount", 4),
    ("authentication code", 4),
    ("purchase count", 4),
    ("authentication code", 4),
    ("customer number", 6),
    ("key information", 4),
)
# Name, fields of the request behind the operator, fields of the reply.
_MESSAGES: dict[str, tuple[str, _Fields, _Fields]] = {
    "070000FF": (
        "identity authentication",
        (("ciphertext", 8), ("random number", 8), ("diversification factor", 8)),
        (("random number", 4), ("serial number of the security module", 8)),
    ),
    "070001FF": (
        "set the validity of the identity authentication",
        (("minutes", 2), ("authentication code", 4)),
        (),
    ),
    "070002FF": (
        "end the identity authentication",
        (),
        (
            ("customer number", 6),
            ("remaining amount", 4),
            ("purchase count", 4),
            ("key information", 4),
        ),
    ),
    "070003FF": ("infrared authentication", (), ()),
    "070101FF": ("open account", _PURCHASE, ()),
    "070102FF": ("recharge", _PURCHASE, ()),
    "070103FF": (
        "initialise the purse",
        (
            ("amount", 4),
            ("authentication code", 4),
            ("purchase count", 4),
            ("authentication code", 4),
        ),
        (),
    ),
    "070301FF": ("key update", (), ()),
    "078001FF": ("read a file of the security module", (), ()),
    "078002FF": ("compare the software", (), ()),
    "078003FF": ("infrared authentication query", (), ()),
    "078102FF": ("status query", (), _STATE),
}


def security_words(finding: Finding, size: int, *, is_reply: bool) -> str:
    """Name and identifier of the message, and the lengths of its fields, `size` bytes in all."""
    name, asked, answered = _MESSAGES.get(str(finding.di), ("unknown message", (), ()))
    fields = answered if is_reply else asked
    words = f"security module: {name} ({finding.di})"
    if not size:
        return words
    if sum(length for _, length in fields) != size:
        return f"{words} with {counted(size, 'byte')}, opaque"
    return f"{words} with " + ", ".join(f"{label} {length}" for label, length in fields) + " bytes"
