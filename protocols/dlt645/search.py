"""Which meters are on a line: a search by abbreviated addresses. It only reads.

A probe asks for 04000401 (function 11) at the address AA..AA + the low-order digits of a branch:
every meter whose address ends with them answers. A branch with several meters is split into the
hundred branches of the next digit pair; there are six pairs. (Public meter firmware: AA only in the
high bytes and contiguous. 13 is answered by all-AA alone, so it cannot narrow.) What a window says:

* Nothing: nobody is there. Up to GLITCH_SIZE odd bytes are the line's switching, and nothing.
* One clean reply and nothing else: one meter. Its branch is done.
* Several clean replies, or a clean one beside damaged bytes: several meters. Split, always: a
  strong meter may hide a weak one only as long as both are asked.
* Damaged bytes alone: ask once more, because noise rarely comes twice and a collision does. Damaged
  again, or several replies: split. One clean reply: the meter. Nothing: it was noise.
* A refusal (D1) is a reply: a meter without 04000401 is a meter. So is one of another length.
* Our own echo, and the FE in front of a frame, are not heard.
* A reply from outside the branch is a meter's late answer to an earlier probe (`strays`). It says
  nothing of this branch, but its meter is asked for, because its own branch seemed empty.

An address counts when a meter answered to it in full, and not before: two replies can make up a
third one with a good checksum, and a late or AA-echoing header (edition 1997) is a hint, no more.
A hint that does not answer EXACT_LOOKS times is dropped, and the branch that it had settled is
split. What answers damaged each time, or twice, in full is two meters with one address: `conflicts`
(or a line that is never quiet).

Not heard, so not found: a meter that another one's reply covers to the last byte, and one whose
reply is lost; a second search with `known` finds the latter. Two meters with one address that
answer in step sound like one. Meters of edition 1997 do not know 11 and 13.

Probes for N meters without noise: 2 for N < 2, else at most N + 1 + 101 (1 + 5 [N / 2]): a branch
is split once for at least two meters, on five levels below the first. Expected: N + 102 when the
low pairs differ (one maker's consecutive numbers), 101 more for each low pair that several share.
An empty probe takes about 0.7 s at 2400 bit/s. `probes_max` ends every search.
"""

from collections import namedtuple

from protocols.dlt645.commands import Read, ReadAddress
from protocols.dlt645.controls import Function
from protocols.dlt645.deframer import Deframer
from protocols.dlt645.exchange import matches_address
from protocols.dlt645.frame import ANY_ADDRESS, Frame, is_meter_address
from protocols.errors import CallerError

PROBES_MAX = 2000  # about 25 minutes at 2400 bit/s
EXACT_LOOKS = 3  # at one full address
GLITCH_SIZE = 2  # odd bytes that a turning transceiver leaves; a collision leaves a frame's worth
_WIDTH = 100  # branches of one split
_DIGITS = 12

_ASK = Read("04000401").data()  # the meter's own address


class _Probe(namedtuple("_Probe", ("digits", "function", "look", "damaged"))):
    """A question to all addresses that end with `digits`: its `look`-th time; `damaged` of the
    earlier ones were."""

    def request(self) -> Frame:
        """What to send."""
        address = ANY_ADDRESS[len(self.digits) :] + self.digits
        data = ReadAddress().data() if self.function == Function.READ_ADDRESS else _ASK
        return Frame(address, self.function, data)

    def again(self, is_damaged: bool) -> "_Probe":
        """The same once more."""
        damaged = self.damaged + (1 if is_damaged else 0)
        return _Probe(self.digits, self.function, self.look + 1, damaged)


class Search:
    """Send `request` and give `heard` all bytes of its window, until `request` is None.

    Meters of `known` are neither asked for nor reported. `found` and `conflicts` are sorted
    addresses, `probes` counts the requests, and `is_complete` says that nothing is left to ask.
    `on_progress(probes, branches waiting, meters found)` is called after each window.
    """

    def __init__(
        self, known: tuple = (), probes_max: int = PROBES_MAX, on_progress: object = None
    ) -> None:
        for address in known:
            if not is_meter_address(address):
                raise CallerError(f"{address!r} is not the address of one meter")
        self.found: list = []
        self.conflicts: list = []
        self.probes = 0
        self.strays = 0
        self.is_complete = False
        self.request: Frame | None = None
        self._known = tuple(known)
        self._probes_max = probes_max
        self._on_progress = on_progress
        self._probe: _Probe | None = None
        self._hints: list = []  # probes of full addresses, sent before anything else
        self._origins: dict = {}  # of each hint: the branch that it settled, None for none
        self._dropped: list = []  # hints that did not answer
        self._splits: list = []  # branches with several meters; the first is being split
        self._member = 0  # its next branch
        self._choose(_Probe("", Function.READ, 1, 0))

    def heard(self, data: bytes) -> None:
        """Takes everything that came between this probe and the next, and chooses that one."""
        probe = self._probe
        if probe is None:
            raise CallerError("the search is over")
        self.probes += 1
        replies, is_damaged = self._listen(probe, data)
        if len(probe.digits) == _DIGITS:
            is_unclear = self._judge_meter(probe, len(replies), is_damaged)
        else:
            is_unclear = self._judge_branch(probe, replies, is_damaged)
        self._choose(probe.again(is_damaged) if is_unclear else self._next())
        if self._on_progress:
            waiting = len(self._hints) + _WIDTH * len(self._splits) - self._member
            self._on_progress(self.probes, waiting, len(self.found))  # type: ignore[operator]

    def _choose(self, probe: "_Probe | None") -> None:
        self.is_complete = probe is None
        self._probe = probe if self.probes < self._probes_max else None
        self.request = self._probe.request() if self._probe else None

    def _next(self) -> "_Probe | None":
        """The next question; None when there is none."""
        if self._hints:
            hint: _Probe = self._hints.pop(0)
            return hint
        while self._splits:
            digits = f"{self._member:02d}" + self._splits[0]
            self._member += 1
            if self._member == _WIDTH:
                self._member = 0
                self._splits.pop(0)
            if len(digits) < _DIGITS or (is_meter_address(digits) and not self._is_judged(digits)):
                return _Probe(digits, Function.READ, 1, 0)
        return None

    def _is_judged(self, address: str) -> bool:
        return address in self.found or address in self.conflicts or address in self._known

    def _judge_branch(self, probe: _Probe, replies: list, is_damaged: bool) -> bool:
        """Hints, splits, or nothing; True when the probe is to be repeated."""
        meters = sorted(set(replies))
        is_several = len(meters) > 1 or (is_damaged and (len(meters) == 1 or probe.look > 1))
        if is_damaged and not is_several:
            return True
        if is_several or any(one in self._dropped for one in meters):
            self._splits.append(probe.digits)
        for address in meters:
            self._hint(address, None if is_several else probe.digits)
        if not (meters or is_several or probe.digits) and probe.function == Function.READ:
            # Perhaps a single meter that takes no abbreviated address, but says its own.
            self._hints.append(_Probe("", Function.READ_ADDRESS, 1, 0))
        return False

    def _judge_meter(self, probe: _Probe, replies: int, is_damaged: bool) -> bool:
        """Finds a meter or a conflict, or drops a hint; True when the probe is to be repeated."""
        address = probe.digits
        is_hint = address in self._origins and address not in self._dropped
        if replies == 1:
            self.found = sorted(self.found + [address])
        elif replies > 1:
            self.conflicts = sorted(self.conflicts + [address])
        elif not is_damaged and not is_hint:
            return False
        elif probe.look < EXACT_LOOKS:
            return True
        elif is_damaged and probe.damaged == EXACT_LOOKS - 1:
            self.conflicts = sorted(self.conflicts + [address])
        elif is_hint:
            self._dropped.append(address)
            origin = self._origins[address]
            if origin is not None:
                self._splits.append(origin)
        return False

    def _hint(self, address: str, origin: "str | None") -> None:
        """Somebody answered as `address`; `origin` is the branch that holds nobody else."""
        if address not in self._origins and not self._is_judged(address):
            self._hints.append(_Probe(address, Function.READ, 1, 0))
            self._origins[address] = origin

    def _listen(self, probe: _Probe, data: bytes) -> tuple:
        """(addresses that answered this probe cleanly, whether something else was heard)."""
        request = probe.request()
        deframer = Deframer()
        replies = []
        is_damaged = False
        for frame in deframer.feed(data) + deframer.flush():
            if frame == request:
                continue
            address = _answering(frame, request)
            if not address:
                is_damaged = True
            elif matches_address(request.address, address):
                replies.append(address)
            else:
                self.strays += 1
                self._hint(address, None)
        return replies, is_damaged or deframer.discarded > GLITCH_SIZE


def _answering(frame: Frame, request: Frame) -> str:
    """The meter that sent a reply of the kind that `request` asks for; "" when it is none.

    A header that only repeats the wildcard says nothing: there the address stands in the data."""
    if not frame.is_reply or frame.function != request.function:
        return ""
    address: str = frame.address
    if not frame.is_abnormal:
        if not frame.data.startswith(request.data):
            return ""
        if address == request.address and not is_meter_address(address):
            address = bytes(reversed(frame.data[len(request.data) :])).hex()
    return address if is_meter_address(address) else ""
