"""The way up: what is sealed by a gateway is stored exactly; everything else is refused by name."""

import json
import logging
import os
import random
import zlib
from collections.abc import Callable
from typing import Any

import cbor2
import pytest

from cloud.app import Core
from cloud.store.reader import Reader
from protocols.envelope.batch import encode_batch
from protocols.envelope.keys import Use
from protocols.envelope.seal import BODY_SIZE_MAX, MESSAGE_SIZE_MAX
from protocols.messages import DATA, HELLO, RECEIPT
from protocols.obis import Obis
from protocols.quantity import Kind, Quantity
from protocols.readings import Reading, ReadingSet
from tests.cloud.world import BOOT, NOW, Gateway, World, make_key, reading_set


def stored(world: World, meter: str = "meter-1") -> list[tuple[int, ReadingSet]]:
    """What a reader finds of a meter, as the reading sets that a gateway would send."""
    found = []
    with Reader(world.settings().database) as reader:
        for key in reader.meters(meter):
            for one in reader.sets(key):
                readings = tuple(
                    Reading(Obis.from_text(code), Quantity(value, *terms))
                    for (code, *terms), value in zip(one.layout, one.values, strict=True)
                )
                boot = world_boot(world, one.sequence)
                found.append(
                    (
                        one.sequence,
                        ReadingSet(
                            meter,
                            one.read_at,
                            one.boot_at,
                            boot,
                            one.quality,
                            readings,
                            one.origin,
                            one.flags,
                        ),
                    )
                )
    return found


def world_boot(world: World, sequence: int) -> bytes:
    with Reader(world.settings().database) as reader:
        row = reader._db.execute(
            "SELECT boot_id FROM reading_set JOIN boot USING (boot_key) WHERE sequence = ?",
            (sequence,),
        ).fetchone()
    return row[0]


def refusals(world: World) -> dict[tuple[str, str], int]:
    with Reader(world.settings().database) as reader:
        return {(gateway, reason): count for gateway, reason, count, _, _ in reader.refusals()}


def count_sets(core: Core) -> int:
    return core.store.db.execute("SELECT count(*) FROM reading_set").fetchone()[0]


def check_refused(world: World, core: Core, topic: str, payload: bytes, reason: str) -> None:
    """Refused by this word, counted, nothing stored, and the next good message is taken."""
    assert core.ingest.handle(topic, payload) == reason
    core.ingest.commit()
    assert refusals(world)[("gw1", reason)] == 1
    assert count_sets(core) == 0
    assert core.ingest.handle(*world.gateway.data([900])) == ""
    core.ingest.commit()
    assert count_sets(core) == 1


# ---- what is good ------------------------------------------------------------------------------


def test_batches_are_stored_exactly(world: World, core: Core) -> None:
    """Every field of every set comes back, of several meters, layouts, negative and text values."""
    rows: list[tuple[int, ReadingSet]] = []
    for sequence in range(1, 41):
        one = reading_set(sequence, f"meter-{sequence % 3}")
        if sequence % 5 == 0:
            extra = (
                Reading(Obis.from_text("0-0:1.0.0"), Quantity("26-11-21 ☀", 0, "", Kind.TEXT)),
                Reading(Obis.from_text("1-0:16.7.0"), Quantity(-(1 << 61), -18, "W", 3)),
            )
            one = one._replace(readings=extra, quality=sequence % 4, boot_id=os.urandom(16))
        rows.append((sequence, one))
    for start in range(0, 40, 10):
        assert core.ingest.handle(*world.gateway.batch(rows[start : start + 10], 40)) == ""
    core.ingest.commit()
    found = sorted(row for n in range(3) for row in stored(world, f"meter-{n}"))
    assert found == sorted(rows)
    assert core.ingest.counts["sets"] == 40
    assert refusals(world) == {}


def test_values_are_json_that_any_tool_reads(world: World, core: Core) -> None:
    """The wide row is an array of integers; the layout beside it says what they are."""
    core.ingest.handle(*world.gateway.data([3]))
    core.ingest.commit()
    values, content = core.store.db.execute(
        'SELECT "values", content FROM reading_set JOIN layout USING (layout_key)'
    ).fetchone()
    assert json.loads(values) == [3000, 3001, 3002, 3003, 3004]
    assert json.loads(content)[0] == ["1-0:1.8.0*255", 1, "Wh", 1]


def test_layouts_meters_and_boots_are_stored_once(world: World, core: Core) -> None:
    """Also over several transactions and after a restart."""
    for n in range(3):
        core.ingest.handle(*world.gateway.data([n + 1]))
        core.ingest.commit()
    again = world.core()
    again.ingest.handle(*world.gateway.data([9]))
    again.ingest.commit()
    counts = [
        again.store.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("layout", "meter", "boot", "gateway", "epoch")
    ]
    again.store.close()
    assert counts == [1, 1, 1, 1, 1]


def test_hello_is_remembered(world: World, core: Core) -> None:
    """Meters, nonce, boot, version and head; a later hello replaces the meters."""
    gateway = world.gateway
    core.ingest.handle(*gateway.hello(head=7, meters=(("a", "1"), ("b", "2"))))
    core.ingest.commit()
    row = core.store.find_gateway("gw1")
    assert row is not None
    assert (row.nonce, row.boot_id, row.version, row.quality) == (gateway.nonce, BOOT, "0.1.0", 3)
    with Reader(world.settings().database) as reader:
        summary = reader.gateways()[0]
    assert summary.meters == [("a", "1"), ("b", "2")] and summary.head == 7
    core.ingest.handle(*gateway.hello(head=9, meters=(("b", "3"), ("c", "4"))))
    core.ingest.commit()
    with Reader(world.settings().database) as reader:
        assert reader.gateways()[0].meters == [("b", "3"), ("c", "4")]
    assert core.store.announcers("a") == []


def test_a_late_hello_changes_nothing_but_is_answered(world: World, core: Core) -> None:
    """One that another hello of the same epoch has overtaken does not bring old facts back."""
    gateway = world.gateway
    early = gateway.hello(meters=(("old", "1"),))
    core.ingest.handle(*gateway.hello(meters=(("new", "1"),)))
    core.ingest.handle(*early)
    core.ingest.commit()
    assert core.store.announcers("old") == []
    assert core.store.announcers("new") == [("gw1", "1")]
    assert len(world.broker.sent) == 1


def test_presence_is_a_hint(world: World, core: Core) -> None:
    """It is remembered for a gateway that was heard, and creates none."""
    topic = world.gateway.topic("st")
    assert core.ingest.handle(topic, b"on") == ""
    core.ingest.commit()
    assert core.store.gateway_ids() == []
    core.ingest.handle(*world.gateway.data([1]))
    core.ingest.handle(topic, b"lost", retain=True)
    core.ingest.commit()
    with Reader(world.settings().database) as reader:
        assert reader.gateways()[0].presence == "lost"
    assert core.ingest.handle(topic, b"\x1b[2J") == "malformed"


def test_presence_before_the_first_hello_is_kept_for_it(world: World, core: Core) -> None:
    """A gateway says "on" right before it greets; whoever is not registered is not remembered."""
    core.ingest.handle(world.gateway.topic("st"), b"on")
    core.ingest.handle("busbar/1/t1/stranger/st", b"on")
    core.ingest.handle(*world.gateway.hello())
    core.ingest.commit()
    with Reader(world.settings().database) as reader:
        assert [one.presence for one in reader.gateways()] == ["on"]


# ---- attacks -----------------------------------------------------------------------------------


def test_a_changed_byte_anywhere_is_refused(world: World, core: Core) -> None:
    """Each sampled position of a sealed batch, one bit flipped."""
    topic, payload = world.gateway.data(range(1, 30))
    positions = sorted({*range(90), *range(90, len(payload), 7), len(payload) - 1})
    for position in positions:
        changed = bytearray(payload)
        changed[position] ^= 1 << position % 8
        reason = core.ingest.handle(topic, bytes(changed))
        assert reason in ("malformed", "unknown_key", "unopenable"), (position, reason)
    core.ingest.commit()
    assert sum(refusals(world).values()) == len(positions)
    assert count_sets(core) == 0
    assert core.ingest.handle(topic, payload) == ""


@pytest.mark.parametrize("cut", [0, 1, 40, 100, -1])
def test_a_cut_or_longer_message_is_refused(cut: int, world: World, core: Core) -> None:
    """Truncated, empty, or with bytes behind it."""
    topic, payload = world.gateway.data([1])
    check_refused(world, core, topic, payload[:cut], "malformed")
    assert core.ingest.handle(topic, payload + b"\0") == "malformed"


def test_a_replayed_message_is_refused_and_answered(world: World, core: Core) -> None:
    """The content is not taken twice; the gateway still hears what is stored."""
    message = world.gateway.data([1, 2, 3])
    assert core.ingest.handle(*message) == ""
    core.ingest.commit()
    world.broker.take()
    assert core.ingest.handle(*message) == "replayed"
    core.ingest.commit()
    assert refusals(world) == {("gw1", "replayed"): 1}
    assert core.ingest.counts["sets"] == 3
    (answer,) = world.broker.take()
    assert world.gateway.open_ack(answer)[1].upto == 3


def test_messages_may_overtake_each_other(world: World, core: Core) -> None:
    """Within the window every order is taken, each message once."""
    messages = [world.gateway.data([n]) for n in range(1, 60)]
    random.Random(7).shuffle(messages)
    assert [core.ingest.handle(*m) for m in messages] == [""] * 59
    assert [core.ingest.handle(*m) for m in messages] == ["replayed"] * 59
    core.ingest.commit()
    assert count_sets(core) == 59


def test_a_moved_message_is_refused(world: World, core: Core) -> None:
    """To another suffix, another gateway, another tenant, or no topic of ours."""
    topic, payload = world.gateway.data([1])
    for other, reason in (
        (world.gateway.topic("up/h"), "unopenable"),
        (topic.replace("/gw1/", "/gw2/"), "unopenable"),
        (topic.replace("/t1/", "/t2/"), "topic"),
        (topic.replace("/1/", "/2/"), "topic"),
        (world.gateway.topic("dn/a"), "topic"),
        (world.gateway.topic("up/e"), "unopenable"),
        (world.gateway.topic("dn/cfg"), "topic"),
        ("", "topic"),
        ("busbar/1/t1//up/d", "topic"),
        ("a\0b", "topic"),
    ):
        assert core.ingest.handle(other, payload) == reason, other
    core.ingest.commit()
    assert count_sets(core) == 0


def test_a_message_to_somebody_else_is_refused(world: World, core: Core) -> None:
    """Sealed to another key, even one that calls itself the head end's."""
    stranger = make_key("head-end", Use.OPEN)
    message = world.gateway.data([1], recipient=stranger.record)
    check_refused(world, core, *message, "unknown_key")


SIGNERS: dict[str, Callable[[World], Any]] = {
    "unknown_key": lambda world: make_key("gw1", Use.SIGN_DATA),
    "key_owner": lambda world: world.gateways["gw2"].signing,
    "key_use": lambda world: world.gateway.opening,
    "revoked_key": lambda world: world.gateway.signing,
}


@pytest.mark.parametrize("reason", SIGNERS)
def test_a_wrong_signer_is_refused(reason: str, tmp_path: Any) -> None:
    """Unknown, another gateway's, made for another use, or revoked."""
    world = World(tmp_path, ("gw1", "gw2"))
    if reason == "revoked_key":
        world.write_registry(revoked=(world.gateway.signing.record.kid,))
    signer = SIGNERS[reason](world)
    core = world.core()
    if reason == "key_use":  # a key that can not sign has no signature: name it and sign with ours
        real = world.gateway.signing
        signer = real._replace(record=real.record._replace(kid=signer.record.kid))
    assert core.ingest.handle(*world.gateway.data([1], signing=signer)) == reason
    core.ingest.commit()
    assert refusals(world) == {("gw1", reason): 1}
    assert count_sets(core) == 0
    core.store.close()


def test_a_revocation_and_a_new_gateway_hold_without_restart(world: World, core: Core) -> None:
    """The registry is read again when it changes; a broken or older one is not taken."""
    gateway = world.gateway
    newcomer = world.gateways["gw9"] = Gateway("gw9", world.own)
    del world.gateways["gw9"]

    def take(message: tuple[str, bytes]) -> str:
        word = core.ingest.handle(*message)
        core.ingest.commit()
        return word

    revoked = (gateway.signing.record.kid,)
    assert take(gateway.data([1])) == ""
    world.write_registry(revoked)
    assert take(gateway.data([2])) == "revoked_key"
    assert take(newcomer.data([1])) == "unknown_key"
    world.gateways["gw9"] = newcomer
    world.write_registry(revoked)
    assert take(newcomer.data([1])) == ""
    (world.identity / "registry.json").write_text("{broken")
    assert take(newcomer.data([2])) == ""
    world.version = 0
    world.write_registry()
    assert take(gateway.data([3])) == "revoked_key"


def test_an_oversized_message_is_refused(world: World, core: Core) -> None:
    """Before anything is parsed."""
    topic, payload = world.gateway.data([1])
    check_refused(world, core, topic, payload + bytes(MESSAGE_SIZE_MAX), "oversize")


def test_a_zip_bomb_is_refused(world: World, core: Core) -> None:
    """A signed body that would inflate beyond the bound costs no more than the bound."""
    bomb = zlib.compress(bytes(BODY_SIZE_MAX * 50), 9)
    check_refused(world, core, *world.gateway.seal(DATA, None, body=bomb), "inflate_limit")


BODIES: dict[str, tuple[bytes, str]] = {
    "not zlib": (b"plain", "malformed"),
    "bytes behind zlib": (zlib.compress(b"\x80") + b"x", "malformed"),
    "cut zlib": (zlib.compress(b"\x80" * 99)[:-3], "inflate_limit"),
    "no CBOR": (zlib.compress(b"\xff\xff\xff"), "malformed"),
    "empty": (zlib.compress(b""), "malformed"),
    "a tag": (zlib.compress(b"\xc1\x00"), "malformed"),
    "not canonical, and a number": (zlib.compress(b"\x18\x01"), "schema"),
    "deep": (zlib.compress(b"\x81" * 5000 + b"\x80"), "malformed"),
    "a number": (zlib.compress(b"\x01"), "schema"),
    "a map": (zlib.compress(b"\xa0"), "schema"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none_is_refused(name: str, world: World, core: Core) -> None:
    """Signed by the gateway, and still no batch."""
    body, reason = BODIES[name]
    check_refused(world, core, *world.gateway.seal(DATA, None, body=body), reason)


@pytest.mark.parametrize("kind", [DATA, HELLO, RECEIPT])
def test_a_wrong_content_type_is_refused(kind: Any, world: World, core: Core) -> None:
    """The type under the signature must be the topic's."""
    message = world.gateway.seal(kind, [1], content_type=kind.content_type + 7)
    check_refused(world, core, *message, "content_type")


def faults() -> list[tuple[str, Any]]:
    """A good batch with one field made wrong."""
    good = encode_batch([(n, reading_set(n)) for n in (1, 2, 3)], 3)

    def with_field(at: int, value: object) -> list[Any]:
        changed = cbor2.loads(cbor2.dumps(good))
        changed[at] = value
        return changed

    return [
        ("version", with_field(0, 2)),
        ("head below", with_field(1, 2)),
        ("head text", with_field(1, "3")),
        ("boot short", with_field(2, [b"x"])),
        ("meter empty", with_field(3, [""])),
        ("meter bytes", with_field(3, [b"m"])),
        ("layout odd", with_field(4, [[b"123456", 1]])),
        ("layout twice", with_field(4, [[BOOT[:6], 1, "Wh", 1] * 2])),
        ("unit unknown", with_field(4, [[BOOT[:6], 1, "km", 1]])),
        ("scaler wild", with_field(4, [[BOOT[:6], 99, "Wh", 1]])),
        ("kind unknown", with_field(4, [[BOOT[:6], 1, "Wh", 9]])),
        ("sequence zero", with_field(5, [0, 1, 1])),
        ("sequence falls", with_field(5, [1, -1, 3])),
        ("sequence short", with_field(5, [1, 1])),
        ("sequence huge", with_field(5, [1, 1 << 63, 1])),
        ("meter index", with_field(6, [0, 0, 7])),
        ("layout index", with_field(7, [0, 0, -1])),
        ("boot index bool", with_field(8, [0, 0, True])),
        ("time negative", with_field(9, [-5, 0, 0])),
        ("offset too large", with_field(10, [1 << 60, 0, 0])),
        ("quality", with_field(11, [0, 0, 9])),
        ("column missing", with_field(12, good[12][:-1])),
        ("value text", with_field(12, [*good[12][:-1], ["1", "2", "3"]])),
        ("value float", with_field(12, [*good[12][:-1], [0.5, 1, 2]])),
        ("value none", with_field(12, [*good[12][:-1], [None, 1, 2]])),
        ("value huge", with_field(12, [*good[12][:-1], [1 << 62, 1, 2]])),
        ("value short", with_field(12, [*good[12][:-1], [1, 2]])),
        ("value left over", with_field(12, [*good[12][:-1], [1, 2, 3, 4]])),
        ("column a map", with_field(12, [*good[12][:-1], {}])),
    ]


@pytest.mark.parametrize(("name", "value"), faults(), ids=[name for name, _ in faults()])
def test_a_batch_that_breaks_the_schema_is_refused(
    name: str, value: Any, world: World, core: Core
) -> None:
    """Signed by the gateway: nothing of it is stored, not even the good part."""
    check_refused(world, core, *world.gateway.seal(DATA, value), "schema")
    assert core.store.db.execute("SELECT count(*) FROM meter").fetchone()[0] == 1


@pytest.mark.parametrize("kind", [HELLO, RECEIPT])
@pytest.mark.parametrize("value", [[], [1] * 9, {"a": 1}, "text", [2, *[0] * 8]])
def test_a_hello_or_receipt_that_breaks_the_schema_is_refused(
    kind: Any, value: object, world: World, core: Core
) -> None:
    """The same for the other messages."""
    check_refused(world, core, *world.gateway.seal(kind, value), "schema")


def test_any_bytes_on_any_topic_are_refused(world: World, core: Core) -> None:
    """One sentence: whatever comes, the service goes on."""
    chance = random.Random(20261121)
    good = world.gateway.data([1])[1]
    topics = [world.gateway.topic(s) for s in ("up/d", "up/e", "up/r", "up/h", "st", "dn/c")]
    topics += ["", "busbar/1/t1/gw1/up/d/x", "busbar/1/t1/GW/up/d", "\ud800", "$SYS/x"]
    for _ in range(1500):
        size = chance.randrange(0, 120)
        noise = bytes(chance.randrange(256) for _ in range(size))
        payload = noise if chance.random() < 0.5 else good[:size] + noise
        assert core.ingest.handle(chance.choice(topics), payload) != ""
    core.ingest.commit()
    assert sum(refusals(world).values()) == 1500
    assert count_sets(core) == 0


def test_a_fault_of_our_own_costs_one_message(
    world: World, core: Core, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A check that raises what it may not: counted as internal, no content in the log."""

    def fault(_: object) -> None:
        raise TypeError("secret 4711")

    message = world.gateway.data([1])
    with monkeypatch.context() as patch:
        patch.setattr(core.ingest._batches, "read", fault)
        assert core.ingest.handle(*message) == "internal"
    assert "4711" not in caplog.text
    assert core.ingest.handle(*message) == ""


def test_nothing_secret_is_logged(
    world: World, core: Core, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither keys nor payloads nor values reach log, stdout or stderr."""
    caplog.set_level(logging.DEBUG)
    topic, payload = world.gateway.data([41])
    bodies = [payload[:50] + b"\0" + payload[51:], payload[:-1], b"secret-body", payload, payload]
    for body in bodies:
        core.ingest.handle(topic, body)
    core.ingest.handle(*world.gateway.hello())
    core.ingest.handle(*world.gateway.seal(HELLO, ["secret-body"]))
    core.ingest.commit()
    out = capfd.readouterr()
    text = caplog.text + out.out + out.err
    assert "message_refused gateway=gw1 reason=replayed" in text
    secrets = [key.private for key in world.own.values()]
    secrets += [world.gateway.signing.private, world.gateway.opening.private, world.gateway.nonce]
    for secret in secrets:
        assert secret.hex() not in text and repr(secret) not in text
    assert "secret-body" not in text and "41000" not in text and "meter-1" not in text


# ---- limits ------------------------------------------------------------------------------------


def test_refusals_of_made_up_gateways_are_bounded(
    world: World, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names on topics prove nothing: beyond the limit they are counted together."""
    monkeypatch.setattr("cloud.store.writer.REFUSED_GATEWAYS_MAX", 5)
    for n in range(20):
        core.ingest.handle(f"busbar/1/t1/made-up-{n}/up/d", b"x")
    core.ingest.commit()
    found = refusals(world)
    assert len(found) == 6 and found[("(other)", "malformed")] == 15


def test_epochs_of_a_gateway_are_bounded(
    world: World, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that invents epochs can not fill the head end's memory."""
    monkeypatch.setattr("cloud.store.writer.EPOCHS_MAX", 3)
    words = [core.ingest.handle(*world.gateway.data([1], epoch=os.urandom(8))) for _ in range(5)]
    core.ingest.commit()
    assert words == ["", "", "", "epochs", "epochs"]


def test_holes_of_an_epoch_are_bounded(
    world: World, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many holes are refused; a message that closes some is still taken."""
    monkeypatch.setattr("cloud.store.writer.RANGES_MAX", 5)
    assert core.ingest.handle(*world.gateway.data(range(2, 12, 2))) == ""
    assert core.ingest.handle(*world.gateway.data([20])) == "fragmented"
    assert core.ingest.handle(*world.gateway.data([3, 5])) == ""
    assert core.ingest.handle(*world.gateway.data([20])) == ""
    core.ingest.commit()
    assert count_sets(core) == 8


def test_a_refusal_is_not_logged_for_ever(
    world: World, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of one kind fills the table's counter, not the disk."""
    for _ in range(1000):
        core.ingest.handle(world.gateway.topic("up/d"), b"x")
    core.ingest.commit()
    assert caplog.text.count("message_refused") == 20 + 10
    assert refusals(world) == {("gw1", "malformed"): 1000}


# ---- exactly once ------------------------------------------------------------------------------


def test_a_crash_before_the_commit_loses_nothing(world: World) -> None:
    """Handled, not committed, gone: the same message is then taken in full."""
    message = world.gateway.data(range(1, 6))
    core = world.core()
    assert core.ingest.handle(*message) == ""
    core.store.close()
    assert world.broker.sent == []
    core = world.core()
    assert core.ingest.handle(*message) == ""
    core.ingest.commit()
    assert count_sets(core) == 5 and core.ingest.counts["sets"] == 5
    core.store.close()


def test_a_crash_between_commit_and_acknowledgement_stores_once(world: World) -> None:
    """The broker delivers again to the next head end: refused, one copy, and answered."""
    message, hello = world.gateway.data(range(1, 6)), world.gateway.hello()
    core = world.core()
    world.broker.is_up = False  # the acknowledgement never leaves
    core.ingest.handle(*message)
    core.ingest.handle(*hello)
    core.ingest.commit()
    core.store.close()
    world.broker.is_up = True
    core = world.core()
    assert [core.ingest.handle(*message), core.ingest.handle(*hello)] == ["replayed"] * 2
    core.ingest.commit()
    assert count_sets(core) == 5
    (answer,) = world.broker.take()
    claims, ack = world.gateway.open_ack(answer)
    assert ack.upto == 5 and ack.nonce == world.gateway.nonce and claims.sequence == 2
    core.store.close()


def test_the_same_sets_in_another_message_are_stored_once(world: World, core: Core) -> None:
    """A gateway that heard no acknowledgement seals them again, with others between."""
    core.ingest.handle(*world.gateway.data([1, 2, 3]))
    core.ingest.handle(*world.gateway.data([2, 3, 4, 7]))  # in the same transaction
    core.ingest.commit()
    core.ingest.handle(*world.gateway.data([1, 4, 5, 6, 7]))
    core.ingest.commit()
    assert count_sets(core) == 7
    assert core.ingest.counts["duplicates"] == 5 and core.ingest.counts["sets"] == 7
    assert world.gateway.open_ack(world.broker.take()[-1])[1].upto == 7
    assert refusals(world) == {}


def test_a_sequence_with_other_content_keeps_the_first(
    world: World, core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """A copied or rolled back card: counted, an alarm line, and the stored values stay."""
    core.ingest.handle(*world.gateway.data([1, 2, 3]))
    core.ingest.commit()
    other = [(n, reading_set(n, at=NOW + 5)) for n in (2, 3, 4)]
    assert core.ingest.handle(*world.gateway.batch(other)) == ""
    core.ingest.commit()
    assert refusals(world) == {("gw1", "conflict"): 2}
    assert "set_conflicted gateway=gw1" in caplog.text and "sequences=2,3" in caplog.text
    assert [row for row in stored(world) if row[0] < 4] == [(n, reading_set(n)) for n in (1, 2, 3)]
    assert count_sets(core) == 4


def test_another_epoch_has_its_own_sequences(world: World, core: Core) -> None:
    """A new card starts at 1 again and meets nothing of the old one."""
    core.ingest.handle(*world.gateway.data([1, 2]))
    world.gateway.epoch = os.urandom(8)
    core.ingest.handle(*world.gateway.data([1, 2]))
    core.ingest.commit()
    assert count_sets(core) == 4
    assert [world.gateway.open_ack(m)[1].upto for m in world.broker.take()] == [2, 2]


def test_a_rollback_forgets_what_it_undid(world: World, core: Core) -> None:
    """Keys of meters, layouts, boots, epochs and gateways that never came to be are not used."""
    core.ingest.handle(*world.gateway.data([1, 2]))
    core.ingest.rollback()
    assert core.store.find_gateway("gw1") is None
    assert core.ingest.handle(*world.gateway.data([1, 2])) == ""
    core.ingest.commit()
    assert [row[0] for row in stored(world)] == [1, 2]
