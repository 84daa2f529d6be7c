"""Another broker in the place of the one before: what still comes of that proves nothing of it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.sync import connecting
from edge.sync.connecting import Connecting
from edge.sync.transport import Arrived, Connected
from tests.edge.fakes import FakeClock, make_set
from tests.edge.uplink import FakeTransport, Uplink


@pytest.fixture
def uplink(tmp_path: Path, clock: FakeClock) -> Iterator[Uplink]:
    """Four rows are under way."""
    rig = Uplink(tmp_path, clock)
    rig.journaled(*[make_set(n) for n in range(4)])
    rig.connect()
    yield rig
    rig.crash()


def test_what_the_former_broker_still_delivers_proves_nothing(
    uplink: Uplink, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored all the same. A probation looks at `acknowledged_at`."""
    monkeypatch.setattr(connecting, "Transport", lambda *_: FakeTransport())
    own = Connecting(uplink.identity, uplink.events.put, clock.boot_ms)
    settings: Any = SimpleNamespace(mqtt={"tls": False})

    def ack(upto: int) -> Arrived:
        message = uplink.head_end.ack(uplink.journal.epoch, upto, (), time=clock.utc_ms())
        return Arrived(*message, False, uplink.note_acknowledged)

    uplink.events.put(ack(2))
    own.reconnect(uplink.session, settings)
    since = clock.boot_ms()
    clock.advance(500)
    uplink.turn()
    assert uplink.stored() == [(1, 2)]
    assert own.acknowledged_at(uplink.session) <= since
    clock.advance(500)
    uplink.turn(Connected(), ack(4))
    assert uplink.stored() == [(1, 4)]
    assert own.acknowledged_at(uplink.session) > since
