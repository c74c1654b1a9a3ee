"""Flows: drafts are never lost, versions never change, deployments can always go back."""

from __future__ import annotations

import json

import jsonschema
import pytest
from django.db import DatabaseError, transaction

from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.exceptions import Problem
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.integrations.contracts import FlowDefinition
from apps.integrations.exceptions import (
    BindingMissing,
    DefinitionInvalid,
    DeploymentRefused,
    DraftConflict,
    EnvironmentNotFound,
    FlowArchived,
    FlowInUse,
    FlowNotFound,
    NameInvalid,
    NotDeployed,
    VersionNotFound,
)
from apps.integrations.models import Deployment, Flow, FlowVersion
from apps.integrations.registries import DeploymentCheck, deployment_checks
from apps.integrations.selectors import (
    find_deployed_version,
    get_deployed_version,
    get_environment,
    get_version,
    list_environments,
    resolve_binding,
)
from apps.integrations.services.canonical import content_hash
from apps.integrations.services.deployments import deploy_version, retire_deployment
from apps.integrations.services.drift import report_drift
from apps.integrations.services.environments import replace_bindings
from apps.integrations.services.flows import (
    archive_flow,
    build_starter,
    create_flow,
    publish_flow,
    restore_flow,
    update_draft,
    update_flow,
)
from apps.integrations.shape import find_shape_problems, flow_schema
from apps.quality.selectors import list_lineage
from tests.integrations.factories import BEN, EVA, VIEWER, make_definition, make_flow, make_source, make_version
from tests.integrations.memory import MemoryConnector


def test_provisioning_made_the_environments(as_acme):
    assert [(item.slug, item.protected) for item in list_environments()] == [
        ("dev", False),
        ("test", False),
        ("prod", True),
    ]


def test_definition_survives_a_round_trip():
    definition = FlowDefinition.from_json(
        make_definition(variables={"region": None}, limits={"max_reject_share": "0.05"})
    )
    assert FlowDefinition.from_json(definition.to_json()) == definition
    assert FlowDefinition.from_json(json.loads(json.dumps(definition.to_json()))) == definition
    assert find_shape_problems(definition.to_json()) == []


@pytest.mark.parametrize(("given", "kept"), [(0.05, "0.05"), ("0.050", "0.050"), (1, "1"), (0, "0"), (None, None)])
def test_a_share_may_be_a_number_and_is_kept_as_text(given, kept):
    definition = FlowDefinition.from_json(make_definition(limits={"max_reject_share": given}))
    assert definition.to_json()["limits"]["max_reject_share"] == kept


@pytest.mark.parametrize("given", [-0.1, 1.01, "1.5", "five", True])
def test_an_impossible_share_is_refused(given):
    with pytest.raises(DefinitionInvalid) as refused:
        FlowDefinition.from_json(make_definition(limits={"max_reject_share": given}))
    assert refused.value.field == "limits.max_reject_share"


def test_the_published_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(flow_schema())


def test_the_schema_and_the_dataclasses_know_the_same_settings():
    shape = flow_schema()
    written = FlowDefinition.from_json(make_definition()).to_json()
    assert set(written) == set(shape["properties"])
    node = shape["$defs"]["node"]["properties"]
    assert set(written["nodes"][0]) == set(node)
    for name, part in (
        ("sourceConfig", written["nodes"][0]["config"]),
        ("mapConfig", written["nodes"][1]["config"]),
        ("targetConfig", written["nodes"][2]["config"]),
        ("mappedField", written["nodes"][1]["config"]["fields"][0]),
        ("validation", written["nodes"][1]["config"]["validations"][0]),
        ("load", written["load"]),
        ("contract", written["contract"]),
        ("reconciliation", written["reconciliation"]),
        ("control", written["reconciliation"]["controls"][0]),
        ("limits", written["limits"]),
    ):
        assert set(part) == set(shape["$defs"][name]["properties"]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"load": {"mode": "full", "lookback_s": 0}},  # a default written out
        {"field0__description": "The invoice"},  # for people
        {
            "reconciliation": {
                "controls": [{"name": "Total", "source": "total", "target": "total", "tolerance": "0.00"}]
            }
        },
        {"edges": [{"from": "map", "to": "target"}, {"from": "source", "to": "map"}]},  # order of arrows
        {"field2__type": "decimal(18,2)"},
    ],
)
def test_what_people_read_does_not_change_the_hash(changes):
    before = content_hash(FlowDefinition.from_json(make_definition()))
    assert content_hash(FlowDefinition.from_json(make_definition(**changes))) == before


def test_moving_and_naming_a_node_does_not_change_the_hash():
    moved = make_definition()
    moved["nodes"][0] |= {"name": "ERP", "notes": "asks nightly", "position": {"x": 10, "y": 20.5}}
    moved["nodes"].reverse()
    assert content_hash(FlowDefinition.from_json(moved)) == content_hash(FlowDefinition.from_json(make_definition()))


@pytest.mark.parametrize(
    "changes",
    [
        {"field1__expression": "lower(customer)"},
        {"target__disposition": "replace"},
        {"load": {"mode": "full", "allow_empty": True}},
        {"variables": {"a": "1"}},
        {"contract": {"new_column": "freeze"}},
    ],
)
def test_behaviour_changes_the_hash(changes):
    before = content_hash(FlowDefinition.from_json(make_definition()))
    assert content_hash(FlowDefinition.from_json(make_definition(**changes))) != before


def test_a_new_flow_starts_with_an_empty_line(as_acme):
    flow = create_flow("  Invoices   of Müller  ", actor=BEN)
    assert (flow.name, flow.slug, flow.draft_revision) == ("Invoices of Müller", "invoices-of-muller", 1)
    assert flow.draft == build_starter()
    assert flow.draft_problems_count > 0
    assert create_flow("Invoices of Müller", actor=BEN).slug == "invoices-of-muller-2"
    assert Event.objects.filter(type__endswith="flow.created.v1").count() >= 2
    assert AuditEntry.objects.filter(action="flow.created", target_id=str(flow.pk)).exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_flow_needs_a_name(as_acme, name):
    with pytest.raises(NameInvalid):
        create_flow(name, actor=BEN)


def test_writing_needs_the_permission(erp):
    flow = make_flow()
    for call in (
        lambda: create_flow("x", actor=VIEWER),
        lambda: update_flow(flow.pk, name="y", actor=VIEWER),
        lambda: update_draft(flow.pk, flow.draft, expected_revision=1, actor=VIEWER),
        lambda: publish_flow(flow.pk, actor=VIEWER),
        lambda: deploy_version(flow.pk, environment="dev", version=1, actor=VIEWER),
        lambda: archive_flow(flow.pk, actor=VIEWER),
    ):
        with pytest.raises(PermissionDenied):
            call()


def test_a_second_editor_is_told_who_saved(erp):
    flow = make_flow()
    update_draft(flow.pk, make_definition(map__filter="total > 0"), expected_revision=1, actor=EVA)
    with pytest.raises(DraftConflict) as conflict:
        update_draft(flow.pk, make_definition(), expected_revision=1, actor=BEN)
    assert conflict.value.facts["saved_by"] == EVA.name
    assert conflict.value.facts["revision"] == 2
    assert EVA.name in conflict.value.message
    flow.refresh_from_db()
    assert flow.draft["nodes"][1]["config"]["filter"] == "total > 0"


def test_saving_the_same_draft_keeps_the_revision(erp):
    flow = make_flow()
    assert update_draft(flow.pk, make_definition(), expected_revision=1, actor=BEN).draft_revision == 1


def test_an_incomplete_draft_is_kept_and_counted(erp):
    flow = make_flow()
    saved = update_draft(flow.pk, make_definition(source__entity=""), expected_revision=1, actor=BEN)
    assert saved.draft_problems_count == 1


@pytest.mark.parametrize(
    ("draft", "path"),
    [
        (make_definition(surprise=True), "draft.surprise"),
        (make_definition(field0__colour="red"), "draft.nodes[1].config.fields[0].colour"),
        ({**make_definition(), "variables": {"a": "x" * 2_000_000}}, "draft"),
        ({**make_definition(), "variables": {"a": "nul \x00"}}, "draft"),
    ],
)
def test_a_draft_with_unknown_settings_is_refused(erp, draft, path):
    with pytest.raises(DefinitionInvalid) as refused:
        create_flow("Odd", definition=draft, actor=BEN)
    assert refused.value.field == path


def test_publishing_freezes_the_draft_and_the_source_columns(erp):
    flow = make_flow()
    done = publish_flow(flow.pk, actor=BEN, note="first")
    assert (done.created, done.version.number, done.version.note) == (True, 1, "first")
    definition = FlowDefinition.from_json(done.version.definition)
    assert [item.name for item in definition.contract.fields][:3] == ["id", "customer", "total"]
    event = Event.objects.filter(type__endswith="flow.published.v1").latest("time")
    assert (event.data["version"], event.data["content_hash"]) == (1, done.version.content_hash)
    assert AuditEntry.objects.filter(action="flow.published", target_id=str(flow.pk)).exists()


def test_publishing_records_column_lineage(erp):
    flow = make_flow(definition=make_definition(field2__expression="total * 1 + 0"))
    version = publish_flow(flow.pk, actor=BEN).version
    lineage = {item.target_column: item for item in list_lineage(version.pk)}
    assert lineage["invoice_id"].identity is True
    assert lineage["customer"].source_columns == ("customer",)
    assert lineage["total"].identity is False


def test_publishing_the_same_behaviour_returns_the_version_that_is_there(erp):
    flow = make_flow()
    make_version(flow)
    make_version(flow, make_definition(map__filter="total > 0"))
    flow.refresh_from_db()
    update_draft(flow.pk, make_definition(field0__description="just words"), expected_revision=2, actor=BEN)
    again = publish_flow(flow.pk, actor=BEN)
    assert (again.created, again.version.number) == (False, 1)
    assert "version 1" in again.message
    assert FlowVersion.objects.filter(flow=flow).count() == 2


def test_a_broken_draft_is_not_published(erp):
    flow = make_flow(definition=make_definition(field1__expression="custmer"))
    with pytest.raises(DefinitionInvalid) as refused:
        publish_flow(flow.pk, actor=BEN)
    problem = refused.value.problems[0]
    assert (problem.path, problem.start, problem.end) == ("nodes[1].config.fields[1].expression", 0, 7)


def test_publishing_works_from_the_contract_when_the_source_is_down(erp):
    flow = make_flow()
    make_version(flow)
    stored = get_version(flow.pk, 1).definition.to_json()
    stored["nodes"][1]["config"]["filter"] = "total > 1"
    from django.core.cache import cache

    cache.clear()
    MemoryConnector.down = True
    assert make_version(flow, stored) == 2


def _save(row):
    row.note = "rewritten"
    row.save()


@pytest.mark.parametrize(
    "change",
    [
        _save,
        lambda row: row.delete(),
        lambda row: FlowVersion.objects.filter(pk=row.pk).update(content_hash="0" * 64),
        lambda row: FlowVersion.objects.filter(pk=row.pk)._raw_delete("default"),
    ],
)
def test_the_database_refuses_to_change_a_version(erp, change):
    flow = make_flow()
    make_version(flow)
    with pytest.raises(DatabaseError), transaction.atomic():
        change(FlowVersion.objects.get(flow=flow))


def test_not_even_the_owner_of_the_table_may_change_a_version(erp, acme):
    from django.db import connection

    from apps.tenancy.services.context import owner_context

    make_version(make_flow())
    with owner_context(acme), transaction.atomic(), connection.cursor() as cursor:
        with pytest.raises(DatabaseError, match="immutable"):
            cursor.execute("UPDATE integrations_flow_version SET note = 'rewritten'")
        transaction.set_rollback(True)


def test_deploying_and_rolling_back(erp):
    flow = make_flow()
    make_version(flow)
    make_version(flow, make_definition(map__filter="total > 0"))
    assert deploy_version(flow.pk, environment="dev", version=1, actor=BEN).changed
    assert deploy_version(flow.pk, environment="dev", version=2, actor=BEN, note="newer").changed
    assert get_deployed_version(flow.pk, "dev").number == 2
    again = deploy_version(flow.pk, environment="dev", version=2, actor=BEN)
    assert (again.changed, "already" in again.message) == (False, True)
    back = deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    assert back.message == "Rolled back to version 1 in Development."
    assert get_deployed_version(flow.pk, "dev").number == 1
    assert Deployment.objects.filter(flow=flow, status="active").count() == 1
    assert Deployment.objects.filter(flow=flow).count() == 3
    event = Event.objects.filter(type__endswith="flow.deployed.v1").latest("time")
    assert (event.data["version"], event.data["replaced_version"]) == (1, 2)


def test_a_protected_environment_takes_only_tried_versions(erp):
    flow = make_flow()
    make_version(flow)
    with pytest.raises(DeploymentRefused) as refused:
        deploy_version(flow.pk, environment="prod", version=1, actor=BEN)
    assert refused.value.problems[0].code == "integrations.not_promoted"
    deploy_version(flow.pk, environment="test", version=1, actor=BEN)
    assert deploy_version(flow.pk, environment="prod", version=1, actor=BEN).changed


def test_deploying_needs_bindings_and_variables(erp):
    flow = make_flow(definition=make_definition(variables={"floor": None}, map__filter="total > var.floor::INTEGER"))
    make_version(flow)
    with pytest.raises(DeploymentRefused) as refused:
        deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    assert [problem.path for problem in refused.value.problems] == ["variables.floor"]


def test_another_app_can_veto_a_deployment(erp):
    class NoFridays(DeploymentCheck):
        """Refuses everything."""

        type = "tests.no_fridays"

        def check(self, request):  # type: ignore[no-untyped-def]
            """One error, one warning."""
            assert request.environment.slug == "dev"
            return [
                Problem("environment", "tests.friday", "it is Friday."),
                Problem("environment", "tests.mood", "nobody likes it.", severity="warning"),
            ]

    flow = make_flow()
    make_version(flow)
    deployment_checks.register(NoFridays())
    try:
        with pytest.raises(DeploymentRefused, match="Friday"):
            deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    finally:
        deployment_checks._items.pop(NoFridays.type)
    assert find_deployed_version(flow.pk, get_environment("dev").id) is None


def test_retiring_ends_a_deployment(erp):
    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    retire_deployment(flow.pk, environment="dev", actor=BEN)
    with pytest.raises(NotDeployed):
        get_deployed_version(flow.pk, "dev")
    with pytest.raises(NotDeployed):
        retire_deployment(flow.pk, environment="dev", actor=BEN)


def test_an_archived_flow_takes_nothing_any_more(erp):
    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    archive_flow(flow.pk, actor=BEN)
    archive_flow(flow.pk, actor=BEN)
    assert find_deployed_version(flow.pk, get_environment("dev").id) is None
    for call in (
        lambda: update_flow(flow.pk, name="y", actor=BEN),
        lambda: update_draft(flow.pk, flow.draft, expected_revision=1, actor=BEN),
        lambda: publish_flow(flow.pk, actor=BEN),
        lambda: deploy_version(flow.pk, environment="dev", version=1, actor=BEN),
    ):
        with pytest.raises(FlowArchived):
            call()
    assert create_flow(flow.name, actor=BEN).slug == flow.slug


def test_a_flow_in_a_protected_environment_is_not_archived(erp):
    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    deploy_version(flow.pk, environment="prod", version=1, actor=BEN)
    with pytest.raises(FlowInUse):
        archive_flow(flow.pk, actor=BEN)


def test_what_does_not_exist_is_said(erp):
    flow = make_flow()
    make_version(flow)
    with pytest.raises(FlowNotFound):
        publish_flow(uuid7(), actor=BEN)
    with pytest.raises(VersionNotFound):
        deploy_version(flow.pk, environment="dev", version=9, actor=BEN)
    with pytest.raises(EnvironmentNotFound):
        deploy_version(flow.pk, environment="moon", version=1, actor=BEN)
    with pytest.raises(BindingMissing):
        resolve_binding(get_environment("dev").id, "moon")


def test_a_binding_wins_over_the_connection_of_that_name(erp):
    other = make_source("erp-test")
    replace_bindings("test", {"erp": other}, actor=BEN)
    assert resolve_binding(get_environment("dev").id, "erp") == erp
    assert resolve_binding(get_environment("test").id, "erp") == other


def test_drift_is_reported_for_the_deployed_version(erp):
    import pyarrow as pa

    from apps.connectors.contracts import EntitySchema

    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    schema, table = MemoryConnector.tables["public.invoices"]
    changed = EntitySchema(schema.name, tuple(item for item in schema.fields if item.name != "customer"), schema.keys)
    MemoryConnector.tables["public.invoices"] = (changed, pa.table(table).drop_columns(["customer"]))
    from django.core.cache import cache

    cache.clear()
    drift = report_drift(flow.pk, environment="dev", actor=BEN)
    (decision,) = drift.report.decisions
    assert (drift.version, decision.column, decision.action, decision.used) == (1, "customer", "stop", True)


def test_flow_rows_of_one_tenant_are_not_in_the_other(erp, globex):
    from apps.tenancy.services.context import tenant_context

    flow = make_flow()
    with tenant_context(globex):
        assert not Flow.objects.filter(pk=flow.pk).exists()
        with pytest.raises(FlowNotFound):
            publish_flow(flow.pk, actor=BEN)


def test_an_evolving_contract_takes_the_change_over_when_published(erp):
    from django.core.cache import cache

    from apps.connectors.contracts import EntityField, EntitySchema

    flow = make_flow(definition=make_definition(contract={"new_column": "evolve", "type_change": "evolve"}))
    make_version(flow)
    schema, table = MemoryConnector.tables["public.invoices"]
    grown = EntitySchema(schema.name, (*schema.fields, EntityField("vat", "DECIMAL(9,2)")), schema.keys)
    MemoryConnector.tables["public.invoices"] = (grown, table)
    cache.clear()
    contract = get_version(flow.pk, 1).definition.to_json()["contract"]
    make_version(flow, make_definition(contract=contract))
    assert "vat" in [item.name for item in get_version(flow.pk, 2).definition.contract.fields]
    frozen = get_version(flow.pk, 1).definition.contract
    assert "vat" not in [item.name for item in frozen.fields]


def test_an_archived_flow_comes_back_under_a_free_name(erp):
    flow = create_flow("Comeback", actor=BEN)
    archive_flow(flow.pk, actor=BEN)
    create_flow("Comeback", actor=BEN)
    restored = restore_flow(flow.pk, actor=BEN)
    assert (restored.archived_at, restored.slug) == (None, "comeback-2")
    assert restore_flow(flow.pk, actor=BEN).slug == "comeback-2"
    with pytest.raises(PermissionDenied):
        restore_flow(flow.pk, actor=VIEWER)
