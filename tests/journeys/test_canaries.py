"""Secrets planted through the API are nowhere but in ciphertext, though the remote system repeats what it was sent.

A failing check, failing looks and failing runs; then every answer, log line, table and message is searched.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import redis
from django.conf import settings
from psycopg import sql

from apps.engine.models import Run
from apps.engine.services.executing import work_on_run
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import flow_definition
from tests.processes import database_url

pytestmark = pytest.mark.committed

# Characters that every encoding spells differently.
CANARIES = {
    name: f"canary-{name}-7f3a/+=&?\"' 91" for name in ("token", "api_key", "password", "client_secret", "variable")
}
WAYS: list[tuple[str, dict[str, str], str]] = [
    ("bearer", {}, "token"),
    ("api_key_header", {"auth_name": "X-Shop-Key"}, "api_key"),
    ("api_key_query", {"auth_name": "key"}, "api_key"),
    ("basic", {"user": "shop"}, "password"),
    ("oauth2_client_credentials", {"user": "shop"}, "client_secret"),
]


class Echo(BaseHTTPRequestHandler):
    """Refuses with the status that the address names, and repeats what it was sent."""

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        body = json.dumps({"error": f"you sent {dict(self.headers)} to {self.path}: {sent}"}).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the standard library's name

    def log_message(self, *_arguments: Any) -> None:
        """Quiet."""


@pytest.fixture
def echo() -> Iterator[str]:
    """Address of the hostile system."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def spellings() -> set[str]:
    """How a planted secret could look where it must not be."""
    found = set()
    for value in CANARIES.values():
        found |= {value, json.dumps(value)[1:-1], json.dumps(repr(value))[2:-2], quote(value), quote(value, safe="")}
        found |= {value.split("/")[0], b64encode(value.encode()).decode()[:-4], value.encode().hex()}
        found.add(b64encode(f"shop:{value}".encode()).decode()[8:40])
    return found


def every_row(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Each table of the tenant's and the public schema, as one text; binary columns as hexadecimal text."""
    with psycopg.connect(database_url(), autocommit=True) as session:
        tables = session.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)",
            ([tenant.schema_name, tenant.warehouse_schema, "public"],),
        ).fetchall()
        for schema, table in tables:
            if schema == tenant.warehouse_schema:
                session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(tenant.db_role)))
            rows = session.execute(
                sql.SQL("SELECT one_row::text || row_to_json(one_row)::text FROM {} AS one_row").format(
                    sql.Identifier(schema, table)
                )
            ).fetchall()
            session.execute("RESET ROLE")
            yield f"{schema}.{table}", "\n".join(row[0] for row in rows)


def every_message() -> Iterator[tuple[str, str]]:
    """What lies in the broker, the cache and the channel layer."""
    for url in (
        settings.CELERY_BROKER_URL,
        settings.CACHES["default"]["LOCATION"],
        settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0],
    ):
        with redis.Redis.from_url(url) as store:
            for key in store.scan_iter(count=500):
                yield key.decode(errors="replace"), (store.dump(key) or b"").decode("latin-1")


def test_planted_secrets_are_nowhere_but_in_ciphertext(
    committed_acme: Tenant,
    echo: str,
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, seen = api_for(committed_acme), []

    def call(method: str, path: str, body: Any = None) -> Any:
        answer = getattr(api, method)(f"/api/v2/{path}", body)
        seen.append((f"{method} {path}", answer.content.decode()))
        return answer.json() if answer.content else None

    call(
        "put",
        "environments/dev/variables",
        {"variables": [{"name": "canary", "value": CANARIES["variable"], "secret": True}]},
    )
    for way, more, name in WAYS:
        for status in (401, 418, 302):
            settled = {
                "base_url": echo,
                "auth": way,
                "resources": [{"name": "things", "path": f"{status}/things"}],
                **({"token_url": f"{echo}{status}/token"} if name == "client_secret" else {}),
                **more,
            }
            wanted = {"connector": "rest", "config": settled, "secrets": {name: CANARIES[name]}}
            call("post", "connections/check", wanted)
            made = call("post", "connections", {**wanted, "name": unique("canary")})
            base = f"connections/{made['id']}"
            assert call("post", f"{base}/check")["ok"] is False
            for look in ("entities", "entity?name=things", "sample?entity=things"):
                call("get", f"{base}/{look}")
            call("get", base)
            draft = flow_definition(
                source=made["slug"],
                entity="things",
                fields=[{"target": "id", "type": "VARCHAR", "expression": "id || var.canary"}],
                target=unique("canary"),
            )
            flow = call("post", "flows", {"name": unique("canary"), "draft": draft})
            for act in ("validate", "preview"):
                call("post", f"flows/{flow['id']}/{act}", {})
            run = call("post", f"flows/{flow['id']}/runs", {"environment": "dev", "version": "draft"})
            with tenant_context(committed_acme):
                work_on_run(Run.objects.get(pk=run["id"]).pk)
                Run.objects.filter(pk=run["id"]).exclude(status="failed").update(status="cancelled")
            call("get", f"runs/{run['id']}")
            call("get", f"runs/{run['id']}/log")
    for path in ("connections", "flows", "runs", "audit", "events", "overview"):
        call("get", path)

    places = [*seen, *every_row(committed_acme), *every_message()]
    places += [("output", "".join(capfd.readouterr())), ("log", caplog.text)]
    wrong = spellings()
    found = sorted({place for place, text in places if any(spelling in text for spelling in wrong)})
    assert not found, "\n".join(found)
    assert any("vault_secret" in place and text for place, text in places)
    assert len(seen) > 150
