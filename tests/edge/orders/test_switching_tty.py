"""Orders over a tty and the simulated wire of `hil/`: its own thread, collisions, an echo."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.line.line import Line
from edge.line.port import SerialPort
from edge.orders.line_work import LineTerms
from hil.line import Line as VirtualLine
from protocols.dlt645.relay import OPEN_BIT
from protocols.orders.refusals import code_of
from protocols.orders.states import OrderState
from tests.edge.history_rig import WIRE
from tests.edge.orders.line_rig import LineRig


@contextmanager
def on_a_tty(rig: LineRig, folder: Path, meters: int = 1, echo: bool = False) -> Iterator[None]:
    """The rig's meter, and others of its address, on a virtual line that is not paced."""
    stations = [rig.meter, *(rig.make_meter(phases=2) for _ in range(meters - 1))]
    line = VirtualLine(folder / "tty", paced=False, echo=echo)
    with line:
        for station in stations:
            line.attach(station)
        port = SerialPort(str(folder / "tty"), 2400, "N", 1)
        rig.line = Line("line-1", port, WIRE._replace(parity="N"), time.monotonic)
        rig.terms = LineTerms(verify_ms=1, verify_for_ms=1)
        try:
            yield
        finally:
            rig.line.close()


@pytest.mark.parametrize("echo", [False, True])
def test_an_order_is_carried_out_over_a_tty(tmp_path: Path, echo: bool) -> None:
    """From the reads to the confirmation, with an adapter that returns our own bytes or not."""
    rig = LineRig(tmp_path)
    with on_a_tty(rig, tmp_path, echo=echo):
        gate = rig.run("disconnect")
        assert gate.end == OrderState.CONFIRMED
        assert rig.meter.relay.word_bits >> OPEN_BIT & 1
        assert rig.run("arm").end == OrderState.CONFIRMED


def test_t13_on_a_line_with_two_meters_of_one_address_nobody_is_cut(tmp_path: Path) -> None:
    """T13: where their answers differ they destroy each other, and a cut is not even sent."""
    rig = LineRig(tmp_path)
    with on_a_tty(rig, tmp_path, meters=2):
        gate = rig.run("disconnect", retries=0)
        assert gate.end == OrderState.REFUSED
        assert code_of(gate.reasons[-1]) in ("meter-silent", "identity")
        assert rig.meter.relay.word_bits == 0
