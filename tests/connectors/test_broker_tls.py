"""Encrypted connections to brokers: real handshakes, right and wrong certificates, no way to talk TLS away."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from apps.connectors.contracts import ConsumeRequest
from tests.brokers import PASSWORD, USER, Broker, mosquitto, rabbitmq  # noqa: F401 - fixtures
from tests.connectors.messages import connected, publish, settings_of
from tests.processes import free_port
from tests.tls_server import Authority

OURS, OTHER = Authority.create("Our authority"), Authority.create("Another authority")
CASES = pytest.mark.parametrize(
    ("mode", "authority", "name", "code"),
    [
        ("verify-full", OURS, "localhost", ""),
        ("require", None, "db.example.com", ""),
        ("verify-full", OTHER, "localhost", "connectors.tls_failed"),
        ("verify-full", OURS, "db.example.com", "connectors.tls_failed"),
        ("verify-full", None, "localhost", "connectors.tls_failed"),
    ],
    ids=["verified", "only-encrypted", "other-authority", "other-name", "public-authorities"],
)


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*", "localhost:*", "[::1]/128:*"]


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """TLS from the first byte, then the plain protocol to that port; yields its own port."""
    context.set_alpn_protocols([])
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []

    def serve(plain: socket.socket) -> None:
        try:
            client = context.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            plain.close()
            return
        server = socket.create_connection(("127.0.0.1", port))
        opened.extend((client, server))
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join(5)
        client.close()
        server.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                plain, _address = listener.accept()
                threading.Thread(target=serve, args=(plain,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for one in opened:
            one.close()


def look(kind: str, broker: Any, port: int, mode: str, authority: Authority | None) -> tuple[str, str]:
    """Code and remedy of a check."""
    config = {
        **settings_of(broker),
        "host": "localhost",
        "port": port,
        "tls_mode": mode,
        "tls_root_certificate": authority.pem if authority else "",
    }
    with connected(kind, config) as connector:
        result = connector.check()
        if result.ok and kind == "mqtt":
            with connector.open_consumer(ConsumeRequest("tls/a", f"tls-{port}")) as messages:
                publish(connector, "tls/a", [{"id": 1, "total": None, "country": None}])
                assert len(messages.receive(1, wait_s=5)) == 1
        return result.code, result.remedy


@CASES
@pytest.mark.xdist_group("mosquitto")
def test_mqtt(
    mosquitto: Broker,  # noqa: F811
    tmp_path: Path,
    mode: str,
    authority: Any,
    name: str,
    code: str,
) -> None:
    with tls_before(mosquitto.port, OURS.context_for(name, tmp_path)) as port:
        found, remedy = look("mqtt", mosquitto, port, mode, authority)
    assert (found, bool(remedy)) == (code, bool(code))


@CASES
@pytest.mark.slow
@pytest.mark.xdist_group("rabbitmq")
def test_amqp(
    rabbitmq: Broker,  # noqa: F811
    tmp_path: Path,
    mode: str,
    authority: Any,
    name: str,
    code: str,
) -> None:
    with tls_before(rabbitmq.port, OURS.context_for(name, tmp_path)) as port:
        found, remedy = look("amqp", rabbitmq, port, mode, authority)
    assert (found, bool(remedy)) == (code, bool(code))


@CASES
def test_nats(tmp_path: Path, mode: str, authority: Any, name: str, code: str) -> None:
    """A NATS server speaks TLS after its greeting, so it needs the certificate itself."""
    server = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if server is None:
        pytest.skip("NATS is not installed: apt-get install nats-server")
    OURS.context_for(name, tmp_path)
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{tmp_path}/store" }}\n'
        f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key" }}\n'
        f"authorization {{ user: {USER}, password: {PASSWORD} }}\n"
    )
    broker = Broker("nats", port, [server, "-c", str(config)], tmp_path)
    broker.start()
    try:
        found, remedy = look("nats", broker, port, mode, authority)
    finally:
        broker.stop()
    assert (found, bool(remedy)) == (code, bool(code))


def test_credentials_do_not_go_out_when_the_server_says_that_it_has_no_tls() -> None:
    """Whoever stands in between could take TLS out of the greeting; nothing may follow it then."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        with suppress(OSError):
            client, _address = listener.accept()
            client.settimeout(5)
            client.sendall(b'INFO {"server_id":"x","version":"2.10.0","max_payload":1000,"auth_required":true}\r\n')
            while data := client.recv(4096):
                heard.append(data)
            client.close()

    thread = threading.Thread(target=greet)
    thread.start()
    config = {"host": "127.0.0.1", "port": listener.getsockname()[1], "user": USER, "tls_mode": "verify-full"}
    with connected("nats", config) as connector:
        assert connector.check().code == "connectors.tls_failed"
    thread.join(10)
    listener.close()
    assert PASSWORD.encode() not in b"".join(heard)
