#!/bin/sh
# Run once by the postgres image on an empty volume: the portal's role is no superuser. It makes one role per tenant,
# and may act as the roles that it made.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set password="${PORTAL_DB_PASSWORD:?PORTAL_DB_PASSWORD is missing}" <<'SQL'
CREATE ROLE portal LOGIN CREATEROLE PASSWORD :'password';
ALTER ROLE portal SET createrole_self_grant = 'set, inherit';
CREATE DATABASE portal OWNER portal ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C' TEMPLATE template0;
SQL
