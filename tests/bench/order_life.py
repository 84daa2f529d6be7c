"""Orders through the life cycle of the head end on SQLite: approve, sign, queue.

Batches of cuts as a tariff department makes them: two people's approvals come in (signed before the
clock starts, because that happens on their machines), each is verified, the delay is drawn, the
ceilings are counted, and every step has its audit entry in the Merkle log. Transactions are those
of the service, synchronous FULL, and so are its ticks: at most `AT_ONCE` orders are signed in one.
What comes before, proposing and freezing, and after, sealing to the gateway, is told beside it.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.gateway import SCRATCH
from tests.cloud.orders.headend import OLGA, Body, HeadEnd

ORDERS = 10_000
GATEWAY_METERS = 500  # of each gateway; one batch each
APPROVERS = ("anna", "ben")
MINUTE_S = 60


def measure() -> Iterator[tuple[str, float, str]]:
    """Orders a minute, and what the steps around it cost in ms an order."""
    SCRATCH.mkdir(exist_ok=True)
    gateways = tuple(f"gw{n + 1}" for n in range(ORDERS // GATEWAY_METERS))
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        head = HeadEnd(Path(folder), meters=GATEWAY_METERS, gateways=gateways)
        try:
            frozen_s, life_s, sealed_s = _run(head, gateways)
        finally:
            head.close()
    yield "order_life_speed", ORDERS * MINUTE_S / life_s, "orders/min"
    yield "order_freezing", frozen_s * 1000 / ORDERS, "ms/order"
    yield "order_sealing", sealed_s * 1000 / ORDERS, "ms/order"


def _run(head: HeadEnd, gateways: tuple[str, ...]) -> tuple[float, float, float]:
    """(proposed and frozen, approved to queued, sealed) in s."""
    started = time.perf_counter()
    batches = [_submitted(head, gateway) for gateway in gateways]
    frozen_s = time.perf_counter() - started
    papers = [
        (batch, [(name, [head.signed(one, name) for one in orders]) for name in APPROVERS])
        for batch, orders in [(batch, head.pages(batch)) for batch in batches]
    ]
    started = time.perf_counter()
    for batch, rows in papers:
        for name, approvals in rows:
            person = {"name": name, "roles": ["approver"]}
            head.ask("batch_approve", person, batch=batch["batch"], approvals=approvals)
        head.tick()
    while head.states().get("queued", 0) < ORDERS:
        head.tick()
    life_s = time.perf_counter() - started
    started = time.perf_counter()
    while head.db.execute("SELECT count(*) FROM meter_order WHERE message IS NULL").fetchone()[0]:
        head.dispatch()
    return frozen_s, life_s, time.perf_counter() - started


def _submitted(head: HeadEnd, gateway: str) -> Body:
    fields = {"action": "disconnect", "reason": "arrears", "gateway": gateway}
    batch = head.ask("batch_propose", OLGA, **fields)
    return head.ask("batch_submit", OLGA, batch=batch["batch"])
