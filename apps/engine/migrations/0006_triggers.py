import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("engine", "0005_compensation"),
        ("integrations", "0005_flow_pause"),
    ]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="trigger",
            field=models.CharField(
                choices=[
                    ("manual", "Manual"),
                    ("api", "API"),
                    ("retry", "Retry"),
                    ("replay", "Replay"),
                    ("schedule", "Schedule"),
                    ("event", "Event"),
                    ("process", "Another run"),
                ],
                default="manual",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="Trigger",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("name", models.CharField(max_length=100)),
                ("kind", models.CharField(choices=[("schedule", "Schedule"), ("event", "Event")], max_length=16)),
                (
                    "status",
                    models.CharField(
                        choices=[("active", "Active"), ("paused", "Paused")], default="active", max_length=16
                    ),
                ),
                ("status_reason", models.CharField(blank=True, default="", max_length=200)),
                (
                    "cron",
                    models.CharField(
                        blank=True, default="", help_text="Five fields, as in Debian's cron.", max_length=100
                    ),
                ),
                (
                    "zone",
                    models.CharField(
                        blank=True, default="", help_text="IANA time zone of the cron expression.", max_length=64
                    ),
                ),
                (
                    "calendar",
                    models.CharField(
                        blank=True, default="", help_text="Fires on its working days only.", max_length=63
                    ),
                ),
                (
                    "catch_up",
                    models.CharField(
                        choices=[
                            ("skip", "Leave them out"),
                            ("once", "Make up for all with one run"),
                            ("all", "Make up for each, up to a bound"),
                        ],
                        default="once",
                        max_length=8,
                    ),
                ),
                ("catch_up_limit", models.PositiveSmallIntegerField(default=10)),
                ("next_due_at", models.DateTimeField(blank=True, help_text="By the database's clock.", null=True)),
                (
                    "types",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=150), blank=True, default=list, size=None
                    ),
                ),
                ("filter", models.TextField(blank=True, default="")),
                (
                    "start_position",
                    models.BigIntegerField(default=0, help_text="Events up to this number do not count."),
                ),
                ("parameters", models.JSONField(blank=True, default=dict, help_text="Input of the run.")),
                (
                    "mapping",
                    models.JSONField(
                        blank=True, default=dict, help_text="{input name: expression}; wins over parameters."
                    ),
                ),
                ("last_fired_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.JSONField(blank=True, null=True)),
                ("created_by_name", models.CharField(blank=True, default="", max_length=200)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="integrations.environment"
                    ),
                ),
                (
                    "flow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="integrations.flow"
                    ),
                ),
                (
                    "last_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="engine.run",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Firing",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("due_at", models.DateTimeField(help_text="The moment of a schedule, or the time of the event.")),
                ("event_id", models.UUIDField(blank=True, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting until the flow can start"),
                            ("started", "Started a run"),
                            ("skipped", "Left out"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("parameters", models.JSONField(blank=True, default=dict)),
                (
                    "missed",
                    models.PositiveIntegerField(default=0, help_text="How many missed moments this row stands for."),
                ),
                ("error", models.JSONField(blank=True, null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "next_attempt_at",
                    models.DateTimeField(blank=True, help_text="By the database's clock, while pending.", null=True),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="engine.run",
                    ),
                ),
                (
                    "trigger",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="engine.trigger"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(
                condition=models.Q(("status", "active")), fields=["next_due_at"], name="engine_trigger_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="trigger",
            constraint=models.UniqueConstraint(fields=("flow", "environment", "name"), name="engine_trigger_name"),
        ),
        migrations.AddIndex(
            model_name="firing",
            index=models.Index(fields=["trigger", "-id"], name="engine_firing_trigger"),
        ),
        migrations.AddIndex(
            model_name="firing",
            index=models.Index(
                condition=models.Q(("status", "pending")), fields=["next_attempt_at"], name="engine_firing_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.UniqueConstraint(
                condition=models.Q(("event_id__isnull", True)), fields=("trigger", "due_at"), name="engine_firing_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="firing",
            constraint=models.UniqueConstraint(fields=("trigger", "event_id"), name="engine_firing_event"),
        ),
    ]
