from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("engine", "0004_human_tasks"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="compensation",
            field=models.JSONField(blank=True, help_text="How far the undoing of a run is; NULL = none.", null=True),
        ),
    ]
