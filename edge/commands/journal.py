"""`busbar-edge journal`: how the journal stands, what is in it, whether it is whole; salvage.

All but `salvage` only read, and do so beside a running agent.
"""

import argparse
import csv
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from edge.clock import SystemClock
from edge.commands.times import utc_ms, utc_text
from edge.journal.damage import JournalRefusedError
from edge.journal.events import EventRow, stamped
from edge.journal.figures import Figures, Inspector
from edge.journal.folder import FolderBusyError, own_folder
from edge.journal.reader import Row
from edge.journal.salvage import Count, Salvager
from edge.journal.store import Journal
from edge.settings import Settings
from protocols.errors import CallerError, SettingError
from protocols.events import Event, severity_of
from protocols.obis import Obis
from protocols.quantity import KIND_NAMES, Kind
from protocols.readings import ORIGIN_NAMES, TIME_QUALITY_NAMES, flag_names

DONE, FAILED, WRONG = 0, 1, 2  # exit codes
SHOWN = 20  # sets that `inspect` shows when it is not told which
EVER = 1 << 62
_MB = 1 << 20
READING_COLUMNS = (
    "time", "meter", "obis", "name", "value", "unit", "kind", "quality", "origin", "flags",
    "integer", "scaler", "base_unit", "read_at", "boot_at", "boot_id", "sequence",
)  # fmt: skip
EVENT_COLUMNS = (
    "time", "severity", "kind", "subject", "number", "drift_s", "detail", "quality", "at",
    "boot_at", "boot_id", "sequence", "evidence",
)  # fmt: skip


def add(commands: Any) -> None:
    """Adds the command to those of `busbar-edge`."""
    parser = commands.add_parser("journal", help="how the journal stands, what is in it; salvage")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        found: argparse.ArgumentParser = verbs.add_parser(name, help=text)
        found.add_argument("--config", type=Path, required=True, help="edge.toml")
        return found

    verb("status", "size, rows, backlog, epoch, time until it is full").add_argument(
        "--json", action="store_true", help="as one JSON object"
    )
    inspect = verb("inspect", f"reading sets with all that is kept of them; the last {SHOWN}")
    inspect.add_argument("first", type=int, nargs="?", help="sequence")
    inspect.add_argument("last", type=int, nargs="?", help="sequence")
    export = verb("export", "readings or events of a time, one a line")
    export.add_argument("what", choices=("readings", "events"))
    export.add_argument("--meter", help="of this meter only (events: of this subject)")
    export.add_argument("--from", dest="start", metavar="ISO", help="first time, UTC")
    export.add_argument("--to", dest="stop", metavar="ISO", help="first time that is left out, UTC")
    form = export.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="comma separated; the default")
    form.add_argument("--json", action="store_true", help="JSON Lines: one object a line")
    verb("check", "whether the file is whole; 1 when it is not").add_argument(
        "--full", action="store_true", help="the indexes too; takes longer"
    )
    salvage = verb("salvage", "brings in what journals that were put aside still hold")
    salvage.add_argument("file", type=Path, nargs="?", help="one file, wherever it lies")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Runs a verb; one sentence on stderr when it can not be done."""
    verbs: dict[str, Callable[[Settings, argparse.Namespace, TextIO], int]] = {
        "status": _status,
        "inspect": _inspect,
        "export": _export,
        "check": _check,
        "salvage": _salvage,
    }
    try:
        code = verbs[arguments.verb](settings, arguments, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has enough; what is buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (JournalRefusedError, FolderBusyError) as error:
        return _complain(error, FAILED)
    except (CallerError, SettingError) as error:
        return _complain(error, WRONG)
    except (sqlite3.Error, OSError) as error:
        return _complain(f"the journal in {settings.gateway['state_dir']}: {error}", FAILED)
    return code


def _complain(sentence: object, code: int) -> int:
    print(f"busbar-edge: {sentence}", file=sys.stderr)
    return code


def _inspector(settings: Settings) -> Inspector:
    return Inspector(settings.gateway["state_dir"], settings.journal["size_mb_max"])


# ---- status and check ----------------------------------------------------------------------------


def _status(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    inspector = _inspector(settings)
    figures = inspector.figures(time.time_ns() // 1_000_000)
    inspector.close()
    if arguments.json:
        aside = [one._asdict() for one in figures.aside]
        print(json.dumps(figures._asdict() | {"aside": aside}, indent=2), file=out)
    else:
        print("\n".join(_status_lines(figures)), file=out)
    return DONE


def _status_lines(one: Figures) -> Iterator[str]:
    share = one.used / one.size_max
    yield f"epoch     {one.epoch}"
    yield f"size      {one.used / _MB:.1f} MB, {share:.0%} of {one.size_max // _MB} MB"
    yield f"rows      reading sets {one.first} to {one.head}"
    yield f"stored    {one.acknowledged} acknowledged by the head end"
    oldest = one.oldest_unacknowledged
    since = "" if oldest is None else f", the oldest of {utc_text(oldest)}"
    yield f"backlog   {one.backlog} reading sets{since}"
    yield f"events    {one.events}, of which {one.events_waiting} wait for the head end"
    yield f"receipts  {one.receipts_waiting} wait for the head end"
    until = "" if one.days_until_full is None else f"; full in {one.days_until_full:.0f} days"
    yield f"rate      {one.sets_last_day} reading sets in the last day{until} if nothing is deleted"
    for aside in one.aside:
        state = "salvaged, may be deleted" if aside.is_salvaged else "not salvaged yet"
        yield f"aside     {aside.name}, {aside.size / _MB:.1f} MB, {state}"


def _check(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    inspector = _inspector(settings)
    faults = inspector.check(arguments.full)
    inspector.close()
    for fault in faults:
        print(fault, file=out)
    if not faults:
        print("the journal is whole", file=out)
    return FAILED if faults else DONE


# ---- inspect and export --------------------------------------------------------------------------


def _inspect(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    inspector = _inspector(settings)
    head = inspector.head()
    first, last = arguments.first, arguments.last
    if first is None:
        first, last = max(head - SHOWN + 1, 1), max(head, 1)
    elif last is None:
        last = first
    if not 0 < first <= last:
        raise CallerError(f"{first} to {last} are no sequences; they begin with 1 and rise")
    stored = inspector.acknowledged()
    rows = inspector.rows(first, last)
    inspector.close()
    for sequence, one in rows:
        state = "acknowledged" if not stored.missing(sequence, sequence) else "not acknowledged"
        words = [
            f"{sequence}  {utc_text(one.read_at)}  {one.meter_id}",
            f"{TIME_QUALITY_NAMES[one.quality]}  {ORIGIN_NAMES[one.origin]}",
            f"{','.join(flag_names(one.flags)) or '-'}  {state}",
            f"boot {one.boot_id.hex()} + {one.boot_at} ms",
        ]
        print("  ".join(words), file=out)
        for reading in one.readings:
            value, unit = reading.quantity.shown()
            line = f"    {reading.obis.text():20}  {value:>16} {unit:6}  {reading.obis.name()}"
            print(line.rstrip(), file=out)
    return DONE if rows else _complain(f"no reading sets {first} to {last} are here", FAILED)


def _export(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    start = utc_ms(arguments.start, "--from") if arguments.start else 0
    stop = utc_ms(arguments.stop, "--to") if arguments.stop else EVER
    inspector = _inspector(settings)
    rows: Iterable[dict[str, Any]]
    columns: tuple[str, ...]
    if arguments.what == "readings":
        columns = READING_COLUMNS
        rows = _reading_rows(inspector.sets_between(arguments.meter, start, stop))
    else:
        columns = EVENT_COLUMNS
        rows = _event_rows(inspector.events_between(arguments.meter, start, stop))
    if arguments.json:
        for row in rows:
            print(json.dumps(row), file=out)
    else:
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            lists = {key: " ".join(value) for key, value in row.items() if isinstance(value, list)}
            writer.writerow(row | lists)
    inspector.close()
    return DONE


def _reading_rows(sets: Iterator[Row]) -> Iterator[dict[str, Any]]:
    names: dict[Obis, str] = {}
    for sequence, one in sets:
        common = {
            "time": utc_text(one.read_at),
            "meter": one.meter_id,
            "quality": TIME_QUALITY_NAMES[one.quality],
            "origin": ORIGIN_NAMES[one.origin],
            "flags": flag_names(one.flags),
            "read_at": one.read_at,
            "boot_at": one.boot_at,
            "boot_id": one.boot_id.hex(),
            "sequence": sequence,
        }
        if not one.readings:  # all was shed; the set itself is told
            yield dict.fromkeys(READING_COLUMNS) | common
        for reading in one.readings:
            obis, quantity = reading
            value, unit = quantity.shown()
            yield (
                dict.fromkeys(READING_COLUMNS)
                | common
                | {
                    "obis": obis.text(),
                    "name": names.setdefault(obis, obis.name()),
                    "value": value,
                    "unit": unit,
                    "kind": KIND_NAMES[quantity.kind],
                    "integer": None if quantity.kind == Kind.TEXT else quantity.value,
                    "scaler": quantity.scaler,
                    "base_unit": quantity.unit,
                }
            )


def _event_rows(rows: Iterator[EventRow]) -> Iterator[dict[str, Any]]:
    for sequence, one in rows:
        yield {
            "time": utc_text(one.at),
            "severity": severity_of(one.kind),
            "kind": one.kind,
            "subject": one.subject,
            "number": one.number,
            "drift_s": one.drift_s,
            "detail": one.detail,
            "quality": TIME_QUALITY_NAMES[one.quality],
            "at": one.at,
            "boot_at": one.boot_at,
            "boot_id": one.boot_id.hex(),
            "sequence": sequence,
            "evidence": [f"{way}{at_ms}:{data.hex()}" for way, at_ms, data in one.evidence],
        }


# ---- salvage -------------------------------------------------------------------------------------


def _salvage(settings: Settings, arguments: argparse.Namespace, out: TextIO) -> int:
    folder = settings.gateway["state_dir"]
    file = arguments.file.resolve() if arguments.file else None
    if file and (not file.is_file() or file == folder / "journal.db"):
        raise CallerError(f"{file} is not a journal that was put aside")
    try:
        lock = own_folder(folder, settings.path)
    except FolderBusyError:
        return _complain(
            f"the agent runs, and brings in by itself what lies in {folder} as"
            " journal-damaged-N.db (see `busbar-edge journal status`); for another file stop it, or"
            " move the file there under such a name",
            FAILED,
        )
    journal = Journal(folder, settings.journal["size_mb_max"])
    try:
        journal.open()
        return _salvage_all(journal, file, out)
    finally:
        if journal.is_open:
            journal.close()
        os.close(lock)


def _salvage_all(journal: Journal, file: Path | None, out: TextIO) -> int:
    clock, files = SystemClock(), 0

    def told(name: str, count: Count) -> Event:
        nonlocal files
        files += 1
        print(f"{name}: {count.text()}", file=out)
        return stamped(clock, "journal-salvaged", f"{name}: {count.text()}")

    try:
        salvager = Salvager(journal, file)
    except sqlite3.Error as error:
        return _complain(
            f"{file} can not be read as a journal ({error}); what `sqlite3 FILE .recover` makes of"
            " it may be",
            FAILED,
        )
    while salvager.turn(told):
        pass
    if not files:
        print("there is nothing to salvage", file=out)
    return DONE
