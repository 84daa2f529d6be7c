"""Which driver reads a meter."""

from typing import Any

from edge.meters.cjt188_driver import Cjt188Driver
from edge.meters.credentials import CredentialFile
from edge.meters.dlt645_control import Dlt645Control
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.driver import Driver
from edge.meters.learned import Learned
from edge.meters.modbus_control import ModbusControl
from edge.meters.modbus_driver import ModbusDriver
from edge.settings import CJT188, DLT645
from protocols.modbus.model import Model


def build_driver(
    settings: dict[str, Any],
    models: dict[str, Model],
    learned: Learned,
    credentials: CredentialFile | None = None,
) -> Driver:
    """The driver of a checked meter section; `credentials` are what its orders may need."""
    table = settings.get("control")
    if settings["protocol"] == DLT645:
        meter = Dlt645Driver(settings)
        if table is not None and credentials is not None:
            meter.control = Dlt645Control(meter, table, credentials)
        return meter
    if settings["protocol"] == CJT188:
        return Cjt188Driver(settings)
    model = models[settings["model"]]
    unit = ModbusDriver(settings, model, learned.of(settings["id"], model))
    if table is not None and model.writes:
        unit.control = ModbusControl(unit, model, table)
    return unit
