"""Routes of the engine, relative to /api/v2/."""

from django.urls import path

from apps.engine.api import effects, restarts, slas, task_views, triggers, views

urlpatterns = [
    path("runs", views.RunListView.as_view(), name="run-list"),
    path("runs/<uuid:run_id>", views.RunDetailView.as_view(), name="run-detail"),
    path("runs/<uuid:run_id>/log", views.RunLogView.as_view(), name="run-log"),
    path("runs/<uuid:run_id>/steps", views.RunStepsView.as_view(), name="run-steps"),
    path("runs/<uuid:run_id>/steps/<uuid:step_id>", views.RunStepView.as_view(), name="run-step"),
    path("runs/<uuid:run_id>/effects", effects.EffectListView.as_view(), name="run-effects"),
    path(
        "runs/<uuid:run_id>/effects/<uuid:effect_id>/decide",
        effects.EffectDecisionView.as_view(),
        name="run-effect-decide",
    ),
    path("runs/<uuid:run_id>/restart", restarts.RestartView.as_view(), name="run-restart"),
    path("runs/<uuid:run_id>/restart/preview", restarts.RestartPreviewView.as_view(), name="run-restart-preview"),
    path("runs/<uuid:run_id>/cancel", views.RunActionView.as_view(action="cancel"), name="run-cancel"),
    path("runs/<uuid:run_id>/resume", views.RunActionView.as_view(action="resume"), name="run-resume"),
    path("runs/<uuid:run_id>/retry", views.RunActionView.as_view(action="retry"), name="run-retry"),
    path("runs/<uuid:run_id>/compensate", views.RunActionView.as_view(action="compensate"), name="run-compensate"),
    path("flows/<uuid:flow_id>/runs", views.FlowRunsView.as_view(), name="flow-runs"),
    path("flows/<uuid:flow_id>/slas", slas.SlaListView.as_view(), name="sla-list"),
    path("flows/<uuid:flow_id>/slas/<slug:environment>", slas.SlaView.as_view(), name="sla-detail"),
    path("triggers", triggers.TriggerListView.as_view(), name="trigger-list"),
    path("triggers/preview", triggers.SchedulePreviewView.as_view(), name="schedule-preview"),
    path("triggers/check", triggers.TriggerCheckView.as_view(), name="trigger-check"),
    path("triggers/<uuid:trigger_id>", triggers.TriggerView.as_view(), name="trigger-detail"),
    path("triggers/<uuid:trigger_id>/pause", triggers.TriggerPauseView.as_view(), name="trigger-pause"),
    path("triggers/<uuid:trigger_id>/resume", triggers.TriggerResumeView.as_view(), name="trigger-resume"),
    path("triggers/<uuid:trigger_id>/next", triggers.TriggerNextView.as_view(), name="trigger-next"),
    path("triggers/<uuid:trigger_id>/firings", triggers.FiringListView.as_view(), name="trigger-firing-list"),
    path("quarantine/replay", views.QuarantineReplayView.as_view(), name="quarantine-replay"),
    path("tasks", task_views.TaskListView.as_view(), name="task-list"),
    path("tasks/<uuid:task_id>", task_views.TaskDetailView.as_view(), name="task-detail"),
    path("tasks/<uuid:task_id>/claim", task_views.TaskClaimView.as_view(), name="task-claim"),
    path("tasks/<uuid:task_id>/release", task_views.TaskReleaseView.as_view(), name="task-release"),
    path("tasks/<uuid:task_id>/answer", task_views.TaskAnswerView.as_view(), name="task-answer"),
    path("tasks/<uuid:task_id>/delegate", task_views.TaskDelegateView.as_view(), name="task-delegate"),
]
