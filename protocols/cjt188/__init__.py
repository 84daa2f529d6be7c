"""CJ/T 188-2004, read side: water, gas and heat meters. Pure code; the line belongs to `edge/`."""
