"""The guide's way, whole: people with tokens and keys, the API, the real service and its desk; and
at the end the message that a gateway opens and checks by itself."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud.__main__ import main
from cloud.api.server import ApiServer
from cloud.ingest.mailbox import Connected, Mailbox
from cloud.people.approver import public_path, read_record
from cloud.people.book import PeopleBook
from cloud.people.people import People
from cloud.service import Service
from cloud.settings import ApiSettings
from protocols.envelope.keys import KeySet, PrivateKey
from protocols.orders.approvals import check_approvals
from tests.cloud.orders.headend import MINUTE, HeadEnd
from tests.cloud.world import PROVIDER, TENANT

PASSPHRASE = "canary horse battery staple"
Run = Callable[..., str]
APPROVERS = ("zhang", "li", "chen")


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeadEnd]:
    head = HeadEnd(tmp_path, meters=3)
    monkeypatch.setattr("cloud.commands.approve.SystemClock", lambda: head.world.clock)
    yield head
    head.close()


@pytest.fixture
def run(head: HeadEnd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """run(name, words…): a command as that person; approvers have keys and passphrases."""
    mailbox = Mailbox(100)
    core, world = head.core, head.world
    service = Service(
        mailbox, core.ingest, core.desk, core.configs, world.broker, world.clock, 40, 20
    )
    people = People(world.identity, TENANT)
    server = ApiServer(ApiSettings("127.0.0.1", 0, None, None), people, mailbox, world.clock)
    _people(head, tmp_path)
    writer = threading.Thread(target=service.run)
    mailbox.put(Connected())
    writer.start()
    server.start()

    def run(name: str, *words: str, code: int = 0) -> str:
        capsys.readouterr()
        door = ("--url", f"http://127.0.0.1:{server.port}", "--token-file", str(tmp_path / name))
        own: tuple[str, ...] = ()
        if words[0] == "approve":
            secret = str(tmp_path / "passphrase")
            own = ("--key", str(tmp_path / f"{name}.key"), "--yes", "--passphrase-file", secret)
        found = main([*words, *own, *door])
        shown = capsys.readouterr()
        assert found == code, shown
        return shown.out + shown.err

    yield run
    server.stop()
    service.stop()
    writer.join()
    assert service.failed is None


def _people(head: HeadEnd, folder: Path) -> None:
    """Tokens and keys, made by the commands that people use."""
    config = str(head.world.config)
    for name in ("wang", *APPROVERS):
        role = "operator" if name == "wang" else "approver"
        words = ["person", "add", name, "--role", role, "--out", str(folder / name)]
        assert main([*words, "--config", config]) == 0
    secret = folder / "passphrase"
    secret.touch(0o600)
    secret.write_text(PASSPHRASE)
    head.keys.clear()
    for name in APPROVERS:
        path = folder / f"{name}.key"
        words = ["approver-key", "new", "--name", name, "--out", str(path)]
        assert main([*words, "--passphrase-file", str(secret)]) == 0
        record = read_record(public_path(path))
        head.keys[name] = PrivateKey(record._replace(not_before=0), b"")
    head.write_approvers()


def order_id(shown: str) -> str:
    found = re.search(r"order +([0-9a-f]{32})", shown)
    assert found is not None, shown
    return found[1]


WHY = ("--reason", "arrears since August")


def test_the_first_cut(head: HeadEnd, run: Run) -> None:
    """One asks, two approve, and a gateway would take what goes out; nobody else gets there."""
    shown = run("wang", "order", "disconnect", "m0001", *WHY, "--incident", "august")
    assert "approved  0 of 2" in shown
    wanted = order_id(shown)
    assert "takes one of the roles" in _try_own_approval(run, wanted)
    assert "approved  1 of 1 by person:zhang" in run("zhang", "approve", wanted[:8])
    assert "nothing of it waits" in run("zhang", "approve", wanted[:8], code=2)
    assert head.orders_heard() == []
    assert "approved  1 of 1 by person:li" in run("li", "approve", wanted[:8])
    _pass_a_minute(head, run)
    [(_, order)] = head.orders_heard()
    trusted = KeySet(tuple(key.record for key in head.keys.values()))
    names = check_approvals(PROVIDER, trusted, TENANT, "gw1", order, head.now)
    assert sorted(names) == ["person:li", "person:zhang"]
    assert order.order_id.hex() == wanted and order.meter_id == "m0001"
    story = json.loads(run("wang", "order", "show", wanted[:8], "--json"))
    states = [one["state"] for one in story["story"]["states"]]
    assert states[:4] == ["draft", "submitted", "approved", "signed"]
    assert wanted in run("zhang", "order", "list")


def _pass_a_minute(head: HeadEnd, run: Run) -> None:
    """The service wakes up, finds that its tick is due, and has sent when it answers again."""
    head.world.clock.now += MINUTE
    for _ in range(2):
        run("wang", "hold", "status")


def _try_own_approval(run: Run, wanted: str) -> str:
    """The operator has no key; with somebody's signature at hand the API still refuses."""
    return run("wang", "release", wanted, "--reason", "mine", code=2)


def test_a_batch_of_the_guide(head: HeadEnd, run: Run, tmp_path: Path) -> None:
    """Count, sample and load first; each order is signed; the rest is as for one."""
    listed = tmp_path / "list.txt"
    listed.write_text("m0001\nm0003\n")
    shown = run("wang", "batch", "propose", "disconnect", "--meters", str(listed), *WHY)
    batch = re.search(r"batch +([0-9a-f]{32})", shown)
    assert batch is not None and "meters    2: m0001, m0003" in shown
    for name in ("zhang", "li"):
        signed = run(name, "approve", batch[1][:10], "--list")
        assert "m0001, m0003" in signed and "approved  2 of 2" in signed
    _pass_a_minute(head, run)
    meters = sorted(order.meter_id for _, order in head.orders_heard())
    assert meters == ["m0001", "m0003"]


def test_stop_and_hold_of_the_guide(head: HeadEnd, run: Run) -> None:
    """A stop ends what waits; a hold is lifted by another approver alone."""
    wanted = order_id(run("wang", "order", "disconnect", "m0001", *WHY))
    assert wanted in run("wang", "stop", "--all-cuts", "--reason", "wrong list")
    assert "cancelled" in run("wang", "order", "show", wanted)
    assert "nothing of it waits" in run("zhang", "approve", wanted, code=2)
    assert "HELD" in run("zhang", "hold", "on", "--reason", "storm")
    assert "HELD" in run("wang", "hold", "status", code=1)
    assert "not allowed" in run("zhang", "hold", "off", "--reason", "over", code=2)
    assert "not held" in run("li", "hold", "off", "--reason", "over")


def test_undo_and_protection_of_the_guide(head: HeadEnd, run: Run) -> None:
    """What was cut is restored; what is protected is not cut, until two people say otherwise."""
    wanted = order_id(run("wang", "order", "disconnect", "m0001", *WHY, "--incident", "august"))
    for name in ("zhang", "li"):
        run(name, "approve", wanted)
    shown = run("wang", "undo", "august", "--reason", "wrong list")
    assert "restores  1" in shown
    entry = run("wang", "never-cut", "add", "m0002", "life-support", "--note", "ventilator")
    number = re.search(r"(?m)^ *(\d+)  m0002", entry)
    assert number is not None
    assert "protected" in run("wang", "order", "disconnect", "m0002", *WHY, code=2)
    removal = ("never-cut", "remove", number[1], "--reason", "moved out")
    assert "a second approver" in run("zhang", *removal)
    run("zhang", *removal, code=2)
    assert "removed" in run("li", *removal)
    run("wang", "order", "disconnect", "m0002", *WHY)


def test_the_same_key_makes_one_order(head: HeadEnd, run: Run) -> None:
    """A request that was repeated, because its answer was lost."""
    words = ("order", "disconnect", "m0001", *WHY, "--idempotency-key", "k-1")
    assert order_id(run("wang", *words)) == order_id(run("wang", *words))
    assert len(head.ask("orders_list", {"name": "x", "roles": ["auditor"]})["orders"]) == 1


def test_people_are_as_the_file_has_them(head: HeadEnd, run: Run) -> None:
    """Somebody who is removed is out at the next request."""
    run("wang", "hold", "status")
    PeopleBook(head.world.identity, TENANT).remove("wang")
    assert "bearer token" in run("wang", "hold", "status", code=2)
