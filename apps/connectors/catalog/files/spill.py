"""Where temporary files lie: below the tenant's folder of SPILL_ROOT, never in a place that tenants share."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from apps.connectors.exceptions import OutOfSpace

PREFIX = "portal-"
SORT_MEMORY_MB = 256
"""What a sort or a search for duplicates keeps in memory; the rest goes to the spill folder."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class Spill:
    """Temporary files and folders of one tenant, removed when their block ends."""

    def __init__(self, root: str = "") -> None:
        """Nothing is made yet.

        Args:
            root: the tenant's own folder; empty outside any tenant, for the system's temporary folder.
        """
        self._root = root

    @contextmanager
    def file(self, suffix: str = "") -> Iterator[Path]:
        """A path for a temporary file."""
        with spill_errors():
            handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=self._folder())
        os.close(handle)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def engine(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB within `SORT_MEMORY_MB` that spills to a folder of its own."""
        with spill_errors():
            folder = tempfile.mkdtemp(prefix=PREFIX, dir=self._folder())
        try:
            config: dict[str, str | bool | int | float | list[str]] = {
                "threads": 2,
                "memory_limit": f"{SORT_MEMORY_MB}MB",
                "temp_directory": folder,
            }
            with spill_errors(), duckdb.connect(config=config) as connection:
                yield connection
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self) -> str | None:
        if not self._root:
            return None
        Path(self._root).mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._root


@contextmanager
def spill_errors() -> Iterator[None]:
    """A full disk as the portal's error, whichever library met it.

    Raises:
        OutOfSpace: nothing was written to the target.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OutOfSpace("The portal's disk for temporary files (SPILL_ROOT) is full.") from error
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        # DuckDB has one class for every I/O fault, and meets its own limit (90 % of the free space) as lack of memory.
        text = str(error).lower()
        if os.strerror(errno.ENOSPC).lower() in text or "temp_directory" in text or "offload" in text:
            raise OutOfSpace("The portal's disk for temporary files (SPILL_ROOT) is full.") from error
        raise
