"""Encrypted connections of the `postgresql` connector: real handshakes, right and wrong certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.connectors.contracts import ConnectionContext, ReadRequest
from apps.connectors.exceptions import TlsFailed
from apps.connectors.registries import connector_registry
from tests.connectors.systems import source_database
from tests.suites.connector_suite import read_all
from tests.tls_server import Authority, tls_front

OURS, OTHER = Authority.create("Our authority"), Authority.create("Another authority")


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, Any]]:
    with source_database() as found:
        yield {name: value for name, value in found.items() if name != "admin"}


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*", "localhost:*", "[::1]/128:*"]


def connect(database: dict[str, Any], port: int, **tls: str) -> Any:
    connector = connector_registry.get("postgresql").create(ConnectionContext(purpose="test"))
    connector.connect({**database, "host": "localhost", "port": port, **tls}, {"password": "let me read"})
    return connector


@pytest.mark.parametrize(
    ("mode", "authority", "name"),
    [
        ("verify-full", OURS, "localhost"),
        ("verify-ca", OURS, "db.example.com"),  # checks who signed, not the name
        ("require", None, "db.example.com"),  # encrypts, trusts anybody
        ("prefer", None, "db.example.com"),
    ],
)
def test_encrypted_reads(database: dict[str, Any], tmp_path: Path, mode: str, authority: Any, name: str) -> None:
    certificate = authority.pem if authority else ""
    with tls_front(database["host"], database["port"], OURS.context_for(name, tmp_path)) as port:
        with connect(database, port, tls_mode=mode, tls_root_certificate=certificate) as source:
            check = source.check()
            assert check.ok, check
            assert "encrypted" in check.steps[2].message
            assert "not encrypted" not in check.steps[2].message
            assert read_all(source, ReadRequest("sales.invoices", columns=("id",))).num_rows == 1000


@pytest.mark.parametrize(
    ("mode", "authority", "name", "reason"),
    [
        ("verify-full", OTHER, "localhost", "certificate verify failed"),
        ("verify-ca", OTHER, "localhost", "certificate verify failed"),
        ("verify-full", OURS, "db.example.com", 'does not match host name "localhost"'),
        ("verify-full", None, "localhost", "certificate verify failed"),  # the public authorities did not sign it
        ("verify-ca", None, "localhost", "root certificate"),
    ],
)
def test_untrusted_servers_are_refused_and_the_reason_is_named(
    database: dict[str, Any], tmp_path: Path, mode: str, authority: Any, name: str, reason: str
) -> None:
    certificate = authority.pem if authority else ""
    with tls_front(database["host"], database["port"], OURS.context_for(name, tmp_path)) as port:
        with connect(database, port, tls_mode=mode, tls_root_certificate=certificate) as source:
            check = source.check()
            assert (check.ok, check.code) == (False, "connectors.tls_failed"), check
            assert reason in check.message
            assert check.remedy
            with pytest.raises(TlsFailed):
                read_all(source, ReadRequest("sales.invoices"))


def test_a_certificate_that_is_none_is_named(database: dict[str, Any]) -> None:
    given = {"tls_mode": "verify-full", "tls_root_certificate": "not a certificate"}
    with connect(database, database["port"], **given) as source:
        check = source.check()
    assert (check.ok, check.code) == (False, "connectors.tls_failed"), check
