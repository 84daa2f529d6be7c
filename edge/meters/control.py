"""What a driver may offer besides reading: to say whose meter it is, what its supply does, and to
change it.

* The state of a supply is derived from the meter, never from what was sent.
* A command is prepared first, which checks all that can be checked, and then sent in exactly one
  exchange. Nothing here repeats it: whoever hears no answer reads.
* What the meter cannot tell is None, never a guess.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

from edge.line.line import Line
from protocols.dlt645.clock import MeterTime
from protocols.errors import BusbarError

USUAL = "usual"
LOWER = "lower"  # no second observation worth the name, or a status that follows the command alone
ASSURANCES = (USUAL, LOWER)


class Contact:
    """What a supply does, from its command and its contact."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ARMED = "armed"  # the contact is open, and the meter permits to close it: READY
    OPENING = "opening"  # told to open, not yet open


class ControlError(BusbarError):
    """The meter, its model or its settings do not allow it, and nothing was sent; `code` is one of
    the refusals."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail


class Identity(NamedTuple):
    """Whose meter answers: `is_right` None where it cannot be told; `facts` for people."""

    is_right: bool | None
    words: str
    facts: tuple[tuple[str, str], ...]


class SupplyState(NamedTuple):
    """The supply as the meter's status word tells it: `contact` one of Contact, `raw` as it was
    read, for people."""

    contact: str
    keep_power: bool | None
    has_own_account: bool  # the meter keeps money or energy itself
    raw: str

    @property
    def is_open(self) -> bool:
        """Whether the contact is open."""
        return self.contact in (Contact.DISCONNECTED, Contact.ARMED)


class Second(NamedTuple):
    """What else is to be seen of a contact that moves: the largest current of a phase, the records
    of such movements, and who stands in the last one."""

    current_ma: int | None = None
    records: int | None = None
    operator: str = ""


class MeterClockShown(NamedTuple):
    """What the meter's clock showed, and at which boot time (ms) at the latest."""

    time: MeterTime
    boot_ms: int


class Command(NamedTuple):
    """A prepared command: `send(line)` is its one exchange. RefusedError is the meter's no,
    NoAnswerError silence."""

    send: Callable[[Line], bytes]
    words: str  # what it is, for people
    credential: str = ""  # which one it carries
    mark: str = ""  # tells that one from a former one
    operator: str = ""  # who stands in the meter's records for it


class Parameter(NamedTuple):
    """One parameter that an order writes: its command, where it is read back, and the bytes that
    must stand there then, at least at the beginning."""

    command: Command
    place: str
    expected: bytes


class Demands(NamedTuple):
    """How often the maximum demands were cleared, and the largest one in its last digit; None:
    not told."""

    resets: int | None
    largest: int | None


class Purse(NamedTuple):
    """A meter's own account: purchases so far, and what remains, in words."""

    purchases: int
    remaining: str


Frames = list[tuple[str, int, bytes]]
Exchanges = Generator[None, None, None]


class Control(Protocol):
    """What one meter lets itself be told. Generators yield between two exchanges, not behind the
    last one; LineError when the meter does not answer."""

    assurance: str
    has_external_breaker: bool
    no_current_ma: int  # at or below it, nothing flows

    def check(self, action: str) -> None:
        """ControlError when this meter cannot do it at all."""

    def identity(self, line: Line, retries: int) -> Generator[None, None, Identity]:
        """Reads who it is, and compares."""

    def supply(self, line: Line, retries: int) -> Generator[None, None, SupplyState]:
        """Reads the status. UnsupportedError when it has none."""

    def second(
        self, line: Line, retries: int, is_opening: bool, with_operator: bool
    ) -> Generator[None, None, Second]:
        """Reads what else shows a movement."""

    def is_overdrawn(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """Whether its own account is overdrawn; None when that cannot be read."""

    def load_voltage(self, line: Line, retries: int) -> Generator[None, None, bool | None]:
        """Whether there is voltage behind an open contact; None when it cannot tell."""

    def register(self, line: Line, retries: int) -> Generator[None, None, str]:
        """Its energy register in words, "" when it has none."""

    def clock(
        self, line: Line, retries: int, boot_ms: Callable[[], int]
    ) -> Generator[None, None, MeterClockShown | None]:
        """What its clock shows; None when it has none, or none that was ever set."""

    def delay_ms(self, line: Line, retries: int) -> Generator[None, None, int]:
        """For how long a disconnect may wait in the meter before the contact opens."""

    def switch(self, action: str, expiry: MeterTime | None) -> Command:
        """The command of a supply action; ControlError, CallerError."""

    def operator(self, action: str) -> str:
        """Who would stand in the meter's records for a command of this gateway; "" for nobody."""

    def parameters(self, action: str, arguments: tuple[object, ...]) -> tuple[Parameter, ...]:
        """What a settings order writes, in its order; ControlError."""

    def stored(self, line: Line, retries: int, place: str) -> Generator[None, None, bytes]:
        """What stands at a place of a Parameter; none when the meter lacks it."""

    def clock_setting(
        self, boot_ms: Callable[[], int], time_at: Callable[[int], MeterTime]
    ) -> Command:
        """The command that sets its clock to the time at the moment when it arrives; ControlError
        when that cannot be done by one. After `clock` only."""

    def demand_reset(self) -> Command:
        """The command that clears its maximum demands."""

    def demands(self, line: Line, retries: int) -> Generator[None, None, Demands]:
        """How often they were cleared, and what they are."""

    def freeze(self) -> Command:
        """The command that freezes its registers now."""

    def security(self, di: str, operator: str, body: bytes) -> Command:
        """A message of an external signer for its security module; ControlError when it has
        none."""

    def security_number(self) -> str | None:
        """Of the module that the settings name; None: any."""

    def purse(self, line: Line, retries: int) -> Generator[None, None, Purse]:
        """What its own account shows. UnsupportedError when it has none."""

    def heard(self) -> tuple[int, int]:
        """Since the agent started: well-formed frames that answered nothing that was asked, and
        requests without an answer, whose answers may have come late."""

    def mask(self, frames: Frames) -> int:
        """Blanks the secrets of these frames, in place; in how many."""
