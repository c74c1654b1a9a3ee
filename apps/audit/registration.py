"""What the audit log tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import audit_sink
from apps.audit.services.entries import record_audit
from apps.tenancy.registries import register_table_rights

audit_sink.register(record_audit)
# Third fence, after the triggers and the hash chain: a tenant's database role cannot even try.
register_table_rights("audit_entry", "SELECT", "INSERT")
register_table_rights("audit_head", "SELECT")
