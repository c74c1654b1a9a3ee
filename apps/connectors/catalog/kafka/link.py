"""What reaches a Kafka cluster: one loop whose every connection is checked, and the client's faults as the portal's."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from aiokafka import errors

from apps.connectors.exceptions import (
    ConnectorFailed,
    CredentialsRefused,
    EntityGone,
    SystemUnavailable,
    TlsFailed,
)
from apps.connectors.messaging.loop import LoopThread
from apps.connectors.messaging.settings import build_tls_context
from apps.core.exceptions import PortalError
from apps.core.services.egress import probe, resolve_target

ResultT = TypeVar("ResultT")

ANSWER_S = 40.0
REQUEST_MS = 20_000
CLIENT = "analytics-integration-portal"
REFUSED = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)


class KafkaLink:
    """A loop for one producer or consumer of the client library."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Check the first broker and start the loop.

        Raises:
            EgressDenied, HostUnresolved: the portal does not connect there.
            HostUnreachable: nothing listens there; the client would go on trying for long.
            TlsFailed: the root certificate cannot be read.
        """
        target = resolve_target(str(config["host"]), int(config.get("port", 9093)), purpose="broker")
        probe(target, timeout_s=float(config.get("connect_timeout_s", 10)))
        shown = f"[{target.host}]" if ":" in target.host else target.host
        self.where = f"{shown}:{target.port}"
        self.options: dict[str, Any] = {
            "bootstrap_servers": self.where,
            "client_id": CLIENT,
            "request_timeout_ms": REQUEST_MS,
            **_security(config, secrets),
        }
        self._thread = LoopThread("kafka", denial_ends=True)

    def call(self, work: Coroutine[Any, Any, ResultT], *, what: str = "", timeout_s: float = ANSWER_S) -> ResultT:
        """Run a coroutine of the client and wait for it.

        Args:
            work: the coroutine.
            what: topic, for the message.
            timeout_s: longest wait.
        """
        with self._translated(what or self.where):
            return self._thread.call(work, timeout_s=timeout_s)

    def close(self) -> None:
        """End the loop. Safe to repeat."""
        self._thread.close()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except PortalError:
            raise
        except REFUSED as error:
            raise CredentialsRefused(
                f"The cluster refused: {error}",
                value=what,
                remedy="Check mechanism, user and password, and the user's rights on topic and group.",
            ) from error
        except errors.UnknownTopicOrPartitionError as error:
            raise EntityGone(f"There is no topic {what!r}.", value=what) from error
        except (errors.InvalidTopicError, errors.UnsupportedSaslMechanismError) as error:
            raise ConnectorFailed(f"The cluster refused {what}: {error}", value=what) from error
        except ssl.SSLError as error:
            raise TlsFailed(f"TLS with {self.where} failed: {error.reason or error}.", value=what) from error
        except (errors.KafkaError, asyncio.CancelledError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise SystemUnavailable(f"The connection to {self.where} failed: {said}", value=what) from error


def _security(config: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    context = build_tls_context(config)
    mechanism = str(config.get("auth", "none"))
    protocol = ("SASL_" if mechanism != "none" else "") + ("SSL" if context is not None else "PLAINTEXT")
    options: dict[str, Any] = {"security_protocol": protocol, "ssl_context": context}
    if mechanism != "none":
        options |= {
            "sasl_mechanism": mechanism.upper(),
            "sasl_plain_username": str(config.get("user", "")),
            "sasl_plain_password": str(secrets.get("password", "")),
        }
    return options
