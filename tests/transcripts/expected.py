"""What the gateway reads out of each transcript, as golden files beside them.

`make accept` writes NAME.expected.json anew, on purpose; tests/edge/test_transcripts.py compares.
The gateway's own driver, line and conversation work here; the port plays the transcript, in fake
time, and knows bytes alone.
"""

import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge.line.line import Line, Wire
from edge.meters.cjt188_driver import Cjt188Conversation, Cjt188Driver
from edge.meters.dlt645_driver import Dlt645Conversation
from edge.meters.driver import Driver
from edge.meters.drivers import build_driver
from edge.meters.learned import Learned
from edge.settings import CJT188, DLT645, RULES
from hil.replayer import Playback, exchanges_of
from hil.transcript import BITS_PER_BYTE, Transcript, load_transcript
from protocols.cjt188.exchange import Exchange as Cjt188Exchange
from protocols.cjt188.frame import decode_frame as decode_cjt188
from protocols.dlt645.exchange import DONE
from protocols.dlt645.exchange import Exchange as Dlt645Exchange
from protocols.dlt645.frame import decode_frame as decode_dlt645
from protocols.errors import BusbarError
from protocols.quantity import KIND_NAMES
from protocols.readings import Reading
from protocols.settings import read_table
from tests.edge.fakes import Answer, FakeClock, FakePort, finish
from tests.hil.masters import load_model

FOLDER = Path(__file__).parent
METERS = FOLDER / "meters.toml"
SWEEPS_MAX = 8  # a transcript may hold several
_OWN_KEYS = ("exchange", "serial")  # of meters.toml, for nobody but us

Outcome = dict[str, Any]


def meters() -> dict[str, dict[str, Any]]:
    """Transcript -> its section of meters.toml."""
    return tomllib.loads(METERS.read_text(encoding="utf-8"))


def transcript_of(name: str) -> Transcript:
    """One of the golden transcripts."""
    return load_transcript(FOLDER / f"{name}.txt")


def expected_path(name: str) -> Path:
    """Its golden result."""
    return FOLDER / f"{name}.expected.json"


def playing_line(transcript: Transcript) -> tuple[Line, Playback]:
    """The gateway's line over a port that plays, in fake time, and what is played."""
    playback = Playback(transcript)
    clock = FakeClock()
    wire = Wire(int(transcript.headers["baud"]), "E", 1, 600, 200, 1)
    character_s = BITS_PER_BYTE / wire.baud

    def answer(request: bytes) -> Answer:
        recorded = playback.hear(request)
        if recorded is None:
            recorded = playback.fall_silent()[0] or ()
        on_wire_ms = len(request) * character_s * 1000
        return [(ms - on_wire_ms, data) for ms, data in recorded]

    port = FakePort(clock, character_s, answer)
    return Line("line", port, wire, clock.monotonic), playback


def driver_of(name: str, folder: Path) -> Driver:
    """The gateway's driver for the meter of a transcript, as its settings make it."""
    own = meters()[name]
    section = {key: value for key, value in own.items() if key not in _OWN_KEYS}
    rules = RULES[f"meter ({section['protocol']})"]
    settings = read_table({"id": name, "line": "line"} | section, rules, name)
    models = {one: load_model(one) for one in [settings.get("model")] if one}
    driver = build_driver(settings, models, Learned(folder, FakeClock()))
    if isinstance(driver, Cjt188Driver) and "serial" in own:
        driver._serial = (own["serial"] - 1) % 256
    return driver


def described(readings: list[Reading]) -> list[dict[str, str]]:
    """Each with its exact decimal text, and what it is over time."""
    return [one.described() | {"kind": KIND_NAMES[one.quantity.kind]} for one in readings]


def swept(driver: Driver, line: Line, is_over: Callable[[], bool]) -> Outcome:
    """What a meter's driver gets in as many sweeps as the transcript holds."""
    outcome: Outcome = {"sweeps": []}
    while not is_over() and len(outcome["sweeps"]) < SWEEPS_MAX:
        try:
            outcome["sweeps"].append(described(finish(driver.sweep(line, 0))))
        except BusbarError as error:
            outcome["sweeps"].append(f"{type(error).__name__}: {error}")
    outcome["counters"] = {key: value for key, value in asdict(driver.counters).items() if value}
    outcome["unsupported"] = sorted(driver.unsupported)
    return outcome


def exchanged(protocol: str, transcript: Transcript, line: Line) -> Outcome:
    """What the gateway's exchange makes of a request that no driver sends by itself."""
    request = exchanges_of(transcript)[0].request
    exchange: Any
    make: Any
    if protocol == CJT188:
        exchange, make = Cjt188Exchange(decode_cjt188(request)), Cjt188Conversation
    else:
        assert protocol == DLT645
        exchange, make = Dlt645Exchange(decode_dlt645(request)), Dlt645Conversation
    outcome: Outcome = {}
    try:
        line.converse(make(exchange))
        while exchange.state != DONE:
            line.converse(make(exchange))
    except BusbarError as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    else:
        outcome["data"] = exchange.data().hex(" ").upper()
    return outcome | {"answered_by": exchange.answered_by, "strays": exchange.strays}


def outcome_of(name: str) -> Outcome:
    """What the gateway makes of a transcript, and whether it asked what the transcript holds."""
    transcript = transcript_of(name)
    line, playback = playing_line(transcript)
    section = meters()[name]
    if section.get("exchange"):
        found = exchanged(section["protocol"], transcript, line)
    else:
        with TemporaryDirectory() as folder:
            found = swept(driver_of(name, Path(folder)), line, lambda: not playback.left())
    return found | {"unknown_requests": playback.unknown, "requests_left": len(playback.left())}


def text_of(outcome: Outcome) -> str:
    """A golden file."""
    return json.dumps(outcome, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes every golden result, and says which ones changed."""
    names = sorted(meters())
    for path in FOLDER.glob("*.expected.json"):
        if path.name.removesuffix(".expected.json") not in names:
            path.unlink()
            sys.stdout.write(f"gone: {path.name}\n")
    for name in names:
        path, text = expected_path(name), text_of(outcome_of(name))
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {path.name}\n")
    sys.stdout.write(f"{len(names)} golden results\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
