"""The REST connector against a real HTTP server that speaks every style."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from apps.connectors.catalog.rest import connector as rest
from apps.connectors.catalog.rest.connector import RestConnector
from apps.connectors.choices import Disposition
from apps.connectors.contracts import (
    Capabilities,
    ConnectionContext,
    CursorRange,
    EntitySchema,
    Manifest,
    ReadRequest,
    SecretField,
    WriteRequest,
)
from apps.connectors.exceptions import (
    ColumnGone,
    CredentialsRefused,
    EntityGone,
    SchemaChanged,
    SystemUnavailable,
    UnreadableInput,
    WriteRefused,
)
from apps.core.exceptions import PortalError
from apps.core.services.egress import EgressDenied, ResponseTooLarge
from tests.connectors.rest_server import INVOICES, ApiServer, serve

RUN_ID = UUID(int=7)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serve() as server:
        yield server


def manifest() -> Manifest:
    data = json.loads((Path(rest.__file__).parent / "manifest.json").read_text())
    return Manifest(
        id=data["id"],
        name=data["name"],
        version=data["version"],
        description=data["description"],
        author=data["author"],
        license=data["license"],
        type=data["type"],
        main=data["main"],
        icon=data["icon"],
        supported_operations=tuple(data["supportedOperations"]),
        authentication=data["authentication"],
        configuration=data["configuration"],
        secrets=tuple(SecretField(**secret) for secret in data["secrets"]),
        capabilities=Capabilities(read=True, write=True),
    )


def connect(
    api: ApiServer, resource: dict[str, Any], secrets: dict[str, str] | None = None, **config: Any
) -> RestConnector:
    connector = RestConnector(manifest(), ConnectionContext(purpose="test"))
    settings = {"base_url": api.base_url, "requests_per_second": 1000, "resources": [resource], **config}
    connector.connect(settings, secrets or {})
    return connector


STYLES = {
    "plain": ({"name": "invoices", "path": "plain"}, {"paging": "none"}),
    "page": (
        {"name": "invoices", "path": "page", "records": "data.items"},
        {"paging": "page", "page_parameter": "page", "size_parameter": "size", "page_size": 100},
    ),
    "offset": (
        {"name": "invoices", "path": "offset"},
        {"paging": "offset", "page_parameter": "offset", "size_parameter": "limit", "page_size": 70},
    ),
    "cursor_body": (
        {"name": "invoices", "path": "cursor", "records": "rows"},
        {"paging": "cursor_body", "page_parameter": "after", "next_path": "meta.next"},
    ),
    "cursor_header": (
        {"name": "invoices", "path": "headercursor"},
        {"paging": "cursor_header", "page_parameter": "after", "next_path": "X-Next"},
    ),
    "link_header": ({"name": "invoices", "path": "link"}, {"paging": "link_header"}),
    "next_url": (
        {"name": "invoices", "path": "nexturl", "records": "rows"},
        {"paging": "next_url", "next_path": "next"},
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_every_paging_style_reads_every_record_once_in_order(api: ApiServer, style: str) -> None:
    resource, config = STYLES[style]
    with connect(api, resource, **config) as connector:
        batches = list(connector.read(ReadRequest("invoices", batch_rows=64)))
    table = pa.Table.from_batches(batches)
    assert table["id"].to_pylist() == [one["id"] for one in INVOICES]
    assert table["_source_position"].to_pylist() == list(range(len(INVOICES)))
    assert max(batch.num_rows for batch in batches) == 64


def test_amounts_stay_exact_and_structure_is_kept(api: ApiServer) -> None:
    with connect(api, STYLES["plain"][0]) as connector:
        schema = connector.describe("invoices")
        table = pa.Table.from_batches(connector.read(ReadRequest("invoices", limit=3)))
    assert {one.name: one.type for one in schema.fields} == {
        "id": "BIGINT",
        "number": "VARCHAR",
        "total": "DECIMAL(38,6)",
        "paid": "BOOLEAN",
        "customer": 'STRUCT("id" BIGINT, "name" VARCHAR)',
        "lines": 'STRUCT("item" VARCHAR, "amount" DECIMAL(38,6))[]',
        "updated_at": "VARCHAR",
    }
    assert table["total"].to_pylist() == [Decimal("1.10"), Decimal("2.10"), Decimal("3.10")]
    assert table["lines"].to_pylist()[0] == [{"item": "A", "amount": Decimal("1.05")}]


def test_two_reads_give_the_same_rows(api: ApiServer) -> None:
    resource, config = STYLES["offset"]
    with connect(api, resource, **config) as connector:
        first = pa.Table.from_batches(connector.read(ReadRequest("invoices")))
        second = pa.Table.from_batches(connector.read(ReadRequest("invoices")))
    assert first.equals(second)


def test_an_incremental_read_looks_again_at_what_the_api_filtered(api: ApiServer) -> None:
    resource = {
        "name": "changes",
        "path": "changes",
        "cursor_field": "updated_at",
        "since_parameter": "since",
        "key": "id",
    }
    cursor = CursorRange("updated_at", lower="2026-01-20T12:00:00Z", upper="2026-01-25T00:00:00+00:00")
    with connect(api, resource) as connector:
        assert connector.describe("changes").cursor_candidates == ("updated_at",)
        rows = pa.Table.from_batches(connector.read(ReadRequest("changes", cursor=cursor)))
    assert {one[:10] for one in rows["updated_at"].to_pylist()} == {f"2026-01-{day}" for day in range(21, 25)}
    assert api.requests[-1].query["since"] == "2026-01-20T12:00:00Z"


def test_a_cursor_from_the_future_gives_no_rows(api: ApiServer) -> None:
    resource = {"name": "changes", "path": "changes", "cursor_field": "updated_at", "since_parameter": "since"}
    with connect(api, resource) as connector:
        assert list(connector.read(ReadRequest("changes", cursor=CursorRange("updated_at", lower="2999-01-01")))) == []


def test_a_record_that_does_not_fit_is_kept_with_its_reason(api: ApiServer) -> None:
    with connect(api, {"name": "uneven", "path": "uneven"}) as connector:
        table = pa.Table.from_batches(connector.read(ReadRequest("uneven")))
        rejected = connector.rejected
    assert table.num_rows == 598
    assert [(one.position, one.code) for one in rejected] == [
        (550, "connectors.value_unfit"),
        (560, "connectors.value_unfit"),
    ]
    assert rejected[0].message == 'id is "not a number", not a whole number.'
    assert rejected[1].payload == {"id": 560, "amount": Decimal("0.123456789")}


@pytest.mark.parametrize(
    ("auth", "secrets", "extra"),
    [
        ("api_key_header", {"api_key": "s3cret"}, {}),
        ("api_key_query", {"api_key": "s3cret"}, {"auth_name": "key"}),
        ("basic", {"password": "s3cret"}, {"user": "reader"}),
        ("bearer", {"token": "s3cret"}, {}),
    ],
)
def test_each_way_to_sign_in_is_accepted_and_a_wrong_secret_is_named(
    api: ApiServer, auth: str, secrets: dict[str, str], extra: dict[str, str]
) -> None:
    resource = {"name": "guarded", "path": "guarded"}
    with connect(api, resource, secrets, auth=auth, **extra) as connector:
        assert connector.check().ok
    wrong = dict.fromkeys(secrets, "wrong")
    with connect(api, resource, wrong, auth=auth, **extra) as connector:
        result = connector.check()
    assert (result.ok, result.code) == (False, "connectors.credentials_refused")
    assert [step.ok for step in result.steps] == [True, False]
    assert "wrong" not in json.dumps(result.to_json()).replace("who are you", "")


def test_oauth_exchanges_once_for_concurrent_calls_and_again_when_the_token_ends(api: ApiServer) -> None:
    resource = {"name": "guarded", "path": "guarded"}
    config = {"auth": "oauth2_client_credentials", "token_url": f"{api.base_url}/token", "user": "portal"}
    with connect(api, resource, {"client_secret": "s3cret"}, **config) as connector:
        client = connector._client_or_raise()
        waiting = [client.submit(client.get(client.url("guarded"), {})) for _ in range(10)]
        assert [one.result().status for one in waiting] == [200] * 10
        assert api.token_requests == 1
        api.valid_tokens = set()
        assert client.call(client.get(client.url("guarded"), {})).status == 200
        assert api.token_requests == 2


def test_a_refused_client_secret_says_what_to_check(api: ApiServer) -> None:
    config = {"auth": "oauth2_client_credentials", "token_url": f"{api.base_url}/token", "user": "portal"}
    with connect(api, {"name": "guarded", "path": "guarded"}, {"client_secret": "no"}, **config) as connector:
        result = connector.check()
    assert result.code == "connectors.credentials_refused"
    assert "client secret" in result.remedy


def test_passing_faults_are_waited_out(api: ApiServer) -> None:
    api.failures = [503, 429]
    with connect(api, STYLES["plain"][0]) as connector:
        assert pa.Table.from_batches(connector.read(ReadRequest("invoices", limit=5))).num_rows == 5


def test_a_lasting_fault_is_reported_as_passing(api: ApiServer) -> None:
    api.failures = [503] * 50
    with connect(api, STYLES["plain"][0]) as connector, pytest.raises(SystemUnavailable) as caught:
        list(connector.read(ReadRequest("invoices")))
    assert "503" in caught.value.message
    assert len(api.requests) == 5


@pytest.mark.parametrize(
    ("resource", "config", "error"),
    [
        ({"name": "r", "path": "nowhere"}, {}, EntityGone),  # 404
        ({"name": "r", "path": "html"}, {}, UnreadableInput),  # a log-in page
        ({"name": "r", "path": "page?page=1&size=5", "records": "data"}, {}, UnreadableInput),  # an object, no list
        ({"name": "r", "path": "loop", "records": "rows"}, {"paging": "next_url"}, UnreadableInput),  # names itself
        ({"name": "r", "path": "guarded"}, {}, CredentialsRefused),  # 401
        ({"name": "r", "path": "plain"}, {"max_response_mb": 0}, ResponseTooLarge),  # larger than allowed
    ],
)
def test_what_cannot_be_read_is_a_clear_error(
    api: ApiServer, resource: dict[str, Any], config: dict[str, Any], error: type[PortalError]
) -> None:
    with connect(api, resource, **config) as connector, pytest.raises(error) as caught:
        list(connector.read(ReadRequest("r")))
    assert caught.value.message


def test_a_column_that_vanished_is_named(api: ApiServer) -> None:
    with connect(api, STYLES["plain"][0]) as connector, pytest.raises(ColumnGone) as caught:
        list(connector.read(ReadRequest("invoices", columns=("id", "vat_id"))))
    assert caught.value.field == "vat_id"


def test_a_retyped_column_is_named(api: ApiServer) -> None:
    expected = EntitySchema.of("invoices", [("id", "BIGINT"), ("number", "BIGINT")])
    with connect(api, STYLES["plain"][0]) as connector, pytest.raises(SchemaChanged) as caught:
        list(connector.read(ReadRequest("invoices", expected=expected)))
    assert caught.value.field == "number"


@pytest.mark.parametrize("address", ["http://169.254.169.254/latest", "http://10.0.0.7/", "http://[fd00::1]/api"])
def test_an_address_inside_the_network_is_refused(address: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = []
    connector = RestConnector(manifest(), ConnectionContext())
    with pytest.raises(EgressDenied):
        connector.connect({"base_url": address, "resources": [{"name": "r", "path": "x"}]}, {})


def test_credentials_do_not_follow_a_link_to_another_origin(api: ApiServer) -> None:
    with (
        serve() as stranger,
        connect(api, {"name": "guarded", "path": "guarded"}, {"token": "s3cret"}, auth="bearer") as connector,
    ):
        client = connector._client_or_raise()
        client.call(client.get(f"{stranger.base_url}/plain", {}))
        assert "Authorization" not in stranger.requests[0].headers


def _rows(totals: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"id": list(range(len(totals))), "total": totals, "_row_id": [100 + i for i in range(len(totals))]}
    )


def _write_request(disposition: Disposition = Disposition.APPEND) -> WriteRequest:
    schema = EntitySchema.of("orders", [("id", "BIGINT"), ("total", "BIGINT")], ["id"])
    return WriteRequest("orders", schema, RUN_ID, disposition, keys=("id",))


def test_refused_records_come_back_and_the_others_are_written_once(api: ApiServer) -> None:
    with connect(api, {"name": "orders", "path": "orders"}) as connector:
        writer = connector.open_writer(_write_request())
        part = writer.stage([_rows([5, -1, 7])], part="p0")
        again = connector.open_writer(_write_request()).stage([_rows([5, -1, 7])], part="p0")
        result = writer.finish([part], allow_empty=False, marker="m")
    assert (part.rows, result.inserted) == (2, 2)
    assert [(one.position, one.message) for one in part.rejected] == [(101, "total must not be negative")]
    assert again.rows == 2
    assert len(api.written) == 2


def test_put_names_the_key_in_the_path(api: ApiServer) -> None:
    resource = {"name": "orders", "path": "orders", "write_method": "PUT", "write_path": "orders/{id}"}
    with connect(api, resource) as connector:
        connector.open_writer(_write_request(Disposition.UPSERT)).stage([_rows([5, 6])], part="p0")
    assert sorted(path for _method, path, _body in api.written.values()) == ["/v1/orders/0", "/v1/orders/1"]


def test_lists_are_sent_in_batches(api: ApiServer) -> None:
    with connect(api, {"name": "orders", "path": "orders", "write_batch": 2}) as connector:
        connector.open_writer(_write_request()).stage([_rows([1, 2, 3])], part="p0")
    assert sorted(len(body) for _method, _path, body in api.written.values()) == [1, 2]


def test_a_path_that_names_an_unmapped_field_is_refused_before_anything_is_sent(api: ApiServer) -> None:
    resource = {"name": "orders", "path": "orders", "write_path": "orders/{number}"}
    with connect(api, resource) as connector, pytest.raises(WriteRefused) as caught:
        connector.open_writer(_write_request())
    assert caught.value.field == "number"
    assert api.requests == []
