"""What every connector must pass. A test module inherits `ConnectorSuite` and says how its system is reached.

The ideas follow Airbyte's acceptance tests (specification valid, secrets marked, check good and bad, two reads equal,
incremental re-read gives nothing older, a future cursor gives nothing), run here against real systems.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, ClassVar

import jsonschema
import psutil
import pyarrow as pa
import pytest

from apps.connectors.base import ConnectorBase, ConnectorType
from apps.connectors.contracts import SOURCE_POSITION, ConnectionContext, CursorRange, ReadRequest
from apps.connectors.exceptions import ColumnGone, EntityGone
from apps.connectors.registries import connector_registry

MAX_GROWTH_BYTES = 200 * 1024**2
SECRET_WORDS = ("password", "secret", "token", "key")


class ConnectorSuite:
    """Attributes say which connector and which entity; fixtures named below come from the inheriting module.

    Fixtures: `config` (settings that work), `secrets`, `bad_config` (settings that must fail the check), `context`.
    """

    connector: ClassVar[str]
    entity: ClassVar[str]
    cursor: ClassVar[str | None] = None
    future: ClassVar[str] = "2999-01-01T00:00:00+00:00"
    rows: ClassVar[int]

    @pytest.fixture
    def secrets(self) -> Mapping[str, str]:
        return {}

    @pytest.fixture
    def context(self) -> ConnectionContext:
        return ConnectionContext(purpose="suite")

    @pytest.fixture
    def kind(self) -> ConnectorType:
        return connector_registry.get(self.connector)

    @pytest.fixture
    def opened(self, kind: ConnectorType, context: ConnectionContext, config: Any, secrets: Any) -> Any:
        with kind.create(context) as connector:
            connector.connect(config, secrets)
            yield connector

    def test_settings_fit_the_manifest(self, kind: ConnectorType, config: Mapping[str, Any]) -> None:
        jsonschema.Draft202012Validator.check_schema(kind.manifest.configuration)
        jsonschema.validate(dict(config), kind.manifest.configuration)
        assert kind.manifest.configuration.get("additionalProperties") is False

    def test_no_secret_is_an_ordinary_setting(self, kind: ConnectorType) -> None:
        for name, shape in kind.manifest.configuration["properties"].items():
            is_name_of_a_setting = shape.get("type") != "string" or "enum" in shape or name in self.plain_settings()
            assert is_name_of_a_setting or not any(word in name for word in SECRET_WORDS), name

    def plain_settings(self) -> set[str]:
        """String settings whose names sound secret and are not."""
        return set()

    def test_check_passes(self, opened: ConnectorBase) -> None:
        result = opened.check()
        assert result.ok, result
        assert result.steps
        assert all(step.ok for step in result.steps)

    def test_check_of_a_broken_system_says_what_to_do(
        self, kind: ConnectorType, context: ConnectionContext, bad_config: Any, secrets: Any
    ) -> None:
        with kind.create(context) as connector:
            connector.connect(bad_config, secrets)
            result = connector.check()
        assert not result.ok
        assert result.code
        assert result.message
        assert result.remedy
        assert not result.steps[-1].ok

    def test_discover_finds_the_entity_by_search_and_pages(self, opened: ConnectorBase) -> None:
        seen: list[str] = []
        cursor = None
        while True:
            page = opened.discover("", cursor, 1)
            seen += [one.name for one in page.entities]
            cursor = page.next
            if cursor is None:
                break
        assert self.entity in seen
        assert len(seen) == len(set(seen))
        last_word = self.entity.rsplit(".", 1)[-1].rsplit("/", 1)[-1]
        assert self.entity in [one.name for one in opened.discover(last_word[:4].upper()).entities]
        assert opened.discover("no such thing anywhere").entities == ()

    def test_described_types_are_the_types_read(self, opened: ConnectorBase) -> None:
        from apps.expressions.contracts import Schema

        described = opened.describe(self.entity)
        batch = next(iter(opened.read(ReadRequest(self.entity, limit=5))))
        actual = {field.name: field.type for field in Schema.from_arrow(batch.schema).fields}
        for field in described.fields:
            travels_as = "VARCHAR" if field.type == "UUID" else field.type
            assert actual[field.name] == travels_as, field

    def test_every_row_is_read_with_a_rising_position(self, opened: ConnectorBase) -> None:
        table = read_all(opened, ReadRequest(self.entity, batch_rows=100))
        positions = table[SOURCE_POSITION].to_pylist()
        assert table.num_rows == self.rows
        assert positions == sorted(set(positions))
        assert positions[0] >= 0

    def test_two_reads_are_equal(self, opened: ConnectorBase) -> None:
        first = read_all(opened, ReadRequest(self.entity))
        assert first.equals(read_all(opened, ReadRequest(self.entity)))

    def test_batches_are_bounded(self, opened: ConnectorBase) -> None:
        assert all(batch.num_rows <= 7 for batch in opened.read(ReadRequest(self.entity, batch_rows=7)))

    def test_only_the_wanted_columns_are_read(self, opened: ConnectorBase) -> None:
        name = opened.describe(self.entity).fields[-1].name
        batch = next(iter(opened.read(ReadRequest(self.entity, columns=(name,), limit=3))))
        assert batch.schema.names == [name, SOURCE_POSITION]
        assert batch.num_rows == 3

    def test_a_missing_entity_or_column_is_named(self, opened: ConnectorBase) -> None:
        with pytest.raises(EntityGone) as gone:
            opened.describe(f"{self.entity}_gone")
        assert f"{self.entity}_gone" in gone.value.message
        with pytest.raises(ColumnGone) as column:
            list(opened.read(ReadRequest(self.entity, columns=("no_such_column",))))
        assert "no_such_column" in column.value.message

    def test_incremental_reads_give_nothing_older(self, opened: ConnectorBase) -> None:
        cursor = self._cursor(opened)
        table = read_all(opened, ReadRequest(self.entity, cursor=CursorRange(cursor)))
        values = sorted(str(value) for value in table[cursor].to_pylist() if value is not None)
        middle = table[cursor].sort()[len(values) // 2].as_py()
        text = middle.isoformat() if hasattr(middle, "isoformat") else str(middle)
        newer = read_all(opened, ReadRequest(self.entity, cursor=CursorRange(cursor, lower=text)))
        assert 0 < newer.num_rows < table.num_rows
        assert min(newer[cursor].to_pylist()) == middle
        older = read_all(opened, ReadRequest(self.entity, cursor=CursorRange(cursor, upper=text)))
        assert older.num_rows + newer.num_rows == table.num_rows

    def test_a_future_cursor_gives_no_rows(self, opened: ConnectorBase) -> None:
        cursor = self._cursor(opened)
        request = ReadRequest(self.entity, cursor=CursorRange(cursor, lower=self.future))
        assert read_all(opened, request).num_rows == 0

    def test_partitions_are_the_whole(self, opened: ConnectorBase) -> None:
        whole = read_all(opened, ReadRequest(self.entity))
        parts = opened.plan_partitions(self.entity, 4)
        tables = [read_all(opened, ReadRequest(self.entity, partition=part)) for part in parts]
        assert sum(table.num_rows for table in tables) == whole.num_rows
        names = [name for name in whole.schema.names if name != SOURCE_POSITION]
        together = pa.concat_tables([table.select(names) for table in tables if table.num_rows])
        assert sorted(map(str, together.to_pylist())) == sorted(map(str, whole.select(names).to_pylist()))
        positions = [value for table in tables for value in table[SOURCE_POSITION].to_pylist()]
        assert len(positions) == len(set(positions))

    def test_memory_is_bounded_by_the_batch(self, opened: ConnectorBase) -> None:
        process = psutil.Process()
        for _warm_up in opened.read(ReadRequest(self.big_entity())):
            break
        gc.collect()
        before = process.memory_info().rss
        rows = 0
        for batch in opened.read(ReadRequest(self.big_entity())):
            rows += batch.num_rows
        assert rows >= self.rows
        assert process.memory_info().rss - before < MAX_GROWTH_BYTES

    def big_entity(self) -> str:
        """Entity for the memory test; larger than the bound where the module can make one."""
        return self.entity

    def _cursor(self, opened: ConnectorBase) -> str:
        if self.cursor is None:
            pytest.skip("this connector reads no increments")
        assert self.cursor in opened.describe(self.entity).cursor_candidates
        return self.cursor


def read_all(connector: ConnectorBase, request: ReadRequest) -> pa.Table:
    """Every batch as one table; an empty read keeps the schema's column names."""
    batches = list(connector.read(request))
    if not batches:
        names = list(request.columns or connector.describe(request.entity).names)
        return pa.table({name: pa.array([], pa.int64()) for name in [*names, SOURCE_POSITION]})
    return pa.Table.from_batches(batches)
