"""Keys: what is read at the start, what is read again, and what never is shown."""

import json
from typing import Any

import pytest

from cloud.identity.keyring import Registry, load_config_keys, load_own_keys
from protocols.envelope.keys import Use
from protocols.errors import EnvelopeError, SettingError
from tests.cloud.world import NOW, TENANT, FakeClock, World, make_key


def change(world: World, name: str, **fields: Any) -> None:
    path = world.identity / name
    document = json.loads(path.read_text())
    document.update(fields)
    path.write_text(json.dumps(document))


def test_own_keys_are_found_by_use(world: World) -> None:
    """The newest valid one signs; every key to open with stays."""
    older = make_key("head-end", Use.OPEN)
    later = make_key("head-end", Use.SIGN_ACK)
    later = later._replace(record=later.record._replace(not_before=NOW - 5))
    future = make_key("head-end", Use.SIGN_ACK)
    future = future._replace(record=future.record._replace(not_before=NOW + 5))
    current = world.own[Use.SIGN_ACK]
    world.own |= {"a": older, "b": later, "c": future}
    world.write_keys()
    own = load_own_keys(world.identity, TENANT, world.clock)
    assert own.current(Use.SIGN_ACK, NOW).record.kid == later.record.kid != current.record.kid
    assert own.current(Use.SIGN_ACK, NOW + 5).record.kid == future.record.kid
    assert set(own.opening) == {world.own[Use.OPEN].record.kid, older.record.kid}
    with pytest.raises(EnvelopeError):
        own.current(Use.SIGN_DATA, NOW)


@pytest.mark.parametrize("use", [Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN])
def test_a_missing_or_expired_key_is_named(use: str, world: World) -> None:
    """Each use needs a valid key at the start."""
    key = world.own.pop(use)
    world.write_keys()
    with pytest.raises(SettingError, match=f"there is no valid key for {use}"):
        load_own_keys(world.identity, TENANT, world.clock)
    world.own[use] = key._replace(record=key.record._replace(not_after=NOW - 1))
    world.write_keys()
    with pytest.raises(SettingError, match=f"there is no valid key for {use}"):
        load_own_keys(world.identity, TENANT, FakeClock(NOW))


def test_the_configuration_key_is_in_a_file_of_its_own(world: World) -> None:
    """The service starts without it and does not read it; who configures finds it alone there."""
    key = make_key("head-end", Use.SIGN_CONFIG)
    row = {"record": key.record.to_json(), "private": key.private.hex()}
    document = {"party": "head-end", "tenant": TENANT, "keys": [row]}
    with pytest.raises(SettingError, match=r"config-keys\.json: cannot be read"):
        load_config_keys(world.identity, TENANT, world.clock)
    (world.identity / "config-keys.json").write_text(json.dumps(document))
    own = load_config_keys(world.identity, TENANT, world.clock)
    assert own.current(Use.SIGN_CONFIG, NOW) == key
    with pytest.raises(EnvelopeError):
        load_own_keys(world.identity, TENANT, world.clock).current(Use.SIGN_CONFIG, NOW)
    (world.identity / "config-keys.json").write_text(json.dumps(document | {"keys": []}))
    with pytest.raises(SettingError, match="there is no valid key for sign-config"):
        load_config_keys(world.identity, TENANT, world.clock)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"party": "gw1"}, "party is 'gw1'; it must be 'head-end'"),
        ({"tenant": "t2"}, "tenant is 't2'; cloud.toml says 't1'"),
        ({"keys": None}, "holds something that is no key"),
        ({"keys": [{"record": {}, "private": "00"}]}, "holds something that is no key"),
    ],
)
def test_a_key_file_that_is_none(fields: dict[str, Any], said: str, world: World) -> None:
    """One sentence with the file's name."""
    change(world, "keys.json", **fields)
    with pytest.raises(SettingError, match=said) as caught:
        load_own_keys(world.identity, TENANT, world.clock)
    assert str(world.identity / "keys.json") in str(caught.value)


def test_a_damaged_private_key_is_not_shown(world: World) -> None:
    """Neither in the sentence nor in what it was raised from."""
    path = world.identity / "keys.json"
    secret = world.own[Use.SIGN_ORDER].private.hex()
    path.write_text(path.read_text().replace(secret, f"{secret}zz"))
    with pytest.raises(SettingError) as caught:
        load_own_keys(world.identity, TENANT, world.clock)
    error: BaseException | None = caught.value
    while error is not None:
        assert secret[:8] not in str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tenant": "t2"}, "tenant is 't2'"),
        ({"version": "1"}, "version is '1'; it must be a whole number"),
        ({"version": -1}, "version is -1"),
        ({"keys": [{}]}, "holds something that is no key"),
        ({"keys": 3}, "holds something that is no key"),
    ],
)
def test_a_registry_that_is_none(fields: dict[str, Any], said: str, world: World) -> None:
    """Refused at the start; while running the last good one stays."""
    path = world.identity / "registry.json"
    registry = Registry(path, TENANT)
    good = registry.keys()
    change(world, "registry.json", **fields)
    with pytest.raises(SettingError, match=said):
        Registry(path, TENANT)
    registry.age()
    assert registry.keys() is good


@pytest.mark.parametrize("field", ["not_before", "not_after", "revoked", "owner"])
def test_terms_of_a_key_that_are_none(field: str, world: World) -> None:
    """A term that is no number would otherwise fail later, on a message."""
    path = world.identity / "registry.json"
    document = json.loads(path.read_text())
    document["keys"][0][field] = None
    path.write_text(json.dumps(document))
    with pytest.raises(SettingError, match="no key"):
        Registry(path, TENANT)


def test_a_registry_that_goes_away_stays_in_force(world: World) -> None:
    """A tool that replaces the file may be caught between two steps."""
    path = world.identity / "registry.json"
    registry = Registry(path, TENANT)
    assert registry.is_gateway("gw1") and not registry.is_gateway("gw2")
    text = path.read_text()
    path.unlink()
    registry.age()
    assert len(registry.keys().records()) == 2
    path.write_text(text.replace("gw1", "gw2"))
    registry.age()
    registry.keys()
    assert registry.is_gateway("gw2") and not registry.is_gateway("gw1")
