"""Messages of an external signer for a meter's security module: its keys are nowhere here.

* Authenticate: what the module answers goes back with the receipt, so that the signer can go on.
* Top-up: the meter's purchase count is read first and must be the one before. An equal one was
  applied already, and nothing is sent: a purchase counts once (I9). Afterwards the count must be
  the new one; silence is answered by reading it, never by sending again.
* A body whose amount or count is not the order's is refused: people approve or see the order.
"""

from edge.line.line import Line
from edge.meters.control import Command, Control, Purse
from edge.orders.found import Found, RefusedHere
from edge.orders.line_work import LineWork, Look, Reads, Verdict
from edge.orders.writing import WriteJob
from protocols.errors import LineError, RefusedError
from protocols.orders.states import OrderState

AUTHENTICATION = "070000FF"
RECHARGES = ("070102FF", "070101FF")  # recharge, and the first one, which opens the account
RANDOM_SIZE, SERIAL_SIZE = 4, 8  # of the answer to an authentication
_DI_SIZE = 4
_FIELD_SIZE = 4  # of amount and count, binary, low byte first


class TopUpJob(WriteJob):
    """One purchase: (purchase count, amount in cents, operator, identifier, body)."""

    def commands(self, control: Control) -> tuple[Command, ...]:
        """One."""
        count, amount, operator, di, body = self.order.arguments
        if di not in RECHARGES:
            raise RefusedHere("no-way", f"{di} is no purchase")
        fields = (body[:_FIELD_SIZE], body[_FIELD_SIZE : 2 * _FIELD_SIZE])
        if tuple(int.from_bytes(one, "little") for one in fields) != (amount, count):
            raise RefusedHere("no-way", "its body does not hold the order's amount and count")
        return (control.security(di, operator, body),)

    def read_before(self, line: Line, control: Control, retries: int) -> Reads:
        """What the meter has counted so far; RefusedHere unless the order is the next."""
        due = self.order.arguments[0]
        stood: Purse = yield from control.purse(line, retries)
        self.tell("purchases before", stood.purchases)
        self.tell("remaining before", stood.remaining)
        if stood.purchases == due:
            raise RefusedHere("duplicate", f"the meter has counted {due} purchases")
        if stood.purchases != due - 1:
            words = f"the meter has counted {stood.purchases} purchases, this is number {due}"
            raise RefusedHere("purchase-count", words)

    def look(self, line: Line, control: Control, retries: int, is_last: bool) -> Look:
        """Reads the count again."""
        due = self.order.arguments[0]
        now: Purse = yield from control.purse(line, retries)
        self.tell("purchases after", now.purchases)
        self.tell("remaining after", now.remaining)
        if now.purchases == due:
            return Verdict(OrderState.CONFIRMED, "the meter counts this purchase")
        if not is_last:
            return None
        if now.purchases == due - 1:
            return Verdict(OrderState.NOT_DONE, "the meter counts as before")
        return Verdict(OrderState.CONTRADICTED, f"the meter counts {now.purchases} purchases")


class AuthenticateJob(LineWork):
    """Proves an identity to the module: (operator, body)."""

    def work(self, line: Line, control: Control, retries: int) -> Reads:
        """One exchange behind the look at whose meter it is."""
        operator, body = self.order.arguments
        yield from self.look_before(lambda: self._before(line, control, retries))
        command = control.security(AUTHENTICATION, operator, body)
        self.pass_gate(Found(is_identified=self.is_identified))
        try:
            data = self.send(line, control, command)[_DI_SIZE:]
        except RefusedError as error:
            self.end(OrderState.REFUSED_BY_METER, str(error))
            return
        except LineError as error:
            if self.is_sent:
                self.end(OrderState.UNKNOWN, f"no answer: {error}")
            else:
                self.not_sent(error)
            return
        if len(data) != RANDOM_SIZE + SERIAL_SIZE:
            self.end(OrderState.UNKNOWN, f"an answer of {len(data)} bytes is none")
            return
        # Each field travels last byte first.
        serial = bytes(reversed(data[RANDOM_SIZE:])).hex().upper()
        self.tell("random", bytes(reversed(data[:RANDOM_SIZE])).hex().upper())
        self.tell("security module", serial)
        if control.security_number() not in (None, serial):
            self.end(OrderState.CONTRADICTED, "the security module is another one")
            return
        self.end(OrderState.DONE)

    def _before(self, line: Line, control: Control, retries: int) -> Reads:
        yield from self.identify(line, control, retries)
