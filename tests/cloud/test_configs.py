"""Configurations: made by whoever holds the key, carried by the service until they are told."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.app import Core
from cloud.configs.desk import ConfigRequest, is_about
from cloud.configs.making import VALIDITY_MS, Signed, read_config, sign
from cloud.identity.keyring import Registry, load_config_keys
from cloud.identity.sealing import Sealer
from cloud.ingest.acks import Outbound
from cloud.ingest.mailbox import Connected, Disconnected
from protocols.envelope.keys import Use
from protocols.errors import CallerError, EnvelopeError, SettingError
from protocols.messages import CONFIG, CONFIG_SIZE_MAX, HEAD_END, Config
from protocols.topics import CONFIGURATION
from tests.cloud.console import Console
from tests.cloud.test_service import Post
from tests.cloud.world import NOW, PROVIDER, TENANT, World, event, make_key

TEXT = "[uplink]\nwindow = 4\n# 电表\n"


class Signer:
    """Whoever holds the configuration key of a world, at its own time."""

    def __init__(self, world: World, use: str = Use.SIGN_CONFIG) -> None:
        self.world = world
        key = make_key(HEAD_END, use)
        world.own[Use.SIGN_CONFIG] = key  # gateways trust it
        row = {"record": key.record.to_json(), "private": key.private.hex()}
        document = {"party": HEAD_END, "tenant": TENANT, "keys": [row]}
        (world.identity / "config-keys.json").write_text(json.dumps(document))

    def sign(self, text: str = TEXT, is_dry_run: bool = False, gateway: str = "gw1") -> Signed:
        """At the world's present time."""
        world = self.world
        own = load_config_keys(world.identity, TENANT, world.clock)
        registry = Registry(world.identity / "registry.json", TENANT)
        sealer = Sealer(TENANT, own, registry, PROVIDER)
        return sign(sealer, gateway, text, is_dry_run, world.clock)


def request_of(signed: Signed, gateway: str = "gw1") -> dict:
    """What the command hands to the service."""
    return {
        "op": "config_send",
        "gateway": gateway,
        "version": signed.config.version,
        "dry_run": signed.config.is_dry_run,
        "text": signed.config.text,
        "message": base64.b64encode(signed.message).decode(),
        "expires_at": signed.expires_at,
    }


@pytest.fixture
def signer(world: World) -> Signer:
    return Signer(world)


@pytest.fixture
def post(world: World, core: Core, signer: Signer) -> Iterator[Post]:
    """A service with a connection, and a gateway that has said hello."""
    post = Post(world, core)
    post.put(world.gateway.hello())
    post.mailbox.put(Connected())
    post.run()
    world.broker.take()
    return post  # type: ignore[return-value]


def sent(post: Post) -> list[Config]:
    """The configurations that the broker got, opened as the gateway opens them."""
    found = []
    for message in post.world.broker.take():
        if message.topic.endswith(CONFIGURATION):
            opened, body = post.world.gateway.open(message, CONFIG)
            config = Config.from_body(body)
            assert opened.claims.sequence == config.version
            found.append(config)
    return found


def tell(post: Post, sequence: int, kind: str, detail: str) -> None:
    """The gateway tells an event."""
    one = event(1, kind, detail=detail)
    post.put(post.world.gateway.events([(sequence, one)]))
    post.run()


def test_what_is_signed_is_bound_to_its_gateway(world: World, signer: Signer) -> None:
    """Version, expiry and kind are under the signature; the order key can not make one."""
    signed = signer.sign()
    assert signed.config == Config(NOW // 1000, False, TEXT)
    assert signed.expires_at == NOW + VALIDITY_MS
    with pytest.raises(CallerError, match="no configuration can be sealed to gateway 'gw9'"):
        signer.sign(gateway="gw9")


def test_a_configuration_goes_to_its_gateway_until_that_tells(post: Post, signer: Signer) -> None:
    """At once; again on a new connection and after a hello; no more once it is told."""
    world = post.world
    assert post.ask(**request_of(signer.sign())) == [{"version": NOW // 1000, "final": True}]
    assert sent(post) == [Config(NOW // 1000, False, TEXT)]
    post.service.sweep()
    assert sent(post) == []
    post.mailbox.put(Disconnected())
    post.mailbox.put(Connected())
    post.run()
    assert len(sent(post)) == 1
    world.clock.now += 10_000
    post.put(world.gateway.hello())
    post.run()
    post.service.sweep()
    assert len(sent(post)) == 1
    post.service.sweep()
    assert sent(post) == []
    tell(post, 1, "config-applied", f"version {NOW // 1000 + 1}: another one")
    tell(post, 2, "started", f"version {NOW // 1000}: of the software")
    post.mailbox.put(Disconnected())
    post.mailbox.put(Connected())
    post.run()
    post.service.sweep()
    assert len(sent(post)) == 1
    tell(post, 3, "config-applied", f"version {NOW // 1000}: on probation for 900 s")
    post.service.sweep()
    post.mailbox.put(Disconnected())
    post.mailbox.put(Connected())
    post.run()
    assert sent(post) == []


def test_it_waits_for_the_broker_over_a_restart(post: Post, signer: Signer) -> None:
    """Sealed once, durable before it is sent."""
    world = post.world
    world.broker.is_up = False
    post.ask(**request_of(signer.sign()))
    world.broker.take()
    world.broker.is_up = True
    core = world.core()
    again = Post(world, core)
    again.mailbox.put(Connected())
    again.run()
    assert [config.text for config in sent(again)] == [TEXT]
    core.store.close()


def test_a_newer_one_ends_the_sending_of_the_one_before(post: Post, signer: Signer) -> None:
    """Also when both wait for the connection."""
    post.mailbox.put(Disconnected())
    post.run()
    for text in (TEXT, TEXT + "# two\n"):
        post.world.clock.now += 1000
        post.ask(**request_of(signer.sign(text)))
    post.mailbox.put(Connected())
    post.run()
    assert [config.text for config in sent(post)] == [TEXT + "# two\n"]


def test_an_expired_one_is_sent_no_more(post: Post, signer: Signer) -> None:
    """And closed by the sweep."""
    post.ask(**request_of(signer.sign()))
    sent(post)
    post.world.clock.now += VALIDITY_MS
    post.mailbox.put(Disconnected())
    post.mailbox.put(Connected())
    post.run()
    assert sent(post) == []
    post.service.sweep()
    rows = post.core.store.db.execute("SELECT message FROM config").fetchall()
    assert rows == [(None,)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gateway": "GW"}, "gateway must be"),
        ({"gateway": ["gw1"]}, "gateway must be"),
        ({"gateway": "gw2"}, "gateway 'gw2' was never heard"),
        ({"version": "7"}, "must be whole numbers"),
        ({"version": True}, "must be whole numbers"),
        ({"version": 1 << 63}, "must be whole numbers"),
        ({"expires_at": -1}, "must be whole numbers"),
        ({"expires_at": NOW}, "has expired"),
        ({"dry_run": 1}, "dry_run true or false"),
        ({"text": ""}, "text must have"),
        ({"text": "x" * (CONFIG_SIZE_MAX + 1)}, "text must have"),
        ({"message": "?"}, "message must be base64"),
        ({"message": ""}, "message must be base64"),
        ({"message": "AAAA" * 100_000}, "message must be base64"),
    ],
)
def test_a_request_that_is_none(post: Post, signer: Signer, changes: dict, said: str) -> None:
    """One sentence, and nothing is stored or sent."""
    (reply,) = post.ask(**(request_of(signer.sign()) | changes))
    assert said in reply["error"] and reply["final"]
    assert sent(post) == []
    assert post.core.store.db.execute("SELECT count(*) FROM config").fetchone() == (0,)


def test_versions_rise(post: Post, signer: Signer) -> None:
    """A signer whose clock was set back is told so."""
    signed = signer.sign()
    post.ask(**request_of(signed))
    (reply,) = post.ask(**request_of(signed))
    assert f"is not above {signed.config.version}" in reply["error"]


def test_the_largest_text_gets_through(post: Post, signer: Signer) -> None:
    """Text that does not compress, of the size that is allowed."""
    text = "# " + "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(CONFIG_SIZE_MAX // 3 - 1))
    assert CONFIG_SIZE_MAX - 3 < len(text.encode()) <= CONFIG_SIZE_MAX
    request = ConfigRequest.from_json(request_of(signer.sign(text)))
    post.ask(**request_of(signer.sign(text)))
    assert [config.text for config in sent(post)] == [request.text]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes"),
        (b"#" * (CONFIG_SIZE_MAX + 1), "has 65537 bytes"),
        (b"# \xff\n", "is not UTF-8"),
        (b"[uplink\n", "is not TOML"),
        (b"x = " + b"[" * 30_000, "is not TOML"),
        (b"x = " + b"9" * 10_000, "is not TOML"),
    ],
    ids=["empty", "long", "bytes", "broken", "nested", "digits"],
)
def test_a_file_that_can_not_be_one(tmp_path: Path, content: bytes, said: str) -> None:
    """Told before anything is signed."""
    path = tmp_path / "gw1.toml"
    path.write_bytes(content)
    with pytest.raises(CallerError, match=said):
        read_config(path)
    with pytest.raises(CallerError, match="cannot be read"):
        read_config(tmp_path / "none.toml")


def test_a_key_of_another_use_is_refused(world: World) -> None:
    """By the command, and by the gateway."""
    Signer(world, Use.SIGN_ORDER)
    with pytest.raises(SettingError, match="there is no valid key for sign-config"):
        load_config_keys(world.identity, TENANT, world.clock)


def test_the_gateway_refuses_what_another_key_signed(world: World, signer: Signer) -> None:
    """Whoever took the service has the order key, and not this one."""
    signed = signer.sign()
    world.own[Use.SIGN_CONFIG] = make_key(HEAD_END, Use.SIGN_CONFIG)
    message = Outbound(world.gateway.topic(CONFIGURATION), signed.message, 1)
    with pytest.raises(EnvelopeError):
        world.gateway.open(message, CONFIG)


def test_the_commands(
    console: Console, post: Post, signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """push and check hand over a sealed message; show tells what became of it."""
    path = tmp_path / "gw1.toml"
    path.write_text(TEXT)

    def hand_over(_folder: Path, request: dict, _timeout_s: int) -> Iterator[dict]:
        yield from post.ask(**json.loads(json.dumps(request)))

    monkeypatch.setattr("cloud.commands.config.ask", hand_over)
    monkeypatch.setattr("cloud.commands.config.SystemClock", lambda: post.world.clock)
    assert "nothing was sent to gw1" in console("config", "show", "gw1", code=1)
    said = console("config", "check", "gw1", str(path))
    assert said.startswith(f"version {NOW // 1000}: a dry run for gw1")
    post.world.clock.now += 5000
    console("config", "push", "gw1", str(path))
    assert [config.is_dry_run for config in sent(post)] == [True, False]
    tell(post, 1, "config-checked", f"version {NOW // 1000}: lines rebuilt line-1")
    tell(post, 2, "config-applied", f"version {NOW // 1000 + 5}: on probation for 900 s")
    tell(post, 3, "config-reverted", f"version {NOW // 1000 + 5}: no meter of line-1 answers")
    post.service.sweep()
    shown = console("config", "show", "gw1").splitlines()
    assert "to apply" in shown[1] and shown[1].endswith("config-reverted")
    assert "dry run" in shown[2] and shown[2].endswith("config-checked")
    assert shown[-1].endswith("no meter of line-1 answers")
    assert console("config", "show", "gw1", "--text") == TEXT
    rows = json.loads(console("config", "show", "gw1", "--json"))
    assert [row["is_waiting"] for row in rows] == [False, False]
    assert [one["kind"] for one in rows[0]["told"]] == ["config-applied", "config-reverted"]
    assert "is not known" in console.refused("config", "show", "gw7")
    assert "a gateway's id is" in console.refused("config", "push", "GW", str(path))


def test_an_event_is_about_one_version() -> None:
    """A version is not the beginning of another one."""
    assert is_about("version 17: kept", 17)
    assert not is_about("version 171: kept", 17)
    assert not is_about("", 17)
