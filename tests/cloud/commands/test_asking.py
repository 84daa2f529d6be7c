"""The commands that ask, stop, hold, undo and protect: what each sends, shows and ends with."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloud.__main__ import main
from tests.cloud.api.served import Served
from tests.cloud.commands.conftest import Person

ID, OTHER = "ab" * 16, "cd" * 16
ORDER = {
    "order": ID,
    "meter": "meter-1",
    "gateway": "gw1",
    "action": "disconnect",
    "requested_by": "person:operator",
    "reason": "arrears",
    "state": "submitted",
    "waits": "for 2 approvals",
    "approvals_needed": 2,
    "approvals": [{"approver": "person:zhang", "at": 1}],
    "created_at": 1_763_700_000_000,
}
BATCH = {
    "batch": OTHER,
    "action": "disconnect",
    "requested_by": "person:operator",
    "reason": "arrears",
    "count": 12,
    "sample": ["meter-1", "meter-2"],
    "load_w": 5600,
    "load_known": 11,
    "selection": "ef" * 32,
    "state": "submitted",
    "states": {"submitted": 12},
    "approvals_needed": 2,
    "fully_approved_by": [],
}
HOLD = {"held": True, "since": 1_763_700_000_000, "by": "person:li", "reason": "storm"}
ENTRY = {
    "entry": 7,
    "meter": "meter-1",
    "flag": "medical",
    "note": "dialysis",
    "added_by": "person:li",
    "added_at": 1_763_700_000_000,
    "review_at": None,
    "review_due": False,
    "removal_asked_by": "",
    "removed": False,
}
ENDED: dict[str, Any] = {"cancelled": [ID], "stopping": [OTHER], "too_late": []}
UNDONE = {**ENDED, "incident": "undo i1", "restores": 2, "first_at": 1, "last_at": 10_001}
STORY = {"states": [{"at": 1, "state": "draft", "told_at": None, "reason": "asked"}]}
ANSWERS: dict[str, dict[str, Any]] = {
    "order_propose": {"order": ORDER},
    "order_submit": {"order": ORDER},
    "order_cancel": ENDED,
    "order_release": {"released": [ID], "orders": 1},
    "orders_list": {"orders": [ORDER]},
    "batch_propose": {"batch": BATCH},
    "batch_submit": {"batch": BATCH},
    "batch_get": {"batch": BATCH},
    "orders_stop": ENDED,
    "hold_set": {"hold": HOLD},
    "hold_release": {"hold": {**HOLD, "held": False}},
    "hold_get": {"hold": HOLD},
    "undo": UNDONE,
    "never_cut_add": {"entry": ENTRY},
    "never_cut_remove": {"entry": {**ENTRY, "removal_asked_by": "person:li"}},
    "never_cut_list": {"entries": [ENTRY]},
}


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """What a head end would say."""
    if body["op"] == "order_get":
        is_order = ID.startswith(body["order"])
        found = {"order": {**ORDER, "story": STORY}} if is_order else {"error": "no such order"}
        return {**found, "final": True}
    return {**ANSWERS[body["op"]], "final": True}


@pytest.fixture(autouse=True)
def _answers(served: Served) -> None:
    served.answer = answer


WHY = ("--reason", "arrears")
# role, words, the operation, its fields, a part of what is shown
COMMANDS: list[tuple[str, tuple[str, ...], str, dict[str, Any], str]] = [
    (
        "operator",
        ("order", "disconnect", "meter-1", *WHY, "--gateway", "gw1", "--incident", "i1"),
        "order_propose",
        {
            "action": "disconnect",
            "meter": "meter-1",
            "gateway": "gw1",
            "reason": "arrears",
            "incident": "i1",
            "submit": True,
        },
        "waits     for 2 approvals",
    ),
    (
        "operator",
        ("order", "connect", "meter-1", "consent", *WHY, "--draft", "--lower-assurance"),
        "order_propose",
        {
            "action": "connect",
            "meter": "meter-1",
            "reason": "arrears",
            "arguments": ["consent"],
            "lower_assurance": True,
        },
        "approved  1 of 2: person:zhang",
    ),
    (
        "tariff-manager",
        ("order", "propose", "prices", "meter-1", "2", "5283", "0", *WHY, "--life-s", "600"),
        "order_propose",
        {
            "action": "prices",
            "meter": "meter-1",
            "reason": "arrears",
            "arguments": [2, 5283, 0],
            "life_s": 600,
            "submit": True,
        },
        "order     " + ID,
    ),
    (
        "operator",
        (
            *("order", "propose", "top-up", "meter-1", "3", "5000", "00000001", "070102FF", "0aff"),
            *WHY,
            *("--not-before", "2026-11-21", "--not-after", "2026-11-22T08:00:00+08:00"),
        ),
        "order_propose",
        {
            "action": "top-up",
            "meter": "meter-1",
            "reason": "arrears",
            "arguments": [3, 5000, "00000001", "070102FF", {"hex": "0aff"}],
            "valid_from": 1_795_219_200_000,
            "valid_until": 1_795_305_600_000,
            "submit": True,
        },
        "state     submitted",
    ),
    ("operator", ("order", "arm", "m", *WHY), "order_propose",
     {"action": "arm", "meter": "m", "reason": "arrears", "submit": True}, ""),
    ("operator", ("order", "keep-power-on", "m", *WHY), "order_propose",
     {"action": "keep-power-on", "meter": "m", "reason": "arrears", "submit": True}, ""),
    ("operator", ("order", "keep-power-off", "m", *WHY), "order_propose",
     {"action": "keep-power-off", "meter": "m", "reason": "arrears", "submit": True}, ""),
    ("operator", ("order", "submit", ID[:6]), "order_submit", {"order": ID}, "submitted"),
    ("operator", ("order", "cancel", ID[:6], *WHY), "order_cancel",
     {"order": ID, "reason": "arrears"}, "cancelled"),
    ("viewer", ("order", "show", ID[:6]), "order_get", {"order": ID[:6]}, "draft"),
    ("viewer", ("order", "list", "--limit", "7"), "orders_list", {"limit": 7}, "meter-1"),
    ("operator", ("batch", "show", OTHER[:8]), "batch_get", {"batch": OTHER[:8]},
     "load      5600 W, of 11 meters"),
    ("operator", ("batch", "submit", OTHER), "batch_submit", {"batch": OTHER}, "meters    12"),
    ("operator", ("batch", "cancel", OTHER[:8], *WHY), "order_cancel",
     {"batch": OTHER, "reason": "arrears"}, "the gateway was told"),
    ("approver", ("release", ID[:6], *WHY), "order_release",
     {"order": ID, "reason": "arrears"}, "released"),
    ("approver", ("release", OTHER[:6], *WHY), "order_release",
     {"batch": OTHER, "reason": "arrears"}, "released"),
    ("operator", ("stop", ID, OTHER, *WHY), "orders_stop",
     {"orders": [ID, OTHER], "reason": "arrears"}, "cancelled"),
    ("operator", ("stop", "--all-cuts", *WHY), "orders_stop",
     {"all_cuts": True, "reason": "arrears"}, "cancelled"),
    ("operator", ("stop", "--incident", "i1", *WHY), "orders_stop",
     {"incident": "i1", "reason": "arrears"}, "cancelled"),
    ("operator", ("hold", "on", *WHY), "hold_set", {"reason": "arrears"}, "HELD, fleet-wide"),
    ("approver", ("hold", "off", *WHY), "hold_release", {"reason": "arrears"}, "not held"),
    ("operator", ("undo", "i1", *WHY), "undo", {"incident": "i1", "reason": "arrears"},
     "restores  2"),
    ("operator", ("never-cut", "add", "meter-1", "medical", "--note", "dialysis",
     "--review-at", "2026-11-21"), "never_cut_add",
     {"meter": "meter-1", "flag": "medical", "note": "dialysis",
      "review_at": 1_795_219_200_000}, "dialysis"),
    ("approver", ("never-cut", "remove", "7", *WHY), "never_cut_remove",
     {"entry": 7, "reason": "arrears"}, "a second approver"),
    ("viewer", ("never-cut", "list", "--meter", "meter-1", "--all"), "never_cut_list",
     {"meter": "meter-1", "all": True}, "medical"),
]  # fmt: skip
IDS = ["_".join(words[:2]) + f"_{n}" for n, (_, words, *_rest) in enumerate(COMMANDS)]


@pytest.mark.parametrize(("role", "words", "operation", "fields", "shown"), COMMANDS, ids=IDS)
def test_a_command_asks_one_operation(
    role: str,
    words: tuple[str, ...],
    operation: str,
    fields: dict[str, Any],
    shown: str,
    operator: Person,
    served: Served,
) -> None:
    """With these fields and no others, as the person; in words, and as JSON."""
    operator.role = role
    assert shown in operator(*words)
    asked = served.asked[-1]
    assert asked.pop("op") == operation and asked.pop("person")["name"] == role
    assert len(asked.pop("key", "0" * 32)) == 32
    assert asked == fields
    json.loads(operator(*words, "--json"))


def test_a_batch_is_proposed_and_frozen(operator: Person, served: Served, tmp_path: Path) -> None:
    """By a file, by names, or all of a gateway."""
    listed = tmp_path / "meters"
    listed.write_text("meter-1\n\n meter-2 \n")
    for words, fields in (
        (("--meters", str(listed)), {"meters": ["meter-1", "meter-2"]}),
        (("--meter", "a", "--meter", "b"), {"meters": ["a", "b"]}),
        (("--all-of", "gw1"), {"gateway": "gw1"}),
    ):
        served.asked.clear()
        out = operator("batch", "propose", "disconnect", *words, *WHY)
        assert "sample" not in out and "meters    12: meter-1, meter-2" in out
        first, second = served.asked
        assert len(first.pop("key")) == 32
        person = {"name": "operator", "roles": ["operator"], "areas": []}
        wanted = {"action": "disconnect", "reason": "arrears", **fields}
        assert first == {"op": "batch_propose", "person": person, **wanted}
        assert second == {"op": "batch_submit", "person": person, "batch": OTHER}


def test_a_draft_of_a_batch_stays_one(operator: Person, served: Served) -> None:
    """It is submitted later."""
    operator("batch", "propose", "arm", "--meter", "a", "--draft", *WHY)
    assert [one["op"] for one in served.asked] == ["batch_propose"]


@pytest.mark.parametrize("text", ["", "\n \n", "a\nb\na\n", "\xff"])
def test_a_selection_of_nothing_is_refused(
    text: str, operator: Person, served: Served, tmp_path: Path
) -> None:
    """As is one that names a meter twice, or no text at all."""
    listed = tmp_path / "meters"
    listed.write_text(text, encoding="latin-1")
    operator.refused("batch", "propose", "disconnect", "--meters", str(listed), *WHY)
    assert served.asked == []


def test_a_repeated_request_has_its_key(operator: Person, served: Served) -> None:
    """The person's own, or a new one each time."""
    for words in ((), (), ("--idempotency-key", "k1"), ("--idempotency-key", "k1")):
        operator("order", "disconnect", "m", *WHY, *words)
    keys = [one["key"] for one in served.asked]
    assert keys[2:] == ["k1", "k1"] and len(set(keys)) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("order", "propose", "prices", "m", "3", "1"),
        ("order", "propose", "prices", "m", "1", "1.5"),
        ("order", "propose", "top-up", "m", "1"),
        ("order", "propose", "top-up", "m", "1", "1", "00000001", "070102FF", "xx"),
        ("order", "propose", "disconnect", "m", "1"),
        ("order", "cancel", "zz"),
        ("order", "cancel", "ab"),
        ("stop", "abab"),
    ],
)
def test_what_makes_no_sense_is_not_sent(
    words: tuple[str, ...], operator: Person, served: Served
) -> None:
    """One sentence, exit code 2, and nobody is asked."""
    operator.refused(*words, *WHY)
    assert served.asked == []


def test_too_late_is_exit_code_1(operator: Person, served: Served) -> None:
    """A script must see that a cut went out."""
    ended = {**ENDED, "too_late": [ID]}
    served.answer = lambda body: {**ended, "final": True} if "stop" in body["op"] else answer(body)
    assert "TOO LATE" in operator("stop", "--all-cuts", *WHY, code=1)


def test_hold_status_is_an_exit_code(operator: Person, served: Served) -> None:
    """1 while cuts are held, 0 when they are not."""
    assert "HELD" in operator("hold", "status", code=1)
    served.answer = lambda _body: {
        "hold": {"held": False, "since": 0, "by": "", "reason": ""},
        "final": True,
    }
    assert operator("hold", "status") == "cuts      not held\n"


def test_a_refusal_is_one_sentence(operator: Person, served: Served) -> None:
    """The head end's own, and exit code 2."""
    served.answer = lambda _body: {"error": "not allowed: no", "final": True}
    assert operator.refused("hold", "on", *WHY) == (
        "busbar-cloud: the head end refused: not allowed: no\n"
    )
    operator.role = "viewer"
    assert "it takes one of the roles" in operator.refused("hold", "on", *WHY)


def test_what_the_head_end_says_does_not_steer_the_terminal(
    operator: Person, served: Served
) -> None:
    """Neither in an answer nor in a refusal."""
    served.answer = lambda _body: {"order": {**ORDER, "reason": "x\x1b[2J"}, "final": True}
    assert "\x1b" not in operator("order", "arm", "m", *WHY)
    served.answer = lambda _body: {"error": "x\x1b[2J", "final": True}
    assert "\x1b" not in operator.refused("order", "arm", "m", *WHY)


# ---- doors --------------------------------------------------------------------------------------


def test_the_door_may_stand_in_the_environment(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's shell has both."""
    monkeypatch.setenv("BUSBAR_URL", served.url)
    monkeypatch.setenv("BUSBAR_TOKEN_FILE", str(served.token_file("operator")))
    assert main(["hold", "on", *WHY]) == 0
    assert "HELD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("door", "words"),
    [
        ((), "must be said"),
        (("--url", "http://127.0.0.1:1"), "must be said"),
        (("--token-file", "t"), "must be said"),
        (("--url", "http://127.0.0.1:1", "--config", "x"), "two doors"),
        (("--url", "ftp://127.0.0.1", "--token-file", "t"), "--url must be such as"),
        (("--url", "http://192.0.2.1:8645", "--token-file", "t"), "use https"),
        (("--url", "http://head-end.invalid:8645", "--token-file", "t"), "use https"),
        (("--url", "https://me@head-end.invalid", "--token-file", "t"), "--url must be such as"),
        (("--url", "https://head-end.invalid/x", "--token-file", "t"), "--url must be such as"),
        (("--url", "https://head-end.invalid:x", "--token-file", "t"), "--url must be such as"),
        (("--url", "https://head-end.invalid", "--token-file", "none"), "cannot be read"),
        (("--url", "https://head-end.invalid", "--token-file", "t", "--ca", "t"), "no certificate"),
    ],
)
def test_a_door_that_is_none_is_refused(
    door: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No door, two doors, half a door; and http leads to this machine alone."""
    monkeypatch.chdir(tmp_path)
    token = tmp_path / "t"
    token.touch(0o600)
    token.write_text("bb_" + "x" * 43)
    assert main(["hold", "on", *WHY, *door]) == 2
    err = capsys.readouterr().err
    assert err.startswith("busbar-cloud: ") and err.count("\n") == 1 and words in err


def test_nobody_at_the_door_is_exit_code_3(
    operator: Person, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the sentence names the place."""
    served.server.stop()
    assert operator("hold", "on", *WHY, code=3) == ""
    assert "no head end answers at 127.0.0.1" in operator.err


@pytest.mark.parametrize("text", ["", "short", "two\nlines-that-are-long-enough", "é" * 40])
def test_a_token_file_holds_a_token(
    text: str, operator: Person, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is not shown when it does not."""
    path = served.token_file("operator")
    path.write_text(text)
    words = ["hold", "on", *WHY, "--url", served.url, "--token-file", str(path)]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "holds no token" in err and "lines-that" not in err
