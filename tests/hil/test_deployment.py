"""hil/deployment.py: what is made before anything is started."""

import json
import stat
from pathlib import Path

from cloud.people.approver import load_key
from hil.deployment import GATEWAY, TENANT, Deployment, Plan
from protocols.envelope.keys import KeyRecord, KeySet
from protocols.envelope.suites import Provider
from protocols.orders.approvals import approval_bytes, check_approvals, order_digest
from protocols.orders.order import Approval
from tests.protocols.orders.samples import order, terms

PROVIDER = Provider()
PLAN = Plan(lines={}, meters=(), journal={}, uplink={}, ingest={})


def test_a_deployment_may_have_approvers_whom_its_gateway_trusts(tmp_path: Path) -> None:
    """Their key files are encrypted, and what they sign holds where the gateway judges it."""
    deployment = Deployment(tmp_path, PLAN._replace(approvers=("zhao", "qian")))
    keyset = json.loads((tmp_path / "id" / "gateways" / GATEWAY / "keyset.json").read_text())
    trusted = KeySet(tuple(KeyRecord.from_json(row) for row in keyset["keys"]))
    keys = []
    for one in deployment.approvers:
        assert stat.S_IMODE(one.key.stat().st_mode) == 0o600
        assert stat.S_IMODE(one.passphrase.stat().st_mode) == 0o600
        assert b"ENCRYPTED PRIVATE KEY" in one.key.read_bytes()
        keys.append(load_key(one.key, one.passphrase.read_bytes().strip(), PROVIDER))
    now = keys[1].record.not_before + 1000
    asked = terms("disconnect", requested_at=now - 500, valid_from=now, valid_until=now + 10_000)
    made = order("disconnect")._replace(terms=asked)
    digest = order_digest(PROVIDER, TENANT, GATEWAY, made)
    approvals = []
    for key in keys:
        owner = key.record.owner
        signature = key.sign(approval_bytes(PROVIDER, digest, owner, now))
        approvals.append(Approval(owner, key.record.kid, now, signature))
    approved = made._replace(approvals=tuple(approvals))
    names = check_approvals(PROVIDER, trusted, TENANT, GATEWAY, approved, now)
    assert names == ("person:zhao", "person:qian")


def test_a_deployment_has_no_approvers_unless_it_is_told(tmp_path: Path) -> None:
    """Then nobody's key is anywhere."""
    assert Deployment(tmp_path, PLAN).approvers == ()
    assert not (tmp_path / "approvers").exists()
    assert not (tmp_path / "id" / "cloud" / "approvers.json").exists()
