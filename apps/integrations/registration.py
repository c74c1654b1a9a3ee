"""What integrations tells the registries at start-up."""

from __future__ import annotations

from typing import Any

from apps.access.registries import register_permissions
from apps.events.contracts import ConsumerFinder, EventType, LiveKind
from apps.events.registries import consumer_finders, event_types, live_kinds
from apps.integrations import events
from apps.integrations.registries import deployment_checks
from apps.integrations.selectors import list_event_users
from apps.integrations.services.checks import BindingsComplete, PromotedInOrder, VariablesComplete
from apps.integrations.services.environments import provision_environments
from apps.integrations.services.rowcheck import FlowRowChecker
from apps.quality.registries import row_checkers
from apps.tenancy.contracts import ProvisioningInput
from apps.tenancy.registries import ProvisioningStep, provisioning_steps, register_table_rights

register_permissions(
    [
        ("flow:view", "See flows, mappings and versions"),
        ("flow:edit", "Create, change and archive flows"),
        ("flow:publish", "Publish versions of flows"),
        ("flow:deploy", "Deploy versions to environments"),
        ("environment:view", "See environments, bindings and variables"),
        ("environment:manage", "Change environments, bindings and variables"),
    ]
)
for _type, _payload, _sentence in (
    (events.FLOW_CREATED, events.FlowCreated, "A flow was made."),
    (events.FLOW_PUBLISHED, events.FlowPublished, "A draft became a version."),
    (events.FLOW_DEPLOYED, events.FlowDeployed, "A version became the active one of an environment."),
    (events.FLOW_RETIRED, events.FlowRetired, "A flow was taken out of an environment."),
    (events.FLOW_ARCHIVED, events.FlowArchived, "A flow was taken out of use."),
    (events.FLOW_RESTORED, events.FlowRestored, "An archived flow was brought back."),
    (events.FLOW_PAUSED, events.FlowPauseChanged, "A flow was paused: nothing starts a run of it."),
    (events.FLOW_RESUMED, events.FlowPauseChanged, "A paused flow was resumed."),
):
    event_types.register(EventType(_type, _payload, _sentence))
live_kinds.register(LiveKind("flow", "flow:view"))
live_kinds.register(LiveKind("environment", "environment:view"))

for _check in (BindingsComplete(), VariablesComplete(), PromotedInOrder()):
    deployment_checks.register(_check)
row_checkers.register(FlowRowChecker())
consumer_finders.register(ConsumerFinder("integrations.flows", list_event_users))

# Second fence beside the trigger: a tenant's database role cannot even try to change a published version.
register_table_rights("integrations_flow_version", "SELECT", "INSERT")


def _make_environments(_tenant: Any, _given: ProvisioningInput) -> None:
    provision_environments()


provisioning_steps.register(
    ProvisioningStep("integrations.environments", 30, "Create environments", _make_environments)
)
