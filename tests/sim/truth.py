"""What the meters showed, by their own logs: the truth that every reading is held against."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.sim.rows import exact


class Truth:
    """All meters of a world."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)

    def log_of(self, meter_id: str) -> Callable[[dict[str, object]], None]:
        """For hil's meters: takes what one shows."""

        def log(record: dict[str, Any]) -> None:
            value = record["value"]
            if "obis" in record and isinstance(value, int):
                shown = exact(value, record["scaler"])
                key = (meter_id, record["obis"])
                self._shown[key].append((record["t_ms"], shown, record["unit"]))

        return log

    def was_shown(self, meter_id: str, obis: str, shown: int, unit: str, since_ms: float) -> bool:
        """Whether the meter showed this since then (UTC ms)."""
        for at, value, its_unit in reversed(self._shown[(meter_id, obis)]):
            if at < since_ms:
                return False
            if (value, its_unit) == (shown, unit):
                return True
        return False
