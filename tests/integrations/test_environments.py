"""Environments: bindings, variables, secrets."""

from __future__ import annotations

import pytest

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.ids import uuid7
from apps.integrations.contracts import FlowDefinition
from apps.integrations.exceptions import BindingInvalid, EnvironmentNotFound, NameInvalid, VariableInvalid
from apps.integrations.models import Variable
from apps.integrations.selectors import get_environment, list_bindings
from apps.integrations.services.environments import (
    MASK,
    VariableInput,
    provision_environments,
    replace_bindings,
    replace_variables,
    resolve_variables,
    update_environment,
)
from apps.integrations.services.mapping import bind_variables, used_columns
from tests.integrations.factories import BEN, VIEWER, make_definition


def declared(**variables):
    return FlowDefinition.from_json(make_definition(variables=variables))


def test_provisioning_again_keeps_changes(as_acme):
    update_environment("test", name="Rehearsal", actor=BEN)
    provision_environments()
    assert get_environment("test").name == "Rehearsal"


def test_changes_are_checked_and_audited(as_acme):
    update_environment("test", protected=True, actor=BEN)
    entry = AuditEntry.objects.filter(action="environment.updated").latest("at")
    assert (entry.facts["before"]["protected"], entry.facts["after"]["protected"]) == (False, True)
    with pytest.raises(NameInvalid):
        update_environment("test", name=" ", actor=BEN)
    with pytest.raises(EnvironmentNotFound):
        update_environment("moon", name="x", actor=BEN)
    for call in (
        lambda: update_environment("dev", name="x", actor=VIEWER),
        lambda: replace_bindings("dev", {}, actor=VIEWER),
        lambda: replace_variables("dev", [], actor=VIEWER),
    ):
        with pytest.raises(PermissionDenied):
            call()


def test_bindings_are_replaced_as_a_whole(erp):
    replace_bindings("dev", {"erp": erp, "crm": erp}, actor=BEN)
    assert replace_bindings("dev", {"crm": erp}, actor=BEN) == {"crm": erp}
    assert list_bindings(get_environment("dev").id) == {"crm": erp}


def test_bad_bindings_are_named(erp):
    unknown = uuid7()
    with pytest.raises(BindingInvalid) as refused:
        replace_bindings("dev", {"Bad Slot": erp, "erp": unknown}, actor=BEN)
    assert [problem.path for problem in refused.value.problems] == ["bindings.Bad Slot", "bindings.erp"]
    assert list_bindings(get_environment("dev").id) == {}


def test_secret_values_go_to_the_vault_only(as_acme):
    replace_variables("dev", [VariableInput("salt", "s3cret", True), VariableInput("region", "EU")], actor=BEN)
    stored = dict(Variable.objects.filter(environment__slug="dev").values_list("name", "value"))
    assert stored == {"salt": "", "region": "EU"}
    environment = get_environment("dev").id
    definition = declared(salt=None, region="US", other="x")
    assert resolve_variables(environment, definition) == {"salt": "s3cret", "region": "EU", "other": "x"}
    masked = resolve_variables(environment, definition, mask_secrets=True)
    assert masked["salt"] == MASK
    entry = AuditEntry.objects.filter(action="environment.variables_changed").latest("at")
    assert "s3cret" not in str(entry.facts)


def test_a_variable_without_value_keeps_the_stored_one(as_acme):
    replace_variables("dev", [VariableInput("salt", "s3cret", True), VariableInput("region", "EU")], actor=BEN)
    replace_variables("dev", [VariableInput("salt", None, True), VariableInput("region", None)], actor=BEN)
    values = resolve_variables(get_environment("dev").id, declared(salt=None, region=None))
    assert values == {"salt": "s3cret", "region": "EU"}


def test_a_secret_never_becomes_readable(as_acme):
    replace_variables("dev", [VariableInput("salt", "s3cret", True)], actor=BEN)
    with pytest.raises(VariableInvalid, match="needs a value"):
        replace_variables("dev", [VariableInput("salt", None, False)], actor=BEN)
    replace_variables("dev", [VariableInput("salt", "plain", False)], actor=BEN)
    assert resolve_variables(get_environment("dev").id, declared(salt=None)) == {"salt": "plain"}


def test_removed_variables_are_gone(as_acme):
    replace_variables("dev", [VariableInput("salt", "s3cret", True)], actor=BEN)
    replace_variables("dev", [], actor=BEN)
    with pytest.raises(VariableInvalid, match="no value"):
        resolve_variables(get_environment("dev").id, declared(salt=None))


def test_a_secret_needs_the_permission(as_acme):
    actor = Actor(kind="user", id=uuid7(), name="x", permissions=frozenset({"environment:manage"}))
    with pytest.raises(PermissionDenied):
        replace_variables("dev", [VariableInput("salt", "s3cret", True)], actor=actor)
    assert not Variable.objects.filter(environment__slug="dev").exists()


def test_bad_variables_are_named_without_their_values(as_acme):
    given = [
        VariableInput("Bad", "s3cret", True),
        VariableInput("a", "1"),
        VariableInput("a", "2"),
        VariableInput("b", "x" * 1001),
    ]
    with pytest.raises(VariableInvalid) as refused:
        replace_variables("dev", given, actor=BEN)
    assert [problem.path for problem in refused.value.problems] == [
        "variables[0].name",
        "variables[2].name",
        "variables[3].value",
    ]
    assert "s3cret" not in str(refused.value.__dict__)


@pytest.mark.parametrize(
    ("expression", "bound"),
    [
        ("var.a || var.b", "'x' || 'it''s'"),
        ("upper(VAR.a)", "upper('x')"),
        ("'var.a'", "'var.a'"),  # a text is a text
        ("list_transform([1], lambda var: var.a)", "list_transform([1], lambda var: var.a)"),  # a lambda's own name
        ("var.c", "var.c"),  # unknown: left for the compiler to refuse
        ("variable + 1", "variable + 1"),
        ("var.a +", "var.a +"),  # does not parse: left for the compiler to refuse
    ],
)
def test_variables_become_literals(expression, bound):
    assert bind_variables(expression, {"a": "x", "b": "it's"}) == bound


def test_used_columns_are_found_without_the_source():
    definition = FlowDefinition.from_json(
        make_definition(
            variables={"floor": "0"},
            map__filter="Lines > var.floor::INTEGER AND mapped.total > 0",
            load={"mode": "incremental", "cursor": "updated_at"},
            contract={"fields": [{"name": "lines", "type": "INTEGER"}]},
        )
    )
    assert used_columns(definition) == ("id", "customer", "total", "lines", "updated_at")


def test_an_archived_connection_leads_nowhere(erp):
    from apps.connectors.services.connections import archive_connection
    from apps.integrations.selectors import find_binding

    environment = get_environment("dev").id
    assert find_binding(environment, "erp") == erp
    archive_connection(erp, actor=BEN)
    assert find_binding(environment, "erp") is None
    with pytest.raises(BindingInvalid):
        replace_bindings("dev", {"erp": erp}, actor=BEN)
