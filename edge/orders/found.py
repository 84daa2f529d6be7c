"""What a job found at the meter just before it writes, and how the gate says no.

A job reads the meter, shows what it found to the gate, and writes only what the gate lets through:

    code = gate.check(order, found)     # "" or a code of REFUSALS
    gate.arm(order, found)              # durable when it returns; RefusedHere when it must not be
    gate.note(order, OrderState.SENT)   # durable when it returns; RefusedHere when it can not be
    … one write, with may_send = gate.holds …
    gate.note(order, state, reason, facts, readings, evidence)
    gate.credential_refused(credential, mark)   # when the meter says so
"""

from typing import NamedTuple

from protocols.errors import BusbarError


class RefusedHere(BusbarError):  # noqa: N818 - an outcome, and no fault
    """The gate refuses, and nothing was sent; `code` is one of REFUSALS."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code + (": " + detail if detail else ""))
        self.code = code
        self.detail = detail


class Found(NamedTuple):
    """What was read. None, or "" of a text, stands for what this meter can not tell; whatever
    can not be told never lets a cut through where the meter should have told it."""

    contact: str = ""  # "connected", "disconnected", "armed" or "opening": dlt645.relay.relay_state
    keep_power: bool | None = None
    is_identified: bool | None = None  # address and asset or ESAM number are the expected ones
    account: str = ""  # "local": the purse is in the meter
    is_overdrawn: bool | None = None  # of a local account
    has_load_voltage: bool | None = None  # behind an open contact
    is_trustworthy: bool = True  # False: lower assurance, such as a coil without a status
    credential: str = ""  # which one will be used, such as "cut" or "restore"; "" for none
    credential_mark: str = ""  # tells it from a former one, without telling anything of it
    facts: tuple[tuple[str, str], ...] = ()  # (name, text), for the audit entry and the receipt
