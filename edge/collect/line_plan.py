"""What one line has to do, built from its settings: its meters, their tasks, what they take."""

from typing import Any, NamedTuple

from edge.collect.groups import tasks_of
from edge.collect.schedule import Task
from edge.collect.shares import Share, share_of
from edge.collect.watch import MeterWatch
from edge.line.line import Wire
from edge.meters.credentials import FILE_NAME, CredentialFile
from edge.meters.drivers import build_driver
from edge.meters.learned import Learned
from edge.settings import Settings, wire_of
from protocols.modbus.model import Model


class LinePlan(NamedTuple):
    """Meters by their id, and the tasks of all of them."""

    watches: dict[str, MeterWatch]
    tasks: list[Task]

    def shares(self) -> list[Share]:
        """What each register group takes of the line."""
        return [share_of(task, self.watches[task.meter_id]) for task in self.tasks]


def plan_line(
    line: dict[str, Any], settings: Settings, models: dict[str, Model], learned: Learned
) -> LinePlan:
    """The plan of a checked [[line]] section."""
    own = [meter for meter in settings.meters if meter["line"] == line["id"]]
    credentials = CredentialFile(settings.gateway["identity_dir"] / FILE_NAME)
    return LinePlan(
        {meter["id"]: _watch(meter, line, models, learned, credentials) for meter in own},
        [task for meter in own for task in tasks_of(meter)],
    )


def wire(section: dict[str, Any]) -> Wire:
    """How to talk, of a section that says it all."""
    return Wire(*(section[key] for key in Wire._fields))


def _watch(
    meter: dict[str, Any],
    line: dict[str, Any],
    models: dict[str, Model],
    learned: Learned,
    credentials: CredentialFile,
) -> MeterWatch:
    own = wire_of(meter, line)
    driver = build_driver(meter, models, learned, credentials)
    return MeterWatch(meter, driver, wire(own), own["retries"])
