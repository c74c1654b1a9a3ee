"""JSON resources of an HTTP API, read as tables and written record by record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import pyarrow as pa

from apps.connectors.base import CheckRun, ConnectorBase, Writer
from apps.connectors.catalog.rest.client import RestClient, read_json
from apps.connectors.catalog.rest.paging import Page, PageRequest, Paging, records_of
from apps.connectors.catalog.rest.shapes import Unfit, infer_fields, to_value
from apps.connectors.catalog.rest.writer import RestWriter
from apps.connectors.choices import EntityKind
from apps.connectors.contracts import (
    SOURCE_POSITION,
    CheckResult,
    ConnectionContext,
    CursorRange,
    EntityField,
    EntityPage,
    EntityRef,
    EntitySchema,
    Manifest,
    ReadRequest,
    RejectedRecord,
    WriteRequest,
)
from apps.connectors.exceptions import ColumnGone, ConfigInvalid, EntityGone, SchemaChanged
from apps.core.services.egress import check_url, resolve_target
from apps.expressions.contracts import Field, Schema

SAMPLE_RECORDS = 500
MAX_PAGES = 100_000
MAX_REJECTED = 10_000


class RestConnector(ConnectorBase):
    """Reads each configured resource page by page; the next page is fetched while the last one is converted."""

    def __init__(self, manifest: Manifest, context: ConnectionContext) -> None:
        """Make a connector that is not connected."""
        super().__init__(manifest, context)
        self._client: RestClient | None = None
        self._paging = Paging.of({})

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Take the settings; nothing is called yet.

        Raises:
            EgressDenied: the base address is not one the portal may call.
            ConfigInvalid: two resources share a name, or OAuth2 lacks its token address.
        """
        check_url(str(config["base_url"]))
        names = [resource["name"] for resource in config.get("resources", [])]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigInvalid(f"Two resources are called {twice[0]!r}.", field="config.resources", value=twice[0])
        if config.get("auth") == "oauth2_client_credentials":
            if not config.get("token_url"):
                raise ConfigInvalid("OAuth2 needs the address that gives tokens.", field="config.token_url")
            check_url(str(config["token_url"]))
        self.config = dict(config)
        self._paging = Paging.of(config)
        self._client = RestClient(config, secrets, time_limit_s=self.context.time_limit_s)

    def disconnect(self) -> None:
        """End the session and its loop."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def check(self) -> CheckResult:
        """Address, then a first page of the first resource: reachable, signed in, readable."""
        run = CheckRun()
        url = check_url(str(self.config["base_url"]))
        first = self.config["resources"][0]

        def address() -> str:
            target = resolve_target(url.host, url.port, purpose="check")
            return f"{url.host} is {target.ip}."

        def read() -> str:
            page = self._client_or_raise().call(self._fetch(first, self._paging.first(), {}))
            return f"{first['name']} answered with {len(page.records)} records."

        run.step("Address", address)
        run.step("Sign in and read", read)
        return run.result(f"{len(self.config['resources'])} resources are configured.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """The configured resources."""
        found = sorted(
            (one for one in self.config.get("resources", []) if search.lower() in one["name"].lower()),
            key=lambda one: one["name"],
        )
        rest = [one for one in found if cursor is None or one["name"] > cursor]
        page = tuple(EntityRef(one["name"], one["name"], EntityKind.RESOURCE) for one in rest[:limit])
        return EntityPage(page, page[-1].name if len(rest) > limit else None)

    def describe(self, entity: str) -> EntitySchema:
        """Structure inferred from the first records of the resource.

        Raises:
            EntityGone: no resource has this name, or the API has nothing at its path.
        """
        resource = self._resource(entity)
        sample = list(islice(self._records(resource, {}), SAMPLE_RECORDS))
        shapes = infer_fields(sample)
        key = resource.get("key", "")
        fields = tuple(
            EntityField(
                name=name,
                type=shape.duckdb_type(),
                native_type="/".join(sorted(shape.kinds)) or "null",
                nullable=name != key,
                primary_key=name == key,
                position=position,
            )
            for position, (name, shape) in enumerate(shapes.items())
        )
        cursor_field = resource.get("cursor_field", "")
        return EntitySchema(
            name=entity,
            fields=fields,
            keys=(key,) if key in shapes else (),
            unique_keys=((key,),) if key in shapes else (),
            cursor_candidates=(cursor_field,) if cursor_field in shapes else (),
            kind=EntityKind.RESOURCE,
        )

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """Records as batches; those that do not fit the schema are collected in `rejected` with their reason."""
        resource = self._resource(request.entity)
        schema = self._plan(request)
        arrow = Schema(tuple(Field(one.name, one.type) for one in schema)).to_arrow()
        arrow = pa.schema([*arrow, pa.field(SOURCE_POSITION, pa.int64(), nullable=False)])
        parameters = _since(resource, request.cursor)
        rows: list[dict[str, Any]] = []
        given = 0
        for position, record in enumerate(self._records(resource, parameters)):
            if not _in_range(record, request.cursor):
                continue
            if request.limit is not None and given >= request.limit:
                break
            given += 1
            try:
                row = {
                    one.name: to_value(record.get(one.name), one.type, path=one.name)
                    for one in arrow
                    if one.name in record
                }
            except Unfit as error:
                if len(self.rejected) < MAX_REJECTED:
                    self.rejected.append(RejectedRecord(position, "connectors.value_unfit", str(error), dict(record)))
                continue
            row[SOURCE_POSITION] = position
            rows.append(row)
            if len(rows) >= request.batch_rows:
                yield pa.RecordBatch.from_pylist(rows, schema=arrow)
                rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=arrow)

    def open_writer(self, request: WriteRequest) -> Writer:
        """A load that sends records to the resource."""
        return RestWriter(request, self._client_or_raise(), self._resource(request.entity))

    def _plan(self, request: ReadRequest) -> list[EntityField]:
        described = self.describe(request.entity)
        if request.expected is not None:
            for wanted in request.expected.fields:
                actual = described.find_field(wanted.name)
                if actual is not None and not _compatible(actual, wanted):
                    raise SchemaChanged(
                        f"{wanted.name} was {wanted.type} and is {actual.type} now.",
                        field=wanted.name,
                        value=actual.type,
                    )
            described = request.expected
        if request.columns is None:
            return list(described.fields)
        found = []
        for name in request.columns:
            column = described.find_field(name)
            if column is None:
                raise ColumnGone(f"{request.entity} has no field {name!r} (any more).", field=name, value=name)
            found.append(column)
        return found

    def _records(self, resource: Mapping[str, Any], parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every record of a resource, in the API's order, with one page fetched ahead."""
        client = self._client_or_raise()
        pending: Future[Page] | None = client.submit(self._fetch(resource, self._paging.first(), parameters))
        try:
            for _page_number in range(MAX_PAGES):
                if pending is None:
                    return
                page = pending.result()
                following = page.next
                pending = client.submit(self._fetch(resource, following, parameters)) if following else None
                yield from page.records
        finally:
            if pending is not None:
                pending.cancel()

    async def _fetch(self, resource: Mapping[str, Any], asked: PageRequest, parameters: Mapping[str, str]) -> Page:
        client = self._client_or_raise()
        url = asked.url or client.url(resource["path"])
        query = {} if asked.url else {**resource.get("parameters", {}), **parameters, **asked.parameters}
        answer = await client.get(url, query)
        body = read_json(answer)
        records = records_of(body, resource.get("records", ""))
        following = self._paging.following(asked, url=answer.url, body=body, headers=answer.headers, count=len(records))
        return Page(records, following)

    def _resource(self, entity: str) -> dict[str, Any]:
        for resource in self.config.get("resources", []):
            if resource["name"] == entity:
                return dict(resource)
        names = ", ".join(sorted(one["name"] for one in self.config.get("resources", [])))
        raise EntityGone(f"The connection has no resource {entity!r}.", value=entity, remedy=f"It has: {names}.")

    def _client_or_raise(self) -> RestClient:
        if self._client is None:
            raise RuntimeError("connect() comes first")
        return self._client


def _since(resource: Mapping[str, Any], cursor: CursorRange | None) -> dict[str, str]:
    """The API's own filter for an incremental read; without one every record is read and filtered here."""
    name = resource.get("since_parameter")
    return {name: cursor.lower} if name and cursor is not None and cursor.lower is not None else {}


def _in_range(record: Mapping[str, Any], cursor: CursorRange | None) -> bool:
    """Whether a record belongs to the asked range; APIs round their filters, so this is checked again here."""
    if cursor is None:
        return True
    value = record.get(cursor.column)
    if value is None:
        return cursor.include_null or (cursor.lower is None and cursor.upper is None)
    if cursor.lower is not None:
        left, right = _comparable(value, cursor.lower)
        if left < right or (left == right and not cursor.lower_inclusive):
            return False
    if cursor.upper is not None:
        left, right = _comparable(value, cursor.upper)
        if left > right or (left == right and not cursor.upper_inclusive):
            return False
    return True


def _comparable(value: Any, bound: str) -> tuple[Any, Any]:
    """Both as numbers or as instants where they are, else as text."""
    try:
        return Decimal(str(value)), Decimal(bound)
    except InvalidOperation:
        pass
    try:
        return _instant(str(value)), _instant(bound)
    except ValueError:
        return str(value), bound


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _compatible(actual: EntityField, wanted: EntityField) -> bool:
    """An inferred type differs harmlessly where the new sample was all null or only narrower."""
    if actual.type == wanted.type or actual.native_type == "null" or wanted.type in {"VARCHAR", "JSON"}:
        return True
    numbers = ("BIGINT", "DECIMAL")
    if wanted.type.startswith("DECIMAL") and actual.type.startswith(numbers):
        return True
    return (wanted.type.startswith(("STRUCT", "JSON")) and actual.type.startswith("STRUCT")) or (
        wanted.type.endswith("[]") and actual.type.endswith("[]")
    )
