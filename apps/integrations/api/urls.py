"""Routes of integrations, relative to `/api/v2/`."""

from django.urls import path

from apps.integrations.api import calendars, environments, flows, versions

_FLOW = "flows/<uuid:flow_id>"

urlpatterns = [
    path("schemas/flow-1.json", flows.FlowSchemaView.as_view(), name="schema-flow-1"),
    path("schemas/process-1.json", flows.ProcessSchemaView.as_view(), name="schema-process-1"),
    path("flows", flows.FlowListView.as_view(), name="flow-list"),
    path(_FLOW, flows.FlowView.as_view(), name="flow-detail"),
    path(f"{_FLOW}/restore", flows.FlowRestoreView.as_view(), name="flow-restore"),
    path(f"{_FLOW}/pause", flows.FlowPauseView.as_view(), name="flow-pause"),
    path(f"{_FLOW}/resume", flows.FlowResumeView.as_view(), name="flow-resume"),
    path(f"{_FLOW}/validate", flows.FlowValidateView.as_view(), name="flow-validate"),
    path(f"{_FLOW}/preview", flows.FlowPreviewView.as_view(), name="flow-preview"),
    path(f"{_FLOW}/suggest", flows.FlowSuggestView.as_view(), name="flow-suggest"),
    path(f"{_FLOW}/drift", flows.FlowDriftView.as_view(), name="flow-drift"),
    path(f"{_FLOW}/publish", versions.FlowPublishView.as_view(), name="flow-publish"),
    path(f"{_FLOW}/versions", versions.FlowVersionListView.as_view(), name="flow-version-list"),
    path(f"{_FLOW}/versions/<int:number>", versions.FlowVersionView.as_view(), name="flow-version-detail"),
    path(f"{_FLOW}/versions/<int:number>/lineage", versions.FlowLineageView.as_view(), name="flow-version-lineage"),
    path(f"{_FLOW}/deploy", versions.FlowDeployView.as_view(), name="flow-deploy"),
    path(f"{_FLOW}/deployments", versions.FlowDeploymentListView.as_view(), name="flow-deployment-list"),
    path(f"{_FLOW}/deployments/<slug:environment>", versions.FlowRetireView.as_view(), name="flow-retire"),
    path("calendars", calendars.CalendarListView.as_view(), name="calendar-list"),
    path("calendars/<slug:slug>", calendars.CalendarView.as_view(), name="calendar-detail"),
    path("environments", environments.EnvironmentListView.as_view(), name="environment-list"),
    path("environments/<slug:slug>", environments.EnvironmentView.as_view(), name="environment-detail"),
    path("environments/<slug:slug>/bindings", environments.BindingsView.as_view(), name="environment-bindings"),
    path("environments/<slug:slug>/variables", environments.VariablesView.as_view(), name="environment-variables"),
]
