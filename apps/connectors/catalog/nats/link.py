"""One connection to a NATS server: checked addresses only, TLS that cannot be talked away, faults as the portal's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

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

ResultT = TypeVar("ResultT")

ANSWER_S = 30.0
REQUEST_S = 10.0
CLIENT = "analytics-integration-portal"


class _GuardedClient(Client):
    """Never sends its credentials in the clear when TLS is wanted, whatever the server's greeting says."""

    wants_tls = False

    def _connect_command(self) -> bytes:
        writer = getattr(self._transport, "_io_writer", None)
        if self.wants_tls and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise nats.errors.SecureConnWantedError
        return bytes(super()._connect_command())


class NatsLink:
    """A connected client on a loop of its own; every call is synchronous."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], *, purpose: str) -> None:
        """Connect and sign in.

        Raises:
            EgressDenied, HostUnresolved, SystemUnavailable, TlsFailed, CredentialsRefused: said with a remedy.
        """
        self._config, self._secrets, self._purpose = config, secrets, purpose
        self.where = f"{config['host']}:{config.get('port', 4222)}"
        self._refusal = ""
        self._fault: Exception | None = None
        self._refused = asyncio.Event()
        self._client = _GuardedClient()
        self._thread = LoopThread("nats")
        try:
            self.call(self._connect(), timeout_s=float(config.get("connect_timeout_s", 10)) + 5)
        except BaseException:
            self.close()
            raise

    @property
    def server_version(self) -> str:
        """As the server said."""
        return str(self._client.connected_server_version)

    @property
    def stream(self) -> JetStreamContext:
        """JetStream on this connection; only for coroutines that `call` runs."""
        return self._client.jetstream(timeout=REQUEST_S)

    @property
    def client(self) -> Client:
        """The client; only for coroutines that `call` runs."""
        return self._client

    @property
    def is_connected(self) -> bool:
        """Whether the connection still stands."""
        return bool(self._client.is_connected)

    def call(self, work: Coroutine[Any, Any, ResultT], *, what: str = "", timeout_s: float = ANSWER_S) -> ResultT:
        """Run a coroutine of the client and wait for it.

        Args:
            work: the coroutine.
            what: stream or subject, for the message.
            timeout_s: longest wait.
        """
        with self._translated(what or self.where):
            return self._thread.call(self._unless_refused(work, what or self.where), timeout_s=timeout_s)

    def close(self) -> None:
        """Leave. Safe to repeat."""
        if self._client.is_connected:
            # What fails here does not matter: the thread's end closes the socket.
            with contextlib.suppress(PortalError, nats.errors.Error, OSError, TimeoutError):
                self._thread.call(self._client.close(), timeout_s=5)
        self._thread.close()

    async def _connect(self) -> None:
        config, secrets = self._config, self._secrets
        host = str(config["host"])
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        options: dict[str, Any] = {}
        context = build_tls_context(config)
        if context is not None:
            options |= {"tls": context, "tls_hostname": host}
            self._client.wants_tls = True
        if config.get("user"):
            options |= {"user": str(config["user"]), "password": str(secrets.get("password", ""))}
        elif secrets.get("token"):
            options["token"] = secrets["token"]
        await self._client.connect(
            servers=[f"nats://{shown}:{int(config.get('port', 4222))}"],
            name=f"{CLIENT} {self._purpose}",
            # Whoever uses the link connects anew: nothing is taken for sent or kept that was under way.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(float(config.get("connect_timeout_s", 10))),
            error_cb=self._note,
            **options,
        )

    async def _note(self, error: Exception) -> None:
        self._fault = error
        if "permissions violation" in str(error).lower():
            self._refusal = str(error)
            self._refused.set()

    async def _unless_refused(self, work: Coroutine[Any, Any, ResultT], what: str) -> ResultT:
        """A refused request is never answered; the server says so beside it, and nobody needs to wait."""
        task = asyncio.ensure_future(work)
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            await asyncio.wait({task, refused}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise CredentialsRefused(
                f"The server refused: {self._refusal}",
                value=what,
                remedy="Grant the user the subject, and $JS.API.> and _INBOX.> for JetStream.",
            )
        finally:
            for one in (task, refused):
                one.cancel()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except PortalError:
            raise
        except nats.js.errors.NoStreamResponseError as error:
            raise EntityGone(f"No stream takes the subject {what!r}.", value=what) from error
        except nats.js.errors.NotFoundError as error:
            raise EntityGone(f"{what} does not exist: {error.description}.", value=what) from error
        except nats.js.errors.ServiceUnavailableError as error:
            raise SystemUnavailable(
                f"JetStream does not answer at {self.where}: {error.description or 'it is not enabled'}.", value=what
            ) from error
        except nats.js.errors.APIError as error:
            raise ConnectorFailed(f"JetStream refused {what}: {error.description}.", value=what) from error
        except (nats.errors.SecureConnWantedError, nats.errors.SecureConnRequiredError) as error:
            raise TlsFailed(
                f"{self.where} does not offer TLS.", value=what, remedy="Enable TLS at the server, or disable it here."
            ) from error
        except ssl.SSLError as error:
            raise TlsFailed(f"TLS with {self.where} failed: {error.reason or error}.", value=what) from error
        except (nats.errors.Error, TimeoutError, OSError) as error:
            found = self._fault if isinstance(error, nats.errors.NoServersError) and self._fault else error
            if isinstance(found, PortalError):
                raise found from error
            said = str(found) or type(found).__name__
            if "authorization" in said.lower():
                raise CredentialsRefused(f"{self.where} refused the credentials.", value=what) from error
            raise SystemUnavailable(f"The connection to {self.where} failed: {said}", value=what) from error


def split_source(source: str) -> tuple[str, str]:
    """`ORDERS/orders.eu.>` as stream and subject filter; without a filter the subject is empty."""
    stream, _slash, subject = source.partition("/")
    return stream, subject
