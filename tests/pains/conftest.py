"""Fixtures: fake time, and a folder in memory."""

from tests.edge.conftest import clock, tmp_path

__all__ = ["clock", "tmp_path"]
