"""Orders, batches and the hold as the API shows them."""

from typing import Any

from cloud.orders.batches import SAMPLE_SIZE
from cloud.orders.office import Office
from cloud.orders.records import Records
from cloud.orders.signing import Signing
from cloud.store.orders import OrderRow
from cloud.store.papers import BatchRow, HoldRow
from protocols.orders.kinds import ORDER_KINDS


class Showing:
    """Makes JSON of rows."""

    def __init__(self, office: Office, signing: Signing) -> None:
        self._office = office
        self._signing = signing
        self._records = Records(office.orders.db, office.provider, office.tenant)

    def order(self, row: OrderRow) -> dict[str, Any]:
        """Everything but the story."""
        return {**self._records.order(row), "waits": self._signing.waits_for(row)}

    def brief(self, row: OrderRow) -> dict[str, Any]:
        """One line of a list."""
        return self._records.brief(row)

    def story(self, row: OrderRow) -> dict[str, Any]:
        """The order, and all that became of it."""
        return {**self.order(row), "story": self._records.story(row)}

    def batch(self, batch: BatchRow) -> dict[str, Any]:
        """Count, sample and load: what is looked at before it is approved."""
        office, meters = self._office, batch.meter_ids()
        approvers = office.papers.approvers_of_batch(batch.batch_id)
        return {
            "batch": batch.batch_id.hex(),
            "action": batch.action,
            "requested_by": batch.requested_by,
            "reason": batch.reason,
            "incident": batch.incident,
            "created_at": batch.created_at,
            "state": batch.state,
            "selection": batch.selection.hex(),
            "count": len(meters),
            "sample": meters[:SAMPLE_SIZE],
            "load_w": batch.load_w,
            "load_known": batch.load_known,
            "states": office.papers.batch_states(batch.batch_id),
            "approvals_needed": ORDER_KINDS[batch.action].approvals,
            "fully_approved_by": [
                name for name, count in approvers.items() if count == len(meters)
            ],
        }


def hold_json(hold: HoldRow) -> dict[str, Any]:
    """The global hold."""
    return {"held": hold.is_held, "since": hold.at, "by": hold.by, "reason": hold.reason}
