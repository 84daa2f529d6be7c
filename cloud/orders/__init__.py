"""Orders: signed here, decided by the gateway, followed to a final state."""
