"""Files that people upload into a `files` connection: bounded, streamed to disk, never run, never served back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors.exceptions import OutOfSpace, UploadRefused, UploadTooLarge
from apps.connectors.registries import connector_registry
from apps.connectors.selectors import get_connection_row
from apps.connectors.services.sessions import tenant_files_root
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.tenancy.services.context import require_tenant

UPLOADS = "uploads"
NAME = re.compile(r"[^\w .()+-]+")
ENDINGS = (".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".parquet", ".xlsx")
MAX_NAME_CHARS = 120
NO_SPACE = 28


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a connection's upload folder; `entity` is the name under which it is read."""

    path: str
    size_bytes: int
    entity: str
    uploaded_at: datetime


def check_upload_size(size_bytes: int | None) -> None:
    """Refuse an upload that announces itself as too large, before its body is read.

    Raises:
        UploadTooLarge: with the limit and what to do instead.
    """
    if size_bytes is not None and size_bytes > settings.UPLOAD_MAX_BYTES:
        raise UploadTooLarge(
            f"The file has {size_bytes / 1024**2:,.0f} MB; an upload may have {_limit_mb()} MB.",
            value=size_bytes,
            limit_bytes=settings.UPLOAD_MAX_BYTES,
        )


def store_upload(connection_id: UUID, name: str, chunks: Iterable[bytes], *, actor: Actor) -> Upload:
    """Write an uploaded file into the connection's folder; a file of the same name is replaced in one step.

    Args:
        connection_id: a connection whose connector takes uploads.
        name: the file's own name; only its last part counts, and it keeps its ending.
        chunks: the content, as it arrives.
        actor: needs `connection:use`.

    Raises:
        PermissionDenied, ConnectionNotFound.
        UploadRefused: no uploads here, or an ending that cannot be read.
        UploadTooLarge: more than `UPLOAD_MAX_BYTES`; nothing is kept.
        OutOfSpace: the server's disk is full; nothing is kept.
    """
    check_permission(actor, "connection:use")
    folder = _folder_of(connection_id)
    target = folder / _clean_name(name)
    partial = folder / f".{uuid7().hex}.part"
    size_bytes = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in chunks:
                size_bytes += len(chunk)
                check_upload_size(size_bytes)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if size_bytes == 0:
            raise UploadRefused("The file is empty.", field="file", value=name)
        partial.replace(target)
    except OSError as error:
        if error.errno == NO_SPACE:
            raise OutOfSpace("The server's disk is full; the upload was not kept.") from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    with transaction.atomic():
        record_audit(
            actor=actor,
            action="connection.uploaded",
            target_type="connection",
            target_id=connection_id,
            summary=f"File {target.name} was uploaded",
            facts={"file": target.name, "size_bytes": size_bytes},
        )
        send_hint(require_tenant().id, "connection", connection_id)
    return _to_upload(target)


def list_uploads(
    connection_id: UUID, *, cursor: str | None = None, limit: int = 50, actor: Actor
) -> tuple[list[Upload], str | None]:
    """One page of the uploaded files, the latest first, and the cursor of the next page (None at the end).

    Args:
        cursor: from the page before; names its last file, so that new uploads do not shift the pages.

    Raises:
        PermissionDenied, ConnectionNotFound, UploadRefused.
    """
    check_permission(actor, "connection:view")
    folder = _folder_of(connection_id)
    if not folder.is_dir():
        return [], None
    found = [_to_upload(path) for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found.sort(key=_position, reverse=True)
    if cursor is not None:
        found = [upload for upload in found if _position(upload) < cursor]
    page = found[:limit]
    return page, _position(page[-1]) if len(found) > limit else None


def _position(upload: Upload) -> str:
    return f"{upload.uploaded_at.isoformat(timespec='microseconds')} {upload.path}"


def _folder_of(connection_id: UUID) -> Path:
    row = get_connection_row(connection_id)
    accepts = connector_registry.get(row.connector).manifest.capabilities.uploads
    if not accepts or row.config.get("location") != UPLOADS[:-1] or row.archived_at is not None:
        raise UploadRefused(
            f"The connection {row.name!r} takes no uploads.",
            field="connection",
            value=row.slug,
            remedy="Use a files connection whose location is “upload”.",
        )
    return tenant_files_root(require_tenant().id) / UPLOADS / str(row.id)


def _clean_name(name: str) -> str:
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    cleaned = NAME.sub("_", base).strip(" .")
    plain = cleaned.lower().removesuffix(".gz")
    if not plain.endswith(ENDINGS) or plain in ENDINGS:
        raise UploadRefused(
            f"{base[:80] or 'The file'} has an ending that cannot be read.",
            field="file",
            value=base[:80],
            remedy=f"Use one of {', '.join(ENDINGS)}, or the text ones with .gz.",
        )
    if len(cleaned) > MAX_NAME_CHARS:
        ending = "".join(Path(cleaned).suffixes[-2:])
        cleaned = f"{cleaned[: MAX_NAME_CHARS - len(ending)]}{ending}"
    return cleaned


def _to_upload(path: Path) -> Upload:
    facts = path.stat()
    return Upload(path.name, facts.st_size, path.name, datetime.fromtimestamp(facts.st_mtime, UTC))


def _limit_mb() -> str:
    return f"{settings.UPLOAD_MAX_BYTES / 1024**2:,.0f}"
