"""The states of an order, the one table of its steps, and the words of a refusal.

* Up to PUBLISHED the head end knows the state, then the gateway tells it.
* Steps run forward only. After SENT nothing cancels, expires or supersedes an order.
* Silence after SENT is never repeated. It is looked into (VERIFYING), or it is UNKNOWN: final for
  now, and settled by what is told later. NOT_DONE is final too: nothing is sent again without a
  new order, which is stricter than the law allows.
* ARMED is the order's write-ahead state; a meter that is armed is READY_FOR_RECONNECTION.
"""


class OrderState:
    """States of an order."""

    DRAFT = "draft"
    SUBMITTED = "submitted"  # frozen: what people approve is this and nothing else
    APPROVED = "approved"  # enough people have signed its digest
    SIGNED = "signed"  # counter, not-before and expiry are set
    QUARANTINED = "quarantined"  # over a ceiling; a second person releases it
    QUEUED = "queued"
    PUBLISHED = "published"
    RECEIVED = "received"  # by the gateway; told together with VERIFIED
    VERIFIED = "verified"  # signatures, binding, counters and times hold; durable on the gateway
    PRECHECKED = "prechecked"  # what was read from the meter allows it
    ARMED = "armed"  # the intent is durable, and the audit entry before it
    SENT = "sent"  # bytes may be on the wire
    ACKED = "acked"  # the meter said yes, which proves nothing
    VERIFYING = "verifying"  # its effect is being looked for: reads, nothing else
    DONE = "done"  # of a read, and of what can not be observed
    CONFIRMED = "confirmed"  # two independent observations say so
    CONTRADICTED = "contradicted"  # the observations disagree
    NOT_DONE = "not-done"  # a reading proves that it had no effect
    REFUSED = "refused"  # by a guard; nothing was sent (of a read: or by the meter)
    REFUSED_BY_METER = "refused-by-meter"
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # a person, a stop or a payment ended it before it was sent
    SUPERSEDED = "superseded"  # by a newer order for the meter
    UNKNOWN = "unknown"  # sent, or perhaps sent, and what came of it is not known


_EXITS = (
    OrderState.REFUSED,
    OrderState.EXPIRED,
    OrderState.CANCELLED,
    OrderState.SUPERSEDED,
)
_DOUBT = (OrderState.UNKNOWN,)

# from -> what may follow. A state that is not here is final.
ORDER_STEPS = {
    OrderState.DRAFT: (OrderState.SUBMITTED,) + _EXITS,
    # Over a ceiling of whoever asks: quarantined before anybody approves it.
    OrderState.SUBMITTED: (OrderState.APPROVED, OrderState.QUARANTINED) + _EXITS,
    OrderState.APPROVED: (OrderState.SIGNED,) + _EXITS,
    OrderState.SIGNED: (OrderState.QUEUED, OrderState.QUARANTINED) + _EXITS,
    OrderState.QUARANTINED: (OrderState.QUEUED,) + _EXITS,
    OrderState.QUEUED: (OrderState.PUBLISHED,) + _EXITS + _DOUBT,
    OrderState.PUBLISHED: (OrderState.RECEIVED,) + _EXITS + _DOUBT,
    OrderState.RECEIVED: (OrderState.VERIFIED,) + _EXITS + _DOUBT,
    OrderState.VERIFIED: (OrderState.PRECHECKED,) + _EXITS + _DOUBT,
    # A restore that finds the meter ready or closed is confirmed by that state (nothing is sent).
    OrderState.PRECHECKED: (OrderState.ARMED, OrderState.CONFIRMED) + _EXITS + _DOUBT,
    OrderState.ARMED: (OrderState.SENT,) + _EXITS + _DOUBT,
    OrderState.SENT: (
        OrderState.ACKED,
        OrderState.VERIFYING,
        OrderState.DONE,
        OrderState.REFUSED,  # a read that the meter refuses; it changes nothing
        OrderState.REFUSED_BY_METER,
        OrderState.UNKNOWN,
    ),
    OrderState.ACKED: (OrderState.VERIFYING, OrderState.DONE, OrderState.UNKNOWN),
    OrderState.VERIFYING: (
        OrderState.CONFIRMED,
        OrderState.CONTRADICTED,
        OrderState.NOT_DONE,
        OrderState.UNKNOWN,
    ),
}
ORDER_STATES = (
    OrderState.DRAFT,
    OrderState.SUBMITTED,
    OrderState.APPROVED,
    OrderState.SIGNED,
    OrderState.QUARANTINED,
    OrderState.QUEUED,
    OrderState.PUBLISHED,
    OrderState.RECEIVED,
    OrderState.VERIFIED,
    OrderState.PRECHECKED,
    OrderState.ARMED,
    OrderState.SENT,
    OrderState.ACKED,
    OrderState.VERIFYING,
    OrderState.DONE,
    OrderState.CONFIRMED,
    OrderState.CONTRADICTED,
    OrderState.NOT_DONE,
    OrderState.REFUSED,
    OrderState.REFUSED_BY_METER,
    OrderState.EXPIRED,
    OrderState.CANCELLED,
    OrderState.SUPERSEDED,
    OrderState.UNKNOWN,
)
FINAL_STATES = tuple([state for state in ORDER_STATES if state not in ORDER_STEPS])
UNSENT_STATES = ORDER_STATES[: ORDER_STATES.index(OrderState.SENT)]  # where a stop still helps
RECEIPT_STATES = (
    OrderState.VERIFIED,
    OrderState.PRECHECKED,
    OrderState.ARMED,
    OrderState.SENT,
    OrderState.ACKED,
    OrderState.VERIFYING,
) + FINAL_STATES


def can_follow(state: str, following: str) -> bool:
    """Whether an order in `state` may come to `following`, steps between them left out."""
    seen = [state]
    for one in seen:
        for step in ORDER_STEPS.get(one, ()):
            if step == following:
                return True
            if step not in seen:
                seen.append(step)
    return False


def settles(state: str, following: str) -> bool:
    """Whether a late receipt may say after all what became of an order that was unknown: that it
    is being looked into, or how it ended."""
    if state != OrderState.UNKNOWN or following == OrderState.UNKNOWN:
        return False
    return following == OrderState.VERIFYING or following in FINAL_STATES
