"""Configurations that come as messages: taken once, tried, kept or taken back; and every crash."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.config.folder import CANDIDATE, FAILED, GOOD, ConfigFolder, Outcome, Stored
from edge.config.remote import ARRIVED_MAX, TELL_AGAIN_MS
from edge.lines import Lines
from edge.settings import load_settings
from edge.settings.remote import overlay
from edge.sync.transport import Arrived
from protocols import topics
from protocols.envelope.claims import Claims
from protocols.envelope.keys import KeySet, PrivateKey, Use
from protocols.errors import EnvelopeError, SettingError
from protocols.messages import CONFIG, CONFIG_SIZE_MAX, HEAD_END, Config
from protocols.readings import TimeQuality
from tests.edge.config_world import (
    MINUTE_MS,
    PROBATION_S,
    SPEED,
    TABLE,
    Gateway,
    lines_with,
    meters_with,
    table_with,
)
from tests.edge.fakes import UTC_MS, FakeClock
from tests.edge.head_end import GATEWAY, OTHER_GATEWAY, TENANT, HeadEnd, make_key
from tests.edge.test_agent import config_of, unlock
from tests.edge.test_settings import write_config

FASTER = {"meter": meters_with("m-2", period_s=30)}
DEAF = {"line": lines_with("b", baud=4 * SPEED)}


@pytest.fixture
def gateway(tmp_path: Path, clock: FakeClock) -> Gateway:
    """One that has polled all its meters."""
    one = Gateway(tmp_path, clock)
    one.run(2 * MINUTE_MS)
    return one


def files(gateway: Gateway) -> set[str]:
    """Which configurations lie in the state folder."""
    names = (CANDIDATE, GOOD, FAILED)
    return {name for name in names if gateway.config_folder.has(name)}


def periods(gateway: Gateway) -> dict[str, int]:
    """What runs: the period of each meter."""
    return {
        name: watch.period_s
        for worker in gateway.lines.workers.values()
        for name, watch in worker.watches.items()
    }


OLD = {"m-1": 60, "m-2": 60, "m-3": 60}
NEW = OLD | {"m-2": 30}


def test_a_configuration_is_tried_and_kept(gateway: Gateway) -> None:
    """Lines that answered answer again, and the head end acknowledged after the change."""
    before = gateway.lines.workers["a"]
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    assert periods(gateway) == NEW
    assert gateway.told == [
        ("config-applied", "version 7: on probation for 900 s; lines rebuilt b")
    ]
    assert files(gateway) == {CANDIDATE}
    gateway.run(5 * MINUTE_MS)
    assert files(gateway) == {CANDIDATE}  # nothing was acknowledged yet
    gateway.acknowledge()
    gateway.remote.turn()
    assert gateway.told[1:] == [("config-applied", "version 7: proven, and kept")]
    assert files(gateway) == {GOOD}
    gateway.run(20 * MINUTE_MS)
    assert len(gateway.told) == 2 and gateway.lines.workers["a"] is before
    gateway.start()
    assert periods(gateway) == NEW
    assert gateway.path.read_text() == write_config(gateway.folder, TABLE).read_text()


def test_without_the_head_end_it_is_taken_back(gateway: Gateway) -> None:
    """An acknowledgement of the time before proves nothing."""
    gateway.acknowledge()
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    gateway.run((PROBATION_S - 5) * 1000)
    assert periods(gateway) == NEW
    gateway.run(10_000)
    assert periods(gateway) == OLD
    assert gateway.told[-1] == (
        "config-reverted", "version 7: the head end acknowledged nothing",
    )  # fmt: skip
    assert files(gateway) == {FAILED}
    gateway.run(5 * MINUTE_MS)
    assert len(gateway.told) == 2


def test_a_line_that_no_longer_answers_takes_it_back(gateway: Gateway) -> None:
    """The other line is not touched, neither by the change nor by the return."""
    before = gateway.lines.workers["a"]
    gateway.take(7, gateway.text(**DEAF))
    gateway.remote.turn()
    gateway.acknowledge()
    gateway.run((PROBATION_S + 5) * 1000)
    assert gateway.told[-1] == ("config-reverted", "version 7: no meter of b answers")
    assert gateway.lines.workers["a"] is before
    count = len(gateway.stored)
    gateway.run(3 * MINUTE_MS)
    assert {meter for meter, _ in gateway.stored[count:]} == {"m-1", "m-2", "m-3"}
    assert len(gateway.stored) == len(set(gateway.stored))


def test_a_meter_that_is_not_due_is_asked(gateway: Gateway) -> None:
    """Once a day is too rare to prove a line; what it says then is no reading."""
    daily = [row | {"period_s": 86_400} for row in TABLE["meter"]]
    count = len(gateway.stored)
    gateway.take(7, gateway.text(meter=daily))
    gateway.remote.turn()
    gateway.acknowledge()
    gateway.run(MINUTE_MS)
    assert gateway.told[-1][1] == "version 7: proven, and kept"
    assert len(gateway.stored) - count <= 3


def test_a_line_that_was_silent_before_is_not_blamed(tmp_path: Path, clock: FakeClock) -> None:
    """Nor one meter among others that answer."""
    gateway = Gateway(tmp_path, clock)
    gateway.meters.silent = {"000000000001", "000000000002"}
    gateway.run(10 * MINUTE_MS)
    both = [row | {"gap_ms": 333} for row in TABLE["line"]]
    gateway.take(7, gateway.text(line=both))
    gateway.remote.turn()
    gateway.acknowledge()
    gateway.run(5 * MINUTE_MS)
    assert gateway.told[-1][1] == "version 7: proven, and kept"


def test_a_dry_run_changes_nothing(gateway: Gateway) -> None:
    """It tells what would be touched, and how much time each line would have."""
    before = dict(gateway.lines.workers)
    gateway.take(7, gateway.text(**FASTER), is_dry_run=True)
    gateway.remote.turn()
    ((kind, detail),) = gateway.told
    assert kind == "config-checked"
    assert detail.startswith("version 7: lines rebuilt b; time taken: a ") and " b " in detail
    assert gateway.lines.workers == before and files(gateway) == set()


REFUSED = [
    ({"gateway": TABLE["gateway"] | {"id": "gw-2"}}, "[gateway]: id = 'gw-2' is not allowed"),
    ({"gateway": TABLE["gateway"] | {"state_dir": "/x"}}, "[gateway]: state_dir = '/x' is not"),
    (
        {"gateway": TABLE["gateway"] | {"allow_over_budget": True}},
        "[gateway]: allow_over_budget = True is not allowed",
    ),
    ({"gateway": TABLE["gateway"] | {"remote_mqtt": True}}, "remote_mqtt = True is not allowed"),
    ({"mqtt": {"host": "evil.example"}}, "[mqtt]: host = 'evil.example' is not allowed"),
    ({"mqtt": {"host": "broker.example", "tls": False}}, "[mqtt]: tls = False is not allowed"),
    ({"line": TABLE["line"][:1]}, "line = 'b' is not allowed"),
    ({"line": lines_with("a", port="spy:///dev/a?file=/etc/passwd")}, "port = 'spy://"),
    ({"meter": meters_with("m-1", period_s=1, quantities=["1-0:1.8.0"] * 20)}, "% of the line's"),
    ({"uplink": {"window": 1}}, "window = 1 is not allowed"),
    ({"shell": {"run": "x"}}, "unknown section [shell]"),
    ({"meter": [TABLE["meter"][0] | {"model": "../../x"}]}, "unknown key 'model'"),
]


@pytest.mark.parametrize(("sections", "told"), REFUSED, ids=[told[:24] for _, told in REFUSED])
def test_what_can_not_be_is_refused(gateway: Gateway, sections: dict[str, Any], told: str) -> None:
    """One sentence as an event; nothing is touched, a dry run says the same."""
    before = dict(gateway.lines.workers)
    text = gateway.text(**sections)
    for version, is_dry_run in ((7, True), (8, False)):
        gateway.take(version, text, is_dry_run)
        gateway.remote.turn()
        kind, detail = gateway.told[-1]
        assert kind == "config-refused" and detail.startswith(f"version {version}: ")
        assert told in detail and "\n" not in detail
    assert gateway.lines.workers == before and files(gateway) == set()


@pytest.mark.parametrize(
    "text",
    ["[uplink", "x = " + "[" * 30_000, "x = " + "9" * 10_000, "meter = []\n", "\ufeff[uplink]\n"],
    ids=["broken", "nested", "digits", "no meters", "mark"],
)
def test_text_that_is_no_configuration_is_refused(gateway: Gateway, text: str) -> None:
    """Whatever stands in it."""
    gateway.take(7, text)
    gateway.remote.turn()
    assert [kind for kind, _ in gateway.told] == ["config-refused"]
    assert periods(gateway) == OLD


def test_the_broker_may_change_where_the_installer_allows_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And comes back when the new one is not reached."""
    table = table_with(gateway=TABLE["gateway"] | {"remote_mqtt": True})
    gateway = Gateway(tmp_path, clock, table)
    gateway.run(MINUTE_MS)
    gateway.take(7, gateway.text(mqtt={"host": "new.example"}))
    gateway.remote.turn()
    assert gateway.settings.mqtt["host"] == "new.example" and gateway.places == ["mqtt"]
    gateway.run((PROBATION_S + 5) * 1000)
    assert gateway.settings.mqtt["host"] == "broker.example" and gateway.places == ["mqtt"] * 2


def test_sections_go_over_edge_toml_one_by_one(tmp_path: Path) -> None:
    """What a remote configuration has stands for the whole section; the rest stays."""
    path = write_config(tmp_path, table_with(uplink={"window": 3}, journal={"commit_sets": 9}))
    found = overlay(path, path.read_text(), "[uplink]\nlinger_ms = 500\n")
    assert (found.uplink["window"], found.uplink["linger_ms"]) == (8, 500)
    assert found.journal["commit_sets"] == 9 and len(found.meters) == 3
    assert found.path == path


# ---- who may say it, and when --------------------------------------------------------------------


def test_versions_only_rise(gateway: Gateway) -> None:
    """An older one is refused; also after a restart, and when the journal was lost."""
    gateway.take(7, gateway.text(**FASTER), is_dry_run=True)
    gateway.remote.turn()
    with pytest.raises(EnvelopeError, match="replayed"):
        gateway.take(6, gateway.text(**FASTER))
    gateway.slots.clear()
    gateway.start()
    with pytest.raises(EnvelopeError, match="replayed"):
        gateway.take(6, gateway.text(**FASTER))
    for copy in ("a", "b"):  # either copy is enough
        assert (gateway.folder / "state" / f"config-version.{copy}").exists()
    (gateway.folder / "state" / "config-version.a").write_text("7 0")
    assert ConfigFolder(gateway.folder / "state").mark.value == 7


def test_the_last_one_again_is_told_again_and_not_done_again(gateway: Gateway) -> None:
    """At most once a minute; another text under its version is nothing."""
    text = gateway.text(**FASTER)
    gateway.take(7, text)
    gateway.remote.turn()
    workers = dict(gateway.lines.workers)
    gateway.clock.advance(TELL_AGAIN_MS)
    for _ in range(5):
        gateway.take(7, text)
        gateway.take(7, gateway.text(uplink={"window": 5}))
        gateway.take(7, text, is_dry_run=True)
        for _ in range(3):
            gateway.remote.turn()
    assert gateway.told == [gateway.told[0]] * 2
    assert gateway.lines.workers == workers


def test_too_many_at_once_are_refused(gateway: Gateway) -> None:
    """Whoever repeats what he overheard fills no memory."""
    for _ in range(ARRIVED_MAX):
        gateway.take(7, "x")
    with pytest.raises(EnvelopeError):
        gateway.take(7, "x")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sequence": 8}, "schema"),
        ({"expires_at": 0}, "expired"),
        ({"expires_at": UTC_MS}, "expired"),
        ({"issued_at": UTC_MS + 10 * 86_400_000}, "not_yet"),
    ],
)
def test_claims_that_do_not_hold(gateway: Gateway, claims: dict[str, int], reason: str) -> None:
    """Nothing is taken up by them."""
    with pytest.raises(EnvelopeError) as caught:
        gateway.take(7, gateway.text(**FASTER), **claims)
    assert caught.value.reason == reason
    gateway.remote.turn()
    assert gateway.told == [] and gateway.config_folder.mark.value == 0


def test_without_the_time_nothing_is_taken_up(gateway: Gateway) -> None:
    """The head end sends it again, and its acknowledgement brings the time."""
    gateway.clock.set_quality(TimeQuality.RTC)
    with pytest.raises(EnvelopeError, match="clock_untrusted"):
        gateway.take(7, gateway.text(**FASTER))
    gateway.clock.set_quality(TimeQuality.SIGNED)
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    assert periods(gateway) == NEW


def test_meter_clocks_are_corrected_by_signed_word_only(gateway: Gateway) -> None:
    """Not by the local file, and not while it is on probation."""
    assert gateway.remote.may_correct_clocks() is False
    write_config(gateway.folder, table_with(collect={"correct_meter_clocks": True}))
    with pytest.raises(SettingError, match="only a remote configuration, which is signed"):
        gateway.remote.reload()
    write_config(gateway.folder, TABLE)
    gateway.take(7, gateway.text(collect={"correct_meter_clocks": True}))
    gateway.remote.turn()
    assert gateway.remote.may_correct_clocks() is False
    gateway.acknowledge()
    gateway.remote.turn()
    assert gateway.remote.may_correct_clocks() is True
    gateway.start()
    assert gateway.remote.may_correct_clocks() is True
    gateway.take(8, gateway.text(uplink={"window": 4}))
    gateway.acknowledge()
    gateway.remote.turn()
    assert gateway.remote.may_correct_clocks() is False


# ---- what may come in between --------------------------------------------------------------------


def test_a_newer_one_during_a_probation(gateway: Gateway) -> None:
    """It begins from what was before, and returns to that."""
    gateway.take(7, gateway.text(**DEAF))
    gateway.remote.turn()
    gateway.take(8, gateway.text(**FASTER))
    gateway.remote.turn()
    assert [kind for kind, _ in gateway.told] == [
        "config-applied", "config-applied", "config-reverted",
    ]  # fmt: skip
    assert gateway.told[2][1] == "version 7: version 8 came before it was proven"
    assert gateway.settings.lines[1]["baud"] == SPEED and periods(gateway) == NEW
    gateway.run((PROBATION_S + 5) * 1000)
    assert periods(gateway) == OLD
    assert gateway.config_folder.good() is None


def test_a_dry_run_during_a_probation_ends_nothing(gateway: Gateway) -> None:
    """Both are told."""
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    gateway.take(8, gateway.text(uplink={"window": 4}), is_dry_run=True)
    gateway.acknowledge()
    gateway.run(MINUTE_MS)
    assert [detail.split(":")[0] for _, detail in gateway.told] == [
        "version 7", "version 8", "version 7",
    ]  # fmt: skip
    assert gateway.config_folder.good() == Stored(7, gateway.text(**FASTER))


def test_edge_toml_is_read_again_under_a_good_configuration(gateway: Gateway) -> None:
    """Not during a probation; what the remote one has, it keeps."""
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    with pytest.raises(SettingError, match="while a remote configuration is on trial"):
        gateway.remote.reload()
    gateway.acknowledge()
    gateway.run(MINUTE_MS)
    write_config(gateway.folder, table_with(uplink={"window": 5}, meter=TABLE["meter"][:2]))
    assert gateway.remote.reload() == "changed [uplink]"
    assert periods(gateway) == NEW and gateway.settings.uplink["window"] == 5
    gateway.remote.turn()
    assert gateway.told[-1] == ("config-applied", "edge.toml: changed [uplink]")


def test_a_good_configuration_that_fits_no_more_is_told(gateway: Gateway) -> None:
    """edge.toml alone holds then, and so it does when the file is damaged."""
    gateway.take(7, gateway.text(meter=TABLE["meter"][:2]))
    gateway.remote.turn()
    gateway.acknowledge()
    gateway.run(MINUTE_MS)
    assert files(gateway) == {GOOD} and set(periods(gateway)) == {"m-1", "m-2"}
    path = gateway.folder / "state" / GOOD
    content = path.read_bytes()
    for damaged in (content[:-1], content.replace(b"m-2", b"m-4"), b"", b"\xff"):
        path.write_bytes(damaged)
        gateway.start()
        gateway.remote.turn()
        assert periods(gateway) == OLD
        assert gateway.told[-1] == (
            "config-reverted", f"{GOOD} is damaged: edge.toml alone holds",
        )  # fmt: skip
    path.write_bytes(content)
    gateway.start()
    assert set(periods(gateway)) == {"m-1", "m-2"}
    renamed = table_with(
        line=[{"id": "c", "port": "/dev/c"}], meter=[TABLE["meter"][0] | {"line": "c"}]
    )
    write_config(gateway.folder, renamed)
    gateway.start()
    gateway.remote.turn()
    assert list(gateway.lines.workers) == ["c"]
    assert gateway.told[-1][1].startswith("version 7: edge.toml alone holds: the remote")


def test_a_restart_ends_a_probation(gateway: Gateway) -> None:
    """With the last good configuration; it is told once."""
    gateway.take(7, gateway.text(**FASTER))
    gateway.remote.turn()
    gateway.start()
    assert periods(gateway) == OLD
    gateway.run(MINUTE_MS)
    assert gateway.told[1:] == [
        ("config-reverted", "version 7: the gateway restarted before it was proven")
    ]
    assert files(gateway) == {FAILED}
    gateway.start()
    gateway.run(MINUTE_MS)
    assert len(gateway.told) == 2


def test_a_journal_that_refuses_is_told_later(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome does not count as told before it is durable."""

    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(gateway.remote, "_tell", refuse)
    gateway.take(7, "x")
    for _ in range(3):
        with pytest.raises(OSError, match="full"):
            gateway.remote.turn()
    monkeypatch.undo()
    gateway.start()
    gateway.remote.turn()
    assert [kind for kind, _ in gateway.told] == ["config-refused"]


def test_a_change_that_fails_halfway_is_undone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a thread can not be had."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    gateway.take(7, gateway.text(**FASTER, uplink={"window": 4}))
    monkeypatch.setattr(gateway.reloader, "_places", {"uplink": _once(refuse)})
    gateway.remote.turn()
    assert gateway.told == [
        ("config-refused", "version 7: it could not be put in force: RuntimeError")
    ]
    assert periods(gateway) == OLD and files(gateway) == {FAILED}


def _once(refuse: Any) -> Any:
    calls = iter((refuse,))

    def call(settings: Any) -> None:
        for one in calls:
            one(settings)

    return call


class PowerCutError(BaseException):
    """Not one that anybody catches."""


class Disk:
    """Cuts the power at the n-th thing that is done to it; before or after it took place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.is_after = False
        for owner, name in ((os, "fsync"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self._cutting(getattr(owner, name)))

    def _cutting(self, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.is_after:
                raise PowerCutError
            found = real(*arguments)
            if self.left == 0:
                raise PowerCutError
            return found

        return call


STEPS_MAX = 40


@pytest.mark.parametrize("is_good", [True, False], ids=["proven", "deaf"])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_power_cut_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_good: bool, is_after: bool
) -> None:
    """Whatever was cut: what runs afterwards is the last good configuration or, once it was proven,
    the new one; no version comes back; the outcome is told when the head end asks again."""
    disk = Disk(monkeypatch)
    text_of_good = None
    for step in range(1, STEPS_MAX):
        folder = tmp_path / str(step)
        folder.mkdir()
        gateway = Gateway(folder, FakeClock())
        gateway.run(MINUTE_MS)
        text_of_good = gateway.text(**(FASTER if is_good else DEAF))
        disk.left, disk.is_after = step, is_after
        is_cut = False
        try:
            live_through(gateway, text_of_good)
        except PowerCutError:
            is_cut = True
        disk.left = -1
        told_kept = ("config-applied", "version 7: proven, and kept") in gateway.told
        gateway.start()
        good = gateway.config_folder.good()
        assert good in ((None, Stored(7, text_of_good)) if is_good else (None,))
        assert not told_kept or good is not None
        assert periods(gateway) == (NEW if good else OLD)
        assert gateway.settings.lines[1]["baud"] == SPEED
        gateway.run(MINUTE_MS)
        expect_settled(gateway, text_of_good)
        if not is_cut:
            break
    else:
        pytest.fail(f"more than {STEPS_MAX} steps")
    assert step > 8


def live_through(gateway: Gateway, text: str) -> None:
    """One configuration from its arrival to its end."""
    gateway.take(7, text)
    gateway.remote.turn()
    gateway.acknowledge()
    gateway.run((PROBATION_S + 5) * 1000)


def expect_settled(gateway: Gateway, text: str) -> None:
    """The head end sends it until it hears an outcome; it then hears the one that is true."""
    gateway.clock.advance(TELL_AGAIN_MS)
    if gateway.config_folder.mark.value < 7:
        return  # never taken up: it is taken up then
    gateway.take(7, text)
    gateway.run(MINUTE_MS)
    last = gateway.config_folder.outcome
    if last is None:  # cut between the mark and the record: nothing was done, and nothing will be
        assert gateway.config_folder.good() is None
        return
    assert gateway.told[-1] == (last.kind, last.detail)
    is_kept = gateway.config_folder.good() is not None
    assert last.kind in (("config-applied",) if is_kept else ("config-refused", "config-reverted"))


def test_many_configurations_and_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded: whatever runs after a start was proven before, and is told as such."""
    disk = Disk(monkeypatch)
    for seed in range(20):
        chance = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        gateway = Gateway(folder, FakeClock())
        proven: set[tuple[int, ...]] = {tuple(OLD.values())}
        for version in range(1, 8):
            wanted = meters_with(f"m-{chance.randint(1, 3)}", period_s=chance.choice((20, 30, 60)))
            text = gateway.text(meter=wanted)
            disk.left, disk.is_after = chance.randint(1, 60), chance.random() < 0.5
            try:
                gateway.run(MINUTE_MS)
                gateway.take(version, text, is_dry_run=chance.random() < 0.2)
                gateway.remote.turn()
                if chance.random() < 0.7:
                    gateway.acknowledge()
                gateway.run(chance.choice((MINUTE_MS, (PROBATION_S + 5) * 1000)))
            except PowerCutError:
                pass
            disk.left = -1
            good = gateway.config_folder.good()
            if good is not None and good.version == version:
                proven.add(tuple(row["period_s"] for row in wanted))
            if chance.random() < 0.6:
                gateway.start()
                assert tuple(periods(gateway).values()) in proven, f"seed {seed}"
            gateway.run(MINUTE_MS)
        assert len(gateway.stored) > 20


# ---- through the agent's own ears ----------------------------------------------------------------


class ConfigHeadEnd(HeadEnd):
    """A head end whose gateways trust a configuration key besides."""

    def __init__(self) -> None:
        super().__init__()
        self.config_key = make_key(HEAD_END, Use.SIGN_CONFIG)

    def trusted(self) -> KeySet:
        """With the key."""
        return KeySet((*super().trusted().records(), self.config_key.record))


class Ears:
    """An agent that was not started, and what it hears."""

    def __init__(self, folder: Path) -> None:
        self.head_end = ConfigHeadEnd()
        self.head_end.write_files(folder / "identity")
        self.agent = Agent(load_settings(config_of(folder)), FakeClock())
        self.done: list[bool] = []

    def hear(
        self,
        body: object,
        version: int = 7,
        key: PrivateKey | None = None,
        gateway: str = GATEWAY,
        topic: str = "",
    ) -> tuple[int, str]:
        """How many configurations arrived, and the reason of a refusal."""
        session = self.agent._session
        claims = Claims(version, UTC_MS, UTC_MS + 60_000, b"", bytes(8), CONFIG.content_type)
        key = key or self.head_end.config_key
        real, payload = self.head_end.seal(CONFIG, claims, body, key, gateway)
        before = dict(session.refusals)
        arrived = Arrived(topic or real, payload, False, lambda: self.done.append(True))
        session._hear_message(arrived)
        (reason,) = [one for one in session.refusals if one not in before] or [""]
        return self.agent._remote_config._arrived.qsize(), reason


@pytest.fixture
def ears(tmp_path: Path) -> Iterator[Ears]:
    """Its lock is given back."""
    one = Ears(tmp_path)
    yield one
    unlock(one.agent)


BODY = Config(7, False, "[uplink]\nwindow = 4\n").to_body()
HERE = topics.Topic(TENANT, GATEWAY, topics.CONFIGURATION).text()


def test_a_signed_configuration_arrives(ears: Ears) -> None:
    """And the broker may forget it."""
    assert ears.hear(BODY) == (1, "")
    assert ears.done == [True]


def test_what_another_key_signed_does_not(ears: Ears) -> None:
    """The order key moves relays, and no settings; nor does a stranger's."""
    assert ears.hear(BODY, key=ears.head_end.order_key)[0] == 0
    assert ears.hear(BODY, key=ears.head_end.ack_key)[0] == 0
    assert ears.hear(BODY, key=make_key(HEAD_END, Use.SIGN_CONFIG))[0] == 0
    assert sum(ears.agent._session.refusals.values()) == 3
    assert ears.done == [True] * 3


def test_what_is_for_another_gateway_does_not(ears: Ears) -> None:
    """Neither on its own topic, nor moved to ours."""
    assert ears.hear(BODY, gateway=OTHER_GATEWAY) == (0, "topic")
    assert ears.hear(BODY, gateway=OTHER_GATEWAY, topic=HERE)[0] == 0


@pytest.mark.parametrize(
    "body",
    [
        Config(7, False, "x" * (CONFIG_SIZE_MAX + 1)).to_body(),
        Config(7, False, "").to_body(),
        Config(0, False, "x").to_body(),
        [1, 7, 0, "x"],
        [1, 7, False, b"\xff\xfe"],
        [2, 7, False, "x"],
        [1, 7, False],
        "x",
    ],
    ids=["large", "empty", "zero", "number", "bytes", "version", "short", "text"],
)
def test_a_signed_body_that_is_none_does_not(ears: Ears, body: object) -> None:
    """Too large, of another form, or no text."""
    assert ears.hear(body) == (0, "schema")


def test_records_of_the_folder_are_whole_or_not_there(tmp_path: Path) -> None:
    """A spoiled one is as none."""
    folder = ConfigFolder(tmp_path)
    outcome = Outcome(7, "d", "config-applied", "version 7: 电", is_told=False)
    folder.note(outcome)
    assert ConfigFolder(tmp_path).outcome == outcome
    path = tmp_path / "config-told"
    content = path.read_bytes()
    for damaged in (content[:-5], b"", b"1 []", b"\xff", content.replace(b"7", b"8", 1)):
        path.write_bytes(damaged)
        assert ConfigFolder(tmp_path).outcome is None
    folder.put_candidate(Stored(7, "a\r\nb = '电'\n"))
    assert ConfigFolder(tmp_path).candidate() == Stored(7, "a\r\nb = '电'\n")
    assert (tmp_path / CANDIDATE).stat().st_mode & 0o777 == 0o600


def test_lines_know_who_should_answer(gateway: Gateway) -> None:
    """Those that answered last, and those that were never asked."""
    lines: Lines = gateway.lines
    assert lines.reachable() == lines.expected() == {"m-1", "m-2", "m-3"}
    gateway.meters.silent = {"000000000002"}
    gateway.run(2 * MINUTE_MS)
    assert lines.reachable() == lines.expected() == {"m-1", "m-3"}
    gateway.start()
    assert gateway.lines.reachable() == set()
    assert gateway.lines.expected() == {"m-1", "m-2", "m-3"}
