"""DL/T 645-2007: frames, exchanges and values. Pure code; the line belongs to `edge/line`."""
