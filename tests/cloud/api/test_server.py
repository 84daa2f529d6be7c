"""The API's thread: what it needs before anything starts, TLS, and a clean end."""

import datetime
import ipaddress
import logging
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from cloud.api.client import ApiClient, address_of
from cloud.api.server import ApiServer
from cloud.ingest.mailbox import Mailbox
from cloud.orders.client import ServiceDownError
from cloud.people.people import People
from cloud.settings import ApiSettings
from protocols.errors import SettingError
from tests.cloud.api.served import Served
from tests.cloud.world import TENANT, FakeClock

HOLD = {"held": False, "since": 0, "by": "", "reason": ""}


def identity(folder: Path, password: bytes = b"") -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "head end")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    form = BestAvailableEncryption(password) if password else NoEncryption()
    (folder / "api.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "api.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, form))
    return folder / "api.pem", folder / "api.key"


def server(folder: Path, settings: ApiSettings) -> ApiServer:
    return ApiServer(settings, People(folder, TENANT), Mailbox(10), FakeClock())


def test_with_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    """By the named authority; a client that knows another one does not send its token."""
    (tmp_path / "other").mkdir()
    stranger, _ = identity(tmp_path / "other")
    cert, key = identity(tmp_path)
    with Served(tmp_path, (cert, key)).running() as served:
        served.answer = lambda _body: {"hold": HOLD, "final": True}
        address = address_of(f"https://127.0.0.1:{served.server.port}")
        client = ApiClient(address, served.tokens["viewer"], cert)
        assert client.call("hold_get") == HOLD
        for trust in (stranger, None):
            with pytest.raises(ServiceDownError):
                ApiClient(address, served.tokens["viewer"], trust).call("hold_get")
        assert len(served.asked) == 1


def test_tls_is_1_3(tmp_path: Path) -> None:
    """Nothing older is spoken."""
    with Served(tmp_path, identity(tmp_path)).running() as served:
        context = ssl.create_default_context(cafile=str(tmp_path / "api.pem"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        plain = socket.create_connection(("127.0.0.1", served.server.port), 30)
        with plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_port_that_is_taken_is_a_setting_error(tmp_path: Path) -> None:
    """Before anything starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"127.0.0.1:{port} can not be opened"):
            server(tmp_path, ApiSettings("127.0.0.1", port, None, None))


@pytest.mark.parametrize("fault", ["missing", "no certificate", "another key", "password"])
def test_files_that_make_no_identity_are_a_setting_error(fault: str, tmp_path: Path) -> None:
    """A key with a password too: nobody is there to be asked."""
    cert, key = identity(tmp_path, b"secret" if fault == "password" else b"")
    if fault == "missing":
        key.unlink()
    elif fault == "no certificate":
        cert.write_text("x")
    elif fault == "another key":
        (tmp_path / "other").mkdir()
        _, key = identity(tmp_path / "other")
    with pytest.raises(SettingError, match="make no TLS identity"):
        server(tmp_path, ApiSettings("127.0.0.1", 0, cert, key))


def test_it_ends_without_a_trace(tmp_path: Path) -> None:
    """The port is free, the thread is gone, and a request under way was finished."""
    with Served(tmp_path).running() as served:
        port, began, go = served.server.port, threading.Event(), threading.Event()

        def answer(_body: dict) -> dict:
            began.set()
            assert go.wait(30)
            return {"hold": HOLD, "final": True}

        served.answer = answer
        found: list[int] = []
        asking = threading.Thread(
            target=lambda: found.append(served.ask("GET", "/api/v1/hold").status)
        )
        asking.start()
        assert began.wait(30)
        ending = threading.Thread(target=served.server.stop)
        ending.start()
        go.set()
        ending.join()
        asking.join()
        assert found == [200]
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", port), 5)
        assert not [one for one in threading.enumerate() if one.name == "api"]


def test_a_thread_that_fails_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The head end goes on without it."""

    def fail(**_arguments: object) -> None:
        raise RuntimeError("canary-99")

    one = server(tmp_path, ApiSettings("127.0.0.1", 0, None, None))
    monkeypatch.setattr(one._server, "run", fail)
    caplog.set_level(logging.INFO)
    one.start()
    one.stop()
    assert "api_failed error=RuntimeError" in caplog.text and "canary" not in caplog.text


def test_ipv6_is_served(tmp_path: Path) -> None:
    """Where the machine has it."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    one = server(tmp_path, ApiSettings("::1", 0, None, None))
    one.start()
    try:
        with pytest.raises(Exception, match="bearer token"):
            ApiClient(address_of(f"http://[::1]:{one.port}"), "bb_" + "x" * 43).call("hold_get")
    finally:
        one.stop()
