"""The private certificate authority of one deployment.

* P-256 throughout. The authority holds 10 years, a certificate 397 days, the revocation list 30.
* Everything is valid from yesterday on: a gateway's clock may be behind when it first connects.
* A certificate has one role: a gateway's can not pose as the broker, nor the broker's as a gateway.
* The broker takes the common name of a client's certificate as its name, and judges topics by it.

The clock is the caller's: `now` is UTC ms.
"""

import ipaddress
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import SettingError

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
REVOCATION_LIST_DAYS = 30
BACKDATE_DAYS = 1
BROKER = "broker"  # common name of the server's certificate
_HOST_SIZE_MAX = 253  # characters of a DNS name
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def make_tls_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key for TLS."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#8 without a passphrase: a gateway starts with nobody there to type one."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(Encoding.PEM)


def server_names(hosts: Iterable[str]) -> tuple[x509.GeneralName, ...]:
    """The names that a broker's certificate holds for; SettingError for what is no host."""
    return tuple(_server_name(host) for host in hosts)


def client_names(tenant: str, name: str) -> tuple[x509.GeneralName, ...]:
    """The names of a client's certificate. The broker reads the common name alone, but verifiers
    that follow the CA/Browser profile refuse a certificate without any name here."""
    return (x509.UniformResourceIdentifier(f"busbar://{tenant}/{name}"),)


def is_covered(certificate: x509.Certificate, names: Iterable[x509.GeneralName]) -> bool:
    """Whether a certificate holds for all of these names."""
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names) <= set(held)


def names_text(certificate: x509.Certificate) -> str:
    """The names that a certificate holds for, for a person."""
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return ", ".join(str(name.value) for name in held)


class Authority(NamedTuple):
    """A certificate authority that may sign."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"

    @classmethod
    def make(cls, tenant: str, now: int) -> "Authority":
        """A fresh one."""
        key = make_tls_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Busbar {tenant} CA")])
        builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_key_usage(is_authority=True), True)
        own_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = builder.add_extension(own_id, False)
        return cls(key, builder.sign(key, SHA256()))

    @classmethod
    def from_pem(cls, key_pem: bytes, certificate: bytes) -> "Authority":
        """One that was made before; ValueError for anything else."""
        key = load_pem_private_key(key_pem, None)
        loaded = x509.load_pem_x509_certificate(certificate)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is of another kind")
        if key.public_key() != loaded.public_key():
            raise ValueError("the authority's key and certificate do not belong together")
        return cls(key, loaded)

    def certify_client(
        self, public_key: ec.EllipticCurvePublicKey, tenant: str, name: str, now: int
    ) -> x509.Certificate:
        """The certificate by which a gateway or the head end connects as `name`."""
        role = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._certify(public_key, name, client_names(tenant, name), role, now)

    def certify_server(
        self, public_key: ec.EllipticCurvePublicKey, hosts: Iterable[str], now: int
    ) -> x509.Certificate:
        """The certificate of a broker that is reached under `hosts`."""
        names = server_names(hosts)
        return self._certify(public_key, BROKER, names, ExtendedKeyUsageOID.SERVER_AUTH, now)

    def revocation_list(
        self,
        former: x509.CertificateRevocationList | None,
        revoked: Iterable[x509.Certificate],
        now: int,
    ) -> x509.CertificateRevocationList:
        """A fresh list: what stood on the former one, as it stood there, and these certificates."""
        entries = {entry.serial_number: entry for entry in former or ()}
        number = 1
        if former is not None:
            number += former.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            entry = entry.revocation_date(_instant(now))
            entries.setdefault(certificate.serial_number, entry.build())
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(_instant(now) - timedelta(days=BACKDATE_DAYS))
        builder = builder.next_update(_instant(now) + timedelta(days=REVOCATION_LIST_DAYS))
        builder = builder.add_extension(x509.CRLNumber(number), False)
        builder = builder.add_extension(self._key_id(), False)
        for one in entries.values():
            builder = builder.add_revoked_certificate(one)
        return builder.sign(self.key, SHA256())

    def _certify(
        self,
        public_key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: tuple[x509.GeneralName, ...],
        role: x509.ObjectIdentifier,
        now: int,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        issuer = self.certificate.subject
        builder = _builder(issuer, subject, public_key, now, CERTIFICATE_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_key_usage(is_authority=False), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([role]), False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(self._key_id(), False)
        return builder.sign(self.key, SHA256())

    def _key_id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def _builder(
    issuer: x509.Name,
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: int,
    days: int,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, public_key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_instant(now) - timedelta(days=BACKDATE_DAYS))
    builder = builder.not_valid_after(_instant(now) + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _instant(now: int) -> datetime:
    return datetime.fromtimestamp(now // 1000, UTC)


def _server_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    # A last label of digits is an IP address that somebody mistyped, never a host.
    if len(host) > _HOST_SIZE_MAX or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        raise SettingError(
            f"--broker-host {host!r} is no host: allowed are an IP address or a DNS name "
            "in lower case"
        )
    return x509.DNSName(host)
