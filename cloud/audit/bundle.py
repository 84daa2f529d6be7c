"""All that explains one order, as one JSON document that a stranger's program can verify (I31).

It holds the frozen order, its approvals with the keys that they are checked by, each entry of the
log about it with the proof that it is in the tree, what its gateway has told in its own chain, and
the checkpoint that binds it all. `scripts/verify_audit.py` judges it.
"""

from typing import Any

from cloud.audit import tree
from cloud.audit.export import promised
from cloud.audit.note import Checkpoint, split
from cloud.store.audit import AuditStore, ChainRow, EntryRow
from cloud.store.orders import OrderRow
from protocols.audit.chain import first_hash, parse_entry
from protocols.envelope.keys import KeySet
from protocols.envelope.provider import CryptoProvider
from protocols.errors import CallerError
from protocols.orders.order import Approval, Order

FORMAT = "busbar-order-bundle/1"
CHAIN_KIND = "gateway-audit"  # of the entries that log how far a gateway's chain has come
_ORDER = "busbar/1/order"


def bundle(
    store: AuditStore,
    provider: CryptoProvider,
    tenant: str,
    order: OrderRow,
    approvals: tuple[Approval, ...],
    keys: KeySet,
) -> dict[str, Any]:
    """CallerError when the order was never frozen, or nothing was promised since."""
    if order.body is None or order.digest is None:
        raise CallerError("the order was never submitted: there is nothing to prove of it")
    signed = promised(store)
    size = Checkpoint.from_text(split(signed)[0]).size
    chain = _chain(store, provider, tenant, order)
    rows = store.entries_of(order.order_id.hex())
    if chain:
        rows += [
            row
            for row in store.entries_of(order.gateway_id)
            if row.kind == CHAIN_KIND and str(chain["hash"]) in row.body
        ]
    return {
        "format": FORMAT,
        "checkpoint": signed,
        "order": {
            "order": order.order_id.hex(),
            "tenant": tenant,
            "gateway": order.gateway_id,
            "action": order.action,
            "meter": order.meter_id,
            "address": order.meter_address,
            "frozen": _frozen(provider, tenant, order).hex(),
            "digest": order.digest.hex(),
        },
        "approvals": [_approval(one, keys) for one in approvals],
        "entries": [_proven(store, row, size) for row in rows if row.sequence < size],
        "gateway_audit": chain,
    }


def _frozen(provider: CryptoProvider, tenant: str, order: OrderRow) -> bytes:
    """The bytes that the digest is over: without the approvals, which the stored body ends with."""
    frozen: Order = Order.from_body(provider.decode(order.body or b""))
    return provider.encode([_ORDER, tenant, order.gateway_id, *frozen.frozen()])


def _approval(approval: Approval, keys: KeySet) -> dict[str, Any]:
    public = [record.public for record in keys.records() if record.kid == approval.kid]
    return {
        "approver": approval.approver,
        "kid": approval.kid.hex(),
        "at": approval.at,
        "signature": approval.signature.hex(),
        "public": public[0].hex() if public else "",
    }


def _proven(store: AuditStore, row: EntryRow, size: int) -> dict[str, Any]:
    proof = tree.inclusion_proof(row.sequence, size, store.node)
    return {"body": row.body, "proof": [one.hex() for one in proof]}


def _chain(
    store: AuditStore, provider: CryptoProvider, tenant: str, order: OrderRow
) -> dict[str, Any] | None:
    """The gateway's entries from the first to the last about the order, up to one whose hash the
    head end has logged; of the journal epoch that tells most recently of it."""
    logged = {row.body for row in store.entries_of(order.gateway_id) if row.kind == CHAIN_KIND}
    epochs: dict[bytes, list[ChainRow]] = {}
    for row in store.chain(order.gateway_id):
        epochs.setdefault(row.epoch, []).append(row)
    for epoch, rows in reversed(epochs.items()):
        own = [
            place
            for place, row in enumerate(rows)
            if parse_entry(provider, row.entry).order_id == order.order_id
        ]
        if not own:
            continue
        ends = range(own[-1], len(rows))
        last = next((n for n in ends if any(rows[n].hash.hex() in one for one in logged)), None)
        if last is None:
            return None
        before = rows[own[0] - 1].hash if own[0] else first_hash(tenant, order.gateway_id, epoch)
        return {
            "gateway": order.gateway_id,
            "epoch": epoch.hex(),
            "first": rows[own[0]].sequence,
            "previous": before.hex(),
            "entries": [row.entry.hex() for row in rows[own[0] : last + 1]],
            "hash": rows[last].hash.hex(),
        }
    return None
