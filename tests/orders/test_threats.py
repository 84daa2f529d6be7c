"""The rows of the threat table that concern orders, on the whole path: real head end, real gateway,
virtual meters. What counts is what goes out on the line, and what people are told of it."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from hil.meter_quirks import SHOWS_OPEN, STUCK_CONTACT
from protocols.dlt645.controls import Function
from protocols.envelope.claims import Claims
from protocols.envelope.keys import ESP256, PrivateKey, Use
from protocols.envelope.seal import Context, seal
from protocols.errors import CallerError
from protocols.messages import HEAD_END, ORDER, POLICY, STOP, Order
from protocols.orders.approvals import approval_bytes, order_digest
from protocols.orders.order import Approval
from protocols.orders.states import FINAL_STATES, OrderState
from protocols.topics import Topic
from tests.cloud.orders.headend import OLGA, WIDE
from tests.cloud.world import PROVIDER, TENANT, make_key
from tests.edge.orders.line_rig import ENTRIES, is_secret_shown
from tests.orders.conftest import Make
from tests.orders.gateway import Gateway
from tests.orders.rig import HOUR, MINUTE, SECOND, Body, Rig
from tests.orders.wire import Letter

TARGETS = ("dn/c", "dn/p", "dn/s", "dn/a")


def sealed(rig: Rig, order: Order, counter: int, key: PrivateKey | None = None) -> Letter:
    """An order as whoever holds the head end's order key can make it, or with another key."""
    world, now = rig.head.world, rig.now()
    key = key or world.own[Use.SIGN_ORDER]
    topic = Topic(TENANT, rig.name, ORDER.suffix).text()
    epoch = rig.rows("SELECT value FROM mark WHERE name = 'epoch'")[0][0]
    claims = Claims(counter, now, now + 900_000, b"", epoch, ORDER.content_type)
    payload = seal(
        PROVIDER,
        PROVIDER.signer(ESP256, key.private),
        key.record.kid,
        world.gateway.opening.record,
        Context(ORDER.name, HEAD_END, rig.name, topic),
        claims,
        PROVIDER.deflate(PROVIDER.encode(order.to_body())),
    )
    return Letter(topic, payload)


def frozen(rig: Rig, shown: Body) -> Order:
    """The order that people approve."""
    return Order.from_body(PROVIDER.decode(bytes.fromhex(shown["body"])))


def signed_by(rig: Rig, order: Order, name: str, key: PrivateKey) -> Approval:
    """An approval under any key."""
    digest = order_digest(PROVIDER, TENANT, rig.name, order)
    data = approval_bytes(PROVIDER, digest, name, rig.now())
    signature = PROVIDER.signer(ESP256, key.private).sign(data)
    return Approval(name, key.record.kid, rig.now(), signature)


def refusals(rig: Rig) -> dict[str, int]:
    """What the gateway refused, by its reason."""
    assert rig.gateway.agent is not None
    return dict(rig.gateway.agent._session.refusals)


def close_again(rig: Rig) -> None:
    """Somebody restored the supply, without an order."""
    rig.meter().relay._supply.close(rig.now())
    rig.meter().relay.is_told_open = False
    assert not rig.is_open()


# ---- people -------------------------------------------------------------------------------------


def test_t01_one_operators_account_moves_nothing(make: Make) -> None:
    """A thousand cuts asked for by a script with one person's token."""
    rig = make(meters=3, policy=dict.fromkeys(WIDE, 20) | {"cuts_gateway_day_percent": 100})
    refused = 0
    for n in range(1_000):
        try:
            shown = rig.head.propose(f"m{n % 3 + 1}")
            signature = rig.head.signed(shown, "anna") | {"signature": "00" * 64}
            rig.head.ask("order_approve", OLGA, **signature)
        except CallerError:
            refused += 1
    assert refused == 1_000
    rig.run(5 * SECOND)
    rig.pass_time(HOUR)
    assert rig.relay_frames() == 0
    assert not {OrderState.QUEUED, OrderState.PUBLISHED} & set(rig.head.states())
    assert "ceiling-reached" in rig.head.alarms()


def test_t02_two_insiders_get_what_the_gateway_allows(make: Make) -> None:
    """Two who approve everything; the head end's ceilings are wide open, the gateway's are not."""
    rig = make(meters=3, cuts_per_hour=1)
    orders = [rig.order("disconnect", name) for name in rig.meters]
    for one in orders:
        rig.end(one)
    assert rig.relay_frames() == 1
    shown = [rig.shown(one) for one in orders]
    ends = [one["state"] for one in shown]
    assert sorted(ends) == [OrderState.CONFIRMED, OrderState.REFUSED, OrderState.REFUSED]
    reasons = [rig.receipts(bytes.fromhex(one["order"]))[-1].reason for one in orders]
    assert sum(one.startswith("ceiling-hour") for one in reasons) == 2
    entries = [PROVIDER.decode(body) for (body,) in rig.rows("SELECT body FROM audit")]
    assert sum("ceiling-hour" in str(one[6].get("reason")) for one in entries) == 2


@pytest.mark.parametrize("forgery", ["none", "one", "twice", "stranger", "requester", "other"])
def test_i02_t03_the_order_key_alone_cuts_nobody(rig: Rig, forgery: str) -> None:
    """Whoever has the head end and its order key: the gateway itself wants both people."""
    shown = rig.head.propose("m1")
    order = frozen(rig, shown)
    anna, ben = rig.head.keys["anna"], rig.head.keys["ben"]
    stranger = make_key("person:ben", Use.APPROVE)
    good = signed_by(rig, order, "person:anna", anna)
    other = order._replace(order_id=bytes(16))
    approvals = {
        "none": (),
        "one": (good,),
        "twice": (good, good),
        "stranger": (good, signed_by(rig, order, "person:ben", stranger)),
        "requester": (good, signed_by(rig, order, "person:olga", stranger)),
        "other": (good, signed_by(rig, other, "person:ben", ben)),
    }[forgery]
    assert rig.gateway.hear(sealed(rig, order._replace(approvals=approvals), 7))
    rig.run(10 * SECOND)
    rig.pass_time(HOUR)
    assert rig.relay_frames() == 0
    assert rig.receipts(order.order_id)[-1].state == OrderState.REFUSED
    assert "order-orphan" in rig.head.alarms() or rig.head.state(shown) in FINAL_STATES


def test_t03_a_key_of_ones_own_is_nobody(rig: Rig) -> None:
    """An order under a key that the gateway does not trust leaves no trace in the inbox."""
    shown = rig.order()
    forger = make_key(HEAD_END, Use.SIGN_ORDER)
    rig.wire.down.clear()
    rig.gateway.hear(sealed(rig, frozen(rig, shown), 7, forger))
    assert rig.rows("SELECT count(*) FROM order_inbox") == [(0,)]
    assert rig.relay_frames() == 0
    assert sum(refusals(rig).values()) == 1


# ---- the broker ---------------------------------------------------------------------------------


def captured(rig: Rig) -> Letter:
    """A good order, approved and sealed, that the broker kept for itself."""
    rig.order()
    rig.raise_all()
    found = [one for one in rig.wire.down if one.suffix == ORDER.suffix]
    rig.wire.down = [one for one in rig.wire.down if one.suffix != ORDER.suffix]
    assert len(found) == 1
    rig.exchange()
    return found[0]


def test_t04_no_bit_of_an_order_may_be_another(rig: Rig) -> None:
    """A bit of each byte flipped, and cut short at each: all refused; the order itself is good."""
    letter = captured(rig)
    for n in range(len(letter.payload)):
        raw = bytearray(letter.payload)
        raw[n] ^= 1 << (n % 8)
        assert rig.gateway.hear(letter._replace(payload=bytes(raw)))
    for size in range(0, len(letter.payload), 7):
        assert rig.gateway.hear(letter._replace(payload=letter.payload[:size]))
    rig.run(5 * SECOND)
    assert rig.relay_frames() == 0
    assert rig.rows("SELECT count(*) FROM order_inbox") == [(0,)]
    assert rig.gateway.hear(letter)
    rig.run(10 * SECOND)
    assert rig.relay_frames() == 1


def test_t04_nothing_is_good_under_another_topic(rig: Rig) -> None:
    """Every message that ever went down, under every topic that is not its own."""
    rig.carry_out("disconnect")
    frames = rig.relay_frames()
    known = [Topic(TENANT, rig.name, suffix).text() for suffix in TARGETS]
    letters = {one.suffix: one for one in rig.wire.seen}
    assert {ORDER.suffix, POLICY.suffix} <= letters.keys() <= set(TARGETS)
    before = sum(refusals(rig).values())
    count = 0
    for letter in letters.values():
        for topic in known:
            if topic != letter.topic:
                rig.gateway.hear(letter._replace(topic=topic))
                count += 1
        rig.gateway.hear(letter._replace(topic=letter.topic.replace(rig.name, "gw2")))
        count += 1
    rig.run(10 * SECOND)
    assert sum(refusals(rig).values()) >= before + count
    assert rig.relay_frames() == frames
    assert STOP.suffix in TARGETS


def test_t04_the_broker_reads_nothing(rig: Rig) -> None:
    """Neither whose meter, nor what for, nor what came of it."""
    seen: list[bytes] = []
    publish = rig.wire._take

    def listen(letter: Letter) -> bool:
        seen.append(letter.payload)
        return publish(letter)

    rig.wire._take = listen  # type: ignore[method-assign]
    raise_all = rig.raise_all
    rig.raise_all = lambda: seen.extend(one.payload for one in rig.wire.up) or raise_all()  # type: ignore[method-assign, func-returns-value]
    rig.carry_out("disconnect")
    rig.carry_out("arm")
    assert len(seen) > 6
    address = rig.meters["m1"]
    words = (b"disconnect", b"confirmed", b"unpaid", b"anna", b"olga", address.encode())
    wire = bytes(reversed(bytes.fromhex(address)))
    assert not [one for one in (*words, wire) for payload in seen if one in payload]


def test_t05_a_downlink_that_is_held_back_carries_out_nothing_later(rig: Rig) -> None:
    """An hour; what it holds comes then, all of it and in any order."""
    rig.link(False)
    order = rig.order()
    rig.raise_all()
    kept, rig.wire.down = rig.wire.down, []
    rig.pass_time(HOUR)
    rig.link(True)
    rig.wire.down += list(reversed(kept))
    rig.run(10 * SECOND)
    assert rig.relay_frames() == 0
    assert rig.end(order) in (OrderState.EXPIRED, OrderState.UNKNOWN, OrderState.REFUSED)
    assert rig.relay_frames() == 0


def test_t05_an_uplink_that_is_held_back_is_no_success(rig: Rig) -> None:
    """The meter was cut; who hears nothing says so, and settles it when the receipts come."""
    rig.wire.is_up = True
    order = rig.order()
    rig.raise_all()
    rig.lower_all()
    for _ in range(20):
        rig.gateway.work()
        rig.gateway.speak()
    kept, rig.wire.up = rig.wire.up, []
    assert rig.is_open()
    for _ in range(40):
        rig.clock.advance(MINUTE)
        rig.in_head(rig.head.dispatch)
    assert rig.head.state(order) == OrderState.UNKNOWN
    assert "order-unknown" in rig.head.alarms()
    rig.wire.up = kept
    rig.run(10 * SECOND)
    assert rig.head.state(order) == OrderState.CONFIRMED


def test_t05_a_restore_that_does_not_come_through_is_told(rig: Rig) -> None:
    """Half an hour, then people are told."""
    rig.carry_out("disconnect")
    rig.link(False)
    rig.order("arm")
    rig.pass_time(40 * MINUTE, 5 * MINUTE)
    assert "restore-late" in rig.head.alarms()


@pytest.mark.parametrize("when", ["at once", "restart", "boot", "clock", "image", "image-alone"])
def test_t06_a_captured_cut_is_never_good_again(rig: Rig, folder: Path, when: str) -> None:
    """The image is of before the cut. Alone: the head end cannot be reached, and the attacker plays
    all that it ever said."""
    image = folder / "image"
    rig.gateway.die()
    shutil.copytree(rig.gateway.state, image)
    rig.gateway.start()
    rig.run(SECOND)
    sent_at = rig.clock.utc_ms()
    assert rig.carry_out("disconnect")["state"] == OrderState.CONFIRMED
    letters = list(rig.wire.seen)
    close_again(rig)
    frames = rig.relay_frames()
    if when in ("restart", "boot"):
        rig.gateway.restart(is_boot=when == "boot")
    elif when == "clock":
        rig.clock.set_utc(sent_at)
    elif when != "at once":
        rig.gateway.die(is_boot=True)
        shutil.rmtree(rig.gateway.state)
        shutil.copytree(image, rig.gateway.state)
        rig.gateway.start()
    if when == "image-alone":
        for letter in letters * 2:
            rig.gateway.hear(letter)
            rig.wire.up.clear()
            rig.gateway.work()
    rig.run(2 * SECOND)
    for _ in range(2):
        rig.wire.down += letters
        rig.run(10 * SECOND)
    assert rig.relay_frames() == frames
    assert not rig.is_open()


# ---- the line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_late", [False, True])
def test_t13_two_that_answer_for_one_meter_confirm_nothing(rig: Rig, is_late: bool) -> None:
    """From the start, and from the moment of the command on."""
    other = Gateway._make_meter(rig.gateway, rig.meters["m1"])
    if is_late:
        rig.gateway.on_command = lambda _: rig.gateway.meters.update(other=other)
    else:
        rig.gateway.meters["other"] = other
    order = rig.order()
    state = rig.end(order)
    assert state in (OrderState.REFUSED, OrderState.CONTRADICTED, OrderState.UNKNOWN), state
    assert rig.relay_frames() == is_late


def test_t14_a_meter_that_lies_is_contradicted(rig: Rig) -> None:
    """It says open from the command on, and its current flows."""
    quirks = rig.meter().quirks
    rig.gateway.on_command = lambda _: quirks.update((SHOWS_OPEN, STUCK_CONTACT))
    order = rig.order()
    assert rig.end(order) == OrderState.CONTRADICTED
    assert rig.relay_frames() == 1
    assert "order-contradicted" in rig.head.alarms()


@pytest.mark.parametrize("address", ["999999999999", "AAAAAAAAAAAA", "15123001106A", ""])
def test_t15_an_order_for_everybody_is_for_nobody(rig: Rig, address: str) -> None:
    """Sealed with the right key; it never comes to a frame."""
    shown = rig.head.propose("m1")
    order = frozen(rig, shown)._replace(meter_address=address)
    approvals = tuple(
        signed_by(rig, order, f"person:{name}", rig.head.keys[name]) for name in ("anna", "ben")
    )
    rig.gateway.hear(sealed(rig, order._replace(approvals=approvals), 7))
    rig.run(10 * SECOND)
    assert rig.relay_frames() == 0


def test_t16_a_wrong_password_is_tried_once_and_restoring_goes_on(make: Make) -> None:
    """Three cuts with a wrong password of the installer's, a restart, and a restore."""
    rig = make(meters=3)
    wrong = {**ENTRIES, "cut": {**ENTRIES["cut"], "password": "999999"}}
    rig.gateway.write_credentials({"default": wrong})
    ends = [rig.carry_out("disconnect")["state"] for _ in range(2)]
    rig.gateway.restart(is_boot=True)
    rig.run(2 * SECOND)
    ends.append(rig.carry_out("disconnect")["state"])
    assert ends == [OrderState.REFUSED_BY_METER, OrderState.REFUSED, OrderState.REFUSED]
    assert rig.relay_frames() == 1
    rig.meter().relay._disconnect("00000000")
    assert rig.is_open()
    assert rig.carry_out("arm")["state"] == OrderState.CONFIRMED


def test_t17_no_password_leaves_the_gateway(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Every flow with everything logged; then all that was written is searched, packed or not."""
    caplog.set_level(logging.DEBUG)
    for action in ("disconnect", "arm", "connect", "keep-power-on"):
        rig.carry_out(action)
    rig.meter().quirks.add("drops_replies")
    rig.carry_out("keep-power-off")
    found: list[Any] = [caplog.text]
    for sql in ("SELECT body FROM receipt", "SELECT body FROM audit"):
        for (body,) in rig.rows(sql):
            found.append(body)
            if sql.endswith("receipt"):
                found.append(PROVIDER.inflate(body, 1 << 20))
    for path in (rig.gateway.state, rig.head.core.store.db):
        if isinstance(path, Path):
            found += [one.read_bytes() for one in path.iterdir() if one.is_file()]
    found += ["\n".join(rig.head.db.iterdump())]
    assert any(one.function == Function.RELAY for one in rig.gateway.commands)
    assert len(found) > 20
    assert not [one[:80] for one in found if is_secret_shown(one)]


# ---- the disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["disconnect", "arm"])
@pytest.mark.parametrize("is_reconnected", [False, True])
def test_t23_a_full_disk_loses_no_order(rig: Rig, action: str, is_reconnected: bool) -> None:
    """I1: what is not durable does not run, so it is not taken off the broker while the disk
    refuses; it has its end, and a restore its frame, soon after the disk takes rows again."""
    if action == "arm":
        rig.carry_out("disconnect")
    frames = rig.relay_frames()
    rig.gateway.power.is_full = True
    order = rig.order(action)
    rig.run(5 * SECOND)
    assert rig.relay_frames() == frames
    rig.gateway.power.is_full = False
    if is_reconnected:
        rig.link(False)
        rig.link(True)
    state = rig.settle(order, 5 * MINUTE)
    # A cut may find that the disk's trouble is not over yet, and is refused for it.
    assert state == OrderState.CONFIRMED or (action, state) == ("disconnect", OrderState.REFUSED)
    assert rig.relay_frames() == frames + (state == OrderState.CONFIRMED)


@pytest.mark.parametrize("action", ["disconnect", "arm"])
@pytest.mark.parametrize("after", range(6))
def test_t23_a_disk_that_fills_while_an_order_is_taken_up(
    rig: Rig, action: str, after: int
) -> None:
    """Behind each of the first steps: whatever comes of it, it is at most one frame and an end that
    does not wait for the order's time to be over."""
    if action == "arm":
        rig.carry_out("disconnect")
    frames = rig.relay_frames()
    order = rig.order(action)
    rig.gateway.power.fill_after(after)
    rig.run(5 * SECOND)
    rig.gateway.power.is_full = False
    state = rig.settle(order, 5 * MINUTE)
    assert state in FINAL_STATES, rig.states(order)
    assert rig.relay_frames() - frames <= 1
    if state != OrderState.CONFIRMED:
        assert rig.relay_frames() == frames or state == OrderState.UNKNOWN


def test_t23_a_disk_that_fills_under_a_cut_stops_it(rig: Rig) -> None:
    """Between its row and its intent."""
    rig.gateway.is_silent = True
    order = rig.order()
    rig.exchange()
    assert rig.states(order) == [OrderState.VERIFIED]
    rig.gateway.power.is_full = True
    rig.gateway.is_silent = False
    rig.run(20 * SECOND)
    assert rig.relay_frames() == 0
    rig.gateway.power.is_full = False
    assert rig.end(order) == OrderState.REFUSED
    assert rig.receipts(bytes.fromhex(order["order"]))[-1].reason.startswith("audit-unavailable")


def test_t23_a_disk_that_fills_under_a_restore_does_not_stop_it(rig: Rig) -> None:
    """It goes out, and is written down when the disk takes it again."""
    rig.carry_out("disconnect")
    rig.gateway.is_silent = True
    order = rig.order("arm")
    rig.exchange()
    rig.gateway.power.is_full = True
    rig.gateway.is_silent = False
    rig.run(60 * SECOND)
    assert rig.relay_frames() == 2
    rig.gateway.power.is_full = False
    assert rig.end(order) == OrderState.CONFIRMED
    assert OrderState.ARMED in rig.states(order)
