"""The demo's definitions are what a person could have saved: without any finding."""

from __future__ import annotations

from typing import Any

import pytest

from apps.access.contracts import Actor
from apps.connectors.services.connections import create_connection
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.services.flows import create_flow
from apps.integrations.services.processes import find_process_problems
from apps.portal.services.demo_flows import build_flow_specs
from apps.tenancy.models import Tenant

SYSTEM = Actor.system("tests")


@pytest.mark.parametrize("spec", build_flow_specs(), ids=lambda spec: spec["slug"])
def test_demo_flow_can_be_saved(as_acme: Tenant, spec: dict[str, Any]) -> None:
    flow = create_flow(spec["name"], description=spec["description"], definition=spec["definition"], actor=SYSTEM)
    assert flow.slug == spec["slug"]


def test_demo_process_has_no_problem_beside_its_loads(as_acme: Tenant) -> None:
    erp = {"host": "127.0.0.1", "port": 1, "database": "erp", "user": "erp"}
    create_connection("ERP", "postgresql", slug="erp", config=erp, secrets={"password": "x"}, actor=SYSTEM)
    *loads, process = build_flow_specs()
    for spec in loads:
        create_flow(spec["name"], definition=spec["definition"], actor=SYSTEM)

    assert find_process_problems(ProcessDefinition.from_json(process["definition"]), "dev") == []
