"""Tenants that a test makes and throws away, committed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from apps.tenancy.contracts import StaffMember
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import find_tenant
from apps.tenancy.services.context import public_context
from apps.tenancy.services.tenants import drop_tenant, suspend_tenant

ROOT = Path(__file__).resolve().parents[2]
TESTER = StaffMember("tester")


@pytest.fixture
def slugs(committed_db: None, unique: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """`slugs("umbrella")` is a fresh slug; whatever tenant has it at the end is dropped."""
    made: list[str] = []

    def fresh(stem: str) -> str:
        made.append(unique(stem).replace("_", "-"))
        return made[-1]

    yield fresh
    for slug in made:
        tenant = find_tenant(slug)
        if tenant is not None:
            with public_context():
                Tenant.objects.filter(pk=tenant.pk).update(status="active")
            suspend_tenant(tenant, reason="test over", actor=TESTER)
            drop_tenant(tenant, actor=TESTER)


@pytest.fixture
def manage() -> Callable[..., subprocess.Popen[str]]:
    """Starts `manage.py …` as a process of its own on the test's database."""

    def start(*words: str, **variables: str) -> subprocess.Popen[str]:
        base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
            "DATABASE_URL": f"{base}/{connection.settings_dict['NAME']}",
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
