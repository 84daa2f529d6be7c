"""The only place that opens a tty (or `socket://`, `rfc2217://`).

A port is opened once, exclusively, with every setting given at that moment: changing one later
makes the kernel refuse parity on some drivers. Reads never block longer than asked, and an
unplugged adapter raises PortLostError, after which the line opens the port again.
"""

import contextlib
import select
import termios
from typing import Any, Protocol

import serial

from protocols.errors import LineError

READ_SIZE_MAX = 4096  # bytes a read takes at once
_POLL_S = 0.002  # for ports without a file descriptor (rfc2217)


class PortLostError(LineError):
    """The port cannot be opened, or went away."""


class Port(Protocol):
    """Bytes out, bytes in."""

    def configure(self, baud: int, parity: str, stop_bits: int) -> None:
        """The characters of the next `open`."""

    def open(self) -> None:
        """Opens the port; PortLostError when it cannot."""

    def close(self) -> None:
        """Closes it; harmless when closed."""

    def write(self, data: bytes) -> None:
        """Hands all bytes to the driver."""

    def read(self, timeout_s: float) -> bytes:
        """What is there, waiting up to `timeout_s` for the first byte; b"" when nothing came."""


class SerialPort:
    """A port by pyserial's URL: a device path, socket:// or rfc2217://."""

    def __init__(self, url: str, baud: int, parity: str, stop_bits: int) -> None:
        self._url = url
        self._settings: dict[str, Any] = {"timeout": 0}
        self.configure(baud, parity, stop_bits)
        if "://" not in url:
            self._settings["exclusive"] = True
        self._serial: serial.SerialBase | None = None
        self._fd: int | None = None

    def configure(self, baud: int, parity: str, stop_bits: int) -> None:
        """The characters of the next `open`."""
        self._settings.update(baudrate=baud, parity=parity, stopbits=stop_bits)

    def open(self) -> None:
        """Opens it exclusively, and throws away what the driver had kept."""
        try:
            self._serial = serial.serial_for_url(self._url, **self._settings)
        except (OSError, ValueError, termios.error) as error:
            raise PortLostError(f"{self._url} cannot be opened: {error}") from error
        try:
            self._fd = self._serial.fileno()
        except (AttributeError, OSError):
            self._fd = None

    def close(self) -> None:
        """Closes it, whatever state it is in."""
        port, self._serial = self._serial, None
        if port is not None:
            with contextlib.suppress(OSError, termios.error):
                port.close()

    def write(self, data: bytes) -> None:
        """PortLostError when the adapter is gone."""
        try:
            self._open_port().write(data)
        except (OSError, termios.error) as error:
            raise PortLostError(f"{self._url}: {error}") from error

    def read(self, timeout_s: float) -> bytes:
        """PortLostError when the adapter is gone."""
        port = self._open_port()
        try:
            if self._fd is not None:
                if not select.select([self._fd], [], [], max(timeout_s, 0))[0]:
                    return b""
                return self._received(port.read(READ_SIZE_MAX), readable=True)
            return self._received(self._poll(port, timeout_s), readable=False)
        except (OSError, ValueError, termios.error) as error:
            raise PortLostError(f"{self._url}: {error}") from error

    def _received(self, data: bytes, readable: bool) -> bytes:
        if readable and not data:
            raise PortLostError(f"{self._url}: readable and empty, so unplugged")
        return data

    def _poll(self, port: serial.SerialBase, timeout_s: float) -> bytes:
        waited = 0.0
        while True:
            data: bytes = port.read(READ_SIZE_MAX)
            if data or waited >= timeout_s:
                return data
            select.select([], [], [], _POLL_S)
            waited += _POLL_S

    def _open_port(self) -> serial.SerialBase:
        if self._serial is None:
            raise PortLostError(f"{self._url} is not open")
        return self._serial
