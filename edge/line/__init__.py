"""One half-duplex RS-485 segment: the tty, the exchange on it, and the arithmetic of both."""
