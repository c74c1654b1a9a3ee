"""Let nobody change or remove a published version, whatever role they have.

A run may rely on the definition it was pinned to, and an auditor on what was deployed, only if neither can change.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION integrations_refuse_version_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION 'Published versions are immutable: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'Publish a new version instead.';
END
$body$;

CREATE TRIGGER integrations_flow_version_immutable BEFORE UPDATE OR DELETE ON integrations_flow_version
    FOR EACH ROW EXECUTE FUNCTION integrations_refuse_version_change();
CREATE TRIGGER integrations_flow_version_no_truncate BEFORE TRUNCATE ON integrations_flow_version
    FOR EACH STATEMENT EXECUTE FUNCTION integrations_refuse_version_change();
"""

REVERSE = """
DROP TRIGGER integrations_flow_version_immutable ON integrations_flow_version;
DROP TRIGGER integrations_flow_version_no_truncate ON integrations_flow_version;
DROP FUNCTION integrations_refuse_version_change();
"""


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
