"""One connection to an AMQP 0-9-1 broker: pinned address, TLS, and the client's faults as the portal's."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import amqp
from amqp.transport import SSLTransport, TCPTransport

from apps.connectors.exceptions import (
    ConnectorFailed,
    CredentialsRefused,
    EntityGone,
    SystemUnavailable,
    TlsFailed,
)
from apps.connectors.messaging.settings import build_tls_context
from apps.core.services.egress import resolve_target

HEARTBEAT_S = 30
ANSWER_S = 30.0
CLIENT = "analytics-integration-portal"


class _CheckedTransport(SSLTransport):
    """TLS by the portal's own context, whose checks are the same for every broker."""

    def _wrap_socket(self, sock: Any, context: ssl.SSLContext, server_hostname: str) -> ssl.SSLSocket:
        return context.wrap_socket(sock, server_hostname=server_hostname)


class _Connection(amqp.Connection):
    def Transport(  # noqa: N802 - the client's name
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: Any,
    ) -> Any:
        transport = _CheckedTransport if ssl else TCPTransport
        return transport(
            host,
            connect_timeout=connect_timeout,
            ssl=ssl,
            read_timeout=read_timeout,
            write_timeout=write_timeout,
            **options,
        )


def open_link(
    config: Mapping[str, Any], secrets: Mapping[str, str], *, purpose: str, heartbeat_s: int = 0
) -> amqp.Connection:
    """A connection that is signed in.

    Args:
        config, secrets: of the connection.
        purpose: shown at the broker.
        heartbeat_s: how often both ends say that they live; 0 for a connection that may be idle in between.

    Raises:
        EgressDenied, HostUnresolved, SystemUnavailable, TlsFailed, CredentialsRefused: said with a remedy.
    """
    target = resolve_target(str(config["host"]), int(config.get("port", 5671)), purpose="broker")
    shown = f"[{target.ip}]" if ":" in target.ip else target.ip
    context = build_tls_context(config)
    connection = _Connection(
        host=f"{shown}:{target.port}",
        userid=str(config["user"]),
        password=str(secrets.get("password", "")),
        login_method="PLAIN",
        virtual_host=str(config.get("virtual_host", "/")),
        ssl={"context": context, "server_hostname": target.host} if context is not None else False,
        connect_timeout=float(config.get("connect_timeout_s", 10)),
        write_timeout=ANSWER_S,
        heartbeat=heartbeat_s,
        client_properties={"product": CLIENT, "connection_name": f"{CLIENT} {purpose}"},
    )
    with translated(f"{target.host}:{target.port}"):
        connection.connect()
    return connection


def close_link(connection: amqp.Connection) -> None:
    """Leave, whatever state the connection is in."""
    try:
        connection.transport.sock.settimeout(2)
        connection.close()
    except (amqp.AMQPError, OSError, AttributeError):
        connection.collect()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the portal's error for whatever the client raises inside.

    Args:
        what: queue, exchange or address, for the message.
    """
    try:
        yield
    except ssl.SSLError as error:
        raise TlsFailed(f"TLS with {what} failed: {error.reason or error}.", value=what) from error
    except (amqp.AccessRefused, amqp.NotAllowed) as error:
        raise CredentialsRefused(
            f"The broker refused: {error.reply_text}",
            value=what,
            remedy="Check user, password and virtual host, and the user's rights on the queue or exchange.",
        ) from error
    except amqp.ConsumerCancelled as error:
        raise EntityGone(f"The broker ended the consumption of {what}: the queue is gone.", value=what) from error
    except amqp.NotFound as error:
        raise EntityGone(f"{what} does not exist: {error.reply_text}", value=what) from error
    except (amqp.ResourceLocked, amqp.PreconditionFailed) as error:
        raise ConnectorFailed(
            f"The broker refused {what}: {error.reply_text}", value=what, remedy="Ask who else uses the queue."
        ) from error
    except (amqp.AMQPError, OSError) as error:
        said = getattr(error, "reply_text", "") or str(error) or type(error).__name__
        raise SystemUnavailable(f"The connection to the broker ({what}) failed: {said}", value=what) from error
