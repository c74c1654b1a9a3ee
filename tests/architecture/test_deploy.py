"""The Dockerfile and deploy/: every path, command and variable that they name exists."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands
from django.test import Client

from config.celery import app as celery_app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = ROOT / "Dockerfile"
# Read by the images of others, or by our own scripts in deploy/.
FOREIGN_VARIABLES = {"POSTGRES_PASSWORD", "PORTAL_DB_PASSWORD", "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"}
# Read by the interpreter, the C library or Django itself.
INTERPRETER_VARIABLES = {
    "PATH",
    "MALLOC_ARENA_MAX",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "DJANGO_SETTINGS_MODULE",
}
# Built in an earlier stage of the same Dockerfile.
STAGE_OUTPUT = {"/opt/venv", "/src/static/mfe/"}


def read_settings_variables() -> set[str]:
    """Every environment variable that a settings module reads."""
    text = "\n".join(path.read_text() for path in (ROOT / "config" / "settings").glob("*.py"))
    return set(re.findall(r"""\b(?:env\.(?:str|int|bool|float|list|json)|csv)\(\s*"([A-Z][A-Z0-9_]+)\"""", text))


def read_compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def read_dockerfile(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continuation lines joined and comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(parts[0], parts[1].strip()) for line in joined.splitlines() if len(parts := line.split(maxsplit=1)) == 2]


def list_portal_services() -> dict[str, dict[str, Any]]:
    services = read_compose()["services"]
    return {name: service for name, service in services.items() if service.get("image", "").startswith("analytics-")}


def check_command(argv: list[str]) -> None:
    """Every command that a role runs can be run: the program, its module and its queue exist."""
    if argv[:2] == ["python", "manage.py"]:
        assert (ROOT / "manage.py").exists()
        assert argv[2] in get_commands(), f"manage.py {argv[2]} does not exist"
    elif argv[0] == "uvicorn":
        module, _, attribute = argv[1].partition(":")
        assert callable(getattr(importlib.import_module(module), attribute))
    elif argv[0] == "celery":
        module = importlib.import_module(argv[argv.index("--app") + 1])
        assert module.app is celery_app
        assert celery_app.conf.task_default_queue
        if "--queues" in argv:
            assert argv[argv.index("--queues") + 1] in list_queues()
    else:
        pytest.fail(f"unknown program {argv[0]}")


def list_queues() -> set[str]:
    routes = celery_app.conf.task_routes or {}
    return {celery_app.conf.task_default_queue, *(route["queue"] for route in routes.values())}


def test_dockerfile_copies_what_exists() -> None:
    for instruction, arguments in read_dockerfile(DOCKERFILE):
        if instruction == "COPY":
            *sources, _target = [part for part in arguments.split() if not part.startswith("--")]
            for source in sources:
                if "--from=" in arguments:
                    assert source in STAGE_OUTPUT
                else:
                    assert (ROOT / source).exists(), f"COPY {source}"


def test_dockerfile_sets_only_variables_that_are_read() -> None:
    known = read_settings_variables() | INTERPRETER_VARIABLES
    for instruction, arguments in read_dockerfile(DOCKERFILE):
        if instruction == "ENV":
            assert set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", arguments)) <= known


def test_dockerfile_builds_with_commands_that_exist() -> None:
    text = "\n".join(arguments for instruction, arguments in read_dockerfile(DOCKERFILE) if instruction == "RUN")
    scripts = json.loads((ROOT / "frontend_host" / "package.json").read_text())["scripts"]
    assert set(re.findall(r"npm run (\S+)", text)) <= set(scripts)
    assert set(re.findall(r"manage\.py (\w+)", text)) <= set(get_commands())
    assert set(re.findall(r"/requirements/(\w+\.txt)", text)) <= {p.name for p in (ROOT / "requirements").iterdir()}
    removed = re.search(r"pip uninstall --python \S+ ([\w -]+)", text)
    assert removed
    locked = (ROOT / "requirements" / "base.txt").read_text()
    assert all(f"\n{name}==" in f"\n{locked}" for name in removed[1].split())


def test_image_does_not_run_as_root_and_runs_the_web_role() -> None:
    instructions = read_dockerfile(DOCKERFILE)
    user = [arguments for instruction, arguments in instructions if instruction == "USER"]
    command = [arguments for instruction, arguments in instructions if instruction == "CMD"]
    assert user == ["portal"]
    check_command(json.loads(command[-1]))


@pytest.mark.parametrize("path", ["/health/live"])
def test_health_check_of_the_image_is_answered(path: str) -> None:
    assert f"http://127.0.0.1:8000{path}" in DOCKERFILE.read_text()
    assert Client(HTTP_HOST="127.0.0.1").get(path).status_code == 200


def test_production_image_starts_with_production_settings() -> None:
    settings = re.search(r"DJANGO_SETTINGS_MODULE=(\S+)", DOCKERFILE.read_text())
    assert settings
    assert settings[1] == "config.settings.prod"
    assert (ROOT / f"{settings[1].replace('.', '/')}.py").exists()


@pytest.mark.parametrize("name", ["migrate", "web", "worker-control", "worker-loads", "beat", "relay", "consumers"])
def test_role_runs_a_command_that_exists(name: str) -> None:
    service = list_portal_services()[name]
    if "command" in service:
        check_command(service["command"])
    health = service.get("healthcheck", {}).get("test")
    if health:
        check_command([part.replace("$$", "$") for part in shlex.split(health[1])])


def test_every_queue_has_a_worker() -> None:
    commands = [service.get("command", []) for service in list_portal_services().values()]
    served = {command[command.index("--queues") + 1] for command in commands if "--queues" in command}
    assert served == list_queues()


def test_compose_names_only_what_exists() -> None:
    compose = read_compose()
    services = compose["services"]
    for name, service in services.items():
        for file in service.get("env_file", []):
            assert (DEPLOY / f"{file}.example").exists(), f"{name}: {file}.example"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            exists = (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
            assert exists, f"{name}: volume {volume}"
        build = service.get("build")
        if build:
            context = DEPLOY / (build["context"] if isinstance(build, dict) else build)
            assert (context / "Dockerfile").exists(), f"{name}: build"
        assert set(service.get("depends_on", {})) <= set(services), f"{name}: depends_on"


def test_compose_sets_only_variables_that_are_read() -> None:
    known = read_settings_variables()
    for name, service in read_compose()["services"].items():
        allowed = known if name in list_portal_services() else FOREIGN_VARIABLES
        assert set(service.get("environment", {})) <= allowed, name


def test_every_role_waits_for_the_migrations() -> None:
    for name, service in list_portal_services().items():
        if name != "migrate":
            assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_example_environment_is_complete_and_holds_nothing_unknown() -> None:
    text = (DEPLOY / "portal.env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))
    assert named == read_settings_variables()


def test_example_environment_holds_no_secret() -> None:
    text = (DEPLOY / "portal.env.example").read_text()
    for name in ("SECRET_KEY", "VAULT_KEYS", "METRICS_TOKEN"):
        assert re.search(rf"^{name}=$", text, re.MULTILINE), name


def test_pooler_keeps_sessions_apart() -> None:
    text = (DEPLOY / "pgbouncer" / "pgbouncer.ini").read_text()
    assert re.search(r"^pool_mode = session$", text, re.MULTILINE)
    assert re.search(r"^server_reset_query = DISCARD ALL$", text, re.MULTILINE)


def test_pooler_image_copies_what_exists() -> None:
    folder = DEPLOY / "pgbouncer"
    instructions = read_dockerfile(folder / "Dockerfile")
    copied = [arguments.split()[0] for instruction, arguments in instructions if instruction == "COPY"]
    assert copied
    assert all((folder / source).exists() for source in copied)


@pytest.mark.parametrize("script", ["pgbouncer/start.sh", "postgres/create-portal.sh"])
def test_scripts_are_well_formed(script: str) -> None:
    assert subprocess.run(["sh", "-n", str(DEPLOY / script)], check=False).returncode == 0


def test_readme_names_commands_and_files_that_exist() -> None:
    text = (DEPLOY / "README.md").read_text()
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= {*get_commands(), "check"}
    for path in re.findall(r"`(tests/[\w/]+\.py|postgres/[\w.-]+)`", text):
        assert (ROOT / path).exists() or (DEPLOY / path).exists(), path
    known = read_settings_variables() | FOREIGN_VARIABLES
    assert set(re.findall(r"\b([A-Z]+(?:_[A-Z]+)+)=", text)) <= known | {"POSTGRES_PASSWORD"}
