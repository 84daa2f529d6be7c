"""What the broker tests connect with: a certificate authority, and paho clients over mTLS."""

import datetime
import ipaddress
import queue
import socket
import ssl
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from hil.broker import Broker, BrokerFiles

DEADLINE_S = 8.0
PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority of the test, its broker's certificate, and a directory for all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test fleet")])
        now = datetime.datetime.now(datetime.UTC)
        self._span = (now - datetime.timedelta(days=1), now + datetime.timedelta(days=30))
        self._write("ca.pem", self._signed(self._name, self._key, is_ca=True).public_bytes(PEM))
        self.issue("broker")

    def issue(self, name: str) -> x509.Certificate:
        """A certificate with common name `name`, in NAME.pem with its key in NAME.key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, is_ca=False)
        plain = serialization.NoEncryption()
        self._write(f"{name}.pem", certificate.public_bytes(PEM))
        self._write(f"{name}.key", key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
        return certificate

    def revoke(self, certificate: x509.Certificate) -> None:
        """crl.pem, with this certificate on it."""
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(self._span[0]).next_update(self._span[1])
        builder = builder.add_revoked_certificate(entry.revocation_date(self._span[0]).build())
        self._write("crl.pem", builder.sign(self._key, hashes.SHA256()).public_bytes(PEM))

    def files(self) -> BrokerFiles:
        return BrokerFiles.from_directory(self.directory)

    def _write(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)
        (self.directory / name).chmod(0o600)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool
    ) -> x509.Certificate:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = x509.CertificateBuilder(self._name, subject, key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(self._span[0]).not_valid_after(self._span[1])
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        return builder.sign(self._key, hashes.SHA256())


class Client:
    """A paho client whose events are queues; leaving the `with` block ends it."""

    def __init__(
        self,
        broker: Broker,
        authority: Authority,
        name: str | None,
        client_id: str | None = None,
        keeps_session: bool = False,
        keepalive_s: int = 30,
        will_topic: str | None = None,
        reconnects: bool = False,
    ) -> None:
        self.states: queue.Queue[str] = queue.Queue()  # "Success" or why not; "disconnected"
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.grants: queue.Queue[Any] = queue.Queue()
        self._filters: list[str] = []
        is_v5 = broker.mqtt_version == 5
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id or f"{name}-{id(self)}",
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            clean_session=None if is_v5 else not keeps_session,
            reconnect_on_failure=reconnects,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.directory / "ca.pem")
        if name is not None:
            own = authority.directory / name
            context.load_cert_chain(own.with_suffix(".pem"), own.with_suffix(".key"))
        self.paho.tls_set_context(context)
        self.paho.username_pw_set("ingest", "a name that only a certificate may give")
        self.paho.reconnect_delay_set(1, 1)
        if will_topic is not None:
            self.paho.will_set(will_topic, b"lost", qos=1)
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = lambda _c, _u, _f, _code, _p: self.states.put("disconnected")
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda _c, _u, _m, codes, _p: self.grants.put(codes)
        arguments: dict[str, Any] = {}
        if is_v5:
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 600 if keeps_session else 0
            arguments = {"clean_start": not keeps_session, "properties": properties}
        self.paho.connect(broker.host, broker.port, keepalive_s, **arguments)
        self.paho.loop_start()

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, code: Any, _p: Any) -> None:
        for topic_filter in self._filters:  # amqtt forgets them when it ends
            self.paho.subscribe(topic_filter, 1)
        self.states.put(str(code))

    def __enter__(self) -> "Client":
        assert self.next_state() == "Success"
        return self

    def __exit__(self, *_error: object) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()
        # paho closes its wake-up sockets only when it is collected, in any order within a cycle.
        self.paho._reset_sockets()

    def next_state(self) -> str:
        return self.states.get(timeout=DEADLINE_S)

    def subscribe(self, *topic_filters: str) -> list[bool]:
        """Subscribe to each, wait for the answers, and say which the broker grants."""
        grants = []
        for topic_filter in topic_filters:
            self._filters.append(topic_filter)
            self.paho.subscribe(topic_filter, 1)
            grants.append(not self.grants.get(timeout=DEADLINE_S)[0].is_failure)
        return grants

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait until the broker has it."""
        info = self.paho.publish(topic, payload, 1, retain)
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published()

    def heard_until(self, payload: bytes) -> list[tuple[str, bytes, bool]]:
        """Topic, payload and RETAIN of all messages up to the one with `payload`. A broker keeps
        the order of one sender, so what was sent before it and is not here was never delivered."""
        heard: list[tuple[str, bytes, bool]] = []
        while not heard or heard[-1][1] != payload:
            message = self.messages.get(timeout=DEADLINE_S)
            heard.append((message.topic, bytes(message.payload), message.retain))
        return heard

    def lose_connection(self) -> None:
        """Without a word of farewell, so that the will is due."""
        connection: Any = self.paho.socket()
        connection.shutdown(socket.SHUT_RDWR)
        assert self.next_state() == "disconnected"

    def fall_silent(self) -> None:
        """Keep the connection, and answer nothing more."""
        self.paho.loop_stop()
