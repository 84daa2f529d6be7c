"""What the commands print, and their exit codes."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.commands.tables import printable, shown_time, time_from_text
from protocols.errors import CallerError
from protocols.messages import OrderState
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Flag, Origin, Reading
from tests.cloud.console import Console
from tests.cloud.test_orders import READ, READING, Bench
from tests.cloud.world import NOW, World, reading_set


@pytest.fixture
def filled(world: World, core: Core) -> Core:
    core.ingest.handle(*world.gateway.hello(head=12))
    core.ingest.handle(*world.gateway.data(range(1, 7)))
    core.ingest.handle(*world.gateway.data([9, 10]))
    core.ingest.handle(world.gateway.topic("up/d"), b"garbage")
    core.ingest.commit()
    return core


def test_readings_as_a_table(console: Console, filled: Core) -> None:
    """Time with ms, quantity in words, exact decimals, units as people write them."""
    lines = console("readings", "meter-1").splitlines()
    columns = ["time", "obis", "name", "value", "unit", "kind", "quality", "origin", "flags"]
    assert lines[0].split() == columns
    assert len(lines) == 1 + 8 * 5
    first, voltage = lines[1].split("  "), lines[3]
    assert first[0] == "2025-11-21T04:41:00.000Z" and first[1] == "1-0:1.8.0*255"
    assert "active energy import" in lines[1] and "10.00  kWh" in lines[1]
    assert "voltage L1" in voltage and "100.2  V" in voltage and "instantaneous" in voltage
    assert lines[1].endswith("ntp      live")


def test_readings_show_their_origin_and_flags(console: Console, core: Core) -> None:
    """What is not read live, or is doubtful, says so in every form."""
    freeze = reading_set(1)._replace(origin=Origin.FREEZE)
    doubtful = reading_set(2)._replace(flags=Flag.ROLL_BACK | Flag.CLOCK_SUSPECT)
    shed = reading_set(3)._replace(readings=(), flags=Flag.SHED)
    core.ingest.handle(*console.world.gateway.batch([(1, freeze), (2, doubtful), (3, shed)]))
    core.ingest.commit()
    rows = json.loads(console("readings", "meter-1", "--json", "--obis", "1-0:1.8.0"))
    assert [(row["origin"], row["flags"]) for row in rows] == [
        ("freeze", ""), ("live", "roll-back clock-suspect"),
    ]  # fmt: skip
    lines = console("readings", "meter-1", "--obis", "1-0:1.8.0").splitlines()
    assert lines[1].endswith("freeze")
    assert lines[2].endswith("live    roll-back clock-suspect")
    assert core.store.db.execute("SELECT flags FROM reading_set").fetchall() == [(0,), (33,), (16,)]


def test_readings_as_json(console: Console, filled: Core) -> None:
    """The integer and its scaler stand beside the decimal text."""
    rows = json.loads(console("readings", "meter-1", "--json"))
    assert len(rows) == 40
    assert rows[0] == {
        "time": "2025-11-21T04:41:00.000Z",
        "meter": "meter-1",
        "gateway": "gw1",
        "obis": "1-0:1.8.0*255",
        "name": "active energy import",
        "value": "10.00",
        "unit": "kWh",
        "kind": "cumulative",
        "quality": "ntp",
        "origin": "live",
        "flags": "",
        "integer": 1000,
        "scaler": 1,
        "base_unit": "Wh",
        "read_at": NOW + 60_000,
        "received_at": NOW,
        "sequence": 1,
    }


def test_readings_as_csv(console: Console, filled: Core) -> None:
    """The same columns, with a heading."""
    rows = list(csv.DictReader(io.StringIO(console("readings", "meter-1", "--csv"))))
    same = json.loads(console("readings", "meter-1", "--json"))
    assert rows == [{key: str(value) for key, value in row.items()} for row in same]


def test_readings_are_chosen(console: Console, filled: Core) -> None:
    """By time (the end is left out), by quantity, by gateway, and the latest few."""

    def chosen(*words: str) -> list[int]:
        rows = json.loads(console("readings", "meter-1", "--json", "--obis", "1-0:1.8.0", *words))
        return [row["sequence"] for row in rows]

    assert chosen() == [1, 2, 3, 4, 5, 6, 9, 10]
    start = ("--from", "2025-11-21T04:43:00Z")
    assert chosen(*start) == [3, 4, 5, 6, 9, 10]
    assert chosen(*start, "--to", "2025-11-21T05:45:00+01:00") == [3, 4]
    assert chosen("--limit", "3") == [6, 9, 10]
    assert chosen("--gateway", "gw1") == chosen()
    rows = json.loads(console("readings", "meter-1", "--json", "--limit", "7"))
    assert [row["sequence"] for row in rows] == [9, 9, 10, 10, 10, 10, 10]
    assert [row["obis"][4:8] for row in rows[2:]] == ["1.8.", "1.8.", "32.7", "31.7", "16.7"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no meter 'nobody' is known"),
        (["meter-1", "--gateway", "gw7"], "no meter 'meter-1' is known"),
        (["meter-1", "--from", "yesterday"], "'yesterday' is not a time such as"),
        (["meter-1", "--to", "2025-13-01"], "is not a time such as"),
        (["meter-1", "--obis", "1.8.0"], "is not an OBIS code"),
        (["meter-1", "--limit", "0"], "--limit must be"),
    ],
)
def test_readings_that_can_not_be(
    words: list[str], said: str, console: Console, filled: Core
) -> None:
    """One sentence, exit code 2."""
    assert said in console.refused("readings", *words)


def test_text_from_a_meter_does_not_steer_the_terminal(
    console: Console, world: World, core: Core
) -> None:
    """Escape sequences are shown, not obeyed; JSON keeps the text."""
    text = "\x1b[2Jx"
    reading = Reading(Obis.from_text("0-0:96.1.1"), Quantity(text, 0, "", Kind.TEXT))
    one = reading_set(1)._replace(readings=(reading,))
    core.ingest.handle(*world.gateway.batch([(1, one)]))
    core.ingest.commit()
    shown = console("readings", "meter-1")
    assert "\x1b" not in shown and "\\x1b[2Jx" in shown
    row = json.loads(console("readings", "meter-1", "--json"))[0]
    assert (row["value"], row["integer"], row["kind"]) == (text, None, "text")


def test_one_meter_id_behind_two_gateways(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Both are shown and named, one can be chosen."""
    world = World(tmp_path, ("gw1", "gw2"))
    core = world.core()
    for gateway in world.gateways.values():
        core.ingest.handle(*gateway.data([1]))
    core.ingest.commit()
    console = Console(world, capsys)
    assert console("readings", "meter-1").splitlines()[0].endswith("gateway")
    rows = json.loads(console("readings", "meter-1", "--json"))
    assert {row["gateway"] for row in rows} == {"gw1", "gw2"}
    rows = json.loads(console("readings", "meter-1", "--json", "--gateway", "gw2"))
    assert {row["gateway"] for row in rows} == {"gw2"}
    core.store.close()


def test_gateways(console: Console, filled: Core) -> None:
    """Who reports, how far, and how much is missing."""
    (row,) = json.loads(console("gateways", "--json"))
    assert row == {
        "gateway": "gw1",
        "last_seen": shown_time(NOW),
        "presence": None,
        "clock": "ntp",
        "version": "0.1.0",
        "hello": shown_time(NOW),
        "meters": [{"meter": "meter-1", "address": "202611000001"}],
        "head": 12,
        "stored": 6,
        "missing": 4,
    }
    table = console("gateways").splitlines()
    assert len(table) == 2 and table[1].split()[:2] == ["gw1", shown_time(NOW)]


def test_completeness_with_holes(console: Console, filled: Core, world: World) -> None:
    """The missing ranges up to the announced head, and exit code 1."""
    text = console("completeness", "gw1", code=1)
    assert "missing         7-8, 11-12" in text and "complete: no" in text
    document = json.loads(console("completeness", "gw1", "--json", code=1))
    assert document == {
        "gateway": "gw1",
        "complete": False,
        "epochs": [
            {
                "epoch": world.gateway.epoch.hex(),
                "first_seen": shown_time(NOW),
                "first": 1,
                "last": 10,
                "head": 12,
                "count": 8,
                "missing": [[7, 8], [11, 12]],
                "rows_agree": True,
                "complete": False,
            }
        ],
    }


def test_completeness_without_holes(console: Console, filled: Core, world: World) -> None:
    """Everything announced is stored: exit code 0."""
    filled.ingest.handle(*world.gateway.data([7, 8, 11, 12]))
    filled.ingest.commit()
    assert "complete: yes" in console("completeness", "gw1")


def test_completeness_is_checked_against_the_rows(
    console: Console, filled: Core, world: World
) -> None:
    """A ledger that says more than there is does not pass."""
    filled.ingest.handle(*world.gateway.data([7, 8, 11, 12]))
    filled.ingest.commit()
    filled.store.db.execute("DELETE FROM reading_set WHERE sequence = 4")
    text = console("completeness", "gw1", code=1)
    assert "rows agree      no" in text and "complete: no" in text


def test_completeness_of_a_stranger(console: Console, filled: Core) -> None:
    """Exit code 2."""
    assert "gateway 'gw9' is not known" in console.refused("completeness", "gw9")


def test_without_a_database(console: Console) -> None:
    """Each reader says what makes one."""
    for words in (["readings", "x"], ["gateways"], ["completeness", "x"], ["order", "list"]):
        assert "does not exist; busbar-cloud run makes it" in console.refused(*words)


def test_without_a_service(console: Console, filled: Core) -> None:
    """Orders can not be given: exit code 3; refusals are still shown."""
    assert console("order", "read", "meter-1", "1-0:1.8.0", code=3) == ""
    assert "no service answers" in console.err
    span = ("--from", "2026-11-01", "--to", "2026-11-02T00:00:00Z")
    assert console("order", "backfill", "meter-1", *span, code=3) == ""
    assert "no service answers" in console.err
    text = console("status", code=3)
    assert "not running" in text and "malformed" in text
    document = json.loads(console("status", "--json", code=3))
    assert document["running"] is False and document["service"] is None
    assert document["refusals"][0]["reason"] == "malformed"


@pytest.fixture
def done(world: World) -> Iterator[str]:
    """An order that was done; its id."""
    bench = Bench(world)
    order_id = bench.ask(READ)
    counter, order = bench.take_order()
    frames = ((">", 0, b"\xfe\x68"), ("<", 41, b"\x68\x16"))
    bench.handle(
        bench.gateway.receipt(order, counter, OrderState.DONE, readings=(READING,), evidence=frames)
    )
    yield order_id.hex()
    bench.core.store.close()


def test_a_backfill_needs_a_span(console: Console) -> None:
    """One sentence, before the service is asked."""
    words = ("order", "backfill", "meter-1", "--from", "2026-11-02", "--to")
    assert "--to must be later" in console.refused(*words, "2026-11-02")
    assert "is not a time" in console.refused(*words, "tomorrow")


def test_a_backfill_asks_the_service_for_its_span(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UTC ms, the end of one state tells the exit code."""
    asked: list[dict] = []

    def ask(_: object, request: dict, wait_s: int) -> Iterator[dict]:
        asked.append(request)
        at = {"order": "o", "gateway": "gw1", "at": 5, "readings": [], "evidence": []}
        yield {**at, "state": "done", "reason": "7 of 9 reading sets go again", "final": True}

    monkeypatch.setattr("cloud.commands.order.ask", ask)
    span = ("--from", "2026-11-01", "--to", "2026-11-02T08:00:00+08:00", "--valid-s", "30")
    assert "7 of 9 reading sets" in console("order", "backfill", "meter-1", *span)
    start = 1_793_491_200_000
    (request,) = asked
    assert request == {
        "op": "order_read", "meter": "meter-1", "obis": "1-0:1.8.0",
        "span": [start, start + 86_400_000], "valid_s": 30, "gateway": "",
    }  # fmt: skip


def test_orders_are_listed(console: Console, done: str) -> None:
    """The latest first, with their state."""
    (row,) = json.loads(console("order", "list", "--json"))
    assert (row["order"], row["state"], row["meter"]) == (done, "done", "meter-1")
    assert console("order", "list").splitlines()[1].split()[-1] == "done"
    assert "--limit" in console.refused("order", "list", "--limit", "0")


def test_an_order_is_shown(console: Console, done: str) -> None:
    """Every step, the reading and the frames; by its id or how that starts."""
    text = console("order", "show", done[:6].upper())
    for part in ("draft", "signed", "queued", "done", "0.26", "kWh", "fe 68", "<     41 ms"):
        assert part in text
    document = json.loads(console("order", "show", done, "--json"))
    steps = [step["state"] for step in document["story"]["states"]]
    assert steps == ["draft", "signed", "queued", "done"]
    assert document["story"]["receipts"][0]["readings"] == [["1-0:1.8.0*255", 26, 1, "Wh", 1]]
    assert "no order starts so" in console.refused("order", "show", "0000beef")
    assert "at least 4" in console.refused("order", "show", "%")


def test_times() -> None:
    """Whole numbers both ways."""
    assert shown_time(1) == "1970-01-01T00:00:00.001Z"
    assert shown_time(None) == "-" and shown_time(1 << 62) == f"{1 << 62} ms"
    assert time_from_text("2025-11-21T04:40:00.123Z") == NOW + 123
    assert time_from_text("2025-11-21") == NOW - (4 * 60 + 40) * 60_000
    assert printable("plain ☀") == "plain ☀" and printable("a\nb") == "a\\nb"
    with pytest.raises(CallerError):
        time_from_text("")
