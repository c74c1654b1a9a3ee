#!/bin/sh
# Finds a Python that can make the environment and starts the runtime with it: launch.sh <command> [arguments].
# PYTHON=/path/to/python overrides the search.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null 2>&1 || { echo "✗ PYTHON=$PYTHON does not exist → name a Python 3.11 or newer" >&2; exit 1; }
    is_new_enough "$PYTHON" || { echo "✗ PYTHON=$PYTHON is $("$PYTHON" --version 2>&1) → the portal needs 3.11 or newer" >&2; exit 1; }
    exec "$PYTHON" -B "$here/bootstrap.py" "$@"
fi

fallback=
newest_old=
for candidate in "$here/../../.venv/bin/python" python3 python3.14 python3.13 python3.12 python3.11 \
    /usr/local/bin/python3 /usr/bin/python3 "${HOME:-/nonexistent}"/.pyenv/versions/*/bin/python3; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    if is_new_enough "$candidate"; then
        if has_venv "$candidate"; then exec "$candidate" -B "$here/bootstrap.py" "$@"; fi
        [ -n "$fallback" ] || fallback=$candidate
    else
        newest_old=$candidate
    fi
done

# Without venv: the bootstrap installs it where it may, else says how.
if [ -n "$fallback" ]; then exec "$fallback" -B "$here/bootstrap.py" "$@"; fi
if [ -n "$newest_old" ]; then
    echo "✗ Only $("$newest_old" --version 2>&1) was found → install Python 3.11 or newer, or name one: make $1 PYTHON=/path/to/python3" >&2
else
    echo "✗ No Python was found → apt-get install python3 python3-venv, or name one: make $1 PYTHON=/path/to/python3" >&2
fi
exit 1
