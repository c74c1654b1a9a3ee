"""Schema and demo data: brought up to date at a start, skipped while neither code nor database changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.runtime.console import Failure
from config.runtime.install import hash_lock
from config.runtime.paths import LOGS, ROOT, VENV_PYTHON
from config.runtime.processes import run_tool

_SETTINGS = ("base.py", "database.py")


@dataclass(frozen=True)
class Site:
    """An address that `make run` prints, with the log-ins of the demo."""

    title: str
    host: str
    path: str
    logins: tuple[tuple[str, str, str], ...]

    def url(self, port: int) -> str:
        """The address in a browser."""
        return f"http://{self.host}{'' if port == 80 else f':{port}'}{self.path}"


async def ensure_schema(run: Path, env: Mapping[str, str], on_note: Callable[[str], None]) -> bool:
    """Migrate the public schema and every tenant's, unless this database already has these very migrations.

    Returns:
        Whether the migrations were run.

    Raises:
        Failure: a migration failed; with its last lines.
    """
    record = run / "schema.json"
    wanted = {"code": hash_migrations(), "database": fingerprint_database(env["DATABASE_URL"])}
    if _read(record) == wanted:
        return False
    await run_tool(
        "Migrating the database",
        [VENV_PYTHON, ROOT / "manage.py", "migrate_tenants"],
        env=env,
        cwd=ROOT,
        log=LOGS / "migrate.log",
        on_line=lambda line: on_note(line.strip()[:60]),
    )
    record.write_text(json.dumps({**wanted, "database": fingerprint_database(env["DATABASE_URL"])}))
    return True


async def ensure_demo(run: Path, env: Mapping[str, str], on_note: Callable[[str], None]) -> tuple[Site, ...]:
    """Provision the demo tenants, unless this database has had them from this code.

    Returns:
        The addresses and log-ins to print.

    Raises:
        Failure: the command failed or printed no addresses.
    """
    record = run / "demo.json"
    # The demo's ERP connection holds the server's address, so a changed one asks for another visit.
    wanted = {
        "code": hash_demo(),
        "database": fingerprint_database(env["DATABASE_URL"]),
        "url": _hash(env["DATABASE_URL"]),
    }
    kept = _read(record)
    if isinstance(kept, dict) and {name: kept.get(name) for name in wanted} == wanted:
        return _to_sites(kept["sites"])
    output = await run_tool(
        "Provisioning the demo",
        [VENV_PYTHON, ROOT / "manage.py", "seed_demo", "--json"],
        env=env,
        cwd=ROOT,
        log=LOGS / "seed-demo.log",
        on_line=lambda line: None if line.startswith("{") else on_note(line.strip()[:60]),
    )
    rows = next((line for line in reversed(output.splitlines()) if line.startswith("{")), None)
    if rows is None:
        raise Failure("seed_demo printed no addresses", f"see {LOGS / 'seed-demo.log'}")
    found = json.loads(rows)["sites"]
    # After the visit: provisioning adds tenants, which are part of the fingerprint.
    wanted["database"] = fingerprint_database(env["DATABASE_URL"])
    record.write_text(json.dumps({**wanted, "sites": found}, indent=1))
    schema = _read(run / "schema.json")
    if isinstance(schema, dict):
        # A tenant is provisioned with all migrations, so the new ones need no other visit either.
        (run / "schema.json").write_text(json.dumps({**schema, "database": wanted["database"]}))
    return _to_sites(found)


def hash_migrations(root: Path = ROOT) -> str:
    """Content hash of all that decides which migrations there are: ours, those of the lock, the installed apps."""
    files = [*root.glob("apps/*/migrations/**/*.py"), *(root / "config" / "settings" / name for name in _SETTINGS)]
    return _hash_files(files, root, salt=hash_lock("base"))


def hash_demo(root: Path = ROOT) -> str:
    """Content hash of the code that makes the demo, and of the tables it fills."""
    files = [
        *root.glob("apps/**/management/commands/seed_demo.py"),
        *(path for path in root.glob("apps/**/*demo*/**/*") if path.is_file() and "__pycache__" not in path.parts),
        *root.glob("apps/**/*demo*.py"),
    ]
    return _hash_files(files, root, salt=hash_migrations(root))


def fingerprint_database(url: str) -> str:
    """What tells one database from another: cluster, database, and its tenants. Another one behind the same address
    (restored, dropped and made anew) has another fingerprint.

    Raises:
        Failure: it does not answer.
    """
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            row = connection.execute(
                "SELECT (SELECT system_identifier FROM pg_control_system()), oid, to_regclass('public.tenancy_tenant')"
                " IS NOT NULL, to_regclass('public.django_migrations') IS NOT NULL"
                " FROM pg_database WHERE datname = current_database()"
            ).fetchone()
            assert row
            tenants: Any = ()
            if row[2]:
                tenants = connection.execute("SELECT schema_name FROM public.tenancy_tenant ORDER BY 1").fetchall()
            return _hash(repr((*row, tenants)))
    except psycopg.Error as error:
        raise Failure(f"The database does not answer: {str(error).strip()}", "see .run/logs/postgres.log") from error


def _to_sites(rows: Any) -> tuple[Site, ...]:
    return tuple(
        Site(
            title=str(row["title"]),
            host=str(row["host"]),
            path=str(row.get("path", "/")),
            logins=tuple(
                (str(login["email"]), str(login["password"]), str(login.get("role", "")))
                for login in row.get("logins", ())
            ),
        )
        for row in rows
    )


def _hash_files(files: list[Path], root: Path, *, salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for path in sorted(set(files)):
        digest.update(f"\0{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
