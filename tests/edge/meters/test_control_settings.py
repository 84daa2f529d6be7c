"""[meter.control]: from edge.toml to the driver, and what a remote configuration may not do to
it."""

from pathlib import Path

import pytest

from edge.collect.line_plan import plan_line
from edge.meters.dlt645_control import Dlt645Control
from edge.meters.learned import Learned
from edge.meters.models import load_models
from edge.settings import load_settings
from edge.settings.remote import overlay
from protocols.errors import SettingError
from tests.edge.fakes import FakeClock
from tests.edge.test_settings import CONTROL, changed, write_config

REMOTE = """
[[line]]
id = "line-1"
port = "/dev/ttyUSB0"

[[meter]]
id = "{name}"
line = "line-1"
protocol = "dlt645-2007"
address = "{address}"
{control}
"""
TABLE = '[meter.control]\nplain = ["disconnect", "arm"]\nlevels = ["02"]\n'


def test_the_driver_has_what_the_settings_say(tmp_path: Path, clock: FakeClock) -> None:
    """With the credentials of the identity folder; a meter without a table is only read."""
    settings = load_settings(write_config(tmp_path, changed("meter", 0, control=CONTROL)))
    line = next(one for one in settings.lines if one["id"] == settings.meters[0]["line"])
    models = load_models(settings.meters, settings.path)
    plan = plan_line(line, settings, models, Learned(tmp_path, clock))
    meter = settings.meters[0]
    control = plan.watches[meter["id"]].driver.control
    assert isinstance(control, Dlt645Control)
    assert (control.assurance, control.no_current_ma) == ("usual", 50)
    settings = load_settings(write_config(tmp_path, changed("meter", 0)))
    plan = plan_line(line, settings, models, Learned(tmp_path, clock))
    assert plan.watches[meter["id"]].driver.control is None


@pytest.mark.parametrize(
    ("name", "address", "control", "is_taken"),
    [
        ("own", "own", TABLE, True),
        ("own", "own", "", True),
        ("own", "000000000999", TABLE, False),  # another meter under its name
        ("m-new", "own", TABLE, False),
        ("m-new", "000000000999", "", True),
        ("own", "own", TABLE.replace('"arm"', '"connect"'), False),
        ("own", "own", TABLE + "no_current_ma = 9000\n", False),
    ],
)
def test_a_remote_configuration_may_only_leave_it_out(
    tmp_path: Path, name: str, address: str, control: str, is_taken: bool
) -> None:
    """Or repeat it for the same meter: who configures from afar does not decide who is cut."""
    path = write_config(tmp_path, changed("meter", 0, control=CONTROL))
    own = load_settings(path).meters[0]
    text = REMOTE.format(
        name=own["id"] if name == "own" else name,
        address=own["address"] if address == "own" else address,
        control=control,
    )
    if is_taken:
        (meter,) = overlay(path, path.read_text(), text).meters
        assert (meter["control"] is not None) == bool(control)
        return
    with pytest.raises(SettingError, match=r"\[meter.control\] is not allowed; it must be as"):
        overlay(path, path.read_text(), text)
