"""The writing side of the store: one connection, one thread, one open transaction at a time.

* A transaction opens with the first change and ends with `commit` or `rollback`; what is remembered
  between transactions (rows, keys, ledgers) is forgotten on rollback and read again.
* The reading sets of a transaction go to SQLite together, in one executemany.
* The ledger and the rows change in the same transaction, so a sequence is in the one exactly when
  it is in the other.
* A value is never changed: a sequence that comes again keeps its first content.
"""

import sqlite3
from itertools import repeat
from typing import Any

from cloud.store import sql
from cloud.store.ledger import Ledger
from cloud.store.rows import Added, EpochRow, GatewayRow, SetBatch, runs
from protocols.envelope.claims import REPLAY_WINDOW, ReplayWindow
from protocols.errors import EnvelopeError

EPOCHS_MAX = 256  # of one gateway: a new one comes only with a new or broken card
RANGES_MAX = 10_000  # of one epoch's ledger; an honest gateway has a handful
REFUSED_GATEWAYS_MAX = 10_000  # names counted one by one; the topic's name is not proven
OTHER_GATEWAYS = "(other)"
CACHE_ENTRIES_MAX = 200_000  # meters, boots or layouts remembered
_WINDOW_SIZE = REPLAY_WINDOW // 8  # bytes


class Writer:
    """Gateways, epochs, reading sets and refusals. `db` comes from `open_writer`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._refused = {row[0] for row in db.execute(sql.SELECT_REFUSED)}
        self._forget()

    def _forget(self) -> None:
        self._gateways: dict[str, GatewayRow] = {}
        self._epochs: dict[tuple[int, bytes], EpochRow] = {}
        self._meters: dict[tuple[int, str], int] = {}
        self._boots: dict[bytes, int] = {}
        self._layouts: dict[str, int] = {}
        self._sets: list[tuple[Any, ...]] = []
        self._refusals: dict[tuple[str, str], list[int]] = {}
        self._changed_gateways: dict[int, GatewayRow] = {}
        self._changed_epochs: dict[int, EpochRow] = {}

    # ---- transactions ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Open a transaction when none is open."""
        if not self.db.in_transaction:
            self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Write what is gathered and make it durable; sqlite3.Error leaves the transaction open."""
        self.begin()
        self._flush_sets()
        changed = self._changed_gateways.values()
        self.db.executemany(sql.UPDATE_GATEWAY, [row.update_parameters() for row in changed])
        for epoch in self._changed_epochs.values():
            self._flush_epoch(epoch)
        self.db.executemany(
            sql.PUT_REFUSAL,
            [(*key, count, first, last) for key, (count, first, last) in self._refusals.items()],
        )
        self.db.execute("COMMIT")
        self._refusals.clear()
        self._changed_gateways.clear()
        self._changed_epochs.clear()
        for cache in (self._meters, self._boots, self._layouts):
            if len(cache) > CACHE_ENTRIES_MAX:
                cache.clear()

    def rollback(self) -> None:
        """Undo the open transaction and forget what was remembered."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._forget()

    def close(self) -> None:
        """Undo what is open and close the connection."""
        self.rollback()
        self.db.close()

    # ---- gateways and epochs --------------------------------------------------------------------

    def find_gateway(self, gateway_id: str) -> GatewayRow | None:
        """The gateway's row when it was ever heard."""
        row = self._gateways.get(gateway_id)
        if row is None:
            found = self.db.execute(sql.SELECT_GATEWAY, (gateway_id,)).fetchone()
            if found is None:
                return None
            row = self._gateways[gateway_id] = GatewayRow(*found)
        return row

    def gateway(self, gateway_id: str, now: int) -> GatewayRow:
        """The gateway's row, made when it is heard for the first time."""
        row = self.find_gateway(gateway_id)
        if row is None:
            self.begin()
            self.db.execute(sql.INSERT_GATEWAY, (gateway_id, now))
            row = self.find_gateway(gateway_id)
            assert row is not None  # noqa: S101 -- it was inserted in the line above
        return row

    def gateway_ids(self) -> list[str]:
        """Every gateway that was ever heard."""
        return [row[0] for row in self.db.execute(sql.SELECT_GATEWAY_IDS)]

    def mark_gateway(self, gateway: GatewayRow) -> None:
        """The row was changed: save it with the transaction."""
        self._changed_gateways[gateway.gateway_key] = gateway

    def find_epoch(self, gateway: GatewayRow, epoch: bytes) -> EpochRow | None:
        """The row of one epoch of a gateway."""
        row = self._epochs.get((gateway.gateway_key, epoch))
        if row is None:
            parameters = (gateway.gateway_key, epoch)
            found = self.db.execute(sql.SELECT_EPOCH, parameters).fetchone()
            row = self._load_epoch(found) if found else None
        return row

    def current_epoch(self, gateway: GatewayRow) -> EpochRow | None:
        """The epoch that the gateway writes now."""
        if gateway.epoch_key is None:
            return None
        found = self.db.execute(sql.SELECT_EPOCH_BY_KEY, (gateway.epoch_key,)).fetchone()
        known = self._epochs.get((gateway.gateway_key, found[2]))
        return known or self._load_epoch(found)

    def epoch(self, gateway: GatewayRow, epoch: bytes, now: int) -> EpochRow:
        """The row of an epoch, made when it is new; EnvelopeError("epochs") when there are too
        many."""
        row = self.find_epoch(gateway, epoch)
        if row is None:
            count = self.db.execute(sql.COUNT_EPOCHS, (gateway.gateway_key,)).fetchone()[0]
            if count >= EPOCHS_MAX:
                raise EnvelopeError("epochs", f"more than {EPOCHS_MAX} of one gateway")
            self.begin()
            self.db.execute(sql.INSERT_EPOCH, (gateway.gateway_key, epoch, now))
            row = self.find_epoch(gateway, epoch)
            assert row is not None  # noqa: S101 -- it was inserted three lines above
        return row

    def mark_epoch(self, epoch: EpochRow) -> None:
        """The row or its ledger was changed: save it with the transaction."""
        self._changed_epochs[epoch.epoch_key] = epoch

    def _load_epoch(self, found: tuple[Any, ...]) -> EpochRow:
        epoch_key, gateway_key, name, head, events, audit, highest, seen = found
        ranges = self.db.execute(sql.SELECT_RANGES, (epoch_key,)).fetchall()
        window = ReplayWindow(highest, int.from_bytes(seen, "big"))
        ledger = Ledger(ranges)
        counts = (head, events, audit)
        row = EpochRow(epoch_key, gateway_key, name, *counts, window, ledger, dict(ranges))
        self._epochs[(gateway_key, name)] = row
        return row

    def _flush_epoch(self, epoch: EpochRow) -> None:
        window = epoch.window
        seen = window.seen.to_bytes(_WINDOW_SIZE, "big")
        parameters = (
            epoch.head,
            epoch.events,
            epoch.audit,
            window.highest,
            seen,
            epoch.epoch_key,
        )
        self.db.execute(sql.UPDATE_EPOCH, parameters)
        ranges = dict(epoch.ledger.ranges())
        gone = [(epoch.epoch_key, first) for first in epoch.saved if first not in ranges]
        new = [
            (epoch.epoch_key, first, last)
            for first, last in ranges.items()
            if epoch.saved.get(first) != last
        ]
        self.db.executemany(sql.DELETE_RANGE, gone)
        self.db.executemany(sql.PUT_RANGE, new)
        epoch.saved = ranges

    # ---- reading sets ---------------------------------------------------------------------------

    def add_sets(
        self, gateway: GatewayRow, epoch: EpochRow, sets: SetBatch, received_at: int
    ) -> Added:
        """Store those of `sets` that are new; EnvelopeError("fragmented") when that would leave
        more than RANGES_MAX holes."""
        ledger = epoch.ledger
        sequences = sets.sequences
        known: list[int] = []  # places of what is stored already
        if sequences[0] <= ledger.highest():
            known = [n for n, sequence in enumerate(sequences) if sequence in ledger]
            if known:
                fresh = [n for n, sequence in enumerate(sequences) if sequence not in ledger]
                conflicts = [sequences[n] for n in known if not self._is_stored(epoch, sets, n)]
                sets = sets.picked(fresh)
        if not known:
            conflicts = []
        new = runs(sets.sequences)
        if len(ledger) + len(new) > RANGES_MAX:
            _check_fragments(ledger, new)
        if new:
            self.begin()
            self._gather(gateway.gateway_key, epoch.epoch_key, sets, received_at)
            for first, last in new:
                ledger.add(first, last)
            self.mark_epoch(epoch)
        return Added(len(sets.sequences), len(known) - len(conflicts), conflicts)

    def _gather(self, gateway_key: int, epoch_key: int, sets: SetBatch, now: int) -> None:
        """Columns to rows, each name looked up once."""
        meters = {one: self._meter(gateway_key, one) for one in set(sets.meter_ids)}
        boots = {one: self._boot(one) for one in set(sets.boot_ids)}
        layouts = {one: self._layout(one) for one in set(sets.layouts)}
        self._sets += zip(
            repeat(epoch_key),
            sets.sequences,
            [meters[one] for one in sets.meter_ids],
            sets.read_at,
            sets.boot_at,
            [boots[one] for one in sets.boot_ids],
            sets.qualities,
            repeat(now),
            [layouts[one] for one in sets.layouts],
            sets.values,
            sets.origins,
            sets.flags,
            strict=False,  # the two that repeat have no end
        )

    def _flush_sets(self) -> None:
        if self._sets:
            self.db.executemany(sql.INSERT_SET, self._sets)
            self._sets = []

    def _is_stored(self, epoch: EpochRow, sets: SetBatch, place: int) -> bool:
        self._flush_sets()
        parameters = (epoch.epoch_key, sets.sequences[place])
        return bool(self.db.execute(sql.SELECT_SET, parameters).fetchone() == sets.content(place))

    def _meter(self, gateway_key: int, meter_id: str) -> int:
        parameters = (gateway_key, meter_id)
        return self._meters.get(parameters) or self._key(
            self._meters, parameters, sql.SELECT_METER_KEY, sql.INSERT_METER, parameters
        )

    def _boot(self, boot_id: bytes) -> int:
        return self._boots.get(boot_id) or self._key(
            self._boots, boot_id, sql.SELECT_BOOT_KEY, sql.INSERT_BOOT, (boot_id,)
        )

    def _layout(self, content: str) -> int:
        return self._layouts.get(content) or self._key(
            self._layouts, content, sql.SELECT_LAYOUT_KEY, sql.INSERT_LAYOUT, (content,)
        )

    def _key(
        self,
        cache: dict[Any, int],
        name: Any,
        select: str,
        insert: str,
        parameters: tuple[Any, ...],
    ) -> int:
        """The key of a name, given on its first use."""
        found = self.db.execute(select, parameters).fetchone()
        if found is None:
            self.db.execute(insert, parameters)
            found = self.db.execute(select, parameters).fetchone()
        key = cache[name] = int(found[0])
        return key

    # ---- meters and refusals --------------------------------------------------------------------

    def announce_meters(self, gateway: GatewayRow, meters: tuple[Any, ...]) -> None:
        """These ((meter_id, address), ...) are the gateway's meters, and no others."""
        self.begin()
        key = gateway.gateway_key
        self.db.execute(sql.WITHDRAW_METERS, (key,))
        self.db.executemany(sql.ANNOUNCE_METER, [(key, *meter) for meter in meters])

    def announcers(self, meter_id: str) -> list[tuple[str, str]]:
        """[(gateway_id, meter_address), ...] of the gateways whose last hello has the meter."""
        return self.db.execute(sql.SELECT_ANNOUNCERS, (meter_id,)).fetchall()

    def count_refusal(self, gateway_id: str, reason: str, now: int) -> None:
        """One more message refused."""
        if gateway_id not in self._refused:
            if len(self._refused) >= REFUSED_GATEWAYS_MAX:
                gateway_id = OTHER_GATEWAYS
            self._refused.add(gateway_id)
        entry = self._refusals.setdefault((gateway_id, reason), [0, now, now])
        entry[0] += 1
        entry[2] = now


def _check_fragments(ledger: Ledger, fresh: list[tuple[int, int]]) -> None:
    trial = Ledger(ledger.ranges())
    for first, last in fresh:
        trial.add(first, last)
    # A ledger at its limit must still take what closes a hole.
    if len(trial) > max(RANGES_MAX, len(ledger)):
        raise EnvelopeError("fragmented", f"more than {RANGES_MAX} ranges")
