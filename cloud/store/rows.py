"""What the writer remembers of a gateway and of an epoch between transactions."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cloud.store.ledger import Ledger
from protocols.envelope.claims import ReplayWindow


@dataclass
class GatewayRow:
    """One row of `gateway`, in the order of sql.SELECT_GATEWAY."""

    gateway_key: int
    gateway_id: str
    epoch_key: int | None
    ack_counter: int
    order_counter: int
    last_seen_at: int
    quality: int | None
    boot_id: bytes | None
    version: str | None
    hello_at: int | None
    hello_sequence: int | None
    nonce: bytes | None
    acknowledged: int | None
    last_order: int
    presence: str | None
    presence_at: int | None

    def update_parameters(self) -> tuple[Any, ...]:
        """The parameters of sql.UPDATE_GATEWAY."""
        return (
            self.epoch_key,
            self.ack_counter,
            self.order_counter,
            self.last_seen_at,
            self.quality,
            self.boot_id,
            self.version,
            self.hello_at,
            self.hello_sequence,
            self.nonce,
            self.acknowledged,
            self.last_order,
            self.presence,
            self.presence_at,
            self.gateway_key,
        )


@dataclass
class EpochRow:
    """One row of `epoch` with its ledger; `events`: every event up to this sequence is stored, or
    will never come; `audit`: every entry of the audit chain up to this sequence is stored; `saved`
    are the ranges as the database has them."""

    epoch_key: int
    gateway_key: int
    epoch: bytes
    head: int
    events: int
    audit: int
    window: ReplayWindow
    ledger: Ledger
    saved: dict[int, int] = field(default_factory=dict)


class SetBatch(NamedTuple):
    """Reading sets of one gateway as columns of equal length, in rising sequence. `boot_at`: ms
    since the boot; `layouts` and `values`: JSON texts; `origins` and `flags` as in ReadingSet."""

    sequences: list[int]
    meter_ids: list[str]
    read_at: list[int]
    boot_at: list[int]
    boot_ids: list[bytes]
    qualities: list[int]
    layouts: list[str]
    values: list[str]
    origins: list[int]
    flags: list[int]

    def picked(self, places: list[int]) -> "SetBatch":
        """The sets at these places."""
        columns: list[Any] = [[column[n] for n in places] for column in self]
        return SetBatch(*columns)

    def content(self, place: int) -> tuple[Any, ...]:
        """What one set says, as sql.SELECT_SET gives it: all but the sequence."""
        return tuple([column[place] for column in self[1:]])


class Added(NamedTuple):
    """What became of a batch of sets: counts, and the sequences whose content differs from what is
    stored (the stored content stays)."""

    stored: int
    duplicates: int
    conflicts: list[int]


def runs(sequences: list[int]) -> list[tuple[int, int]]:
    """Rising sequences, each once, as (first, last) ranges."""
    if sequences and sequences[-1] - sequences[0] + 1 == len(sequences):
        return [(sequences[0], sequences[-1])]
    found: list[tuple[int, int]] = []
    for sequence in sequences:
        if found and found[-1][1] + 1 == sequence:
            found[-1] = (found[-1][0], sequence)
        else:
            found.append((sequence, sequence))
    return found
