"""How each kind of meter is read: drivers over a line, and the adapter to pymodbus."""
