from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0004_calendars"),
    ]

    operations = [
        migrations.AddField(
            model_name="flow",
            name="pause_reason",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="flow",
            name="paused_at",
            field=models.DateTimeField(blank=True, help_text="While set, nothing starts a run of it.", null=True),
        ),
    ]
