"""What a DL/T 645 meter can be asked for: quantities to identifiers, edition by edition."""

from functools import lru_cache

from protocols.dlt645.identifiers import (
    EDITION_1997,
    EDITION_2007,
    entry_of,
    identifier_bytes,
    identifier_of,
    items_of,
)
from protocols.errors import SettingError
from protocols.obis import Obis

EDITION_AUTO = "auto"
EDITIONS = {  # setting -> the editions that the meter may have, the first tried first
    EDITION_AUTO: (EDITION_2007, EDITION_1997),
    "2007": (EDITION_2007,),
    "1997": (EDITION_1997,),
}
_DIGITS = {EDITION_2007: 8, EDITION_1997: 4}
_BLOCK_SIZE_MAX = 1024  # bytes; 64 tariffs of the longest demand record need 512


def edition_of(identifier: str) -> int:
    """The edition whose identifiers are as long."""
    return EDITION_2007 if len(identifier) == _DIGITS[EDITION_2007] else EDITION_1997


@lru_cache(maxsize=4096)
def identifier_for(quantity: str, edition: int) -> str:
    """The identifier by which a meter of `edition` is asked for `quantity`, an OBIS code or an
    identifier; SettingError that says why when it cannot be read."""
    code = quantity.upper()
    if ":" in quantity:
        code = identifier_of(Obis.from_text(quantity), edition)
        if not code:
            raise SettingError(f"DL/T 645-{edition} has no identifier for it")
    elif len(code) != _DIGITS[edition]:
        raise SettingError(f"an identifier of DL/T 645-{edition} has {_DIGITS[edition]} hex digits")
    entry = entry_of(identifier_bytes(code))
    if entry is None:
        raise SettingError(f"the catalog of DL/T 645-{edition} does not have it")
    if "R" not in entry.access:
        raise SettingError("it can be written, but not read")
    if not entry.is_known:
        raise SettingError("no public source tells how its data are laid out")
    return code


def identifiers_for(quantities: tuple[str, ...], edition: int) -> list[str]:
    """The identifiers of those quantities that a meter of `edition` can be asked for."""
    codes = []
    for quantity in quantities:
        try:
            codes.append(identifier_for(quantity, edition))
        except SettingError:
            continue
    return codes


def check_readable(quantity: str, setting: str, where: str) -> None:
    """SettingError when no edition that `setting` allows can be asked for `quantity`."""
    editions = EDITIONS[setting]
    reasons = []
    for edition in [one for one in editions if _DIGITS[one] == len(quantity)] or editions:
        try:
            identifier_for(quantity, edition)
            return
        except SettingError as error:
            reasons.append(str(error))
    raise SettingError(
        f"{where}: quantities: {quantity!r} is not allowed; " + ", and ".join(reasons)
    )


def members_of(block: str) -> tuple[list[str], bool]:
    """The identifiers that a block stands for, in their order, none for a single identifier; and
    whether a meter fills the block only as far as it goes."""
    wire = identifier_bytes(block)
    items = items_of(wire, _BLOCK_SIZE_MAX)
    codes = [identifier_of(item.obis, edition_of(block)) for item in items]
    members = [code for code in dict.fromkeys(codes) if code not in ("", block)]
    return members, len(items) > len(items_of(wire, 0))
