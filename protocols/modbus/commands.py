"""What a model's write map can do to one meter: request PDUs, and what the answers say.

* A command goes to one unit. Unit 0, which every meter on the line obeys, cannot be expressed.
* A command is sent once. When no answer comes, nobody knows whether it was done: the caller reads
  the state, and does not repeat the write.
* The echo of the request says that the meter took it, not that the relay moved; `has_state` does.
"""

from collections import namedtuple

from protocols.errors import CallerError, LineError, RefusedError, UnsupportedError
from protocols.modbus.exceptions import EXCEPTION_BIT, UNSUPPORTED, exception_name
from protocols.modbus.model import READ_COILS, READ_INPUTS, WRITE_COIL, WRITE_REGISTERS, Model

UNIT_MAX = 247  # Modbus over serial line 1.02, 2.2; 0 is the broadcast
_COIL_ON = 0xFF00  # application protocol 1.1b3, 6.5; off is 0000


class WriteCommand(namedtuple("WriteCommand", ("unit", "write"))):
    """A named write of a model (`protocols.modbus.model.Write`) to one unit; made by
    `write_command`. PDUs are without unit and checksum, as RTU and TCP both carry them."""

    def pdu(self) -> bytes:
        """The request that writes."""
        write = self.write
        value = write.value
        if write.function == WRITE_COIL:
            value = _COIL_ON if value else 0
        head = bytes([write.function]) + write.address.to_bytes(2, "big")
        if write.function == WRITE_REGISTERS:
            head += b"\x00\x01\x02"  # one register, two bytes
        return head + value.to_bytes(2, "big")

    def check_reply(self, pdu: bytes) -> None:
        """Nothing when the reply is the echo that is due: the request, or its first five bytes from
        function 16 (application protocol 1.1b3, 6.5, 6.6, 6.12). RefusedError, or UnsupportedError
        when the meter does not have it, for an exception; LineError for anything else."""
        _check_exception(self.unit, self.write.function, pdu)
        if pdu != self.pdu()[:5]:
            raise LineError(f"unit {self.unit} answered the {self.write.name} with something else")

    def state_pdu(self) -> bytes:
        """The request that reads the state back."""
        address = self.write.state_address
        return bytes([self.write.state_function]) + address.to_bytes(2, "big") + b"\x00\x01"

    def has_state(self, pdu: bytes) -> bool:
        """Whether the reply to `state_pdu` shows the state that the command leads to. Errors as
        `check_reply`."""
        function = self.write.state_function
        _check_exception(self.unit, function, pdu)
        size = 1 if function in (READ_COILS, READ_INPUTS) else 2
        if len(pdu) != 2 + size or pdu[:2] != bytes([function, size]):
            raise LineError(f"unit {self.unit} answered the read of its state with something else")
        state = int.from_bytes(pdu[2:], "big")
        return bool(state & self.write.state_mask == self.write.state_value)


def write_command(model: Model, name: str, unit: int) -> WriteCommand:
    """The command `name` of the model's write map to the meter `unit`. CallerError when the model
    has no such write, or when `unit` is not one meter."""
    if isinstance(unit, bool) or not isinstance(unit, int) or not 1 <= unit <= UNIT_MAX:
        raise CallerError(f"unit {unit!r} is not allowed; a command goes to one unit, 1 to 247")
    for write in model.writes:
        if write.name == name:
            return WriteCommand(unit, write)
    raise CallerError(f"meter model {model.name} has no {name}")


def _check_exception(unit: int, function: int, pdu: bytes) -> None:
    if len(pdu) != 2 or pdu[0] != function | EXCEPTION_BIT:
        return
    code = pdu[1]
    name = exception_name(code)
    message = f"unit {unit} refused with exception {code:02X} ({name})"
    if code in UNSUPPORTED:
        raise UnsupportedError(message, code, (name,))
    raise RefusedError(message, code, (name,))
