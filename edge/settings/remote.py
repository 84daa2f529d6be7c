"""A remote configuration over the local one: which of the two holds.

* The local edge.toml is the base. Each section that the remote configuration has stands for the
  whole section of that name ([[line]] and [[meter]]: for all of them); what it does not have stays.
* [gateway] is the installer's: a remote configuration may repeat it, and not change it.
* [mqtt] likewise, unless the local file says `remote_mqtt = true`: a gateway with a wrong broker is
  out of everybody's reach until its probation is over.

Pure: texts come in, settings go out.
"""

from pathlib import Path

from edge.settings import Settings, check_settings, check_tables, parse
from protocols.errors import SettingError

NAME = "the remote configuration"  # in sentences, in the place of a path


def overlay(path: Path, local_text: str, remote_text: str) -> Settings:
    """The settings of edge.toml at `path` with a remote configuration over it; SettingError with
    one sentence."""
    base = check_settings(path, local_text)
    settings = check_tables(path, parse(path, local_text) | parse(NAME, remote_text), NAME)
    _keep("gateway", base, settings)
    if not base.gateway["remote_mqtt"]:
        _keep("mqtt", base, settings)
    return settings


def _keep(section: str, base: Settings, settings: Settings) -> None:
    before, after = getattr(base, section), getattr(settings, section)
    for key, value in after.items():
        if value != before[key]:
            shown = str(value) if isinstance(value, Path) else value
            unless = "" if section == "gateway" else " unless that allows remote_mqtt"
            raise SettingError(
                f"{NAME}: [{section}]: {key} = {shown!r} is not allowed; it must stay as edge.toml"
                f" has it{unless}"
            )
