"""Why an order is refused: one table of codes, the same on the gateway, the head end and the page.

A receipt's reason is `code: words`, so that a program reads the one and a person the other.
"""

from protocols.envelope.fields import TEXT_SIZE_MAX
from protocols.errors import CallerError

# code, then what it says to a person
_REFUSALS = """
replayed its counter was seen before
expired its time is over
not-yet its time has not come
clock-untrusted the gateway has no trusted time
schema a field is not what it must be
terms its life is not within the frozen terms
epoch it is for another journal of this gateway
unknown-key an approval is signed by a key that this gateway does not know
key-owner an approval's key belongs to somebody else
key-use an approval's key is not for approving
key-time an approval's key is not valid at this time
revoked-key an approval's key is revoked
bad-signature an approval's signature does not fit this order
approvals-missing fewer people approved it than its kind needs
approver-twice the same person or key approved it twice
approver-is-requester its requester approved it
approval-time an approval is too old, or older than the request, or of the future
lower-counter a newer order for this meter was taken up
unknown-meter this gateway does not have that meter
wrong-address the meter's address is another one here
no-policy no policy was received since the start
lease-ended the permission to disconnect has ended
on-hold a global hold forbids disconnecting
window outside the hours in which disconnecting is allowed
calendar-ended the calendar of holidays has ended
calendar-day no disconnecting on a holiday, nor on the day before
weather the weather forbids disconnecting
weather-unknown the weather is not known
protected the meter is protected
keep-power keep-power is set in the meter
ceiling-hour this gateway's disconnects of an hour are used up
ceiling-day this gateway's disconnects of a day are used up
dwell the meter was switched too recently
daily-maximum the meter was switched too often today
identity the meter is not the one that the order means
already-open the meter is disconnected already
assurance the meter can not prove the effect, and the order does not accept that
no-way the meter or its model can not do it
not-allowed this gateway's settings do not allow it
credential-locked the meter refused this credential before; a person must look at it
no-credential this gateway holds no credential for it
audit-unavailable the audit record can not be written
stopped a stop names it
local-account-overdrawn the meter's own account is overdrawn: lifting keep-power would disconnect
load-voltage there is voltage on the load side
meter-clock the meter's clock is further off than the order lives
duplicate the meter has this purchase already
purchase-count the meter's count of purchases does not lead to this one
meter-silent the meter does not answer
busy too many orders wait for that line
restarted the gateway restarted before it was sent
no-turn its line had no time for it
internal a fault of the gateway
"""


def _refusals() -> dict:
    found = {}
    for line in _REFUSALS.split("\n"):
        if line:
            code, words = line.split(" ", 1)
            found[code] = words
    return found


REFUSALS = _refusals()  # code -> words


def refusal(code: str, detail: str = "") -> str:
    """The reason of a receipt: the code, its words, and what may be added, cut to fit."""
    words = REFUSALS.get(code)
    if words is None:
        raise CallerError(f"{code!r} is no refusal")
    more = f" ({detail})" if detail else ""
    return f"{code}: {words}{more}"[:TEXT_SIZE_MAX]


def code_of(reason: str) -> str:
    """The code of a receipt's reason or of an EnvelopeError's; "" when it has none."""
    code = reason.split(":", 1)[0].replace("_", "-")
    return code if code in REFUSALS else ""
