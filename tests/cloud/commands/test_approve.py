"""`busbar-cloud approve`: what is signed is what is shown, whatever the head end says."""

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from cloud.commands import papers
from cloud.commands.frozen import WORDS
from cloud.orders.batches import selection_hash
from cloud.people.approver import public_path
from protocols.envelope.keys import KeySet
from protocols.orders.approvals import check_approvals, order_digest
from protocols.orders.kinds import ACTIONS, Action
from tests.cloud.api.served import Served
from tests.cloud.commands.conftest import PASSPHRASE, Approver
from tests.cloud.commands.office import GATEWAY, PROVIDER, Office, order_of, row_of
from tests.cloud.world import TENANT


def test_two_approvals_are_what_a_gateway_takes(
    office: Office, zhang: Approver, li: Approver, now: int
) -> None:
    """Two people, each on an own machine; the gateway's own check passes."""
    order_id = office.add(order_of("meter-1", now))
    for one in (zhang, li):
        assert "approved  1 of 1" in one(*one.signing(order_id[:8]))
    trusted, signed = KeySet(tuple(office.keys)), office.orders[order_id]
    names = check_approvals(PROVIDER, trusted, TENANT, GATEWAY, signed, now)
    assert names == ("person:zhang", "person:li")


def test_the_person_reads_all_that_is_signed(office: Office, zhang: Approver, now: int) -> None:
    """In plain words: what, which meter, where, who asked, why, and when."""
    order = order_of("meter-1", now, reason="arrears of three months", assurance=1)
    out = zhang(*zhang.signing(office.add(order)))
    for words in (
        "DISCONNECT: the consumer loses supply",
        f"meter-1, address {order.meter_address}",
        "gw1",
        "person:wang",
        "arrears of three months",
        "900 s",
        "LOWER",
        order.order_id.hex(),
    ):
        assert words in out
    assert out.count("T") >= 3 and "Z" in out


def test_every_kind_has_its_words() -> None:
    """Nobody signs a code."""
    assert list(WORDS) == list(ACTIONS)


@pytest.mark.parametrize(
    ("action", "arguments", "words"),
    [
        (Action.PRICES, (2, 5283, 10, 0), ["table 2", "tariff 1: 0.5283", "tariff 2: 0.0010"]),
        (Action.TIME_OF_USE, (1, 3, 0, 1, 730, 2), ["day table 3", "from 00:00", "from 07:30"]),
        (Action.STEPS, (1, 1, 24000, 5283, 5783), ["240.00 kWh", "0.5283", "0.5783 per kWh"]),
        (Action.ALARM_AMOUNTS, (5000, 2000), ["50.00 and 20.00"]),
        (Action.OVERDRAFT, (5,), ["0.05"]),
        (Action.CONNECT, ("consent",), ["nobody at the meter", "consent"]),
    ],
)
def test_arguments_are_shown_to_the_last_digit(
    action: str, arguments: tuple, words: list[str], office: Office, zhang: Approver, now: int
) -> None:
    """Prices in the currency, amounts with cents, times with colons."""
    out = zhang(*zhang.signing(office.add(order_of("meter-1", now, action, arguments))))
    assert [one for one in words if one not in out] == []


# ---- a head end that lies -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        "digest",
        "order",
        "action",
        "meter",
        "address",
        "requested_by",
        "reason",
        "gateway",
        "tenant",
        "body",
    ],
)
def test_a_head_end_that_shows_one_order_and_returns_another_is_refused(
    field: str, office: Office, zhang: Approver, now: int
) -> None:
    """Each field taken from another order, and the rest kept: nothing is signed."""
    order_id = office.add(order_of("meter-1", now))
    other = order_of("meter-2", now, Action.KEEP_POWER_OFF, requester="person:chen", reason="other")
    foreign = {**row_of(other, "gw2"), "tenant": "t9"}[field]
    office.rows[order_id][field] = foreign
    words = zhang.refused(*zhang.signing(order_id))
    assert "nothing is signed" in words
    assert office.sent == []


def test_the_digest_of_another_order_is_not_signed(
    office: Office, zhang: Approver, now: int
) -> None:
    """The head end shows a harmless restore, and sends the digest of a cut."""
    shown = order_of("meter-1", now, Action.CONNECT, ("consent",))
    order_id = office.add(shown)
    cut = order_of("meter-1", now)
    office.rows[order_id]["digest"] = order_digest(PROVIDER, TENANT, GATEWAY, cut).hex()
    assert "digest" in zhang.refused(*zhang.signing(order_id))
    assert office.sent == []


def test_another_order_than_the_one_that_was_named_is_refused(
    office: Office, zhang: Approver, now: int, served: Served
) -> None:
    """Whole and true in itself, but not what was asked for."""
    order_id, other = (office.add(order_of(meter, now)) for meter in ("meter-1", "meter-2"))
    row = office.rows[other]
    served.answer = lambda body: {"final": True, "order": row}
    assert "order" in zhang.refused(*zhang.signing(order_id))


@pytest.mark.parametrize("body", ["", None, "zz", "00", "80", 5, "8301"])
def test_what_is_no_frozen_order_is_refused(
    body: object, office: Office, zhang: Approver, now: int
) -> None:
    """A draft, or bytes that are no order."""
    order_id = office.add(order_of("meter-1", now))
    office.rows[order_id]["body"] = body
    assert "frozen" in zhang.refused(*zhang.signing(order_id))


def test_words_of_others_do_not_steer_the_terminal(
    office: Office, zhang: Approver, now: int
) -> None:
    """A reason could hide what is above it."""
    reason = "x\x1b[2J\u202e"
    out = zhang(*zhang.signing(office.add(order_of("meter-1", now, reason=reason))))
    assert "\x1b" not in out and "\u202e" not in out and "\\x1b[2J\\u202e" in out


# ---- who ----------------------------------------------------------------------------------------


def test_whoever_asked_does_not_approve(office: Office, zhang: Approver, now: int) -> None:
    """The tool says so before the head end does."""
    order_id = office.add(order_of("meter-1", now, requester="person:zhang"))
    assert "others approve it" in zhang.refused(*zhang.signing(order_id))
    assert office.sent == []


def test_nobody_approves_twice(office: Office, zhang: Approver, now: int) -> None:
    """The second time there is nothing to sign."""
    order_id = office.add(order_of("meter-1", now))
    zhang(*zhang.signing(order_id))
    assert "nothing of it waits" in zhang.refused(*zhang.signing(order_id))
    assert len(office.sent) == 1


def test_the_key_and_the_token_are_of_one_person(
    office: Office, zhang: Approver, li: Approver, now: int
) -> None:
    """A borrowed key is noticed here."""
    order_id = office.add(order_of("meter-1", now))
    zhang.key = li.key
    assert "person:li" in zhang.refused(*zhang.signing(order_id))


@pytest.mark.parametrize(
    ("terms", "words"),
    [({"valid_until": -1}, "its time ended"), ({"requested_at": 3_600_000}, "clock is wrong")],
)
def test_what_would_be_refused_everywhere_is_not_signed(
    terms: dict[str, int], words: str, office: Office, zhang: Approver, now: int
) -> None:
    """An order of the past, or of the future."""
    shifted: dict[str, Any] = {name: now + value for name, value in terms.items()}
    if "valid_until" in shifted:
        shifted |= {"requested_at": now - 9000, "valid_from": now - 9000}
    order_id = office.add(order_of("meter-1", now, **shifted))
    assert words in zhang.refused(*zhang.signing(order_id))


def test_what_needs_no_approval_gets_none(office: Office, zhang: Approver, now: int) -> None:
    """A restore by the consumer's button."""
    order_id = office.add(order_of("meter-1", now, Action.ARM))
    assert "no approval" in zhang.refused(*zhang.signing(order_id))


@pytest.mark.parametrize("said", ["no\n", "\n", "", "YES\n", "y\n"])
def test_nothing_is_signed_without_a_yes(
    said: str, office: Office, zhang: Approver, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole word; and the key is not even opened."""
    order_id = office.add(order_of("meter-1", now))
    terminal = io.StringIO(said)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    zhang.passphrase.unlink()
    words = [one for one in zhang.signing(order_id) if one != "--yes"]
    assert "nothing was signed" in zhang(*words, code=1)
    assert office.sent == []


def test_a_yes_signs(
    office: Office, zhang: Approver, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was shown."""
    order_id = office.add(order_of("meter-1", now))
    terminal = io.StringIO("yes\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    out = zhang(*[one for one in zhang.signing(order_id) if one != "--yes"])
    assert out.index("DISCONNECT") < out.index('type "yes"') < out.index("approved")
    assert len(office.sent) == 1


def test_without_a_terminal_yes_must_be_said_in_words(
    office: Office, zhang: Approver, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script does not sign by piping something in."""
    order_id = office.add(order_of("meter-1", now))
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    words = [one for one in zhang.signing(order_id) if one != "--yes"]
    zhang(*words, code=2)
    assert "--yes" in zhang.err and office.sent == []


# ---- batches ------------------------------------------------------------------------------------

METERS = [f"表-{n}" if n == 3 else f"meter-{n}" for n in range(8)]


def test_a_batch_is_signed_order_by_order(
    office: Office, zhang: Approver, li: Approver, now: int
) -> None:
    """Every order over pages, with count, sample and load shown before."""
    batch_id = office.add_batch(METERS, now)
    out = zhang(*zhang.signing(batch_id[:10], "--list"))
    assert all(meter in out for meter in METERS)
    assert "meters      8" in out and "4321 W" in out and "gw1: 8" in out
    office.has_bodies = False
    li(*li.signing(batch_id))
    trusted = KeySet(tuple(office.keys))
    for order in office.orders.values():
        names = check_approvals(PROVIDER, trusted, TENANT, GATEWAY, order, now)
        assert names == ("person:zhang", "person:li")


def test_a_batch_that_was_half_signed_is_finished(
    office: Office, zhang: Approver, now: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what waits is signed; cancelled orders are left."""
    batch_id = office.add_batch(METERS, now)
    ids = list(office.rows)
    office.rows[ids[0]]["state"] = "cancelled"
    office.rows[ids[1]]["approvals"].append({"approver": "person:zhang", "at": now})
    monkeypatch.setattr("cloud.commands.approve.APPROVALS_A_REQUEST", 4)
    assert "approved  6 of 8" in zhang(*zhang.signing(batch_id))
    assert [len(one["approvals"]) for one in office.sent] == [4, 2]
    signed = {row["order"] for one in office.sent for row in one["approvals"]}
    assert signed == set(ids[2:])


def test_one_meter_more_voids_a_batch(office: Office, zhang: Approver, now: int) -> None:
    """Slipped in after the selection was frozen, with the selection's hash in its terms."""
    batch_id = office.add_batch(METERS, now)
    assert office.batch is not None
    office.add(order_of("meter-9", now, selection=bytes.fromhex(office.batch["selection"])))
    assert "count" in zhang.refused(*zhang.signing(batch_id))
    office.batch["count"] += 1
    assert "selection" in zhang.refused(*zhang.signing(batch_id))
    assert office.sent == []


def test_a_batch_whose_selection_is_another_is_refused(
    office: Office, zhang: Approver, now: int
) -> None:
    """What is shown as the selection must be what the orders hold."""
    batch_id = office.add_batch(METERS, now)
    assert office.batch is not None
    office.batch["selection"] = "ab" * 32
    assert "selection" in zhang.refused(*zhang.signing(batch_id))


def test_a_meter_twice_voids_a_batch(office: Office, zhang: Approver, now: int) -> None:
    """Two cuts of one meter are not one selection."""
    batch_id = office.add_batch([*METERS, METERS[0]], now)
    assert "selection" in zhang.refused(*zhang.signing(batch_id))


def test_orders_that_are_not_alike_void_a_batch(office: Office, zhang: Approver, now: int) -> None:
    """One that lives longer, among hundreds that are shown as one."""
    batch_id = office.add_batch(METERS[:-1], now)
    assert office.batch is not None
    selection = bytes.fromhex(office.batch["selection"])
    office.add(order_of(METERS[-1], now, selection=selection, life_ms=1000))
    office.batch["count"] += 1
    assert "not alike" in zhang.refused(*zhang.signing(batch_id))


def test_the_selection_is_hashed_as_the_head_end_does() -> None:
    """Two codes, one rule."""
    meters = sorted(METERS)
    office = Office()
    office.add_batch(METERS, 1_763_700_000_000)
    assert office.batch is not None
    assert office.batch["selection"] == selection_hash(meters).hex()


# ---- secrets ------------------------------------------------------------------------------------


def test_neither_token_nor_passphrase_nor_key_is_ever_shown(
    office: Office,
    zhang: Approver,
    now: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over good runs, refusals, a service that is down and a fault of our own, with --json."""
    caplog.set_level(logging.DEBUG)
    order_id = office.add(order_of("meter-1", now))
    shown = [zhang(*zhang.signing(order_id, "--json")), zhang.err]
    json.loads(shown[0])
    shown.append(zhang.refused(*zhang.signing(order_id, "--json")))
    zhang.passphrase.write_text("canary wrong passphrase\n")
    fresh = office.add(order_of("meter-2", now))
    shown += [zhang(*zhang.signing(fresh), code=2), zhang.err]
    assert "the passphrase does not fit" in zhang.err
    monkeypatch.setattr(papers, "judge", None)
    with pytest.raises(TypeError) as fault:
        zhang(*zhang.signing(fresh))
    shown += [str(fault.value), repr(fault.traceback)]
    monkeypatch.undo()
    zhang.served.server.stop()
    zhang(*zhang.signing(fresh), code=3)
    shown += [zhang.err, caplog.text]
    token = zhang.served.tokens["zhang"]
    for one in shown:
        assert token not in one and "canary" not in one and PASSPHRASE not in one


def test_secrets_are_taken_from_nowhere_else(
    office: Office, zhang: Approver, now: int, tmp_path: Path
) -> None:
    """A file that others may read is refused, for the passphrase as for the token."""
    order_id = office.add(order_of("meter-1", now))
    zhang.passphrase.chmod(0o644)
    zhang(*zhang.signing(order_id), code=2)
    assert f"{zhang.passphrase}: others" in zhang.err and "0600" in zhang.err
    zhang.passphrase.chmod(0o600)
    zhang.served.token_file("zhang").chmod(0o640)
    assert "zhang.token: others" in zhang.refused(*zhang.signing(order_id))
    assert office.sent == []


def test_the_public_record_must_be_there(office: Office, zhang: Approver, now: int) -> None:
    """It says whose key it is."""
    order_id = office.add(order_of("meter-1", now))
    public_path(zhang.key).unlink()
    assert "cannot be read" in zhang.refused(*zhang.signing(order_id))
