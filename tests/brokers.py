"""Real message brokers for the tests: Debian's RabbitMQ, NATS and mosquitto, on free ports, with their data in a
temporary directory. Where one is not installed, its tests are skipped with the reason (`make test` installs them).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.processes import free_port

START_S = 90
USER, PASSWORD = "portal", "br0ker-canary-pass"
RABBITMQ = Path("/usr/lib/rabbitmq/bin")


@dataclass
class Broker:
    """A broker that can be stopped and started again on the same port with the same data."""

    name: str
    port: int
    argv: list[str]
    directory: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        text = (self.directory / "log").read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"{self.name} did not start:\n{text}")

    def stop(self) -> None:
        """End it with all its children; what it has written stays."""
        found, self.process = self.process, None
        if found is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(found.pid, signal.SIGTERM)
        try:
            found.wait(15)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(found.pid, signal.SIGKILL)
            found.wait(10)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="broker-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Broker]:
    """RabbitMQ with one user."""
    server = RABBITMQ / "rabbitmq-server"
    if not server.exists() or shutil.which("epmd") is None:
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    with _directory() as directory:
        names = free_port()
        name_server = Broker("epmd", names, ["epmd", "-port", str(names)], directory)
        port, spread = free_port(), free_port()
        config = directory / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = {USER}\ndefault_pass = {PASSWORD}\n"
            "default_user_tags.administrator = true\nloopback_users = none\nvm_memory_high_watermark.relative = 0.9\n"
            "disk_free_limit.absolute = 1MB\nlog.console = true\nlog.file = false\nlog.console.level = warning\n"
        )
        (directory / "plugins").write_text("[].\n")
        env = {
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_DIST_PORT": str(spread),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "logs"),
            "RABBITMQ_SCHEMA_DIR": str(directory / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "config"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }
        broker = Broker("rabbitmq", port, [str(server)], directory, env)
        name_server.start()
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()
            name_server.stop()


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Broker]:
    """NATS with JetStream and one user; nobody signs in without."""
    server = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
    if server is None:
        pytest.skip("NATS is not installed: apt-get install nats-server")
    with _directory() as directory:
        port = free_port()
        config = directory / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{directory}/store" }}\n'
            f"authorization {{ users: [ {{ user: {USER}, password: {PASSWORD} }},\n"
            f"  {{ user: narrow, password: {PASSWORD}, permissions: {{ publish: ['only.this'] }} }} ] }}\n"
        )
        broker = Broker("nats", port, [server, "-c", str(config)], directory)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[Broker]:
    """Mosquitto with a user who may everything and one who may little; nobody signs in without."""
    server = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    passwd = shutil.which("mosquitto_passwd")
    if server is None or passwd is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with _directory() as directory:
        port = free_port()
        secrets = directory / "passwords"
        secrets.write_text(f"{USER}:{PASSWORD}\nnarrow:{PASSWORD}\n")
        subprocess.run([passwd, "-U", str(secrets)], check=True)
        secrets.chmod(0o600)
        rights = directory / "rights"
        rights.write_text(f"user {USER}\ntopic readwrite #\nuser narrow\ntopic readwrite only/#\n")
        rights.chmod(0o600)
        config = directory / "mosquitto.conf"
        account = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"{account}listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {secrets}\nacl_file {rights}\n"
            f"persistence true\npersistence_location {directory}/\nmax_queued_messages 10000\n"
        )
        broker = Broker("mosquitto", port, [server, "-c", str(config)], directory)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()
