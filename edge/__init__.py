"""The gateway: lines, journal, sync and orders. The composition root is `agent.py`."""
