"""The certificate authority, judged by verifiers that are not ours: `cryptography` and OpenSSL."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification

from protocols.errors import SettingError
from provisioning import pki

NOW = 1_790_000_000_000  # UTC ms
AT = datetime.fromtimestamp(NOW // 1000, UTC)
HOSTS = ("localhost", "broker.example.org", "127.0.0.1", "::1")


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.Authority.make("t1", NOW)


@pytest.fixture(scope="module")
def server(authority: pki.Authority) -> x509.Certificate:
    return authority.certify_server(pki.make_tls_key().public_key(), HOSTS, NOW)


@pytest.fixture(scope="module")
def client(authority: pki.Authority) -> x509.Certificate:
    return authority.certify_client(pki.make_tls_key().public_key(), "t1", "gw1", NOW)


def policy(authority: pki.Authority, at: datetime = AT) -> verification.PolicyBuilder:
    """Trust in this authority, at a time."""
    store = verification.Store([authority.certificate])
    return verification.PolicyBuilder().store(store).time(at)


def test_a_brokers_certificate_holds_for_its_hosts_alone(
    authority: pki.Authority, server: x509.Certificate
) -> None:
    """Names and addresses, and no other host."""
    for host in HOSTS:
        name: x509.DNSName | x509.IPAddress
        name = x509.DNSName(host)
        if host[0] in "1:":
            name = x509.IPAddress(ipaddress.ip_address(host))
        chain = policy(authority).build_server_verifier(name).verify(server, [])
        assert chain == [server, authority.certificate]
    with pytest.raises(verification.VerificationError):
        policy(authority).build_server_verifier(x509.DNSName("example.org")).verify(server, [])


def test_a_clients_certificate_chains_to_the_authority(
    authority: pki.Authority, client: x509.Certificate
) -> None:
    """Its common name is what the broker goes by."""
    verified = policy(authority).build_client_verifier().verify(client, [])
    assert verified.chain == [client, authority.certificate]
    assert client.subject.rfc4514_string() == "CN=gw1"


def test_a_certificate_has_one_role(
    authority: pki.Authority, client: x509.Certificate, server: x509.Certificate
) -> None:
    """A gateway is no broker, the broker no gateway, and neither may certify."""
    with pytest.raises(verification.VerificationError):
        policy(authority).build_client_verifier().verify(server, [])
    name = x509.DNSName("localhost")
    with pytest.raises(verification.VerificationError):
        policy(authority).build_server_verifier(name).verify(client, [])
    for one in (client, server):
        assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_role_alone_keeps_a_gateway_from_posing_as_the_broker(
    client: x509.Certificate, server: x509.Certificate
) -> None:
    """Whatever name a gateway's certificate held: it has no role but its own."""
    for one, role in (
        (client, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH),
        (server, x509.oid.ExtendedKeyUsageOID.SERVER_AUTH),
    ):
        usage = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [role]


def test_another_authority_of_the_same_name_is_not_trusted(client: x509.Certificate) -> None:
    """The name is nothing, the key is all."""
    with pytest.raises(verification.VerificationError):
        policy(pki.Authority.make("t1", NOW)).build_client_verifier().verify(client, [])


@pytest.mark.parametrize(
    ("days", "is_valid"), [(-1.1, False), (-0.9, True), (396.9, True), (397.1, False)]
)
def test_a_certificate_holds_from_yesterday_for_397_days(
    authority: pki.Authority, client: x509.Certificate, days: float, is_valid: bool
) -> None:
    """A clock that is behind by hours must not lock a gateway out."""
    verifier = policy(authority, AT + timedelta(days=days)).build_client_verifier()
    if is_valid:
        assert verifier.verify(client, [])
    else:
        with pytest.raises(verification.VerificationError):
            verifier.verify(client, [])


def test_the_authority_holds_ten_years(authority: pki.Authority) -> None:
    """And may sign certificates, but no further authority."""
    assert authority.certificate.not_valid_after_utc - AT == timedelta(days=3650)
    held = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (held.ca, held.path_length) == (True, 0)


def test_the_revocation_list_grows_and_forgets_nothing(
    authority: pki.Authority, client: x509.Certificate, server: x509.Certificate
) -> None:
    """Signed, 30 days long, numbered, and a revocation keeps its first date."""
    empty = authority.revocation_list(None, [], NOW)
    assert list(empty) == []
    one = authority.revocation_list(empty, [client], NOW)
    later = NOW + 86_400_000
    two = authority.revocation_list(one, [client, server], later)
    assert two.is_signature_valid(authority.key.public_key())
    assert two.next_update_utc == AT + timedelta(days=31)
    assert [crl.extensions[0].value.crl_number for crl in (empty, one, two)] == [1, 2, 3]
    dates = {entry.serial_number: entry.revocation_date_utc for entry in two}
    assert dates == {client.serial_number: AT, server.serial_number: AT + timedelta(days=1)}


@pytest.mark.parametrize(
    "host",
    ["", "a_b", "Localhost", "1.2.3.256", "1.2.3", "*.example.org", "a..b", "-a", "a-", "a" * 64,
     "a." * 127 + "a", "a b", "a/b", "ä.org", "a\n"],
)  # fmt: skip
def test_what_is_no_host_gets_one_sentence(host: str) -> None:
    """What is allowed is said."""
    with pytest.raises(SettingError, match="allowed are an IP address or a DNS name"):
        pki.server_names([host])


def test_key_and_certificate_of_an_authority_belong_together(authority: pki.Authority) -> None:
    """A mix-up is found before anything is signed."""
    key_pem = pki.private_pem(authority.key)
    certificate = pki.certificate_pem(authority.certificate)
    assert pki.Authority.from_pem(key_pem, certificate).certificate == authority.certificate
    with pytest.raises(ValueError, match="do not belong together"):
        pki.Authority.from_pem(pki.private_pem(pki.make_tls_key()), certificate)


def test_an_authority_does_not_show_its_key(authority: pki.Authority) -> None:
    """It is named in tracebacks and logs."""
    assert repr(authority) == "Authority(CN=Busbar t1 CA)"


class Handshake:
    """TLS 1.3 between a broker and a client, in memory; what OpenSSL thinks of the files."""

    def __init__(self, authority: pki.Authority, folder: Path, now: int) -> None:
        self.authority = authority
        self.folder = folder
        self.now = now
        (folder / "ca.pem").write_bytes(pki.certificate_pem(authority.certificate))

    def load(self, context: ssl.SSLContext, key: ec.EllipticCurvePrivateKey, pem: bytes) -> None:
        """A certificate of its own for one side."""
        (self.folder / "own.key").write_bytes(pki.private_pem(key))
        (self.folder / "own.pem").write_bytes(pem)
        context.load_cert_chain(self.folder / "own.pem", self.folder / "own.key")
        context.load_verify_locations(self.folder / "ca.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_STRICT

    def run(self, name: str, revoked: x509.CertificateRevocationList) -> str:
        """The common name that the broker sees; ssl.SSLError when one side refuses the other."""
        server_key, client_key = pki.make_tls_key(), pki.make_tls_key()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = self.authority.certify_server(server_key.public_key(), ["b.test"], self.now)
        self.load(server, server_key, pki.certificate_pem(certificate))
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        mine = self.authority.certify_client(client_key.public_key(), "t1", name, self.now)
        self.load(client, client_key, pki.certificate_pem(mine))
        fresh = self.authority.revocation_list(revoked, [mine] if name == "out" else [], self.now)
        (self.folder / "crl.pem").write_bytes(fresh.public_bytes(pki.Encoding.PEM))
        server.load_verify_locations(self.folder / "crl.pem")
        server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        broker = server.wrap_bio(up, down, server_side=True)
        gateway = client.wrap_bio(down, up, server_hostname="b.test")
        for side in (gateway, broker, gateway, broker):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        peer = broker.getpeercert() or {}
        return str(dict(part[0] for part in peer["subject"])["commonName"])  # type: ignore[misc]


def test_openssl_accepts_both_sides_and_refuses_the_revoked(tmp_path: Path) -> None:
    """A real handshake with strict checks: what the broker will do with these files."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    authority = pki.Authority.make("t1", now)
    handshake = Handshake(authority, tmp_path, now)
    empty = authority.revocation_list(None, [], now)
    assert handshake.run("gw1", empty) == "gw1"
    with pytest.raises(ssl.SSLError, match="certificate revoked"):
        handshake.run("out", empty)
