"""Uploads over REST: stored, listed, read as entities; bounded; closed to other tenants."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

CSV = b"id,total\n1,1.50\n2,2.50\n"


@pytest.fixture(autouse=True)
def _files_root(settings: Any, tmp_path: Path) -> None:
    settings.FILES_ROOT = tmp_path


def make_connection(api: Any, **config: Any) -> str:
    body = {"name": "Uploads", "connector": "files", "config": {"location": "upload", **config}}
    made = api.post("/api/v2/connections", body, format="json")
    assert made.status_code == 201, made.content
    return str(made.json()["id"])


def upload(api: Any, connection: str, name: str = "invoices.csv", content: bytes = CSV) -> Any:
    file = SimpleUploadedFile(name, content)
    return api.post(f"/api/v2/connections/{connection}/uploads", {"file": file}, format="multipart")


def test_an_upload_becomes_an_entity(acme: Any, api_for: Any, tmp_path: Path) -> None:
    api = api_for(acme, roles=("builder",))
    connection = make_connection(api)
    answer = upload(api, connection)
    assert answer.status_code == 201, answer.content
    assert answer.json()["entity"] == "invoices.csv"
    assert answer.json()["size_bytes"] == len(CSV)
    assert (tmp_path / str(acme.id) / "uploads" / connection / "invoices.csv").read_bytes() == CSV
    listed = api.get(f"/api/v2/connections/{connection}/uploads").json()["results"]
    assert [one["path"] for one in listed] == ["invoices.csv"]
    assert api.get(f"/api/v2/connections/{connection}/entities").json()["results"][0]["name"] == "invoices.csv"
    fields = api.get(f"/api/v2/connections/{connection}/entity", {"name": "invoices.csv"}).json()["fields"]
    assert [(one["name"], one["type"]) for one in fields] == [("id", "BIGINT"), ("total", "DECIMAL(18,2)")]
    sample = api.get(f"/api/v2/connections/{connection}/sample", {"entity": "invoices.csv"}).json()
    assert sample["rows"] == [{"id": 1, "total": "1.50"}, {"id": 2, "total": "2.50"}]


def test_a_second_upload_of_the_same_name_replaces_the_first(acme: Any, api_for: Any) -> None:
    api = api_for(acme)
    connection = make_connection(api)
    upload(api, connection)
    upload(api, connection, content=b"id\n9\n")
    assert len(api.get(f"/api/v2/connections/{connection}/uploads").json()["results"]) == 1
    assert api.get(f"/api/v2/connections/{connection}/sample", {"entity": "invoices.csv"}).json()["rows"] == [{"id": 9}]


def test_uploads_are_listed_in_pages(acme: Any, api_for: Any) -> None:
    api = api_for(acme)
    connection = make_connection(api)
    for number in range(5):
        upload(api, connection, name=f"file{number}.csv")
    seen, cursor = [], None
    while True:
        page = api.get(
            f"/api/v2/connections/{connection}/uploads", {"limit": 2, **({"cursor": cursor} if cursor else {})}
        )
        seen += [one["path"] for one in page.json()["results"]]
        cursor = page.json()["next"]
        if cursor is None:
            break
    assert sorted(seen) == [f"file{number}.csv" for number in range(5)]


def test_two_gigabytes_are_refused_before_the_body_is_read(acme: Any, api_for: Any, settings: Any) -> None:
    api = api_for(acme)
    connection = make_connection(api)
    assert settings.UPLOAD_MAX_BYTES == 2 * 1024**3 - 1

    class Unread(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    answer = api.generic(
        "POST",
        f"/api/v2/connections/{connection}/uploads",
        b"",
        content_type="multipart/form-data; boundary=x",
        CONTENT_LENGTH=str(2 * 1024**3 + 100_000),
        **{"wsgi.input": Unread()},
    )
    assert answer.status_code == 413
    assert answer.json()["code"] == "connectors.upload_too_large"
    assert "gzip" in answer.json()["remedy"]


def test_a_body_that_grows_beyond_the_limit_leaves_nothing(
    acme: Any, api_for: Any, settings: Any, tmp_path: Path
) -> None:
    api = api_for(acme)
    connection = make_connection(api)
    settings.UPLOAD_MAX_BYTES = 20
    assert upload(api, connection).status_code == 413
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("evil.exe", b"x", 422),
        (".csv", b"x", 422),
        ("empty.csv", b"", 422),
        ("../../escape.csv", CSV, 201),
        ("a/b\\c.csv", CSV, 201),
        ("x" * 300 + ".csv", CSV, 201),
        ("Ümläut (1).csv.gz", CSV, 201),
    ],
)
def test_names_are_tamed(acme: Any, api_for: Any, tmp_path: Path, name: str, content: bytes, status: int) -> None:
    api = api_for(acme)
    connection = make_connection(api)
    answer = upload(api, connection, name, content)
    assert answer.status_code == status, answer.content
    inside = tmp_path / str(acme.id) / "uploads" / connection
    assert all(path.is_relative_to(inside) for path in tmp_path.rglob("*") if path.is_file())


def test_connections_of_other_kinds_take_no_uploads(acme: Any, api_for: Any) -> None:
    api = api_for(acme)
    connection = make_connection(api, location="folder")
    answer = upload(api, connection)
    assert (answer.status_code, answer.json()["code"]) == (422, "connectors.upload_refused")
    warehouse = api.get("/api/v2/connections").json()["results"]
    builtin = next(one["id"] for one in warehouse if one["builtin"])
    assert upload(api, builtin).status_code == 422


def test_uploads_need_permission_and_the_right_tenant(acme: Any, globex: Any, api_for: Any) -> None:
    connection = make_connection(api_for(acme))
    assert upload(api_for(acme, roles=("viewer",)), connection).status_code == 403
    stranger = api_for(globex)
    assert upload(stranger, connection).status_code == 404
    assert stranger.get(f"/api/v2/connections/{connection}/uploads").status_code == 404


def test_a_full_disk_keeps_the_old_upload(acme: Any, api_for: Any, settings: Any, full_disk: Path) -> None:
    settings.FILES_ROOT = full_disk
    api = api_for(acme, roles=("builder",))
    connection = make_connection(api)
    upload(api, connection)
    answer = upload(api, connection, content=os.urandom(12 * 1024**2))
    assert answer.json()["code"] == "connectors.out_of_space"
    assert answer.json()["remedy"]
    assert answer.status_code == 507
    folder = full_disk / str(acme.id) / "uploads" / connection
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("invoices.csv", CSV)]
