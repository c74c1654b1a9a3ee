"""The `files` connector as a target, on the server's disk and in an object store."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.catalog.files.spill import Spill
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ConnectionContext, EntitySchema, ReadRequest, WriteRequest
from apps.connectors.exceptions import (
    ConfigInvalid,
    EmptyExtract,
    EntityGone,
    NotSupported,
    OutOfSpace,
    SchemaChanged,
    StagingLost,
    WriteRefused,
)
from apps.connectors.registries import connector_registry
from apps.connectors.services.staging import collect_spill
from apps.tenancy.models import Tenant
from tests.connectors.folders import connect
from tests.suites.connector_suite import read_all

FIELDS = [("id", "BIGINT"), ("name", "VARCHAR"), ("total", "DECIMAL(18,2)"), ("day", "DATE")]
TARGETS = ["out.csv", "out.ndjson", "out.parquet", "out.csv.gz"]


def request(entity: str, disposition: Disposition = Disposition.REPLACE, **extra: Any) -> WriteRequest:
    keys = extra.pop("keys", ())
    return WriteRequest(entity, EntitySchema.of(entity, FIELDS, keys), uuid4(), disposition, keys, **extra)


def batch(first: int, count: int, name: str = 'Größe, "x"\n') -> pa.RecordBatch:
    numbers = list(range(first, first + count))
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(numbers),
            "name": pa.array([name] * count),
            "total": pa.array([Decimal(number) / 100 for number in numbers], pa.decimal128(18, 2)),
            "day": pa.array([date(2024, 1, 1)] * count),
            "_row_id": pa.array(numbers),
        }
    )


@pytest.mark.parametrize("target", TARGETS)
def test_written_files_read_back_exactly(files: ConnectorBase, target: str) -> None:
    for disposition, expected in (
        (Disposition.REPLACE, 300),
        (Disposition.REPLACE, 300),
        (Disposition.APPEND, 600),
    ):
        writer = files.open_writer(request(target, disposition))
        parts = [writer.stage([batch(1, 100)], part="a"), writer.stage([batch(101, 100), batch(201, 100)], part="b/#1")]
        result = writer.finish(parts, allow_empty=False, marker="m")
        assert (result.rows, result.inserted) == (300, 300)
        assert writer.finish(parts, allow_empty=False, marker="m").already_done
        rows = read_all(files, ReadRequest(target)).to_pylist()
        assert len(rows) == expected
    assert (rows[6]["id"], rows[6]["total"], rows[6]["day"]) == (7, Decimal("0.07"), date(2024, 1, 1))
    assert rows[6]["name"] == 'Größe, "x"\n'
    assert [one.name for one in files.discover().entities] == [target]


@pytest.mark.parametrize("target", TARGETS[:3])
def test_the_last_of_duplicate_keys_is_written(files: ConnectorBase, target: str) -> None:
    writer = files.open_writer(request(target, keys=("id",)))
    late = batch(5, 1, "late").set_column(4, "_row_id", pa.array([900]))
    part = writer.stage([batch(1, 10), late], part="a")
    losers = [row for found in writer.duplicates([part]) for row in found.to_pylist()]
    assert [(row["id"], row["_row_id"]) for row in losers] == [(5, 5)]
    result = writer.finish([part], allow_empty=False, marker="m")
    assert (result.inserted, result.duplicates) == (10, 1)
    names = {row["id"]: row["name"] for row in read_all(files, ReadRequest(target)).to_pylist()}
    assert names[5] == "late"


def test_an_empty_extract_keeps_the_file(files: ConnectorBase) -> None:
    writer = files.open_writer(request("out.csv"))
    writer.finish([writer.stage([batch(1, 5)], part="a")], allow_empty=False, marker="m")
    empty = files.open_writer(request("out.csv"))
    with pytest.raises(EmptyExtract):
        empty.finish([empty.stage([], part="a")], allow_empty=False, marker="m")
    assert read_all(files, ReadRequest("out.csv")).num_rows == 5


def test_a_crash_between_announcement_and_marker_appends_once(files: ConnectorBase, folder: Path) -> None:
    writer = files.open_writer(request("out.csv", Disposition.APPEND))
    part = writer.stage([batch(1, 5)], part="a")
    real = writer._settle  # type: ignore[attr-defined]

    def crash(*_args: Any) -> None:
        raise KeyboardInterrupt

    writer._settle = crash  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        writer.finish([part], allow_empty=False, marker="m")
    writer._settle = real  # type: ignore[attr-defined]
    assert writer.finish([part], allow_empty=False, marker="m").inserted == 5
    assert read_all(files, ReadRequest("out.csv")).num_rows == 5


def test_an_aborted_load_cannot_be_finished(files: ConnectorBase) -> None:
    writer = files.open_writer(request("out.csv"))
    part = writer.stage([batch(1, 5)], part="a")
    writer.abort()
    for parts in ([part], []):
        with pytest.raises(StagingLost):
            writer.finish(parts, allow_empty=True, marker="m")


def test_upserts_into_files_and_excel_targets_are_refused(files: ConnectorBase) -> None:
    with pytest.raises(NotSupported):
        files.open_writer(request("out.csv", Disposition.UPSERT, keys=("id",)))
    with pytest.raises(ConfigInvalid, match="not written"):
        files.open_writer(request("out.xlsx"))


def test_an_append_keeps_the_present_lines_and_refuses_other_columns(files: ConnectorBase, folder: Path) -> None:
    present = '"id","name","total","day"\n1,"by hand, 1e2",1e2,\n2,no newline,,'
    (folder / "out.csv").write_text(present)
    writer = files.open_writer(request("out.csv", Disposition.APPEND))
    result = writer.finish([writer.stage([batch(3, 1, "new")], part="a")], allow_empty=False, marker="m")
    assert result.inserted == 1
    assert (folder / "out.csv").read_text() == f'{present}\n3,"new",0.03,2024-01-01\n'
    (folder / "out.ndjson").write_text('{"id": 1, "more": [1]}\n')
    writer = files.open_writer(request("out.ndjson", Disposition.APPEND))
    writer.finish([writer.stage([batch(3, 1, "new")], part="a")], allow_empty=False, marker="m")
    assert (folder / "out.ndjson").read_text().startswith('{"id": 1, "more": [1]}\n{"id":3,')
    (folder / "out.csv").write_text("id,name,total,day,note\n1,a,1.00,2024-01-01,kept\n")
    writer = files.open_writer(request("out.csv", Disposition.APPEND))
    part = writer.stage([batch(3, 1)], part="a")
    with pytest.raises(SchemaChanged, match="note") as caught:
        writer.finish([part], allow_empty=False, marker="m")
    assert caught.value.remedy
    assert (folder / "out.csv").read_text().endswith("kept\n")


def test_a_packed_append_reads_back(files: ConnectorBase, folder: Path) -> None:
    for first in (1, 3):
        writer = files.open_writer(request("out.ndjson.gz", Disposition.APPEND))
        writer.finish([writer.stage([batch(first, 2, "x")], part="a")], allow_empty=False, marker="m")
    lines = gzip.decompress((folder / "out.ndjson.gz").read_bytes()).decode().splitlines()
    assert [line[:8] for line in lines] == ['{"id":1,', '{"id":2,', '{"id":3,', '{"id":4,']


def test_json_refuses_what_it_cannot_hold(files: ConnectorBase, folder: Path) -> None:
    schema = EntitySchema.of("out.ndjson", [("weight", "DOUBLE")], ())
    writer = files.open_writer(WriteRequest("out.ndjson", schema, uuid4(), Disposition.REPLACE, ()))
    rows = pa.RecordBatch.from_pydict({"weight": [1.5, float("nan")], "_row_id": [0, 1]})
    part = writer.stage([rows], part="a")
    with pytest.raises(WriteRefused, match="weight has a value that JSON cannot hold"):
        writer.finish([part], allow_empty=False, marker="m")
    assert not (folder / "out.ndjson").exists()


def test_a_full_disk_for_temporary_files_keeps_the_target(root: Path, folder: Path, full_disk: Path) -> None:
    files = connect(root, folder=folder.name, spill=full_disk / "spill")
    writer = files.open_writer(request("out.csv"))
    writer.finish([writer.stage([batch(1, 5)], part="a")], allow_empty=False, marker="m")
    before = (folder / "out.csv").read_bytes()
    writer = files.open_writer(request("out.csv"))
    with pytest.raises(OutOfSpace, match="SPILL_ROOT") as caught:
        writer.stage((batch(number, 1, os.urandom(50_000).hex()) for number in range(200)), part="a")
    assert caught.value.remedy
    assert (folder / "out.csv").read_bytes() == before
    assert list((full_disk / "spill").iterdir()) == []


def test_a_full_disk_under_the_target_keeps_the_old_file(root: Path, full_disk: Path) -> None:
    (root / "folder").mkdir(exist_ok=True)
    (full_disk / "out").mkdir()
    (root / "folder" / "small").symlink_to(full_disk / "out")
    files = connect(root, folder="small")
    writer = files.open_writer(request("out.csv"))
    writer.finish([writer.stage([batch(1, 5)], part="a")], allow_empty=False, marker="m")
    before = (full_disk / "out" / "out.csv").read_bytes()
    writer = files.open_writer(request("out.csv"))
    with pytest.raises(OutOfSpace, match="disk is full"):
        writer.stage((batch(number, 1, os.urandom(50_000).hex()) for number in range(200)), part="a")
    assert (full_disk / "out" / "out.csv").read_bytes() == before
    assert list((full_disk / "out").rglob("*.tmp")) == []


def test_sorting_spills_to_the_tenants_folder_and_cleans_up(root: Path) -> None:
    spill = Spill(str(root / "spill"))
    with spill.engine() as engine:
        settings = engine.sql("SELECT current_setting('memory_limit'), current_setting('temp_directory')").fetchall()[0]
        assert settings[0] == "244.1 MiB"
        assert settings[1].startswith(str(root / "spill"))
        query = (
            "SELECT count(*) FROM (SELECT *, row_number() OVER (ORDER BY h) FROM (SELECT hash(i) h, repeat('x', 300)"
        )
        assert engine.sql(f"{query} FROM range(1500000) t(i)))").fetchall() == [(1_500_000,)]
    assert list((root / "spill").iterdir()) == []


def test_temporary_files_of_killed_workers_are_collected(as_acme: Tenant, tmp_path: Path, settings: Any) -> None:
    settings.SPILL_ROOT = tmp_path
    assert collect_spill() == 0
    folder = tmp_path / str(as_acme.id)
    (folder / "portal-old").mkdir(parents=True)
    (folder / "portal-old" / "block").write_bytes(b"x")
    for name in ("portal-old", "portal-old.csv"):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - 90_000,) * 2)
    (folder / "portal-new.csv").touch()
    assert collect_spill() == 2
    assert [path.name for path in folder.iterdir()] == ["portal-new.csv"]


def test_sorting_on_a_full_disk_says_which(root: Path, full_disk: Path) -> None:
    with pytest.raises(OutOfSpace, match="SPILL_ROOT"), Spill(str(full_disk / "spill")).engine() as engine:
        engine.sql("CREATE TABLE t AS SELECT hash(i) h, repeat(i::VARCHAR, 50) FROM range(3000000) t(i) ORDER BY h")
    assert list((full_disk / "spill").iterdir()) == []


# --- object storage -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    """A real S3-compatible server (moto) in its own process."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _store(url: str, **extra: Any) -> ConnectorBase:
    connector = connector_registry.get("files").create(ConnectionContext(purpose="test"))
    config = {"location": "object_store", "bucket": "ledger", "endpoint_url": url, "folder": "in", **extra}
    connector.connect(config, {"access_key": "test", "secret_key": "test"})
    return connector


def test_object_storage_reads_and_writes(object_store: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]
    import s3fs

    s3fs.S3FileSystem(key="test", secret="test", endpoint_url=object_store, skip_instance_cache=True).mkdir("ledger")
    store = _store(object_store)
    assert store.check().ok
    for target in ("deep/out.csv", "out.parquet"):
        writer = store.open_writer(request(target))
        part = writer.stage([batch(1, 50)], part="a")
        assert writer.finish([part], allow_empty=False, marker="m").inserted == 50
        assert read_all(store, ReadRequest(target))["total"].to_pylist()[0] == Decimal("0.01")
    assert [one.name for one in store.discover().entities] == ["deep/out.csv", "out.parquet"]
    with pytest.raises(EntityGone):
        store.describe("nothing.csv")


def test_object_storage_that_fails_says_how(object_store: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]
    result = _store(object_store, bucket="no-such-bucket").check()
    assert not result.ok
    assert result.remedy
    settings.EGRESS_ALLOW_PRIVATE = []
    from apps.core.exceptions import PortalError

    with pytest.raises(PortalError) as caught:
        _store(object_store)
    assert caught.value.code == "core.egress.denied"


def test_a_bucket_is_needed() -> None:
    with pytest.raises(ConfigInvalid, match="needs a bucket"):
        _store("https://s3.example.com", bucket="")
