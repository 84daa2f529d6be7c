"""New settings while the gateway runs: what they touch, and that the rest does not notice."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.clock import SystemClock
from edge.config.reload import Difference, check_whole, difference
from edge.lines import REBUILT
from edge.local.client import ask_once
from edge.local.lines import RequestError
from edge.orders.executor import OrderJob
from edge.settings import load_settings
from protocols.errors import SettingError
from protocols.messages import OrderState
from tests.edge.config_world import (
    MINUTE_MS,
    TABLE,
    Gateway,
    lines_with,
    meters_with,
    table_with,
)
from tests.edge.fakes import FakeClock
from tests.edge.head_end import HeadEnd, make_order
from tests.edge.test_agent import config_of, head_end, unlock
from tests.edge.test_settings import write_config

__all__ = ["head_end"]  # a fixture


def compare(folder: Path, **sections: Any) -> Difference:
    """What changed sections touch."""
    clock = FakeClock()
    old = check_whole(load_settings(write_config(folder, TABLE)), clock)
    new = check_whole(load_settings(write_config(folder, table_with(**sections))), clock)
    return difference(old, new)


LINE_C = {"id": "c", "port": "/dev/c"}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, ((), (), (), (), ())),
        ({"line": lines_with("a", gap_ms=99)}, ((), ("a",), (), (), ())),
        ({"meter": meters_with("m-2", period_s=30)}, ((), ("b",), (), (), ())),
        ({"meter": meters_with("m-2", line="a")}, ((), ("a", "b"), (), (), ())),
        ({"meter": TABLE["meter"][:2]}, ((), ("b",), (), (), ())),
        ({"line": [*TABLE["line"], LINE_C]}, (("c",), (), (), (), ())),
        (
            {"line": TABLE["line"][:1], "meter": TABLE["meter"][:1]},
            ((), (), ("b",), (), ()),
        ),
        ({"line": TABLE["line"][::-1]}, ((), (), (), (), ())),
        ({"mqtt": {"host": "other.example"}}, ((), (), (), ("mqtt",), ())),
        ({"uplink": {"window": 4}}, ((), (), (), ("uplink",), ())),
        ({"journal": {"commit_sets": 9}}, ((), (), (), ("journal",), ())),
        ({"collect": {"backfill": False}}, ((), ("a", "b"), (), ("collect",), ())),
        ({"local": {"metrics_port": 9100}}, ((), (), (), ("local",), ())),
        ({"gateway": TABLE["gateway"] | {"log": "debug"}}, ((), (), (), ("gateway",), ())),
        (
            {"gateway": TABLE["gateway"] | {"id": "gw-2", "state_dir": "x"}},
            ((), (), (), ("gateway",), ("id", "state_dir")),
        ),
    ],
)
def test_what_a_change_touches(
    tmp_path: Path, sections: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Added, rebuilt and removed lines, sections, and keys that need a restart."""
    assert tuple(compare(tmp_path, **sections)) == expected


def test_a_changed_meter_model_rebuilds_its_line(tmp_path: Path) -> None:
    """Also when edge.toml stays as it is."""
    shipped = Path(__file__).parents[2] / "protocols" / "meter_models" / "eastron-sdm630.toml"
    (tmp_path / "meter_models").mkdir()
    own = tmp_path / "meter_models" / "mine.toml"
    own.write_text(shipped.read_text())
    meter = {"id": "x", "line": "b", "protocol": "modbus", "unit": 1, "model": "mine"}
    path = write_config(tmp_path, table_with(meter=[*TABLE["meter"], meter]))
    old = check_whole(load_settings(path), FakeClock())
    own.write_text(shipped.read_text().replace("title = ", 'title = "Another" # ', 1))
    new = check_whole(load_settings(path), FakeClock())
    assert difference(old, new).rebuilt == ("b",)


def test_a_difference_in_words(tmp_path: Path) -> None:
    """For people."""
    assert compare(tmp_path).text() == "nothing changes"
    found = compare(tmp_path, line=[*lines_with("a", gap_ms=9), LINE_C], mqtt={"host": "x"})
    assert found.text() == "new lines c; lines rebuilt a; changed [mqtt]"


@pytest.fixture
def gateway(tmp_path: Path, clock: FakeClock) -> Gateway:
    """Two lines that poll three meters each minute."""
    return Gateway(tmp_path, clock)


def change(gateway: Gateway, /, **sections: Any) -> str:
    """edge.toml is another, and is read again."""
    write_config(gateway.folder, table_with(**sections))
    return gateway.remote.reload()


def expect_each_slot_once(gateway: Gateway, meter_id: str, first: int) -> None:
    """From a slot on, none is missing and none is there twice."""
    slots = [slot for meter, slot in gateway.stored if meter == meter_id and slot >= first]
    assert slots == list(range(slots[0], slots[-1] + 1, MINUTE_MS))
    assert len(slots) > 5


def test_a_line_that_is_rebuilt_loses_nothing_and_reads_nothing_twice(gateway: Gateway) -> None:
    """Neither does any other; the unchanged one goes on with the same worker and port."""
    gateway.run(5 * MINUTE_MS)
    before = dict(gateway.lines.workers)
    opened = before["a"].line._port.trace.count
    assert change(gateway, line=lines_with("b", gap_ms=300)) == "lines rebuilt b"
    gateway.run(5 * MINUTE_MS)
    after = gateway.lines.workers
    assert after["a"] is before["a"] and after["b"] is not before["b"]
    assert not before["b"].line.is_open
    assert opened  # the port of a was never closed
    assert [what for what, _, _ in before["a"].line._port.trace].count("close") == 0
    for meter_id in ("m-1", "m-2", "m-3"):
        expect_each_slot_once(gateway, meter_id, 0)
    assert [one for one in gateway.events if one[0] == "slots-missed"] == []


def test_a_meter_that_moves_to_another_line_is_read_once_a_slot(gateway: Gateway) -> None:
    """What its former worker handed on is known, also before its commit."""
    gateway.run(3 * MINUTE_MS)
    gateway.slots.clear()  # nothing of it is committed
    change(gateway, meter=meters_with("m-2", line="a"))
    gateway.run(4 * MINUTE_MS)
    assert max(Counter(gateway.stored).values()) == 1
    assert "m-2" in gateway.lines.workers["a"].watches
    expect_each_slot_once(gateway, "m-2", 0)


def test_a_sweep_that_was_cut_is_done_again(gateway: Gateway) -> None:
    """Its slot is due again at the new worker."""
    quantities = ["1-0:1.8.0", "1-0:32.7.0"]
    change(gateway, meter=meters_with("m-2", quantities=quantities))
    worker = gateway.lines.workers["b"]
    step = worker._step

    def cut(job: Any, steps: Any) -> bool:
        found = step(job, steps)
        worker.ask_stop()
        return found

    worker._step = cut  # type: ignore[method-assign]
    worker.turn()
    change(gateway)
    gateway.run(2 * MINUTE_MS)
    slots = [slot for meter, slot in gateway.stored if meter == "m-2"]
    assert len(slots) == len(set(slots)) >= 2


def test_what_is_wrong_changes_nothing(gateway: Gateway) -> None:
    """One sentence; the same workers go on."""
    gateway.run(MINUTE_MS)
    before = dict(gateway.lines.workers)
    settings = gateway.settings
    for sections, told in (
        ({"meter": []}, "must stand 1 to"),
        ({"line": lines_with("a", port="spy:///dev/a?file=/etc/x")}, "port = 'spy:"),
        ({"meter": meters_with("m-1", period_s=1, quantities=["1-0:1.8.0"] * 9)}, "takes"),
        ({"gateway": TABLE["gateway"] | {"tenant": "t2"}}, "a change of tenant needs a restart"),
        ({"collect": {"correct_meter_clocks": True}}, "only a remote configuration"),
    ):
        with pytest.raises(SettingError, match=told):
            change(gateway, **sections)
    assert gateway.lines.workers == before
    assert gateway.settings is settings
    assert gateway.places == []


def test_sections_apply_where_they_belong(gateway: Gateway) -> None:
    """And touch no line."""
    before = dict(gateway.lines.workers)
    change(gateway, mqtt={"host": "other"}, uplink={"window": 3}, journal={"commit_sets": 7})
    assert sorted(gateway.places) == ["journal", "mqtt", "uplink"]
    assert gateway.lines.workers == before
    change(gateway, collect={"backfill_days": 3})
    assert gateway.settings.collect["backfill_days"] == 3
    assert set(gateway.lines.workers.values()).isdisjoint(before.values())


def test_a_line_comes_and_goes(gateway: Gateway) -> None:
    """With its meters; orders for a meter that is gone are not taken."""
    gateway.run(MINUTE_MS)
    b = gateway.lines.workers["b"]
    assert change(gateway, line=TABLE["line"][:1], meter=TABLE["meter"][:1]) == "lines removed b"
    assert list(gateway.lines.workers) == ["a"] and not b.line.is_open
    assert gateway.lines.offer("m-2", None) is False  # type: ignore[arg-type]
    assert change(gateway) == "new lines b"
    gateway.run(2 * MINUTE_MS)
    assert max(Counter(gateway.stored).values()) == 1
    assert gateway.lines.workers["b"].watches["m-2"].sweeps


class WaitingJob:
    """An order that has had no turn."""

    priority = 0
    recording = None
    may_send = None

    def __init__(self, meter_id: str) -> None:
        self.meter_id = meter_id
        self.dropped = ""
        self.runs = 0

    def steps(self, *_: object) -> Any:
        """Notes that it ran."""
        self.runs += 1
        yield

    def drop(self, reason: str) -> None:
        """Notes why not."""
        self.dropped = reason


def test_orders_that_wait_wait_at_the_new_worker(gateway: Gateway) -> None:
    """Each runs once; one whose meter is gone is dropped with a reason."""
    gateway.run(MINUTE_MS)
    stays, goes = WaitingJob("m-2"), WaitingJob("m-3")
    assert gateway.lines.offer("m-2", stays) and gateway.lines.offer("m-3", goes)
    change(gateway, meter=TABLE["meter"][:2])
    gateway.run(MINUTE_MS)
    assert (stays.runs, stays.dropped) == (1, "")
    assert (goes.runs, goes.dropped) == (0, "the gateway's configuration changed before its turn")


def test_who_was_down_stays_down_until_it_answers(gateway: Gateway) -> None:
    """Then its return is told, as if nothing had been changed."""
    gateway.run(2 * MINUTE_MS)
    gateway.meters.silent = {"000000000002", "000000000003"}
    gateway.run(20 * MINUTE_MS)
    kinds = [kind for kind, _, _ in gateway.events]
    assert kinds.count("meter-down") == 2 and kinds.count("line-down") == 1
    change(gateway, line=lines_with("b", gap_ms=300))
    gateway.run(5 * MINUTE_MS)
    gateway.meters.silent.clear()
    gateway.run(20 * MINUTE_MS)
    kinds = [kind for kind, _, _ in gateway.events]
    assert (kinds.count("meter-down"), kinds.count("line-down")) == (2, 1)
    assert (kinds.count("meter-up"), kinds.count("line-up")) == (2, 1)
    (missed,) = [one for one in gateway.events if one[:2] == ("slots-missed", "m-2")]
    assert REBUILT in missed[2] or "no answer" in missed[2]


# ---- the agent, with its threads -----------------------------------------------------------------


def two_lines(folder: Path, **sections: Any) -> Path:
    """A gateway whose adapters and broker are not there."""
    base = config_of(folder)
    text = base.read_text()
    more = {"line": [{"id": "line-2", "port": str(folder / "none-2")}]} | sections
    more["meter"] = [
        {"id": "m-2", "line": "line-2", "protocol": "dlt645-2007", "address": "000000000162",
         "period_s": sections.get("period_s", 60)},
    ]  # fmt: skip
    more.pop("period_s", None)
    extra = write_config(folder, more).read_text()
    base.write_text(text + extra)
    return base


def test_a_running_agent_touches_only_what_changed(tmp_path: Path, head_end: HeadEnd) -> None:
    """Through its socket: other threads go on as they are; a broker is left and another one
    joined."""
    agent = Agent(load_settings(two_lines(tmp_path)), SystemClock())
    agent.start()
    try:
        lines, session = agent._lines, agent._session
        first, second = (lines.workers[name] for name in ("line-1", "line-2"))
        transport = session.transport
        two_lines(tmp_path, period_s=30)
        assert ask_once(tmp_path / "state", "reload") == {"changed": "lines rebuilt line-2"}
        assert lines.workers["line-1"] is first and first._thread.is_alive()
        assert lines.workers["line-2"] is not second and not second._thread.is_alive()
        assert session.transport is transport
        path = two_lines(tmp_path, period_s=30)
        path.write_text(path.read_text().replace("port = 1\n", "port = 2\n"))
        assert ask_once(tmp_path / "state", "reload") == {"changed": "changed [mqtt]"}
        assert session.transport is not transport and not transport._thread.is_alive()
        assert session._thread.is_alive() and first._thread.is_alive()
        path.write_text("[gateway")
        with pytest.raises(RequestError, match="is not TOML"):
            ask_once(tmp_path / "state", "reload")
        path = two_lines(tmp_path, period_s=30, local={"socket_group": "no-such-group"})
        with pytest.raises(RequestError, match="no-such-group"):
            ask_once(tmp_path / "state", "reload")
        assert lines.workers["line-1"] is first
    finally:
        agent.stop()
        unlock(agent)
    assert not [one for one in threading.enumerate() if one.name in ("config", "line-line-1")]


def test_new_settings_reach_the_journal_and_the_uplink(tmp_path: Path, head_end: HeadEnd) -> None:
    """In place: the writer, its cap and ballast, and the session's budget and meters."""
    agent = Agent(load_settings(two_lines(tmp_path)), SystemClock())
    agent.start()
    try:
        path = config_of(tmp_path)
        text = path.read_text().replace(
            "[journal]\nballast_kb = 0\n",
            "[journal]\nballast_kb = 64\nsize_mb_max = 7\ncommit_sets = 3\n"
            "[uplink]\nwindow = 3\nbytes_per_day = 1000000\n",
        )
        path.write_text(text)
        agent.reload_soon()  # as SIGHUP does
        marker: threading.Event = threading.Event()
        while list(agent._workers) != ["line-1"]:
            assert not marker.wait(0.01)
        agent._remote_config.reload()
        agent._writer.call(lambda: None).result(10)
        assert agent._journal.pages_max == 7 * 256
        assert (agent._writer._commit_sets, agent._writer._ballast._size) == (3, 65_536)
        agent._queue.put(marker.set)
        assert marker.wait(10)
        assert agent._session._settings["window"] == 3
        assert agent._session._meters == (("m-1", "000000000161"),)
        assert agent._session.sender.allowance._most == 1_000_000
        assert agent._addresses == {"m-1": "000000000161"}
    finally:
        agent.stop()
        unlock(agent)


def test_an_order_that_was_cut_is_unknown(tmp_path: Path, clock: FakeClock) -> None:
    """Its line stopped after an exchange: bytes went out, and nobody saw the end."""
    told: list[tuple[Any, ...]] = []
    job = OrderJob(make_order(), 7, clock.boot_ms() + 9_000, clock, lambda *one: told.append(one))

    class Driver:
        """Has more than one exchange."""

        def read(self, *_: object) -> Any:
            """Endless."""
            while True:
                yield

    steps = job.steps(None, Driver(), 0)  # type: ignore[arg-type]
    next(steps)
    steps.close()
    assert [one[2] for one in told] == [OrderState.SENT, OrderState.UNKNOWN]
    job.drop("no turn")
    assert told[-1][2:4] == (OrderState.REFUSED, "no turn")
