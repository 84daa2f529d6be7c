"""The snapshot of the running agent."""

from pathlib import Path
from typing import Any

from edge.local.client import ask_once
from edge.local.lines import SOCKET_NAME, STATUS, NotRunningError

__all__ = ["SOCKET_NAME", "NotRunningError", "ask"]


def ask(folder: Path) -> dict[str, Any]:
    """What the agent that owns `folder` knows; NotRunningError without one."""
    return ask_once(folder, STATUS)
