"""Errors of the integrations app."""

from __future__ import annotations

from apps.core.exceptions import Conflict, NotFound, TerminalError, ValidationFailed


class DefinitionInvalid(ValidationFailed):
    """The flow definition has problems."""

    code = "integrations.definition_invalid"
    default_remedy = "Repair the listed places and try again."


class CalendarInvalid(ValidationFailed):
    """The calendar cannot be used."""

    code = "integrations.calendar_invalid"


class CalendarNotFound(NotFound):
    """There is no such calendar."""

    code = "integrations.calendar_not_found"


class NotALoad(ValidationFailed):
    """This is possible with a load flow only."""

    code = "integrations.not_a_load"


class NotAProcess(ValidationFailed):
    """This is possible with a process only."""

    code = "integrations.not_a_process"


class FlowNotFound(NotFound):
    """There is no such flow."""

    code = "integrations.flow_not_found"


class VersionNotFound(NotFound):
    """The flow has no such version."""

    code = "integrations.version_not_found"


class EnvironmentNotFound(NotFound):
    """There is no such environment."""

    code = "integrations.environment_not_found"
    default_remedy = "Use dev, test or prod."


class NotDeployed(NotFound):
    """The flow is not deployed in this environment."""

    code = "integrations.not_deployed"
    default_remedy = "Publish the flow and deploy the version to the environment."


class BindingMissing(TerminalError):
    """A connection slot of the flow leads nowhere in this environment."""

    code = "integrations.binding_missing"
    default_remedy = "Bind the slot to a connection under Settings, Environments."


class DraftConflict(Conflict):
    """Somebody else saved the draft in the meantime."""

    code = "integrations.draft_conflict"


class FlowArchived(Conflict):
    """The flow is archived."""

    code = "integrations.flow_archived"
    default_remedy = "Create a new flow, or copy this one's definition."


class FlowPaused(Conflict):
    """The flow is paused, so no run of it can be started."""

    code = "integrations.flow_paused"
    default_remedy = "Resume the flow first."


class FlowInUse(Conflict):
    """The flow is deployed to a protected environment."""

    code = "integrations.flow_in_use"
    default_remedy = "Remove the deployment there first."


class NameInvalid(ValidationFailed):
    """The name is not valid."""

    code = "integrations.name_invalid"


class SlugTaken(Conflict):
    """Another flow has this short name."""

    code = "integrations.slug_taken"
    default_remedy = "Choose another name."


class DeploymentRefused(TerminalError):
    """The version may not be deployed to this environment."""

    code = "integrations.deployment_refused"


class VariableInvalid(ValidationFailed):
    """The variable is not valid."""

    code = "integrations.variable_invalid"


class BindingInvalid(ValidationFailed):
    """The binding is not valid."""

    code = "integrations.binding_invalid"


class SourceUnknown(TerminalError):
    """Nothing is known about the source's columns."""

    code = "integrations.source_unknown"
    default_remedy = "Test the source connection, and check the entity's name."


class SampleUnavailable(TerminalError):
    """The preview needs rows from the source, and the source cannot be read now."""

    code = "integrations.sample_unavailable"
    default_remedy = "Test the source connection, then preview again."
