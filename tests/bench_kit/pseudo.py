"""Bench `pty`: the gateway's own port on a pseudo tty, `hil/line.py` behind it in real time, and
pymodbus's server for Modbus meters. A pty knows no parity, no RTS and no voltage.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge.line.port import SerialPort
from hil.faults import Fault
from hil.line import Line
from hil.modbus_station import ModbusMeter, ModbusStation
from tests.bench_kit.bench import Bench, BenchLine, WallClock, line_settings
from tests.bench_kit.features import FEATURES
from tests.bench_kit.meters import BenchMeter, make_meter


class PtyFarEnd:
    """A virtual line and what stands on it."""

    def __init__(self, line: Line, stack: ExitStack) -> None:
        self._line = line
        self._stack = stack

    def attach(self, meter: BenchMeter) -> None:
        """A Modbus meter gets a server of its own, at a tty of its own."""
        if not isinstance(meter.station, ModbusMeter):
            self._line.attach(meter.station)
            return
        server = ModbusStation([meter.station], meter.address)
        path = self._line.attach_external(
            server.name, accepts=server.accepts, delay_of=server.delay_of
        )
        server.start(path, self._line.baud)
        self._stack.callback(server.stop)  # before its line: a server hates a hung-up tty

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """As the line."""
        self._line.set_faults(faults)

    def unplug(self) -> None:
        """As the line."""
        self._line.unplug()

    def replug(self) -> None:
        """As the line."""
        self._line.replug()


class PtyBench(Bench):
    """Paced lines in real time."""

    name = "pty"
    features = frozenset(FEATURES) - {"virtual-time", "parity"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock: WallClock = WallClock()
        self._stack = ExitStack()

    def close(self) -> None:
        """Ends servers and lines."""
        super().close()
        self._stack.close()

    def _make_line(self, **options: Any) -> BenchLine:
        settings = line_settings(options)
        line = Line(
            self.folder / f"line{len(self._lines)}",
            baud=settings["baud"],
            echo=options.get("echo", False),
            seed=options.get("seed", 0),
        )
        self._stack.enter_context(line)
        far_end = PtyFarEnd(line, self._stack)

        def make(
            on: BenchLine, protocol: str, address: str, allows: str = "", **more: Any
        ) -> BenchMeter:
            meter = make_meter(protocol, address, self.clock.utc_ms, more)
            far_end.attach(meter)
            return meter

        port = SerialPort(str(line.link), settings["baud"], "N", settings["stop_bits"])
        return BenchLine(port, settings, self.clock, far_end, make)


def make_bench(folder: Path, bench_file: Path | None) -> Bench:
    """This bench; it needs no file."""
    return PtyBench(folder)
