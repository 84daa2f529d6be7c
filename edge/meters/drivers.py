"""Which driver reads a meter."""

from typing import Any

from edge.meters.cjt188_driver import Cjt188Driver
from edge.meters.dlt645_driver import Dlt645Driver
from edge.meters.driver import Driver
from edge.meters.learned import Learned
from edge.meters.modbus_driver import ModbusDriver
from edge.settings import CJT188, DLT645
from protocols.modbus.model import Model


def build_driver(settings: dict[str, Any], models: dict[str, Model], learned: Learned) -> Driver:
    """The driver of a checked meter section."""
    if settings["protocol"] == DLT645:
        return Dlt645Driver(settings)
    if settings["protocol"] == CJT188:
        return Cjt188Driver(settings)
    model = models[settings["model"]]
    return ModbusDriver(settings, model, learned.of(settings["id"], model))
