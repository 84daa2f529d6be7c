"""The gateway's local face: its socket, what may be asked there, its metrics page."""
