"""Opens a network that can be hurt, or says in one sentence why this machine gives none."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hil.namespace import TOOLS, Namespace, NamespaceError

TRIED_KBIT = 1_000


@contextmanager
def hurtable_network(require: Callable[..., None]) -> Iterator[Namespace]:
    """A namespace whose every kind of fault was tried. Without root, in a container that forbids
    it, or on a kernel without nf_tables or tbf, a skip: no package mends that."""
    if os.geteuid() != 0:
        pytest.skip("no network was hurt here: a network namespace needs root")
    require(*TOOLS)
    network = Namespace()
    try:
        network.__enter__()
        network.lose(1)
        network.slow(TRIED_KBIT)
        network.heal()
    except NamespaceError as error:
        network.close()
        pytest.skip(f"no network was hurt here: {error}")
    try:
        yield network
    finally:
        network.close()
