"""Plain data of tenancy that may cross apps: names and the scope of a query. No Django."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

SCHEMA_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}\Z")
ROLE_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}\Z")
SLUG = re.compile(r"^[a-z](?:-?[a-z0-9]){1,37}\Z")
MAX_SLUG_CHARS = 38
PUBLIC_SCHEMA = "public"


class TenantLike(Protocol):
    """What the database backend needs to know of a tenant."""

    schema_name: str


class TenantRef(Protocol):
    """A tenant as other apps see it: the row of `tenancy_tenant`."""

    id: UUID
    slug: str
    name: str
    schema_name: str
    db_role: str
    warehouse_schema: str
    status: str


def schema_name_for(slug: str) -> str:
    """Schema that holds a tenant's own tables: `t_<slug>`, hyphens as underscores."""
    return f"t_{slug.replace('-', '_')}"


def warehouse_schema_for(slug: str) -> str:
    """Schema that holds a tenant's analytics tables: `w_<slug>`."""
    return f"w_{slug.replace('-', '_')}"


def role_name_for(database: str, schema_name: str) -> str:
    """Database role of a tenant.

    Roles belong to the whole server, schemas to one database; the hash of the database's name keeps two databases of
    one server (a test run beside a running portal) from sharing a role.
    """
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"r_{digest}_{schema_name.removeprefix('t_')}"


@dataclass(frozen=True)
class Scope:
    """Where queries go and with whose rights.

    Attributes:
        schema_name: first entry of the search path.
        role: database role to assume; None keeps the login role.
        tenant: the tenant, or None in the public schema.
        include_public: whether the public schema follows in the search path.
    """

    schema_name: str = PUBLIC_SCHEMA
    role: str | None = None
    tenant: Any = None
    include_public: bool = True
    session: tuple[str, str | None] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse names that are not plain identifiers, and prepare what the session is set to.

        Raises:
            ValueError: a name has characters that no generated name has.
        """
        if not SCHEMA_NAME.match(self.schema_name):
            raise ValueError(f"Invalid schema name {self.schema_name!r}.")
        if self.role is not None and not ROLE_NAME.match(self.role):
            raise ValueError(f"Invalid role name {self.role!r}.")
        path = self.schema_name
        if self.include_public and not self.is_public:
            path = f"{path}, {PUBLIC_SCHEMA}"
        object.__setattr__(self, "session", (path, self.role))

    @property
    def is_public(self) -> bool:
        """Whether no tenant is entered."""
        return self.schema_name == PUBLIC_SCHEMA


PUBLIC = Scope()

current_scope: ContextVar[Scope] = ContextVar("tenancy_scope", default=PUBLIC)
"""The one truth about where queries go. Context variables follow `await`, `sync_to_async` and nothing else, so a bare
thread starts in the public schema, where tenant models refuse to answer, instead of in somebody's data."""


@dataclass(frozen=True)
class StaffMember:
    """A person of the platform's staff, or a command, as the one who asks for a change of a tenant."""

    name: str


@dataclass(frozen=True)
class ProvisioningInput:
    """What was asked for when the tenant was made.

    Attributes:
        owner_email: gets the administrator's invitation; None when nobody is invited.
        requested_by: name of the person or command, for the log.
    """

    owner_email: str | None = None
    requested_by: str = ""


ProgressCallback = Callable[[str, int, int], None]
"""Called with (step title, steps done, steps in all) before each step and once at the end."""
