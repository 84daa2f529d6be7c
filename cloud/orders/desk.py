"""The order desk: everything about orders behind one name, for the service and the ingest.

* The head end proposes, the gateway decides. What each part does: `proposals` (drafts), `freezing`
  (the digest), `approving`, `signing` (delay, ceilings, quarantine), `sending` (what goes out),
  `receiving` (what is told), `stopping`, `restoring`, `accounts`, `batches`, `lease`, `watch`.
* `life` moves orders, and nothing else does; it writes the audit entry first.

All of it runs in the writer's thread, in the writer's transactions.
"""

from secrets import SystemRandom

from cloud.audit import log
from cloud.audit.promises import Promises
from cloud.clock import Clock
from cloud.identity.approvers import Approvers
from cloud.identity.sealing import Sealer
from cloud.ingest.acks import Publisher
from cloud.orders.accounts import Accounts
from cloud.orders.approving import Approving
from cloud.orders.audit import AuditKeeper, AuditLog
from cloud.orders.batches import Batches
from cloud.orders.ceilings import Ceilings
from cloud.orders.debt import AccountState, Debt, PeopleAnswer, ToldChanges
from cloud.orders.freezing import Freezer
from cloud.orders.hours import Hours
from cloud.orders.lease import Lease
from cloud.orders.life import Life, Watcher
from cloud.orders.never_cut import NeverCutList
from cloud.orders.office import Office
from cloud.orders.policy import OrderPolicy
from cloud.orders.proposals import Proposals
from cloud.orders.reading import (
    RECEIPT_GRACE_MS,
    VALID_S_DEFAULT,
    VALID_S_MAX,
    VALID_S_MIN,
    Reading,
    ReadRequest,
)
from cloud.orders.receiving import Receiving
from cloud.orders.restoring import Restoring
from cloud.orders.sending import Sending
from cloud.orders.showing import Showing
from cloud.orders.signing import Signing
from cloud.orders.stopping import Stopping
from cloud.orders.timing import Chance, Stagger
from cloud.orders.watch import Watch
from cloud.store.audit import AuditStore
from cloud.store.orders import OrderStore
from cloud.store.papers import PaperStore
from cloud.store.rows import GatewayRow
from cloud.store.writer import Writer
from protocols.envelope.provider import CryptoProvider
from protocols.messages import Receipt

__all__ = [
    "RECEIPT_GRACE_MS",
    "VALID_S_DEFAULT",
    "VALID_S_MAX",
    "VALID_S_MIN",
    "Desk",
    "ReadRequest",
    "Watcher",
    "make_office",
]


def make_office(
    tenant: str,
    policy: OrderPolicy,
    store: Writer,
    orders: OrderStore,
    sealer: Sealer,
    approvers: Approvers,
    publisher: Publisher,
    provider: CryptoProvider,
    clock: Clock,
    *,
    chance: Chance | None = None,
    audit: AuditLog | None = None,
    debt: Debt | None = None,
    accounts: AccountState | None = None,
) -> Office:
    """What the parts share; what is left out is the system's own."""
    db = store.db
    keeper = AuditKeeper(audit or log.AuditLog(AuditStore(db), clock), db, clock)
    life = Life(store, orders, keeper, clock)
    ceilings = Ceilings(db, policy)
    stagger = Stagger(db, policy.restore_every_s * 1000)
    life.forgetters += [ceilings.forget, stagger.forget]
    return Office(
        tenant=tenant,
        policy=policy,
        provider=provider,
        clock=clock,
        chance=chance or SystemRandom(),
        publisher=publisher,
        sealer=sealer,
        approvers=approvers,
        store=store,
        orders=orders,
        papers=PaperStore(db),
        audit=keeper,
        life=life,
        ceilings=ceilings,
        stagger=stagger,
        hours=Hours(policy),
        never_cut=NeverCutList(db),
        debt=debt or PeopleAnswer(),
        accounts=accounts or ToldChanges(db),
    )


class Desk:
    """Orders in the writer's thread. It is also the Ingest's ReceiptBook."""

    def __init__(self, office: Office, promises: Promises) -> None:
        self.office = office
        self.promises = promises
        self._orders = office.orders
        self._life = office.life
        self.proposals = Proposals(office)
        self.freezer = Freezer(office, self.proposals)
        self.approving = Approving(office)
        self.stopping = Stopping(office)
        self.signing = Signing(office, self.stopping)
        self.restoring = Restoring(office, self.proposals, self.freezer, self.signing)
        self.accounts = Accounts(office, self.stopping, self.restoring)
        self.batches = Batches(office, self.proposals, self.freezer, self.stopping)
        self.sending = Sending(office, self.approving, self.signing)
        self.reading = Reading(office, self.sending)
        self.receiving = Receiving(office, self.sending, self.accounts, self.restoring)
        self.lease = Lease(office)
        self.watch = Watch(office)
        self.showing = Showing(office, self.signing)

    # ---- making and sending ---------------------------------------------------------------------

    def order_read(self, request: ReadRequest, watcher: Watcher, by: str = "") -> bytes:
        """A new signed order that reads; its id. CallerError when it can not be made."""
        return self.reading.order_read(request, watcher, by)

    def seal_due(self) -> int:
        """Seal what is due, in the open transaction; how many orders. After the commit, publish."""
        count = self.sending.seal_due()
        if count:
            self.promises.make()
        return count

    def publish_queued(self) -> None:
        """Hand out stops, then policies, then orders; without a connection, later."""
        if self.sending.publish_stops() and self.lease.publish():
            self.sending.publish_orders()

    def published(self, token: bytes) -> None:
        """The broker took the message of this token."""
        self.sending.published(token)

    def connected(self) -> None:
        """There is a connection again."""
        self.lease.connected()

    def connection_lost(self) -> None:
        """What was on its way may not have arrived."""
        self.sending.connection_lost()

    def sweep(self) -> None:
        """What time alone brings about."""
        self.receiving.sweep()
        self.signing.sign_waiting()
        self.watch.sweep()
        self.promises.sweep()

    # ---- what gateways tell ---------------------------------------------------------------------

    def receive(self, gateway: GatewayRow, receipt: Receipt, now: int) -> None:
        """Store a receipt, once, and move its order."""
        self.receiving.receive(gateway, receipt, now)

    def latest(self, gateway: GatewayRow) -> list[tuple[int, str]]:
        """[(counter, state), ...] of the gateway's latest stored receipts."""
        return self.receiving.latest(gateway)

    def greeted(self, gateway: GatewayRow) -> None:
        """A gateway said hello."""
        self.receiving.greeted(gateway)
        self.office.ceilings.meters_changed(gateway.gateway_id)
        self.lease.greeted(gateway.gateway_id)

    def audit_stored(self, gateway: GatewayRow, sequence: int, chain_hash: bytes) -> None:
        """A gateway's audit chain has come to here."""
        self.receiving.audit_stored(gateway, sequence, chain_hash)

    def audit_broken(self, gateway: GatewayRow, detail: str) -> None:
        """A gateway's audit chain does not continue."""
        self.receiving.audit_broken(gateway, detail)

    # ---- transactions ---------------------------------------------------------------------------

    def committed(self) -> None:
        """What was done is durable: tell who watches."""
        self._life.committed()
        self.office.approvers.age()

    def rolled_back(self) -> None:
        """Nothing of it happened."""
        for order_id in self._life.rolled_back():
            self.sending.never_sent.discard(order_id)
        self.office.approvers.age()

    def forget(self, order_id: bytes) -> None:
        """Nobody watches this order any more."""
        self._life.forget(order_id)
