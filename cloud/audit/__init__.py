"""The tamper-evident log of the head end: every transition, refusal and read-back of an order."""
