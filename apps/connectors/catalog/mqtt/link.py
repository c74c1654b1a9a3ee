"""One MQTT 5 connection: pinned address, TLS to the name, and the client's faults as the portal's. No thread: whoever
uses the link turns its loop.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from apps.connectors.exceptions import CredentialsRefused, SystemUnavailable, TlsFailed
from apps.connectors.messaging.settings import build_tls_context
from apps.core.exceptions import PortalError
from apps.core.services.egress import ResolvedTarget, open_socket, resolve_target

KEEPALIVE_S = 30
ANSWER_S = 30.0
REFUSED = {"Bad user name or password", "Not authorized", "Banned", "Client identifier not valid"}


class _PinnedClient(Client):
    """Opens the address that was checked, whatever the name resolves to by then; TLS still speaks to the name."""

    target: ResolvedTarget
    tls: ssl.SSLContext

    def _create_socket_connection(self) -> Any:
        return open_socket(self.target, timeout_s=self.connect_timeout)

    def _ssl_wrap_socket(self, tcp_sock: Any) -> ssl.SSLSocket:
        wrapped = self.tls.wrap_socket(tcp_sock, server_hostname=self.target.host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class MqttLink:
    """A connected client."""

    def __init__(
        self,
        config: Mapping[str, Any],
        secrets: Mapping[str, str],
        *,
        client_id: str = "",
        session_s: int = 0,
        receive_most: int = 0,
        on_message: Callable[[MQTTMessage], None] | None = None,
    ) -> None:
        """Connect and sign in.

        Args:
            config, secrets: of the connection.
            client_id: name of the session at the broker; empty lets the broker choose one.
            session_s: how long the broker keeps the session after the connection; 0 begins a clean one.
            receive_most: messages that may be unacknowledged.
            on_message: called while the loop turns.

        Raises:
            EgressDenied, HostUnresolved, SystemUnavailable, TlsFailed, CredentialsRefused: said with a remedy.
        """
        target = resolve_target(str(config["host"]), int(config.get("port", 8883)), purpose="broker")
        self.where = f"{target.host}:{target.port}"
        self.published: dict[int, ReasonCode] = {}
        self.subscribed: dict[int, list[ReasonCode]] = {}
        self._connected: ReasonCode | None = None
        self._lost: ReasonCode | None = None
        self.client = _PinnedClient(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        self.client.target = target
        self.client.connect_timeout = float(config.get("connect_timeout_s", 10))
        context = build_tls_context(config)
        self._with_tls = context is not None
        if context is not None:
            self.client.tls = context
            self.client.tls_set_context(context)
        if config.get("user"):
            self.client.username_pw_set(str(config["user"]), str(secrets.get("password", "")))
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = self._on_subscribe
        if on_message is not None:
            self.client.on_message = lambda _client, _data, message: on_message(message)
        properties = Properties(PacketTypes.CONNECT)
        if session_s:
            properties.SessionExpiryInterval = session_s
        if receive_most:
            properties.ReceiveMaximum = receive_most
        try:
            with self._translated():
                self.client.connect(
                    target.host, target.port, KEEPALIVE_S, clean_start=not session_s, properties=properties
                )
            self.turn_until(lambda: self._connected is not None, self.client.connect_timeout)
        except BaseException:
            self.close()
            raise
        assert self._connected is not None
        if self._connected.is_failure:
            self.close()
            raise self._refusal(self._connected)

    def turn(self, wait_s: float) -> None:
        """Send and receive what there is; return after `wait_s` without anything.

        Raises:
            SystemUnavailable: the connection is lost.
            CredentialsRefused: the broker ended it for want of rights.
        """
        with self._translated():
            code = self.client.loop(timeout=wait_s)
        if self._lost is not None and (self._connected is None or not self._connected.is_failure):
            raise self._refusal(self._lost)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS and not (self._connected and self._connected.is_failure):
            raise SystemUnavailable(f"The connection to {self.where} is lost.", value=self.where)

    def turn_until(self, holds: Callable[[], bool], timeout_s: float = ANSWER_S) -> None:
        """Turn until something holds.

        Raises:
            SystemUnavailable: it did not within the time, or the connection is lost.
        """
        deadline = time.monotonic() + timeout_s
        while not holds():
            left = deadline - time.monotonic()
            if left <= 0:
                raise SystemUnavailable(f"{self.where} did not answer within {timeout_s:g} s.", value=self.where)
            self.turn(min(left, 1.0))

    def flush(self) -> None:
        """Send what waits to be sent.

        Raises:
            SystemUnavailable: the connection is lost.
        """
        self.turn_until(lambda: not self.client.want_write())

    def is_alive(self) -> bool:
        """Whether the connection still stands, as far as one can tell without asking."""
        try:
            self.turn(0.0)
        except PortalError:
            return False
        return True

    def close(self) -> None:
        """Leave. Safe to repeat."""
        with contextlib.suppress(OSError, ValueError):
            self.client.disconnect()
            self.client.loop_write()
        with contextlib.suppress(OSError, ValueError):
            self.client._sock_close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError as error:
            raise TlsFailed(f"TLS with {self.where} failed: {error.reason or error}.", value=self.where) from error
        except ConnectionResetError as error:
            if self._with_tls and self._connected is None:
                raise TlsFailed(
                    f"{self.where} broke off the TLS handshake; does it speak TLS?", value=self.where
                ) from error
            raise SystemUnavailable(f"{self.where} has closed the connection.", value=self.where) from error
        except OSError as error:
            said = error.strerror or str(error) or type(error).__name__
            raise SystemUnavailable(f"The connection to {self.where} failed: {said}", value=self.where) from error

    def _refusal(self, code: ReasonCode) -> CredentialsRefused | SystemUnavailable:
        said = str(code)
        if said in REFUSED:
            return CredentialsRefused(f"{self.where} refused the credentials: {said}.", value=self.where)
        return SystemUnavailable(f"{self.where} ended the connection: {said}.", value=self.where)

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._connected = code

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._lost = code

    def _on_publish(
        self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self.published[mid] = code

    def _on_subscribe(
        self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        self.subscribed[mid] = codes
