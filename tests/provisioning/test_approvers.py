"""Who may approve: the head end's file and every gateway's, in step, with no private key in any."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols.envelope.keys import ESP256, HPKE_X25519, KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.suites import Provider
from protocols.errors import EnvelopeError, SettingError
from provisioning.__main__ import main
from provisioning.approvers import Approvers, described
from provisioning.deployment import Deployment

NOW = 1_790_000_000_000
DAY = 86_400_000
PROVIDER = Provider()
Capture = pytest.CaptureFixture[str]


def made_key(name: str, use: str = Use.APPROVE, algorithm: int = ESP256) -> PrivateKey:
    """A fresh key of a person."""
    private, public = PROVIDER.generate(algorithm)
    kid = PROVIDER.kid(public)
    record = KeyRecord(kid, f"person:{name}", use, algorithm, public, NOW, NOW + 397 * DAY, 0)
    return PrivateKey(record, private)


def public_file(folder: Path, record: KeyRecord, **changes: Any) -> Path:
    """The public record in a file."""
    path = folder / f"{record.kid.hex()}.public.json"
    path.write_text(json.dumps(record.to_json() | changes))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A deployment with two gateways."""
    directory = tmp_path / "site"
    Deployment(directory).init("t1", ["gw1", "gw2"], None, NOW)
    return directory


def table(path: Path) -> dict[str, Any]:
    """A JSON file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def approvers_of(path: Path) -> list[KeyRecord]:
    """The records that may approve."""
    rows = [KeyRecord.from_json(row) for row in table(path)["keys"]]
    return [one for one in rows if one.use == Use.APPROVE]


def files_of(site: Path, *gateways: str) -> list[Path]:
    """Where approvers stand."""
    names = gateways or ("gw1", "gw2")
    return [site / "cloud" / "approvers.json"] + [
        site / "gateways" / name / "keyset.json" for name in names
    ]


def tree_of(site: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {str(path): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def fault(function: Any, *arguments: Any) -> str:
    """What the SettingError says."""
    with pytest.raises(SettingError) as caught:
        function(*arguments)
    return str(caught.value)


def test_an_approver_is_known_everywhere(site: Path, tmp_path: Path) -> None:
    """At the head end and on each gateway, beside the head end's own keys; a version more each."""
    zhao, qian = made_key("zhao"), made_key("qian")
    trusted = table(site / "gateways" / "gw1" / "keyset.json")
    changed = Approvers(site).add("zhao", public_file(tmp_path, zhao.record), NOW)
    assert changed == ((zhao.record,), ("gw1", "gw2"), ())
    Approvers(site).add("qian", public_file(tmp_path, qian.record), NOW)
    for path in files_of(site):
        assert approvers_of(path) == [zhao.record, qian.record]
        assert table(path)["tenant"] == "t1"
    after = table(site / "gateways" / "gw1" / "keyset.json")
    assert after["keys"][: len(trusted["keys"])] == trusted["keys"]
    assert (trusted["version"], after["version"]) == (1, 3)
    assert table(site / "cloud" / "approvers.json")["version"] == 2
    assert approvers_of(site / "cloud" / "keyset.json") == []


def test_nothing_private_is_taken(site: Path, tmp_path: Path) -> None:
    """A file with a private part is refused, and no file of the deployment has one."""
    zhao = made_key("zhao")
    path = public_file(tmp_path, zhao.record, private=zhao.private.hex())
    said = fault(Approvers(site).add, "zhao", path, NOW)
    assert said == f"{path}: holds more than a public key record"
    Approvers(site).add("zhao", public_file(tmp_path, zhao.record), NOW)
    assert [
        name for name, data in tree_of(site).items() if zhao.private.hex().encode() in data
    ] == []


def test_adding_again_changes_nothing(site: Path, tmp_path: Path) -> None:
    """Not a byte, nor a version."""
    path = public_file(tmp_path, made_key("zhao").record)
    Approvers(site).add("zhao", path, NOW)
    before = tree_of(site)
    assert Approvers(site).add("zhao", path, NOW + DAY).gateways == ()
    assert tree_of(site) == before


def test_a_person_may_have_a_second_key(site: Path, tmp_path: Path) -> None:
    """A renewal: both hold, under one name."""
    for key in (made_key("zhao"), made_key("zhao")):
        Approvers(site).add("zhao", public_file(tmp_path, key.record), NOW)
    assert [one.owner for one in approvers_of(files_of(site)[2])] == ["person:zhao"] * 2


def test_a_revoked_approver_approves_nothing(site: Path, tmp_path: Path) -> None:
    """Every key of the person, everywhere; the others stay; once is enough."""
    zhao, again, qian = made_key("zhao"), made_key("zhao"), made_key("qian")
    for key in (zhao, again, qian):
        name = key.record.owner.removeprefix("person:")
        Approvers(site).add(name, public_file(tmp_path, key.record), NOW)
    changed = Approvers(site).revoke("zhao", NOW + 5)
    assert changed.gateways == ("gw1", "gw2")
    assert [one.revoked for one in changed.records] == [NOW + 5, NOW + 5]
    before = tree_of(site)
    assert Approvers(site).revoke("zhao", NOW + 6).gateways == ()
    assert tree_of(site) == before
    for path in files_of(site):
        keys = KeySet(tuple(approvers_of(path)))
        assert keys.find(qian.record.kid, "person:qian", Use.APPROVE, NOW) == qian.record
        for key in (zhao, again):
            with pytest.raises(EnvelopeError, match="revoked_key"):
                keys.find(key.record.kid, "person:zhao", Use.APPROVE, NOW)


def test_a_revoked_key_does_not_come_back(site: Path, tmp_path: Path) -> None:
    """A fresh one does."""
    path = public_file(tmp_path, made_key("zhao").record)
    Approvers(site).add("zhao", path, NOW)
    Approvers(site).revoke("zhao", NOW)
    before = tree_of(site)
    assert fault(Approvers(site).add, "zhao", path, NOW) == (
        f"{path}: the key is revoked and stays so; make 'zhao' a new one"
    )
    assert tree_of(site) == before
    fresh = made_key("zhao").record
    Approvers(site).add("zhao", public_file(tmp_path, fresh), NOW)
    assert approvers_of(files_of(site)[1])[-1] == fresh


def test_i03_one_key_is_one_persons(site: Path, tmp_path: Path) -> None:
    """Not under another name, and not as the negative of its point, which is the same secret."""
    zhao = made_key("zhao")
    Approvers(site).add("zhao", public_file(tmp_path, zhao.record), NOW)
    before = tree_of(site)
    negative = bytes([zhao.record.public[0] ^ 1]) + zhao.record.public[1:]
    for public in (zhao.record.public, negative):
        other = zhao.record._replace(
            owner="person:qian", public=public, kid=PROVIDER.kid(public)
        )  # fmt: skip
        path = public_file(tmp_path, other)
        said = fault(Approvers(site).add, "qian", path, NOW)
        assert said == f"{path}: the key is zhao's already"
    assert tree_of(site) == before


def test_a_gateway_that_comes_later_knows_the_approvers(site: Path, tmp_path: Path) -> None:
    """Revoked ones too, so that their use is named for what it is."""
    Approvers(site).add("zhao", public_file(tmp_path, made_key("zhao").record), NOW)
    Approvers(site).add("qian", public_file(tmp_path, made_key("qian").record), NOW)
    Approvers(site).revoke("qian", NOW + 1)
    Deployment(site).init(None, ["gw3"], None, NOW)
    head_end, _, _, third = files_of(site, "gw1", "gw2", "gw3")
    assert approvers_of(third) == approvers_of(head_end)
    assert len(approvers_of(third)) == 2


def test_a_run_that_was_killed_is_finished_by_the_next(site: Path, tmp_path: Path) -> None:
    """Any later one: the head end's file is what counts."""
    zhao, qian = made_key("zhao"), made_key("qian")
    keyset = site / "gateways" / "gw2" / "keyset.json"
    former = keyset.read_bytes()
    Approvers(site).add("zhao", public_file(tmp_path, zhao.record), NOW)
    keyset.write_bytes(former)  # as when the power went away before the last file
    changed = Approvers(site).add("qian", public_file(tmp_path, qian.record), NOW)
    assert changed.gateways == ("gw1", "gw2")
    assert approvers_of(keyset) == [zhao.record, qian.record]


def test_a_gateway_whose_folder_moved_is_named(site: Path, tmp_path: Path) -> None:
    """Nobody thinks that it knows; a revoked gateway is not worth a word."""
    Deployment(site).init(None, ["gw3"], None, NOW)
    for name in ("gw2", "gw3"):
        (site / "gateways" / name).rename(tmp_path / name)
    Deployment(site).revoke("gw3", NOW)
    changed = Approvers(site).add("zhao", public_file(tmp_path, made_key("zhao").record), NOW)
    assert (changed.gateways, changed.absent) == (("gw1",), ("gw2",))


ZHAO = made_key("zhao")
LONG_FORM = (
    ec.derive_private_key(int.from_bytes(ZHAO.private, "big"), ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)
NO_POINT = b"\x02" + b"\xff" * 32


def renamed(public: bytes) -> dict[str, str]:
    """Another public part with its own name."""
    return {"public": public.hex(), "kid": PROVIDER.kid(public).hex()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"owner": "person:qian"}, "the key is qian's, not zhao's"),
        ({"owner": "head-end"}, "the key is head-end's, not zhao's"),
        ({"use": "sign-order"}, "the key is not made for approving (use 'sign-order')"),
        ({"use": "open", "algorithm": HPKE_X25519},
         "the key is not made for approving (use 'open')"),
        ({"algorithm": HPKE_X25519}, "the key is not made for approving (use 'approve-order')"),
        ({"use": "approve"}, "is no public key record of an approver"),
        ({"kid": "00"}, "is no public key record of an approver"),
        ({"kid": "00" * 8}, "the key's name is not that of its public part"),
        ({"not_before": -1}, "the key record has no times"),
        ({"not_before": NOW + 397 * DAY}, "the key is over, or revoked"),
        ({"not_after": NOW}, "the key is over, or revoked"),
        ({"revoked": 1}, "the key is over, or revoked"),
        (renamed(LONG_FORM), "the public part is no P-256 point of 33 bytes"),
        (renamed(NO_POINT), "the public part is no P-256 point of 33 bytes"),
        (renamed(b""), "the public part is no P-256 point of 33 bytes"),
        ({"note": "of mine"}, "holds more than a public key record"),
    ],
)  # fmt: skip
def test_a_record_that_does_not_fit_is_refused(
    site: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """With one sentence, and nothing is changed."""
    before = tree_of(site)
    path = public_file(tmp_path, ZHAO.record, **changes)
    assert fault(Approvers(site).add, "zhao", path, NOW) == f"{path}: {said}"
    assert tree_of(site) == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"7", b"null"])
def test_what_is_no_record_is_refused(site: Path, tmp_path: Path, content: bytes) -> None:
    """Whatever is in the file."""
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    said = fault(Approvers(site).add, "zhao", path, NOW)
    assert said == f"{path}: is no public key record of an approver"


@pytest.mark.parametrize("name", ["", "Zhao", "person:zhao", "-zhao", "z" * 33, "zhao li", "../x"])
def test_a_person_has_a_plain_name(site: Path, tmp_path: Path, name: str) -> None:
    """One form of it, as in people.json."""
    path = public_file(tmp_path, ZHAO.record)
    for function, more in ((Approvers(site).add, (path,)), (Approvers(site).revoke, ())):
        said = fault(function, name, *more, NOW)
        assert said.startswith(f"{name!r} is no person's name: allowed are 1 to 32 of a-z")


def test_an_unknown_approver_can_not_be_revoked(site: Path, tmp_path: Path) -> None:
    """Also while there is no file yet."""
    where = site / "cloud" / "approvers.json"
    assert fault(Approvers(site).revoke, "sun", NOW) == f"there is no approver 'sun' in {where}"
    Approvers(site).add("zhao", public_file(tmp_path, ZHAO.record), NOW)
    assert fault(Approvers(site).revoke, "sun", NOW) == f"there is no approver 'sun' in {where}"


def test_a_directory_that_is_no_deployment_is_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    said = f"{tmp_path} is no deployment: make one with busbar-provision init"
    assert fault(Approvers(tmp_path).records) == said
    assert fault(Approvers(tmp_path).revoke, "zhao", NOW) == said


def test_a_head_end_key_among_the_approvers_is_damage(site: Path, tmp_path: Path) -> None:
    """The file that says who approves says nothing else."""
    Approvers(site).add("zhao", public_file(tmp_path, ZHAO.record), NOW)
    path = site / "cloud" / "approvers.json"
    rows = table(path)
    rows["keys"] += table(site / "cloud" / "keyset.json")["keys"][:1]
    path.write_text(json.dumps(rows))
    assert fault(Approvers(site).records) == f"{path} is damaged: head-end may not approve"
    with pytest.raises(SettingError, match="head-end may not approve"):
        Deployment(site).init(None, ["gw3"], None, NOW)


# ---- the command -------------------------------------------------------------------------------


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    """(exit code, output, errors)."""
    code = main(arguments)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_commands_say_what_they_did(site: Path, tmp_path: Path, capsys: Capture) -> None:
    """The key's name, what is to be copied, and nothing else."""
    forever = ZHAO.record._replace(not_before=1, not_after=4_102_444_800_000)
    path, kid = public_file(tmp_path, forever), forever.kid.hex()
    copied = [
        f"gateway {name}: copy {site / 'gateways' / name / 'keyset.json'} to it and restart it"
        for name in ("gw1", "gw2")
    ]
    where = ("--dir", str(site))
    line = f"approver zhao: key {kid}, until 2100-01-01"
    code, out, err = run(capsys, "approver", "add", "zhao", "--public", str(path), *where)
    assert (code, out.splitlines(), err) == (0, [line, *copied], "")
    assert run(capsys, "approver", "list", *where) == (0, f"{line}\n", "")
    again = run(capsys, "approver", "add", "zhao", "--public", str(path), *where)
    assert again == (0, f"{line}\n", "")
    (site / "gateways" / "gw2").rename(tmp_path / "gw2")
    code, out, err = run(capsys, "approver", "revoke", "zhao", *where)
    away = (
        f"gateway gw2: its folder is not here; put the keys of {site / 'cloud' / 'approvers.json'}"
        " into its keyset"
    )
    line = f"approver zhao: key {kid}, revoked"
    assert (code, out.splitlines(), err) == (0, [line, copied[0], away], "")
    assert run(capsys, "approver", "list", *where) == (0, f"{line}\n", "")


def test_the_commands_refuse_in_one_sentence(site: Path, tmp_path: Path, capsys: Capture) -> None:
    """And exit code 2."""
    path = tmp_path / "none.json"
    code, out, err = run(
        capsys, "approver", "add", "zhao", "--public", str(path), "--dir", str(site)
    )
    assert (code, out) == (2, "")
    assert err == f"busbar-provision: {path}: No such file or directory\n"
    code, out, err = run(capsys, "approver", "revoke", "zhao", "--dir", str(site))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_a_key_is_described_by_its_name_and_its_end() -> None:
    """Never by its bytes."""
    shown = described(ZHAO.record._replace(not_after=0))
    assert shown == f"approver zhao: key {ZHAO.record.kid.hex()}, until 1970-01-01"
    assert ZHAO.record.public.hex() not in shown
