"""Secrets of the machine, addresses that replace embedded servers, and the installers' certificates."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.runtime.console import Failure
from config.runtime.environment import build_install_environment, build_portal_environment, ensure_secrets
from config.runtime.ports import find_free_port
from config.runtime.servers import check_given_server, find_given_urls, plan_servers, plan_throw_away_servers
from config.runtime.verification import throw_away_directory

SECRETS = {"POSTGRES_PASSWORD": "super", "PORTAL_DB_PASSWORD": "portal-secret", "VALKEY_PASSWORD": "valkey-secret"}
GIVEN = {
    "DATABASE_URL": "postgres://me:pw@db.example:5432/mine",
    "BROKER_URL": "amqp://me:pw@mq.example//",
    "CHANNEL_URL": "redis://cache.example:6379/1",
    "CACHE_URL": "redis://cache.example:6379/2",
}


@pytest.fixture
def run() -> Iterator[Path]:
    """A data directory that the database's own user may enter, so that nothing is made outside of it."""
    with throw_away_directory() as directory:
        yield directory


@pytest.fixture
def no_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "VAULT_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_own_keys")
def test_secrets_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = ensure_secrets(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_secrets(path) == first
    assert len(first["SECRET_KEY"]) >= 50
    key_id, _, encoded = first["VAULT_KEYS"].partition(":")
    assert key_id != "dev"
    assert len(base64.b64decode(encoded)) == 32
    assert ensure_secrets(tmp_path / "other.env")["SECRET_KEY"] != first["SECRET_KEY"]


@pytest.mark.usefixtures("no_own_keys")
def test_own_key_wins_and_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "my-own-key")
    assert ensure_secrets(tmp_path / "secrets.env")["SECRET_KEY"] == "my-own-key"
    assert "my-own-key" not in (tmp_path / "secrets.env").read_text()


def test_given_addresses_replace_all_embedded_servers(run: Path) -> None:
    plan = plan_servers(run, SECRETS, GIVEN)
    assert plan.urls == GIVEN
    assert plan.cluster is None
    assert plan.valkey is None
    assert find_given_urls(plan) == GIVEN


def test_given_database_leaves_the_embedded_valkey(run: Path) -> None:
    plan = plan_servers(run, SECRETS, {"DATABASE_URL": GIVEN["DATABASE_URL"]})
    assert plan.cluster is None
    assert plan.valkey is not None
    assert plan.urls["BROKER_URL"] == plan.valkey.url(0)
    assert len({plan.urls[name] for name in ("BROKER_URL", "CHANNEL_URL", "CACHE_URL")}) == 3
    assert set(find_given_urls(plan)) == {"DATABASE_URL"}


def test_given_broker_leaves_the_other_servers_embedded(run: Path) -> None:
    plan = plan_servers(run, SECRETS, {"BROKER_URL": GIVEN["BROKER_URL"]})
    assert plan.urls["BROKER_URL"] == GIVEN["BROKER_URL"]
    assert plan.cluster is not None
    assert plan.valkey is not None
    assert plan.urls["DATABASE_URL"] == plan.cluster.url(password="portal-secret")


def test_addresses_stay_the_same_from_start_to_start(run: Path) -> None:
    assert plan_servers(run, SECRETS, {}).urls == plan_servers(run, SECRETS, {}).urls


def test_test_servers_share_nothing_with_a_running_portal(run: Path) -> None:
    portal = plan_servers(run, SECRETS, {})
    tests = plan_throw_away_servers(run / "tests")
    assert set(portal.urls.values()).isdisjoint(tests.urls.values())
    assert portal.cluster
    assert tests.cluster
    assert portal.cluster.data != tests.cluster.data
    assert tests.cluster.throw_away


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("DATABASE_URL", "mysql://me@db/x", "DATABASE_URL has an address of a kind that does not fit"),
        ("BROKER_URL", "http://mq.example/", "BROKER_URL has an address of a kind that does not fit"),
        ("CACHE_URL", "postgres://db/x", "CACHE_URL has an address of a kind that does not fit"),
        ("BROKER_URL", "redis://127.0.0.1:{port}/0", "BROKER_URL names 127.0.0.1:{port}, which does not answer"),
        ("BROKER_URL", "amqp://127.0.0.1:{port}//", "BROKER_URL names 127.0.0.1:{port}, which does not answer"),
        ("DATABASE_URL", "postgres://me@127.0.0.1:{port}/x", "DATABASE_URL names 127.0.0.1:{port}, which cannot be"),
    ],
)
def test_unusable_address_is_one_line_with_a_remedy(name: str, url: str, message: str) -> None:
    port = find_free_port()
    with pytest.raises(Failure) as caught:
        check_given_server(name, url.format(port=port))
    assert caught.value.message.startswith(message.format(port=port))
    assert caught.value.remedy


def test_installers_trust_the_certificates_of_the_environment() -> None:
    env = build_install_environment({"SSL_CERT_FILE": "/my/bundle.pem", "PIP_CERT": "/pip.pem"})
    assert env["PIP_CERT"] == "/pip.pem"
    assert env["NODE_EXTRA_CA_CERTS"] == "/my/bundle.pem"
    assert env["UV_SYSTEM_CERTS"] == "true"


def test_portal_processes_get_addresses_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("MY_PROXY", "kept")
    env = build_portal_environment(GIVEN, "config.settings.dev", {"PUBLIC_PORT": "8001"})
    assert env["DATABASE_URL"] == GIVEN["DATABASE_URL"]
    assert env["DJANGO_SETTINGS_MODULE"] == "config.settings.dev"
    assert env["PUBLIC_PORT"] == "8001"
    assert env["MY_PROXY"] == "kept"
    assert "PYTHONPATH" not in env
