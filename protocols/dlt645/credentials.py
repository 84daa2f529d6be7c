"""Who asks: password level, password and operator code, as they stand in a request.

Wire order PA P0 P1 P2 C0 C1 C2 C3: the level first, then the digits low byte first; level 02,
password 123456, operator 12345678 is 02 56 34 12 78 56 34 12. A smaller level is more powerful; 98
and 99 stand for an identity that the meter's security module has proven, and carry no password.
"""

from collections import namedtuple

from protocols.bcd import decode_digits
from protocols.errors import CallerError, ValueFormatError

LEVEL_MAX = 9
CIPHERED = 0x98  # ciphertext and authentication code
AUTHENTICATED = 0x99  # plain text and authentication code
SECURED_LEVELS = (CIPHERED, AUTHENTICATED)
CREDENTIALS_SIZE = 8
_DIGITS = "0123456789"


class Credentials(namedtuple("Credentials", ("level", "password", "operator"))):
    """A plaintext password: `level` 0 to 9, six and eight digits in reading order. Its text never
    shows the password."""

    def __repr__(self) -> str:
        return f"Credentials(level={self.level}, password=••, operator={self.operator})"

    __str__ = __repr__

    def to_bytes(self) -> bytes:
        """PA P0 P1 P2 C0..C3. CallerError when a part is not what it should be, without saying
        the password."""
        return password_bytes(self.level, self.password) + operator_bytes(self.operator)


def password_bytes(level: int, password: str) -> bytes:
    """PA P0 P1 P2; CallerError, which does not repeat the password, when it does not fit."""
    if not 0 <= level <= LEVEL_MAX:
        raise CallerError(f"password level {level} is not allowed; it must be 0 to {LEVEL_MAX}")
    if len(password) != 6 or any(digit not in _DIGITS for digit in password):
        raise CallerError("the password is not allowed; it must be six digits")
    return bytes((level,)) + bytes(reversed(bytes.fromhex(password)))


def operator_bytes(operator: str) -> bytes:
    """C0..C3; CallerError when it is not eight digits."""
    if len(operator) != 8 or any(digit not in _DIGITS for digit in operator):
        raise CallerError(f"operator {operator!r} is not allowed; it must be eight digits")
    return bytes(reversed(bytes.fromhex(operator)))


def credentials_from_bytes(data: bytes) -> Credentials:
    """The credentials in PA P0 P1 P2 C0..C3; ValueFormatError when they are none in plain text."""
    if len(data) != CREDENTIALS_SIZE or data[0] > LEVEL_MAX:
        raise ValueFormatError("no password of levels 00 to 09 stands here")
    return Credentials(data[0], decode_digits(data[1:4]), decode_digits(data[4:8]))
