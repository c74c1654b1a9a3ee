"""Environment variables: of the installers (certificates), of the portal (addresses), and the machine's own secrets."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from config.runtime.paths import SECRETS, VENV

# Where distributions keep the bundle of certificates that the machine trusts.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
SERVER_VARIABLES = ("DATABASE_URL", "BROKER_URL", "CHANNEL_URL", "CACHE_URL")


def build_install_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for pip, uv, npm and node: what is set stays; the machine's certificates are trusted.

    pip, uv and Node each ship their own list of authorities, and would refuse a registry mirror that the machine
    trusts. Variables that are set already (PIP_*, UV_*, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, npm_config_*) win.
    """
    env = dict(os.environ if base is None else base)
    bundle = env.get("SSL_CERT_FILE") or next((path for path in _SYSTEM_BUNDLES if Path(path).is_file()), None)
    if bundle:
        env.setdefault("SSL_CERT_FILE", bundle)
        env.setdefault("PIP_CERT", bundle)
        env.setdefault("NODE_EXTRA_CA_CERTS", bundle)
        env.setdefault("UV_SYSTEM_CERTS", "true")
    env.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    env.setdefault("PIP_NO_INPUT", "1")
    env.setdefault("UV_NO_PROGRESS", "1")
    # Compiled once at installation, four processes start seconds faster each time.
    env.setdefault("UV_COMPILE_BYTECODE", "1")
    env.pop("PYTHONHOME", None)
    env.pop("PYTHONPATH", None)
    return env


def find_given_servers(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The server addresses that the caller's environment sets; each one replaces an embedded server."""
    env = os.environ if base is None else base
    return {name: env[name] for name in SERVER_VARIABLES if env.get(name)}


def build_portal_environment(
    servers: Mapping[str, str], settings: str, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of every portal process: the caller's, the servers' addresses, the settings module."""
    env = dict(os.environ)
    env.update(servers)
    env.update(extra or {})
    env["DJANGO_SETTINGS_MODULE"] = settings
    env["PYTHONUNBUFFERED"] = "1"
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    # Byte code is written even where the shell says otherwise: it is half of a process's start.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env.pop("PYTHONHOME", None)
    env.pop("PYTHONPATH", None)
    return env


def ensure_secrets(path: Path = SECRETS) -> dict[str, str]:
    """The machine's own secrets, made at the first start and kept in a file that only its owner reads.

    Returns:
        SECRET_KEY, VAULT_KEYS, PORTAL_DB_PASSWORD, POSTGRES_PASSWORD, VALKEY_PASSWORD. Those of the portal itself
        give way to the caller's environment.
    """
    kept = _read_env_file(path)
    made: dict[str, Callable[[], str]] = {
        "SECRET_KEY": lambda: secrets.token_urlsafe(64),
        "VAULT_KEYS": lambda: f"local1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "PORTAL_DB_PASSWORD": lambda: secrets.token_urlsafe(24),
        "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
        "VALKEY_PASSWORD": lambda: secrets.token_urlsafe(24),
    }
    missing = {name: make() for name, make in made.items() if name not in kept}
    if missing:
        kept.update(missing)
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("# Made by `make run` for this checkout only. Never use these in production.\n")
            file.writelines(f"{name}={value}\n" for name, value in kept.items())
        draft.replace(path)
    return {name: os.environ.get(name, value) for name, value in kept.items()}


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
