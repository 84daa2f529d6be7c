"""Commands as an operator runs them."""

import pytest

from cloud.__main__ import main
from tests.cloud.world import World


class Console:
    """Runs a command of this world, and takes what it prints."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        assert main([*words, "--config", str(self.world.config)]) == code
        out = self._capsys.readouterr()
        self.err = out.err
        return out.out

    def refused(self, *words: str) -> str:
        """The one sentence of a command that ends with 2."""
        assert self(*words, code=2) == ""
        assert self.err.startswith("busbar-cloud: ") and self.err.count("\n") == 1
        return self.err
