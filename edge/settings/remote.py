"""A remote configuration over the local one: which of the two holds.

* The local edge.toml is the base. Each section that the remote configuration has stands for the
  whole section of that name ([[line]] and [[meter]]: for all of them); what it does not have stays.
* [gateway] is the installer's: a remote configuration may repeat it, and not change it.
* [mqtt] likewise, unless the local file says `remote_mqtt = true`: a gateway with a wrong broker is
  out of everybody's reach until its probation is over.
* [meter.control] is the installer's too: a remote configuration may leave it out, nothing else.
* [orders] is the installer's as well, and a meter that is protected here stays so, by its name and
  by its address: no single key far away may loosen what keeps cuts in bounds.

Pure: texts come in, settings go out.
"""

from pathlib import Path
from typing import Any

from edge.settings import Settings, check_settings, check_tables, meter_address, parse
from edge.settings.control import keep_control
from protocols.errors import SettingError

ADDRESS_SIZE = 12  # digits of an address that no other meter has
NAME = "the remote configuration"  # in sentences, in the place of a path


def overlay(path: Path, local_text: str, remote_text: str) -> Settings:
    """The settings of edge.toml at `path` with a remote configuration over it; SettingError with
    one sentence."""
    base = check_settings(path, local_text)
    settings = check_tables(path, parse(path, local_text) | parse(NAME, remote_text), NAME)
    _keep("gateway", base, settings)
    _keep("orders", base, settings)
    _keep_protected(base, settings)
    _keep_control(base, settings)
    if not base.gateway["remote_mqtt"]:
        _keep("mqtt", base, settings)
    return settings


def _keep(section: str, base: Settings, settings: Settings) -> None:
    before, after = getattr(base, section), getattr(settings, section)
    for key, value in after.items():
        if _plain(value) != _plain(before[key]):
            shown = str(value) if isinstance(value, Path) else value
            unless = " unless that allows remote_mqtt" if section == "mqtt" else ""
            raise SettingError(
                f"{NAME}: [{section}]: {key} = {shown!r} is not allowed; it must stay as edge.toml"
                f" has it{unless}"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _keep_protected(base: Settings, settings: Settings) -> None:
    kept = [meter for meter in base.meters if meter["protected"]]
    names, places = {meter["id"] for meter in kept}, {_place(meter) for meter in kept}
    for meter in settings.meters:
        is_kept = meter["id"] in names or _place(meter) in places
        if is_kept and not meter["protected"]:
            raise SettingError(
                f"{NAME}: [[meter]] {meter['id']}: protected = False is not allowed; it must stay"
                " as edge.toml has it"
            )


def _keep_control(base: Settings, settings: Settings) -> None:
    """What orders may do with a meter is said where somebody has seen it: under its name and at its
    address, word for word, or not at all."""
    own = {
        (meter["id"], meter["protocol"], _place(meter)): meter["control"] for meter in base.meters
    }
    for meter in settings.meters:
        place = (meter["id"], meter["protocol"], _place(meter))
        keep_control(own.get(place), meter["control"], f"{NAME}: [[meter]] {meter['id']}")


def _place(meter: dict[str, Any]) -> tuple[str, str]:
    """Where it answers: a long address names one meter on whatever line."""
    address = meter_address(meter)
    return ("" if len(address) >= ADDRESS_SIZE else meter["line"]), address
