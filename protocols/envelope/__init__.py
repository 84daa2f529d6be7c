"""The sealed envelope: sign, then encrypt, both ways, so that a broker is only a carrier."""
