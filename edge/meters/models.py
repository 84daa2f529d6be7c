"""Reads the meter models that come with Busbar, and those that an installer put beside them."""

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from edge.settings import MODBUS, MODBUS_TCP
from protocols.errors import SettingError
from protocols.modbus.model import Model, read_model
from protocols.obis import Obis

_SUFFIX = ".toml"


def load_models(meters: tuple[dict[str, Any], ...], config_path: Path) -> dict[str, Model]:
    """The models that `meters` name; SettingError when one is missing, wrong, or lacks a quantity.

    A file `meter_models/NAME.toml` beside the configuration goes before the one that we ship.
    """
    models: dict[str, Model] = {}
    for meter in meters:
        if meter["protocol"] not in (MODBUS, MODBUS_TCP):
            continue
        name = meter["model"]
        if name not in models:
            models[name] = _load(name, config_path, meter["id"])
        known = {register.obis for register in models[name].registers}
        for quantity in meter["quantities"] or ():
            if Obis.from_text(quantity) not in known:
                raise SettingError(
                    f"{config_path}: [[meter]] {meter['id']}: quantities: {quantity!r} is not"
                    f" allowed; meter model {name} does not have it"
                )
    return models


def _load(name: str, config_path: Path, meter_id: str) -> Model:
    shipped = files("protocols") / "meter_models"
    own = config_path.parent / "meter_models"
    places: tuple[Traversable, ...] = (own / (name + _SUFFIX), shipped / (name + _SUFFIX))
    for place in places:
        if "/" not in name and place.is_file():
            try:
                return read_model(name, tomllib.loads(place.read_text(encoding="utf-8")))
            except tomllib.TOMLDecodeError as error:
                raise SettingError(f"{place}: is not TOML: {error}") from error
    names = sorted(one.name.removesuffix(_SUFFIX) for one in shipped.iterdir())
    raise SettingError(
        f"{config_path}: [[meter]] {meter_id}: model = {name!r} is not allowed;"
        f" it must be a file of {own}, or one of " + ", ".join(one for one in names)
    )
