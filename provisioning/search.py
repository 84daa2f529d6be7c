"""`busbar-provision search`: which DL/T 645-2007 meters answer on a line. It only reads.

The rules are those of `protocols.dlt645.search`; here are the port, the time that a meter may take,
and what a person sees. Exit code: 0 when the search came to its end and found a meter, 1 when it
found none or the limit of probes ended it, 2 when the line could not be used.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence

from edge.line.port import Port
from protocols.dlt645.frame import OVERHEAD, PREAMBLE_SIZE, is_meter_address
from protocols.dlt645.search import Search
from protocols.errors import SettingError

FOUND = 0
NOT_FOUND = 1
RESPONSE_DELAY_S = 0.5  # the longest that the standard allows a meter (2007: 20 to 500 ms)
CHARACTER_BITS = 11  # 8E1
_REPLY_CHARACTERS = 2 * PREAMBLE_SIZE + OVERHEAD + 10  # identifier and address; FE are free
_SILENCE_CHARACTERS = 20  # after the last byte: a reply is whole, or damaged


def search(
    port: Port,
    baud: int,
    options: Search,
    now: Callable[[], float] = time.monotonic,
) -> Search:
    """Runs the search over an open `port` to its end; PortLostError when the adapter goes away."""
    character = CHARACTER_BITS / baud
    while (probe := options.request) is not None:
        wire = probe.to_bytes(PREAMBLE_SIZE)
        port.write(wire)
        least = len(wire) * character + RESPONSE_DELAY_S
        most = least + 2 * _REPLY_CHARACTERS * character
        options.heard(_listen(port, least, most, _SILENCE_CHARACTERS * character, now))
    return options


def _listen(
    port: Port, least: float, most: float, silence: float, now: Callable[[], float]
) -> bytes:
    """What arrives within `least` seconds, and as long as more goes on coming, up to `most`."""
    heard = b""
    started = last = now()
    while (at := now()) < started + least or (at < started + most and at < last + silence):
        data = port.read(min(silence, started + most - at))
        if data:
            heard += data
            last = now()
    return heard


def run(
    port: Port, baud: int, known: Sequence[str], probes_max: int, *, as_json: bool = False
) -> int:
    """Opens the port, searches, prints; SettingError for a known address that is none."""
    for address in known:
        if not is_meter_address(address):
            raise SettingError(
                f"--known {address!r} is not allowed; it must be the 12 digits of a meter"
            )
    if probes_max < 1:
        raise SettingError(f"--probes {probes_max} is not allowed; it must be at least 1")
    options = Search(tuple(known), probes_max, _progress if sys.stderr.isatty() else None)
    port.open()
    try:
        search(port, baud, options)
    finally:
        port.close()
        if sys.stderr.isatty():
            print(file=sys.stderr)
    if as_json:
        row = {
            "found": options.found,
            "conflicts": options.conflicts,
            "probes": options.probes,
            "is_complete": options.is_complete,
        }
        print(json.dumps(row, indent=2))
    else:
        print("\n".join(_text(options, bool(known))))
    return FOUND if options.found and options.is_complete else NOT_FOUND


def _progress(probes: int, waiting: int, found: int) -> None:
    line = f"\r{probes} probes, {waiting} branches to go, {found} meters found "
    print(line, end="", file=sys.stderr, flush=True)


def _text(options: Search, has_known: bool) -> Sequence[str]:
    lines = [f"meter {address}" for address in options.found]
    lines += [
        f"meter {address}: two meters have this address, or the line is never quiet"
        for address in options.conflicts
    ]
    if not options.is_complete:
        lines.append(f"the search was ended after {options.probes} probes; there may be more")
    elif not lines and has_known:
        lines.append(f"no DL/T 645-2007 meter but those known ({options.probes} probes)")
    elif not lines:
        lines.append(
            f"no DL/T 645-2007 meter answers ({options.probes} probes): check wiring and baud rate;"
            " meters of edition 1997 are not found so"
        )
    return lines
