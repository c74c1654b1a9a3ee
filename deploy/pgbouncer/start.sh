#!/bin/sh
# Writes the pooler's user list from the environment, so that no password is in the image.
set -eu
umask 077
escaped=$(printf '%s' "${PORTAL_DB_PASSWORD:?PORTAL_DB_PASSWORD is missing}" | sed 's/"/""/g')
printf '"portal" "%s"\n' "$escaped" > /run/pgbouncer/userlist.txt
exec pgbouncer /etc/pgbouncer/portal.ini
