"""Deployments: made, added to, revoked; every file, every mode, and no run that is half done."""

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification

from protocols import messages
from protocols.envelope.claims import Claims
from protocols.envelope.keys import KeyRecord, KeySet, PrivateKey, Use
from protocols.envelope.seal import Context, Opened, open_sealed, seal
from protocols.envelope.suites import Provider
from protocols.errors import EnvelopeError, SettingError
from protocols.topics import Topic
from provisioning import files, pki
from provisioning.deployment import GATEWAYS_MAX, Deployment

NOW = 1_790_000_000_000
LATER = NOW + 3_600_000
PROVIDER = Provider()
TREE = {
    "ca": 0o700, "ca/ca.key": 0o600, "ca/ca.pem": 0o644, "ca/crl.pem": 0o644, "ca/issued": 0o700,
    "broker": 0o700, "broker/broker.key": 0o600, "broker/broker.pem": 0o644,
    "broker/ca.pem": 0o644, "broker/crl.pem": 0o644,
    "cloud": 0o700, "cloud/tls.key": 0o600, "cloud/tls.pem": 0o644, "cloud/ca.pem": 0o644,
    "cloud/keys.json": 0o600, "cloud/config-keys.json": 0o600, "cloud/keyset.json": 0o644,
    "cloud/registry.json": 0o644,
    "gateways": 0o700, "gateways/gw1": 0o700, "gateways/gw1/tls.key": 0o600,
    "gateways/gw1/tls.pem": 0o644, "gateways/gw1/ca.pem": 0o644, "gateways/gw1/keys.json": 0o600,
    "gateways/gw1/keyset.json": 0o644,
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    """A deployment with one gateway."""
    deployment = Deployment(tmp_path / "site")
    deployment.init("t1", ["gw1"], None, NOW)
    return deployment


def tree_of(directory: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b""
        for path in sorted(directory.rglob("*"))
    }


def read(path: Path) -> dict[str, Any]:
    """A JSON file."""
    table: dict[str, Any] = json.loads(path.read_text())
    return table


def private_keys(path: Path) -> dict[str, PrivateKey]:
    """A party's own keys by use, as gateway and head end read them."""
    rows = read(path)["keys"]
    keys = [
        PrivateKey(KeyRecord.from_json(row["record"]), bytes.fromhex(row["private"]))
        for row in rows
    ]
    return {key.record.use: key for key in keys}


def trusted(path: Path) -> KeySet:
    """Whom a registry or key set trusts."""
    return KeySet(tuple(KeyRecord.from_json(row) for row in read(path)["keys"]))


def certificate(path: Path) -> x509.Certificate:
    """The certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def revoked_serials(path: Path) -> set[int]:
    """What a revocation list holds."""
    return {entry.serial_number for entry in x509.load_pem_x509_crl(path.read_bytes())}


class Parties:
    """Gateway and head end, with the files that they have."""

    def __init__(self, directory: Path, gateway: str) -> None:
        self.gateway = gateway
        self.gateway_keys = private_keys(directory / "gateways" / gateway / "keys.json")
        self.head_end_keys = private_keys(directory / "cloud" / "keys.json")
        self.head_end_keys |= private_keys(directory / "cloud" / "config-keys.json")
        self.keyset = trusted(directory / "gateways" / gateway / "keyset.json")
        self.registry = trusted(directory / "cloud" / "registry.json")

    def up(self, use: str = Use.SIGN_DATA) -> Opened:
        """A batch from gateway to head end, signed by the key for `use`."""
        return self._send(
            messages.DATA, self.gateway, self.gateway_keys[use], messages.HEAD_END,
            self.head_end_keys[Use.OPEN], self.keyset, self.registry,
        )  # fmt: skip

    def down(self, kind: messages.MessageKind, use: str) -> Opened:
        """A message of a kind from head end to gateway, signed by the key for `use`."""
        return self._send(
            kind, messages.HEAD_END, self.head_end_keys[use], self.gateway,
            self.gateway_keys[Use.OPEN], self.registry, self.keyset,
        )  # fmt: skip

    def _send(
        self,
        kind: messages.MessageKind,
        sender: str,
        signing: PrivateKey,
        recipient: str,
        opening: PrivateKey,
        senders_view: KeySet,
        recipients_view: KeySet,
    ) -> Opened:
        topic = Topic("t1", self.gateway, kind.suffix).text()
        context = Context(kind.name, sender, recipient, topic)
        claims = Claims(1, NOW, 0, b"", bytes(8), kind.content_type)
        to = senders_view.current(recipient, Use.OPEN, NOW)
        signer = PROVIDER.signer(signing.record.algorithm, signing.private)
        sealed = seal(PROVIDER, signer, signing.record.kid, to, context, claims, b"body")
        own = {opening.record.kid: opening}
        return open_sealed(PROVIDER, own, recipients_view, kind.use, NOW, context, sealed)


# ---- making ----------------------------------------------------------------------------------


def test_a_deployment_has_its_files_with_their_modes(made: Deployment) -> None:
    """Keys are the owner's alone, folders too, and nothing else is left lying about."""
    found = {
        str(path.relative_to(made.directory)): stat.S_IMODE(path.stat().st_mode)
        for path in made.directory.rglob("*")
        if path.parent.name != "issued"
    }
    assert found == TREE
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700
    issued = [path.name.split("-")[0] for path in (made.directory / "ca" / "issued").iterdir()]
    assert sorted(issued) == ["broker", "gw1", "ingest"]


def test_every_certificate_chains_to_the_authority(made: Deployment) -> None:
    """The copies of the authority are the same, and each key fits its certificate."""
    root = made.directory
    authority = certificate(root / "ca" / "ca.pem")
    at = datetime.fromtimestamp(NOW // 1000, UTC)
    policy = verification.PolicyBuilder().store(verification.Store([authority])).time(at)
    for folder, name in (("cloud", "ingest"), ("gateways/gw1", "gw1")):
        one = certificate(root / folder / "tls.pem")
        assert policy.build_client_verifier().verify(one, []).chain == [one, authority]
        assert one.subject.rfc4514_string() == f"CN={name}"
        assert pki.Authority.from_pem(
            (root / folder / "tls.key").read_bytes(), (root / folder / "tls.pem").read_bytes()
        )
    broker = certificate(root / "broker" / "broker.pem")
    for host in (
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
    ):
        assert policy.build_server_verifier(host).verify(broker, []) == [broker, authority]
    for folder in ("broker", "cloud", "gateways/gw1"):
        assert certificate(root / folder / "ca.pem") == authority


def test_the_json_files_have_their_form(made: Deployment) -> None:
    """As gateway and head end read them."""
    root = made.directory
    keys = read(root / "gateways" / "gw1" / "keys.json")
    assert (keys["party"], keys["tenant"]) == ("gw1", "t1")
    assert [sorted(row) for row in keys["keys"]] == [["private", "record"]] * 2
    keys = read(root / "cloud" / "keys.json")
    assert (keys["party"], keys["tenant"], len(keys["keys"])) == ("head-end", "t1", 3)
    registry = read(root / "cloud" / "registry.json")
    assert (registry["tenant"], registry["version"]) == ("t1", 1)
    gateway = read(root / "gateways" / "gw1" / "keys.json")
    assert registry["keys"] == [row["record"] for row in gateway["keys"]]
    keyset = read(root / "gateways" / "gw1" / "keyset.json")
    own = keys["keys"] + read(root / "cloud" / "config-keys.json")["keys"]
    by_use = {row["record"]["use"]: row["record"] for row in own}
    assert {record["use"]: record for record in keyset["keys"]} == by_use
    assert len(keyset["keys"]) == len(own) == 4
    assert read(root / "cloud" / "keyset.json") == keyset


def test_the_keys_seal_and_open_both_ways(made: Deployment) -> None:
    """Data up; acknowledgement and order down, each by its own key and no other."""
    parties = Parties(made.directory, "gw1")
    assert parties.up().body == b"body"
    assert parties.down(messages.ACK, Use.SIGN_ACK).body == b"body"
    assert parties.down(messages.ORDER, Use.SIGN_ORDER).body == b"body"
    assert parties.down(messages.CONFIG, Use.SIGN_CONFIG).body == b"body"
    uses = {messages.ACK: Use.SIGN_ACK, messages.ORDER: Use.SIGN_ORDER,
            messages.CONFIG: Use.SIGN_CONFIG}  # fmt: skip
    for kind, right in uses.items():
        for use in uses.values():
            if use != right:
                with pytest.raises(EnvelopeError) as caught:
                    parties.down(kind, use)
                assert caught.value.reason == "key_use"


def test_the_configuration_key_is_apart(made: Deployment) -> None:
    """The service's file does not hold it, its own holds nothing else, and a gateway may be added
    when both have moved to where they are used."""
    cloud = made.directory / "cloud"
    assert set(private_keys(cloud / "keys.json")) == {Use.SIGN_ACK, Use.SIGN_ORDER, Use.OPEN}
    own = private_keys(cloud / "config-keys.json")
    assert set(own) == {Use.SIGN_CONFIG}
    assert read(cloud / "config-keys.json")["party"] == messages.HEAD_END
    for name in ("keys.json", "config-keys.json"):
        (cloud / name).rename(made.directory / name)
    made.init(None, ["gw2"], None, LATER)
    keyset = read(made.directory / "gateways" / "gw2" / "keyset.json")
    assert own[Use.SIGN_CONFIG].record.to_json() in keyset["keys"]
    assert keyset == read(made.directory / "gateways" / "gw1" / "keyset.json")


def test_a_gateways_keys_open_nothing_of_another_one(tmp_path: Path) -> None:
    """Nor can one sign for the other."""
    deployment = Deployment(tmp_path / "site")
    deployment.init("t1", ["gw1", "gw2"], None, NOW)
    parties = Parties(tmp_path / "site", "gw1")
    parties.gateway_keys = Parties(tmp_path / "site", "gw2").gateway_keys
    with pytest.raises(EnvelopeError) as caught:
        parties.up()
    assert caught.value.reason == "key_owner"


def test_hosts_and_tenant_are_those_asked_for(tmp_path: Path) -> None:
    """Given hosts replace the defaults."""
    Deployment(tmp_path).init("east", ["gw1"], ["b.example.org", "::1"], NOW)
    assert pki.names_text(certificate(tmp_path / "broker" / "broker.pem")) == "b.example.org, ::1"
    assert read(tmp_path / "cloud" / "registry.json")["tenant"] == "east"


# ---- adding ----------------------------------------------------------------------------------


def test_a_second_run_adds_gateways_and_changes_nothing_else(made: Deployment) -> None:
    """No key, no certificate, no folder that was there; the registry grows, the list is renewed."""
    before = tree_of(made.directory)
    assert made.init(None, ["gw2", "gw3"], None, LATER) == [
        made.directory / "gateways" / "gw2",
        made.directory / "gateways" / "gw3",
    ]
    after = tree_of(made.directory)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"cloud/registry.json", "ca/crl.pem", "broker/crl.pem"}
    registry = read(made.directory / "cloud" / "registry.json")
    assert registry["version"] == 2
    owners = [row["owner"] for row in registry["keys"]]
    assert owners == ["gw1", "gw1", "gw2", "gw2", "gw3", "gw3"]
    for name in ("gw1", "gw2", "gw3"):
        assert Parties(made.directory, name).up().body == b"body"


@pytest.mark.parametrize(
    ("tenant", "gateways", "hosts", "sentence"),
    [
        (None, ["gw2", "gw1"], None, "gateway 'gw1' exists in"),
        ("t2", ["gw2"], None, "--tenant 't2': the tenant of"),
        (None, ["gw2"], ["elsewhere"], "--broker-host: .* holds for localhost, 127.0.0.1 alone"),
        (None, ["GW2"], None, "--gateway 'GW2' is no gateway id: allowed are 1 to 32 of a-z"),
        (None, ["../gw2"], None, "is no gateway id"),
        (None, ["-gw2"], None, "is no gateway id"),
        (None, [""], None, "is no gateway id"),
        (None, ["g" * 33], None, "is no gateway id"),
        ("T", ["gw2"], None, "--tenant 'T' is no tenant id"),
        (None, ["head-end"], None, "'head-end' is taken by the system itself"),
        (None, ["ingest"], None, "'ingest' is taken by the system itself"),
        (None, ["broker"], None, "'broker' is taken by the system itself"),
        (None, ["gw2", "gw2"], None, "'gw2' is named twice"),
        (None, ["gw2"], ["a_b"], "--broker-host 'a_b' is no host"),
        (None, [f"g{n}" for n in range(GATEWAYS_MAX + 1)], None, "at most 1024 are allowed"),
    ],
)
def test_what_is_refused_changes_nothing(
    made: Deployment,
    tenant: str | None,
    gateways: list[str],
    hosts: list[str] | None,
    sentence: str,
) -> None:
    """One sentence, and every file is as it was."""
    before = tree_of(made.directory)
    with pytest.raises(SettingError, match=sentence):
        made.init(tenant, gateways, hosts, LATER)
    assert tree_of(made.directory) == before


def test_the_same_tenant_and_hosts_may_be_named_again(made: Deployment) -> None:
    """A script may always pass them."""
    made.init("t1", ["gw2"], ["127.0.0.1"], LATER)
    assert (made.directory / "gateways" / "gw2").exists()


def test_a_bad_name_does_not_even_make_the_directory(tmp_path: Path) -> None:
    """The input is judged before anything is written."""
    with pytest.raises(SettingError):
        Deployment(tmp_path / "site").init(None, ["gw1", "ingest"], None, NOW)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("part", ["broker", "cloud", "gateways"])
def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path, part: str) -> None:
    """Half a deployment is none, and nobody's files are overwritten."""
    (tmp_path / part).mkdir()
    with pytest.raises(SettingError, match="no deployment; name a directory that is new or empty"):
        Deployment(tmp_path).init(None, ["gw1"], None, NOW)
    assert tree_of(tmp_path) == {part: b""}


class PowerCutError(Exception):
    """The power cut of a test."""


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`fail_at(n)`: the n-th file that is written from now on never is."""
    written = files.write_new

    def arm(count: int) -> None:
        left = [count]

        def write(path: Path, content: bytes, mode: int = files.PUBLIC_MODE) -> None:
            if left[0] == 0:
                raise PowerCutError(path)
            left[0] -= 1
            written(path, content, mode)

        monkeypatch.setattr(files, "write_new", write)

    yield arm
    monkeypatch.setattr(files, "write_new", written)


def test_a_deployment_that_fails_on_the_way_leaves_nothing(tmp_path: Path, fail_at: Any) -> None:
    """Whichever file can not be written; then the next run succeeds."""
    for count in range(22):
        fail_at(count)
        with pytest.raises(PowerCutError):
            Deployment(tmp_path).init(None, ["gw1"], None, NOW)
        assert tree_of(tmp_path) == {}
    fail_at(22)  # that is all of them
    Deployment(tmp_path).init(None, ["gw1"], None, NOW)
    assert Parties(tmp_path, "gw1").up().body == b"body"


def test_an_addition_that_fails_on_the_way_is_nothing_or_is_finished(
    made: Deployment, fail_at: Any
) -> None:
    """Either no folder exists, or the next run with the same names completes it with its keys."""
    registry = (made.directory / "cloud" / "registry.json").read_bytes()
    for count in range(15):
        fail_at(count)
        with pytest.raises(PowerCutError):
            made.init(None, ["gw2", "gw3"], None, LATER)
        assert (made.directory / "cloud" / "registry.json").read_bytes() == registry
        folders = sorted(path.name for path in (made.directory / "gateways").iterdir())
        assert folders == (["gw1"] if count < 14 else ["gw1", "gw2", "gw3"])
    keys = (made.directory / "gateways" / "gw2" / "keys.json").read_bytes()
    fail_at(15)
    made.init(None, ["gw2", "gw3"], None, LATER)
    assert (made.directory / "gateways" / "gw2" / "keys.json").read_bytes() == keys
    for name in ("gw1", "gw2", "gw3"):
        assert Parties(made.directory, name).up().body == b"body"


def test_what_a_killed_run_left_behind_is_removed(made: Deployment) -> None:
    """A hidden folder with keys must not lie there for ever."""
    left = made.directory / "gateways" / ".new-0badcafe"
    left.mkdir()
    (left / "tls.key").write_text("left behind")
    made.init(None, ["gw2"], None, LATER)
    assert not left.exists()


# ---- revoking --------------------------------------------------------------------------------


def test_a_revoked_gateway_is_refused_and_no_other_one(made: Deployment) -> None:
    """Its messages by the registry, its connection by the revocation list, both copies."""
    made.init(None, ["gw2"], None, NOW)
    assert made.revoke("gw1", LATER) == LATER
    with pytest.raises(EnvelopeError) as caught:
        Parties(made.directory, "gw1").up()
    assert caught.value.reason == "revoked_key"
    assert Parties(made.directory, "gw2").up().body == b"body"
    serial = certificate(made.directory / "gateways" / "gw1" / "tls.pem").serial_number
    assert revoked_serials(made.directory / "ca" / "crl.pem") == {serial}
    assert revoked_serials(made.directory / "broker" / "crl.pem") == {serial}
    rows = read(made.directory / "cloud" / "registry.json")["keys"]
    assert [row["revoked"] for row in rows] == [LATER, LATER, 0, 0]


def test_a_revocation_may_be_repeated_and_keeps_its_time(made: Deployment) -> None:
    """So a run that was cut short is finished by the same command."""
    (made.directory / "broker" / "crl.pem").unlink()
    made.revoke("gw1", LATER)
    assert made.revoke("gw1", LATER + 5000) == LATER
    assert read(made.directory / "cloud" / "registry.json")["version"] == 2
    (entry,) = x509.load_pem_x509_crl((made.directory / "broker" / "crl.pem").read_bytes())
    assert entry.revocation_date_utc == datetime.fromtimestamp(LATER // 1000, UTC)


def test_a_gateway_whose_folder_is_gone_can_be_revoked(made: Deployment) -> None:
    """It moved to the device, which was stolen; the authority knows its certificate."""
    serial = certificate(made.directory / "gateways" / "gw1" / "tls.pem").serial_number
    (made.directory / "gateways" / "gw1").rename(made.directory.parent / "device")
    made.revoke("gw1", LATER)
    assert revoked_serials(made.directory / "broker" / "crl.pem") == {serial}


def test_a_revoked_gateway_can_not_come_back_under_its_name(made: Deployment) -> None:
    """Its records stay, so that the use of its keys is named for what it is."""
    made.revoke("gw1", LATER)
    (made.directory / "gateways" / "gw1").rename(made.directory.parent / "device")
    with pytest.raises(SettingError, match="gateway 'gw1' exists"):
        made.init(None, ["gw1"], None, LATER)


def test_later_runs_forget_no_revocation(made: Deployment) -> None:
    """Neither an added gateway nor a renewed list."""
    made.revoke("gw1", LATER)
    serials = revoked_serials(made.directory / "ca" / "crl.pem")
    made.init(None, ["gw2"], None, LATER)
    made.renew_revocations(LATER + 86_400_000)
    for folder in ("ca", "broker"):
        assert revoked_serials(made.directory / folder / "crl.pem") == serials
    rows = read(made.directory / "cloud" / "registry.json")["keys"]
    assert [row["revoked"] for row in rows] == [LATER, LATER, 0, 0]


def test_a_renewed_list_holds_thirty_days_more(made: Deployment) -> None:
    """Without it the broker refuses everybody when the former one ends."""
    ends = []
    for now in (NOW, NOW + 20 * 86_400_000):
        made.renew_revocations(now)
        crl = x509.load_pem_x509_crl((made.directory / "broker" / "crl.pem").read_bytes())
        assert crl.next_update_utc is not None
        ends.append(crl.next_update_utc.timestamp() * 1000 - now)
    assert ends == [30 * 86_400_000] * 2


def test_only_a_gateway_that_is_known_can_be_revoked(made: Deployment) -> None:
    """The head end and the broker are none; nothing changes."""
    before = tree_of(made.directory)
    for name in ("gw9", "broker", "ingest", "head-end", "../gw1"):
        with pytest.raises(SettingError, match="it knows gw1"):
            made.revoke(name, LATER)
    assert tree_of(made.directory) == before


def test_a_directory_without_a_deployment_has_nothing_to_revoke(tmp_path: Path) -> None:
    """One sentence, for the list too."""
    with pytest.raises(SettingError, match="is no deployment: make one with"):
        Deployment(tmp_path).revoke("gw1", NOW)
    with pytest.raises(SettingError, match="is no deployment: make one with"):
        Deployment(tmp_path / "none").renew_revocations(NOW)


# ---- damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cloud/registry.json", b""),
        ("cloud/registry.json", b"{}"),
        ("cloud/registry.json", b'{"tenant": "t1", "keys": [7], "version": 1}'),
        ("cloud/registry.json", b'{"tenant": "../t", "keys": [], "version": 1}'),
        ("cloud/registry.json", b'{"tenant": "t1", "keys": [], "version": true}'),
        ("cloud/keyset.json", b'{"keys": [7]}'),
        ("cloud/keyset.json", b'{"keys": []}'),
        ("cloud/keyset.json", b'{"keys": {"private": "5ec7e7"}}'),
        ("ca/ca.key", b"5ec7e7"),
        ("ca/ca.pem", b""),
        ("ca/crl.pem", b"x"),
        ("broker/broker.pem", b"x"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_done(
    made: Deployment, name: str, content: bytes
) -> None:
    """One sentence without a word of what the file holds, and no gateway."""
    (made.directory / name).write_bytes(content)
    with pytest.raises(SettingError) as caught:
        made.init(None, ["gw2"], ["localhost"], LATER)
    assert name in str(caught.value)
    assert "damaged" in str(caught.value)
    assert "5ec7e7" not in str(caught.value)


def test_a_key_set_of_somebody_else_is_not_handed_out(made: Deployment) -> None:
    """A gateway trusts the head end's keys and no others."""
    path = made.directory / "cloud" / "keyset.json"
    table = read(path)
    table["keys"][1]["owner"] = "gw1"
    path.write_text(json.dumps(table))
    with pytest.raises(SettingError, match=r"keyset\.json does not hold the keys of 'head-end'"):
        made.init(None, ["gw2"], None, LATER)
    assert not (made.directory / "gateways" / "gw2").exists()


def test_a_registry_with_odd_times_is_damaged(made: Deployment) -> None:
    """A record that is revoked since `null` is no record."""
    path = made.directory / "cloud" / "registry.json"
    for change in ({"revoked": None}, {"not_after": "1"}, {"owner": 7}, {"kid": "00"}):
        table = read(path)
        table["keys"][0] |= change
        path.write_text(json.dumps(table))
        with pytest.raises(SettingError, match=r"registry\.json is damaged"):
            made.revoke("gw1", LATER)
