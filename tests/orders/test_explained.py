"""What people are shown before a cut, and what they can prove of it afterwards (I25, I31)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloud.audit import note
from cloud.audit.bundle import bundle
from cloud.audit.keys import LOG_KEY_NAME, load_key
from cloud.audit.log import ORIGIN_PREFIX
from cloud.identity.approvers import Approvers
from cloud.store.audit import AuditStore
from protocols.errors import CallerError
from protocols.orders.states import OrderState
from tests.cloud.orders.headend import ANNA, OLGA
from tests.cloud.world import PROVIDER, TENANT
from tests.orders.conftest import Make
from tests.orders.rig import MINUTE, Body, Rig

SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_audit.py"


@pytest.mark.parametrize(
    "fields",
    [{"meters": []}, {"meters": ["*"]}, {"meters": ["m1", "*"]}, {"meters": [""]}, {"gateway": ""},
     {"gateway": "*"}, {"gateway": "#"}, {}, {"meters": ["m1"], "gateway": "gw1"}],
)  # fmt: skip
def test_i25_what_selects_nothing_or_everything_is_an_error(rig: Rig, fields: Body) -> None:
    """Nothing is made of it, and nothing goes out."""
    with pytest.raises(CallerError):
        rig.head.ask("batch_propose", OLGA, action="disconnect", reason="arrears", **fields)
    rig.run(MINUTE)
    assert (rig.head.states(), rig.relay_frames()) == ({}, 0)


def test_i25_a_batch_is_shown_whole_and_cuts_what_was_shown(make: Make) -> None:
    """Two of three meters: count, sample and hash before, two frames and the third meter as it was
    after; another meter is another batch."""
    rig = make(meters=3)
    names = ["m1", "m3"]
    shown = rig.head.ask("batch_propose", OLGA, action="disconnect", reason="arrears", meters=names)
    assert (shown["count"], shown["sample"], len(shown["selection"])) == (2, names, 64)
    other = rig.head.ask("batch_change", OLGA, batch=shown["batch"], meters=["m1", "m2", "m3"])
    assert other["selection"] != shown["selection"]
    with pytest.raises(CallerError):
        rig.head.ask("batch_submit", OLGA, batch=shown["batch"])
    batch = rig.head.ask("batch_change", OLGA, batch=other["batch"], meters=names)
    batch = rig.head.ask("batch_submit", OLGA, batch=batch["batch"])
    rig.head.approve_batch(batch, "anna", "ben")
    rig.run(MINUTE)
    assert rig.relay_frames() == 2
    assert [rig.is_open(name) for name in ("m1", "m2", "m3")] == [True, False, True]


@pytest.fixture
def explained(rig: Rig) -> tuple[Body, dict[str, Any]]:
    """A cut that was carried out, and the bundle that explains it."""
    order = rig.order()
    assert rig.end(order) == OrderState.CONFIRMED
    rig.pass_time(10 * MINUTE)
    head = rig.head
    row = head.row(order)
    approvals = head.core.desk.office.papers.approvals(row.order_id)
    keys = Approvers(head.world.identity, TENANT).keys()
    return order, bundle(AuditStore(head.db), PROVIDER, TENANT, row, approvals, keys)


def judge(rig: Rig, folder: Path, document: dict[str, Any]) -> tuple[int, str]:
    """What the program says that shares no code with ours."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(document))
    key = load_key(rig.head.world.identity / LOG_KEY_NAME)
    log_key = note.verifier_of(ORIGIN_PREFIX + TENANT, key).text()
    command = [sys.executable, str(SCRIPT), str(path), "--log-key", log_key]
    for name in ("anna", "ben"):
        public = rig.head.keys[name].record.public.hex()
        command += ["--approver-key", f"person:{name}={public}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return result.returncode, result.stdout + result.stderr


def test_i31_a_cut_is_explained_from_the_records(
    rig: Rig, explained: tuple[Body, dict[str, Any]], folder: Path
) -> None:
    """Who asked and who agreed, what the gateway did by its own chain, and a program of a stranger
    that agrees; one changed word, and it does not."""
    order, document = explained
    code, words = judge(rig, folder, document)
    assert (code, words.splitlines()[-1]) == (0, "all holds"), words
    assert "approved by person:anna, person:ben; the keys of 2" in words
    assert "disconnect of m1" in words
    assert "entries of gateway gw1 follow each other" in words
    story = rig.head.ask("order_get", ANNA, order=order["order"])
    told = {one["state"]: one for one in story["story"]["receipts"]}
    assert {"verified", "armed", "sent", "confirmed"} <= told.keys()
    facts = dict(told["confirmed"]["facts"])
    assert facts["relay before"].startswith("connected")
    assert facts["relay after"].startswith("disconnected")
    assert {"register before", "register after", "current before", "frames"} <= facts.keys()
    address = bytes(reversed(bytes.fromhex(rig.meters["m1"]))).hex()
    assert any(f"68{address}681c" in data for _, _, data in told["confirmed"]["evidence"])
    document["order"]["meter"] = "m2"
    assert judge(rig, folder, document)[0] == 1
