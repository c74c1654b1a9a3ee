"""Loads over REST, as a person or a program makes them: connections, uploads, flows, runs and what they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from django.core.files.uploadedfile import SimpleUploadedFile
from psycopg import sql

from tests.processes import database_url

Field = tuple[str, str, str]
"""Target column, type, expression; a `!` behind the type means that it is never empty."""


@dataclass
class Loads:
    """One tenant's REST API with the few verbs that the journeys need."""

    api: Any
    tenant: Any
    unique: Callable[[str], str]
    finished_run: Callable[..., dict[str, Any]]

    def call(self, method: str, path: str, body: Any = None, *, status: int | None = None) -> Any:
        """One request; fails the test unless the answer has that status (any good one by default)."""
        answer = (
            getattr(self.api, method)(f"/api/v2/{path}", body, format="json")
            if body is not None
            else getattr(self.api, method)(f"/api/v2/{path}")
        )
        good = answer.status_code < 300 if status is None else answer.status_code == status
        assert good, (answer.status_code, answer.content)
        return answer.json() if answer.content else None

    def connect(self, connector: str, config: dict[str, Any], **secrets: str) -> dict[str, Any]:
        """A new connection."""
        slug = self.unique(connector).replace("_", "-")
        body = {"name": slug, "slug": slug, "connector": connector, "config": config, "secrets": secrets}
        return dict(self.call("post", "connections", body))

    def upload(self, name: str, content: bytes, **config: Any) -> tuple[dict[str, Any], str]:
        """A new files connection with one uploaded file; answers the connection and the file's entity."""
        connection = self.connect("files", {"location": "upload", **config})
        return connection, self.upload_to(connection, name, content)

    def upload_to(self, connection: dict[str, Any], name: str, content: bytes) -> str:
        """Upload a file, in the place of the one that has its name."""
        path = f"/api/v2/connections/{connection['id']}/uploads"
        answer = self.api.post(path, {"file": SimpleUploadedFile(name, content)}, format="multipart")
        assert answer.status_code == 201, answer.content
        return str(answer.json()["entity"])

    def define(self, source: str, entity: str, fields: list[Field], **options: Any) -> dict[str, Any]:
        """A definition into a new warehouse table, or `to=(connection, entity)`."""
        connection, target = options.pop("to", None) or ("warehouse", self.unique("t"))
        mapped = [
            {
                "target": name,
                "type": type_.rstrip("!"),
                "expression": text,
                "nullable": not type_.endswith("!"),
                "description": "",
            }
            for name, type_, text in fields
        ]
        keys = options.pop("keys", ["id"])
        config = {"fields": mapped, "filter": options.pop("row_filter", None)}
        disposition = options.pop("disposition", "upsert" if keys else "replace")
        controls = options.pop("controls", [])
        return {
            "schema": "flow/1",
            "kind": "load",
            "nodes": [
                {"id": "source", "kind": "source", "config": {"connection": source, "entity": entity}},
                {"id": "map", "kind": "map", "config": {**config, "validations": options.pop("validations", [])}},
                {
                    "id": "target",
                    "kind": "target",
                    "config": {"connection": connection, "entity": target, "disposition": disposition, "keys": keys},
                },
            ],
            "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
            "load": options.pop("load", {"mode": "full"}),
            "reconciliation": {"controls": controls, "count_tolerance": options.pop("count_tolerance", 0)},
            **options,
        }

    def flow(self, source: str, entity: str, fields: list[Field], **options: Any) -> dict[str, Any]:
        """A new flow with that draft."""
        draft = self.define(source, entity, fields, **options)
        return dict(self.call("post", "flows", {"name": self.unique("flow"), "draft": draft}))

    def change(self, flow: dict[str, Any], draft: dict[str, Any]) -> dict[str, Any]:
        """Save another draft."""
        body = {"draft": draft, "expected_revision": flow["draft_revision"]}
        return dict(self.call("patch", f"flows/{flow['id']}", body))

    def start(self, flow: dict[str, Any], **request: Any) -> str:
        """Start a run of the draft; answers its id."""
        body = {"environment": "dev", "version": "draft", **request}
        return str(self.call("post", f"flows/{flow['id']}/runs", body, status=202)["id"])

    def run(self, flow: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Start a run of the draft and wait for its end."""
        return self.finished_run(self.api, self.start(flow, **request))

    def succeed(self, flow: dict[str, Any], **request: Any) -> dict[str, Any]:
        """A run that must succeed."""
        run = self.run(flow, **request)
        assert run["status"] == "succeeded", run["error"]
        return run

    def fail(self, flow: dict[str, Any], code: str, **request: Any) -> dict[str, Any]:
        """A run that must fail with that code, a message and a remedy; answers its error."""
        run = self.run(flow, **request)
        assert run["status"] == "failed", run["status"]
        assert run["error"]["code"] == code, run["error"]
        assert run["error"]["message"]
        assert run["error"]["remedy"], run["error"]
        assert run["progress"]["rows_written"] == 0
        return dict(run["error"])

    def quarantined(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows that a run rejected, in the source's order, with their payloads."""
        found = self.call("get", f"quarantine?run={run['id']}&limit=200")["results"]
        rows = [self.call("get", f"quarantine/{row['id']}") for row in found]
        return sorted(rows, key=lambda row: int(row["row_id"]))

    def reconciliation(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run's reconciliation in full."""
        return dict(self.call("get", f"reconciliations?run={run['id']}")["results"][0])

    def rows(self, flow: dict[str, Any], columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """Rows of the flow's warehouse table, read as the tenant's role; nothing when there is no table."""
        target = next(node for node in flow["draft"]["nodes"] if node["kind"] == "target")["config"]["entity"]
        table = sql.Identifier(self.tenant.warehouse_schema, target)
        with psycopg.connect(database_url(), autocommit=True) as session:
            session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.tenant.db_role)))
            if session.execute("SELECT to_regclass(%s)", (table.as_string(),)).fetchone() == (None,):
                return []
            statement = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(sql.SQL(columns), table, sql.SQL(order))  # type: ignore[arg-type]
            return session.execute(statement).fetchall()
