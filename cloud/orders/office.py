"""What the parts of the order desk share: one store, one clock, one life cycle, one policy."""

from dataclasses import dataclass

from cloud.clock import Clock
from cloud.identity.approvers import Approvers
from cloud.identity.sealing import Sealer
from cloud.ingest.acks import Publisher
from cloud.orders.audit import AuditKeeper
from cloud.orders.ceilings import Ceilings
from cloud.orders.debt import AccountState, Debt
from cloud.orders.hours import Hours
from cloud.orders.life import Life
from cloud.orders.never_cut import NeverCutList
from cloud.orders.policy import OrderPolicy
from cloud.orders.timing import Chance, Stagger
from cloud.store.orders import OrderRow, OrderStore
from cloud.store.papers import PaperStore
from cloud.store.writer import Writer
from protocols.envelope.provider import CryptoProvider
from protocols.errors import CallerError
from protocols.messages import Order


@dataclass(frozen=True)
class Office:
    """All of it is used in the writer's thread only."""

    tenant: str
    policy: OrderPolicy
    provider: CryptoProvider
    clock: Clock
    chance: Chance
    publisher: Publisher
    sealer: Sealer
    approvers: Approvers
    store: Writer
    orders: OrderStore
    papers: PaperStore
    audit: AuditKeeper
    life: Life
    ceilings: Ceilings
    stagger: Stagger
    hours: Hours
    never_cut: NeverCutList
    debt: Debt
    accounts: AccountState

    def order(self, order_id: bytes) -> OrderRow:
        """The order of an id; CallerError when there is none."""
        row = self.orders.find(order_id)
        if row is None:
            raise CallerError(f"no such order: {order_id.hex()}")
        return row

    def frozen(self, row: OrderRow) -> Order:
        """The frozen order of a row, without approvals; EnvelopeError when it is none."""
        return Order.from_body(self.provider.decode(row.body or b""))

    def cuts_blocked(self, now: int) -> str:
        """Why nobody is cut at `now` (UTC ms); "" when cutting is allowed."""
        hold = self.papers.hold()
        if hold.is_held:
            return f"on-hold: {hold.by} holds all cuts: {hold.reason}"
        return self.hours.blocked(now)
