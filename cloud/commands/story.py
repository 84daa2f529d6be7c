"""The whole story of one order, in lines that a person reads: who asked and why, who agreed, what
became of it by our clock and the gateway's, what was observed, the frames in hex and in words, and
where both audit logs tell of it. From records alone, whichever door they came through."""

import io
from collections.abc import Iterator
from typing import Any, TextIO

from cloud.commands.tables import print_json, print_table, printable, shown_ranges, shown_time
from cloud.orders.frames import frame_words
from protocols.obis import Obis
from protocols.quantity import KIND_NAMES, Quantity
from protocols.readings import TIME_QUALITY_NAMES

Body = dict[str, Any]
COLUMNS = ("obis", "name", "value", "unit", "kind")
NAME_WIDTH = 9  # of the names in front
_INDENT = "  "


def story_lines(order: Body) -> Iterator[str]:
    """What `order_get` answers, or Records tell, line by line. What is missing is left out."""
    story: Body = order.get("story") or {}
    yield from _asked(order)
    yield from _approved(order)
    yield _line("state", order["state"])
    if order.get("waits"):
        yield _line("waits", order["waits"])
    states = [
        (shown_time(one["at"]), one["state"], shown_time(one["told_at"]), one["reason"])
        for one in story.get("states", ())
    ]
    yield ""
    yield from _table(("at", "state", "told by the gateway", "reason"), states)
    for one in story.get("receipts", ()):
        yield ""
        yield from _receipt(one)
    yield from _audit(story)


def show_order(out: TextIO, order: Body, is_json: bool) -> None:
    """Prints it, whole."""
    if is_json:
        print_json(out, order)
        return
    for line in story_lines(order):
        print(line, file=out)


def reading_row(code: str, value: int | str, scaler: int, unit: str, kind: int) -> Body:
    """A reading of a receipt under `COLUMNS`, as people write it."""
    shown, shown_unit = Quantity(value, scaler, unit, kind).shown()
    name = Obis.from_text(code).name()
    return {
        "obis": code,
        "name": name,
        "value": shown,
        "unit": shown_unit,
        "kind": KIND_NAMES[kind],
    }


def frame_lines(way: str, ms: int, data: str) -> Iterator[str]:
    """A frame of the evidence: in hex, then in words when it has some."""
    frame = bytes.fromhex(data)
    yield f"{way} {ms:>6} ms  {frame.hex(' ')}"
    words = frame_words(frame)
    if words:
        yield f"{'':>13}{printable(words)}"


def _asked(order: Body) -> Iterator[str]:
    yield _line("order", order["order"])
    given = ", ".join(str(one) for one in order.get("arguments") or ())
    what = f"{order['action']} {given}".strip()
    address = f" ({order['address']})" if order.get("address") else ""
    yield _line("action", f"{what} of meter {order['meter']}{address} at {order['gateway']}")
    if order.get("obis"):
        yield _line("quantity", order["obis"])
    at = shown_time(order.get("created_at"))
    yield _line("asked", f"by {order.get('requested_by') or 'whoever is at the console'} at {at}")
    for name, words in (("because", "reason"), ("incident", "incident"), ("batch", "batch")):
        if order.get(words):
            yield _line(name, order[words])
    if order.get("valid_until"):
        life = order["life_ms"] // 1000
        since, until = shown_time(order["valid_from"]), shown_time(order["valid_until"])
        yield _line("window", f"{since} to {until}; it lives {life} s")
    if order.get("not_before"):
        since, until = shown_time(order["not_before"]), shown_time(order.get("expires_at"))
        yield _line("holds", f"from {since} to {until}")
    counters = [
        f"{name} {order[field]}"
        for name, field in (("of the meter", "meter_counter"), ("of the message", "counter"))
        if order.get(field)
    ]
    if counters:
        yield _line("counters", ", ".join(counters))
    if order.get("digest"):
        yield _line("frozen", f"at {shown_time(order.get('submitted_at'))}, {order['digest']}")
    if order.get("quarantine"):
        yield _line("over", order["quarantine"])
    if order.get("stop_at"):
        yield _line("stopped", f"at {shown_time(order['stop_at'])}")


def _approved(order: Body) -> Iterator[str]:
    needed, given = order.get("approvals_needed") or 0, order.get("approvals") or []
    if needed:
        names = ", ".join(str(one["approver"]) for one in given)
        yield _line("approved", f"{len(given)} of {needed}: {names or '-'}")
    for one in given:
        yield _line("", f"{one['approver']} at {shown_time(one['at'])}")


def _receipt(receipt: Body) -> Iterator[str]:
    quality = TIME_QUALITY_NAMES[receipt["quality"]]
    told = f"{receipt['state']} at {shown_time(receipt['at'])} (the gateway's clock: {quality})"
    yield _line("receipt", f"{told}, here at {shown_time(receipt['received_at'])}")
    if receipt["reason"]:
        yield _line("", receipt["reason"])
    for name, text in receipt.get("facts") or ():
        yield _INDENT + printable(f"{name}: {text}")
    rows = [reading_row(*one) for one in receipt["readings"]]
    if rows:
        yield from _table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    for way, ms, data in receipt["evidence"]:
        yield from (_INDENT + line for line in frame_lines(way, ms, data))


def _audit(story: Body) -> Iterator[str]:
    logs = (("this log", "audit"), ("the gateway's chain", "gateway_audit"))
    for name, field in logs:
        entries = story.get(field) or []
        if not entries:
            continue
        yield ""
        numbers = shown_ranges(_ranges([one["sequence"] for one in entries]))
        yield _line("audit", f"entries {numbers} of {name}")
        for one in entries:
            told = f"{one['sequence']:>7}  {shown_time(one['at'])}  {one['kind']}"
            yield _INDENT + printable(told)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] + 1 == number:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _line(name: str, text: object) -> str:
    return f"{name:<{NAME_WIDTH}} {printable(str(text))}"


def _table(head: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    out = io.StringIO()
    print_table(out, head, rows)
    yield from out.getvalue().splitlines()
