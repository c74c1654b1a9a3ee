"""A durable trail of what is done to tenants from outside."""

import django.core.serializers.json
from django.db import migrations, models

import apps.core.ids

PROTECT = """
CREATE FUNCTION tenancy_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION 'The trail of platform acts is append-only: % is refused.', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$body$;
CREATE TRIGGER tenancy_platformact_append_only BEFORE UPDATE OR DELETE ON tenancy_platformact
    FOR EACH ROW EXECUTE FUNCTION tenancy_refuse_change();
CREATE TRIGGER tenancy_platformact_no_truncate BEFORE TRUNCATE ON tenancy_platformact
    FOR EACH STATEMENT EXECUTE FUNCTION tenancy_refuse_change();
"""
RELEASE = """
DROP TRIGGER tenancy_platformact_no_truncate ON tenancy_platformact;
DROP TRIGGER tenancy_platformact_append_only ON tenancy_platformact;
DROP FUNCTION tenancy_refuse_change();
"""


class Migration(migrations.Migration):
    """The table, and triggers that let nobody rewrite it."""

    dependencies = [("tenancy", "0002_own_row_policies")]

    operations = [
        migrations.CreateModel(
            name="PlatformAct",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("actor_name", models.CharField(max_length=254)),
                ("action", models.CharField(help_text="Dotted, past tense: tenant.suspended.", max_length=100)),
                ("target", models.CharField(help_text="`tenant:<slug>`, or `<type>:<id>`.", max_length=160)),
                ("summary", models.CharField(max_length=500)),
                (
                    "facts",
                    models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                ("request_id", models.CharField(blank=True, max_length=64)),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.RunSQL(PROTECT, RELEASE),
    ]
