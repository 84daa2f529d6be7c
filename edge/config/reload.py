"""New settings while the gateway runs: checked whole first, then only what they touch is touched.

* `difference` is the one table of what a change means. A line whose section, meters or meter models
  changed is rebuilt alone; unchanged lines do not notice. [collect] rebuilds them all: what they
  catch up is built by it. [mqtt] reconnects. The other sections apply in place.
* What the state folder, the identity and the topics hang on needs a restart, and is refused.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.collect.line_plan import plan_line
from edge.collect.shares import check_load, load_of
from edge.lines import Lines
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.settings import Settings
from protocols.errors import SettingError
from protocols.modbus.model import Model

RESTART_KEYS = ("id", "tenant", "state_dir", "identity_dir")  # of [gateway]
SECTIONS = ("gateway", "mqtt", "journal", "uplink", "collect", "local", "orders")


class Checked(NamedTuple):
    """Settings that can run: their meter models are there, and each line has time for its own."""

    settings: Settings
    models: dict[str, Model]
    loads: dict[str, float]  # line -> the part of its time that is taken


class Difference(NamedTuple):
    """What new settings touch; lines by their ids."""

    added: tuple[str, ...]
    rebuilt: tuple[str, ...]
    removed: tuple[str, ...]
    sections: tuple[str, ...]  # of SECTIONS
    restart: tuple[str, ...]  # keys of [gateway] that only a restart can change

    @property
    def touches_lines(self) -> bool:
        """Whether any line is."""
        return bool(self.added or self.rebuilt or self.removed)

    def text(self) -> str:
        """In words."""
        parts = [
            f"{what} {', '.join(names)}"
            for what, names in (
                ("new lines", self.added),
                ("lines rebuilt", self.rebuilt),
                ("lines removed", self.removed),
                ("changed", tuple(f"[{name}]" for name in self.sections)),
            )
            if names
        ]
        return "; ".join(parts) or "nothing changes"


def check_whole(settings: Settings, clock: Clock) -> Checked:
    """SettingError with one sentence when they cannot run."""
    models = load_models(settings.meters, settings.path)
    # Its own view of the file: a check must not disturb what the running lines learn.
    learned = Learned(settings.gateway["state_dir"], clock)
    loads = {}
    for line in settings.lines:
        shares = plan_line(line, settings, models, learned).shares()
        if not settings.gateway["allow_over_budget"]:
            check_load(line["id"], shares)
        loads[line["id"]] = load_of(shares)
    return Checked(settings, models, loads)


def difference(old: Checked, new: Checked) -> Difference:
    """What `new` touches of a gateway that runs `old`."""
    before = {line["id"]: _line_parts(line, old) for line in old.settings.lines}
    after = {line["id"]: _line_parts(line, new) for line in new.settings.lines}
    return Difference(
        tuple(name for name in after if name not in before),
        tuple(name for name in after if name in before and after[name] != before[name]),
        tuple(name for name in before if name not in after),
        tuple(
            name for name in SECTIONS if getattr(old.settings, name) != getattr(new.settings, name)
        ),
        tuple(
            key for key in RESTART_KEYS if old.settings.gateway[key] != new.settings.gateway[key]
        ),
    )


def _line_parts(line: dict[str, Any], checked: Checked) -> list[Any]:
    """All that a line is built from."""
    meters = [meter for meter in checked.settings.meters if meter["line"] == line["id"]]
    models = [checked.models.get(meter.get("model", "")) for meter in meters]
    # Whoever may correct clocks is asked each time, so that alone rebuilds nothing.
    collect = {**checked.settings.collect, "correct_meter_clocks": None}
    return [line, meters, models, collect]


class Reloader:
    """Holds the settings in force. `places`: section -> what applies a change of it; `check` may
    refuse settings with a SettingError; `meters_changed` is called while the lines that change
    stand still."""

    def __init__(
        self,
        checked: Checked,
        lines: Lines,
        places: dict[str, Callable[[Settings], None]],
        check: Callable[[Settings], object],
        meters_changed: Callable[[Settings], None],
    ) -> None:
        self.checked = checked
        self._lines = lines
        self._places = places
        self._check = check
        self._meters_changed = meters_changed
        self._lock = threading.Lock()

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.checked.settings

    def judge(self, new: Checked) -> Difference:
        """What it would touch; SettingError when that needs a restart, or can not be."""
        change = difference(self.checked, new)
        if change.restart:
            raise SettingError(
                f"{new.settings.path}: [gateway]: a change of {', '.join(change.restart)} needs a"
                " restart; nothing was changed"
            )
        self._check(new.settings)
        return change

    def apply(self, new: Checked) -> Difference:
        """Puts them in force; SettingError as above, and nothing is changed."""
        with self._lock:
            change = self.judge(new)
            if change.touches_lines:
                self._lines.replace(
                    (*change.rebuilt, *change.removed),
                    new.settings,
                    new.models,
                    lambda: self._meters_changed(new.settings),
                )
            self.checked = new
            for section in change.sections:
                place = self._places.get(section)
                if place is not None:
                    place(new.settings)
            return change
