"""Make the log append-only and let the database chain each entry while its transaction commits.

All functions name the schema through TG_TABLE_SCHEMA, so they hold for every tenant's schema, and run with the rights
of the tables' owner: a tenant's role needs INSERT on the entries and nothing else. `apps/audit/services/chain.py`
computes the same hashes.
"""

from django.db import migrations

CHAIN = """
CREATE FUNCTION audit_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    last_number bigint;
    last_hash bytea;
    link bytea;
BEGIN
    EXECUTE format('SELECT number, hash FROM %I.audit_head WHERE id = 1 FOR UPDATE', TG_TABLE_SCHEMA)
        INTO last_number, last_hash;
    IF last_number IS NULL THEN
        RAISE EXCEPTION 'The head of the audit chain in schema % is missing.', TG_TABLE_SCHEMA
            USING ERRCODE = 'data_corrupted';
    END IF;
    last_number := last_number + 1;
    link := sha256(last_hash || int8send(last_number) || NEW.content_hash);
    EXECUTE format(
        'UPDATE %I.audit_entry SET number = $1, prev_hash = $2, hash = $3 WHERE id = $4 AND number IS NULL',
        TG_TABLE_SCHEMA
    ) USING last_number, last_hash, link, NEW.id;
    EXECUTE format('UPDATE %I.audit_head SET number = $1, hash = $2 WHERE id = 1', TG_TABLE_SCHEMA)
        USING last_number, link;
    RETURN NULL;
END
$body$;

CREATE CONSTRAINT TRIGGER audit_entry_chain AFTER INSERT ON audit_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_chain();
"""

REFUSE = """
CREATE FUNCTION audit_refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$body$;

CREATE FUNCTION audit_allow_chaining() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- The one change an entry ever sees: it gets its place in the chain, in the transaction that inserted it.
    IF OLD.number IS NULL AND NEW.number IS NOT NULL
       AND to_jsonb(NEW) - '{number,prev_hash,hash}'::text[] = to_jsonb(OLD) - '{number,prev_hash,hash}'::text[] THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only: UPDATE on audit_entry is refused.'
        USING ERRCODE = 'insufficient_privilege';
END
$body$;

CREATE FUNCTION audit_refuse_prechained() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NEW.number IS NOT NULL OR NEW.prev_hash IS NOT NULL OR NEW.hash IS NOT NULL THEN
        RAISE EXCEPTION 'An audit entry gets its place in the chain from the database.'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$body$;

CREATE FUNCTION audit_step_head() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NEW.id = OLD.id AND NEW.number = OLD.number + 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The head of the audit chain moves by one entry at a time.'
        USING ERRCODE = 'insufficient_privilege';
END
$body$;

CREATE TRIGGER audit_entry_insert BEFORE INSERT ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_prechained();
CREATE TRIGGER audit_entry_update BEFORE UPDATE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_allow_chaining();
CREATE TRIGGER audit_entry_delete BEFORE DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_truncate BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_update BEFORE UPDATE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION audit_step_head();
CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_truncate BEFORE TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""

HEAD = """
INSERT INTO audit_head (id, number, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));
ALTER TABLE audit_head SET (fillfactor = 20);
"""

REVERSE = """
DROP TRIGGER audit_entry_chain ON audit_entry;
DROP TRIGGER audit_entry_insert ON audit_entry;
DROP TRIGGER audit_entry_update ON audit_entry;
DROP TRIGGER audit_entry_delete ON audit_entry;
DROP TRIGGER audit_entry_truncate ON audit_entry;
DROP TRIGGER audit_head_update ON audit_head;
DROP TRIGGER audit_head_delete ON audit_head;
DROP TRIGGER audit_head_truncate ON audit_head;
DROP FUNCTION audit_chain();
DROP FUNCTION audit_refuse();
DROP FUNCTION audit_allow_chaining();
DROP FUNCTION audit_refuse_prechained();
DROP FUNCTION audit_step_head();
DELETE FROM audit_head;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(HEAD + CHAIN + REFUSE, REVERSE),
    ]
