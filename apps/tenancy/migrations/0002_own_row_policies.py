"""A tenant's role may read the tenant and domain tables, but only its own rows."""

from django.db import migrations

ENABLE = """
ALTER TABLE tenancy_tenant ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenancy_own_tenant ON tenancy_tenant FOR SELECT USING (db_role = current_user);
ALTER TABLE tenancy_domain ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenancy_own_domains ON tenancy_domain FOR SELECT
    USING (tenant_id IN (SELECT id FROM tenancy_tenant));
"""
DISABLE = """
DROP POLICY tenancy_own_domains ON tenancy_domain;
ALTER TABLE tenancy_domain DISABLE ROW LEVEL SECURITY;
DROP POLICY tenancy_own_tenant ON tenancy_tenant;
ALTER TABLE tenancy_tenant DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    """The owner (the login role) is not bound by the policies; tenants' roles are."""

    dependencies = [("tenancy", "0001_initial")]

    operations = [migrations.RunSQL(ENABLE, DISABLE)]
