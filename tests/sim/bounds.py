"""Memory: every buffer and queue keeps its limit, after every step."""

from cloud.app import Core
from cloud.ingest.mailbox import Mailbox
from cloud.orders.reading import OPEN_ORDERS_MAX
from edge.agent import Agent
from edge.collect.poller import ORDERS_MAX
from edge.journal.writer import CALLS_MAX, HELD_SETS_MAX
from edge.sync.session import NONCES_MAX
from edge.sync.transport import EVENTS_MAX
from tests.sim.rows import BrokenError

RECEIPTS_SENT_MAX = 1_000
EVENTS_BESIDE_MAX = 100  # in the head end's mailbox, which are no messages


def check_gateway(agent: Agent) -> None:
    """BrokenError when a buffer of a gateway is above its limit."""
    session, writer = agent._session, agent._writer
    if (
        writer.held_sets > HELD_SETS_MAX
        or len(writer._calls) > CALLS_MAX
        or len(session.outbox.flights) > session._settings["window"]
        or session._events.qsize() > EVENTS_MAX
        or len(session._nonces) > NONCES_MAX
        or len(session._receipts._sent) > RECEIPTS_SENT_MAX
        or any(one._jobs.qsize() > ORDERS_MAX for one in agent._workers.values())
    ):
        raise BrokenError("a buffer of the gateway is above its limit")


def check_head_end(core: Core, box: Mailbox, queue_messages: int) -> None:
    """BrokenError when a buffer of the head end is above its limit."""
    if len(box) > queue_messages + EVENTS_BESIDE_MAX:
        raise BrokenError("the head end's mailbox is above its limit")
    if max(len(core.desk.sending._sending), len(core.desk.office.life._watchers)) > OPEN_ORDERS_MAX:
        raise BrokenError("a buffer of the order desk is above its limit")
