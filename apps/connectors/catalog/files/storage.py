"""One filesystem layer under every file: the tenant's folder on the server, or a bucket, both through fsspec."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import fsspec

from apps.connectors.catalog.files.spill import FULL, Spill
from apps.connectors.contracts import ConnectionContext
from apps.connectors.exceptions import (
    ConfigInvalid,
    CredentialsRefused,
    EntityGone,
    OutOfSpace,
    SystemUnavailable,
    UnreadableInput,
)
from apps.core.services import egress

UPLOADS = "uploads"
FOLDERS = "folder"
COPY_BYTES = 1024 * 1024
MAX_LISTED = 100_000
SUFFIXES = (".csv", ".tsv", ".txt", ".ndjson", ".jsonl", ".parquet", ".xlsx")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file by its path below the connection's root."""

    path: str
    size_bytes: int


def uploads_folder(files_root: str, connection_id: UUID | str) -> Path:
    """Where a connection's uploads lie."""
    return Path(files_root) / UPLOADS / str(connection_id)


def is_data_file(path: str) -> bool:
    """Whether the name is one of a format that can be read."""
    plain = path.lower().removesuffix(".gz")
    return plain.endswith(SUFFIXES) and not any(part.startswith(".") for part in PurePosixPath(path).parts)


class Storage:
    """Files below one root; no path leads out of it."""

    def __init__(self, filesystem: Any, root: str, *, local: bool, spill: Spill) -> None:
        """Bind a filesystem and a root."""
        self._filesystem = filesystem
        self._root = root.rstrip("/")
        self.local = local
        self.spill = spill

    @classmethod
    def open(cls, config: Mapping[str, Any], secrets: Mapping[str, str], context: ConnectionContext) -> Storage:
        """The storage a connection's settings name.

        Raises:
            ConfigInvalid: a folder that leads out of the tenant's own, or a missing bucket.
            EgressDenied: an object store at an address that is not allowed.
        """
        location = config["location"]
        folder = clean_path(str(config.get("folder") or ""), field="config.folder", empty_ok=True)
        spill = Spill(context.spill_root)
        if location == "object_store":
            return cls._open_bucket(config, secrets, folder, spill)
        if not context.files_root:
            raise ConfigInvalid("Files belong to an organisation; there is none here.", field="config.location")
        if location == UPLOADS[:-1]:
            root = uploads_folder(context.files_root, context.connection_id or "draft")
        else:
            root = Path(context.files_root) / FOLDERS / folder
        return cls(fsspec.filesystem("file"), str(root), local=True, spill=spill)

    @classmethod
    def _open_bucket(cls, config: Mapping[str, Any], secrets: Mapping[str, str], folder: str, spill: Spill) -> Storage:
        bucket = str(config.get("bucket") or "")
        if not bucket:
            raise ConfigInvalid("An object store needs a bucket.", field="config.bucket", remedy="Enter its name.")
        endpoint = str(config.get("endpoint_url") or "")
        if endpoint:
            egress.check_url(endpoint)
        key, secret = secrets.get("access_key") or None, secrets.get("secret_key") or None
        filesystem = fsspec.filesystem(
            "s3",
            key=key,
            secret=secret,
            anon=key is None,
            endpoint_url=endpoint or None,
            client_kwargs={"region_name": str(config.get("region") or "") or "us-east-1"},
            config_kwargs={
                "connect_timeout": 10,
                "read_timeout": 60,
                "retries": {"max_attempts": 3},
                "connector_args": {"resolver": egress.PinnedResolver()},
            },
            default_fill_cache=False,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        return cls(filesystem, f"{bucket}/{folder}".rstrip("/"), local=False, spill=spill)

    def check(self) -> str:
        """See that the root can be listed; returns a sentence."""
        with storage_errors(self._root):
            if self.local:
                Path(self._root).mkdir(parents=True, exist_ok=True)
            count = sum(1 for _ in zip(self.walk(), range(1000), strict=False))
        return f"{count} readable file{'s' if count != 1 else ''} found." if count else "No readable file yet."

    def walk(self) -> Iterator[StoredFile]:
        """Every readable file, by path."""
        with storage_errors(self._root):
            if self.local and not Path(self._root).is_dir():
                return
            found = self._filesystem.find(self._root, detail=True)
        names = sorted(found)[:MAX_LISTED]
        for name in names:
            entry = found[name]
            path = name.removeprefix(self._root).lstrip("/")
            if entry.get("type") == "file" and is_data_file(path) and self._stays_inside(name):
                yield StoredFile(path, int(entry.get("size") or 0))

    def find(self, path: str) -> StoredFile:
        """One file.

        Raises:
            EntityGone: there is none at this path.
        """
        full = self._full(path)
        with storage_errors(path):
            if not self._filesystem.exists(full) or not self._stays_inside(full):
                raise EntityGone(f"There is no file {path}.", field="entity", value=path)
            return StoredFile(path, int(self._filesystem.info(full).get("size") or 0))

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """The file as a local one: itself, or a temporary copy that is streamed down and removed afterwards."""
        self.find(path)
        if self.local:
            yield Path(self._full(path))
            return
        with self.spill.file(suffix=Path(path).suffix) as target:
            with storage_errors(path), self._filesystem.open(self._full(path), "rb") as source:
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file, COPY_BYTES)
            yield target

    def put(self, source: Path, path: str) -> None:
        """Move a local file to a path; readers see the old file or the new one, never a part."""
        full = self._full(path)
        with storage_errors(path):
            if self.local:
                target = Path(full)
                target.parent.mkdir(parents=True, exist_ok=True)
                near = target.with_name(f".{target.name}.{os.getpid()}.tmp")
                try:
                    shutil.move(source, near)
                    with near.open("rb+") as file:
                        os.fsync(file.fileno())
                    near.replace(target)
                finally:
                    near.unlink(missing_ok=True)
            else:
                self._filesystem.put_file(str(source), full)

    def read_bytes(self, path: str) -> bytes | None:
        """A small file's content, None when it is not there."""
        full = self._full(path)
        with storage_errors(path):
            if not self._filesystem.exists(full):
                return None
            content: bytes = self._filesystem.cat_file(full)
            return content

    def list_folder(self, path: str) -> list[str]:
        """Paths of the files below a folder, hidden ones included."""
        full = self._full(path)
        with storage_errors(path):
            if not self._filesystem.exists(full):
                return []
            return [name.removeprefix(self._root).lstrip("/") for name in self._filesystem.find(full)]

    def remove_folder(self, path: str) -> None:
        """Remove a folder with everything in it; fine when it is not there."""
        full = self._full(path)
        with storage_errors(path):
            if self._filesystem.exists(full):
                self._filesystem.rm(full, recursive=True)

    def _full(self, path: str) -> str:
        return f"{self._root}/{clean_path(path, field='entity')}"

    def _stays_inside(self, full: str) -> bool:
        """A symbolic link inside the root must not lead out of it."""
        return not self.local or Path(full).resolve().is_relative_to(Path(self._root).resolve())


def clean_path(path: str, *, field: str, empty_ok: bool = False) -> str:
    """A relative path without tricks.

    Raises:
        ConfigInvalid: absolute, with `..`, a backslash or a control character.
    """
    pure = PurePosixPath(path)
    bad = any(ord(character) < 32 for character in path) or "\\" in path or pure.is_absolute() or ".." in pure.parts
    text = str(pure) if path else ""
    if bad or (text in {"", "."} and not empty_ok):
        raise ConfigInvalid(
            "A path stays within the connection's folder.",
            field=field,
            value=path,
            remedy="Write it relative, without .. and \\.",
        )
    return "" if text == "." else text


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """The filesystem's errors as the portal's."""
    try:
        yield
    except FileNotFoundError as error:
        raise EntityGone(f"There is no {what}.", field="entity", value=what) from error
    except PermissionError as error:
        raise CredentialsRefused(f"The storage refuses access to {what}.", field="secrets.access_key") from error
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(f"The disk is full, so {what} could not be written.") from error
        if isinstance(error, UnicodeError):
            raise UnreadableInput(f"{what} cannot be read.") from error
        raise SystemUnavailable(f"The storage does not answer for {what}: {str(error)[:200]}") from error
    except Exception as error:
        # botocore and aiohttp have their own families of errors; by name, so that neither is imported for it.
        module = type(error).__module__.split(".", 1)[0]
        if module in {"botocore", "aiobotocore", "aiohttp", "s3fs"}:
            reason = str(error)[:200]
            if "credential" in reason.lower() or "access key" in reason.lower():
                raise CredentialsRefused(f"The object store refuses the keys: {reason}") from error
            raise SystemUnavailable(f"The object store cannot be reached: {reason}") from error
        raise
