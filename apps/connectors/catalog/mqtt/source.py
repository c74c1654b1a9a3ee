"""Consuming a topic filter in a session that the broker keeps for a week."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.subscribeoptions import SubscribeOptions

from apps.connectors.base import MessageSource
from apps.connectors.catalog.mqtt.link import MqttLink
from apps.connectors.catalog.mqtt.publisher import MESSAGE_ID
from apps.connectors.contracts import ConsumeRequest, IncomingMessage
from apps.connectors.exceptions import CredentialsRefused

SESSION_S = 7 * 86_400
GATHER_S = 0.01


class MqttSource(MessageSource):
    """One session with one subscription; messages of QoS 1 stay with the broker until they are acknowledged."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], request: ConsumeRequest) -> None:
        """Connect and subscribe.

        Raises:
            CredentialsRefused: the user may not subscribe to it; and what `MqttLink` raises.
        """
        self._arrived: deque[IncomingMessage] = deque()
        self._link = MqttLink(
            config,
            secrets,
            client_id=request.name,
            session_s=SESSION_S,
            receive_most=min(request.prefetch, 65_535),
            on_message=self._take,
        )
        try:
            # Retained messages: at the first subscription only, and only when what is there already is wanted.
            options = SubscribeOptions(qos=1, retainHandling=1 if request.from_start else 2)
            _code, mid = self._link.client.subscribe(request.source, options=options)
            self._link.turn_until(lambda: mid in self._link.subscribed)
            refused = [code for code in self._link.subscribed[mid or 0] if code.is_failure]
            if refused:
                raise CredentialsRefused(
                    f"{self._link.where} refused the subscription to {request.source!r}: {refused[0]}.",
                    value=request.source,
                    remedy="Check the filter, and that the user may read these topics.",
                )
        except BaseException:
            self.close()
            raise

    def receive(self, limit: int, *, wait_s: float) -> list[IncomingMessage]:
        """Wait for the first message, then take what comes along with it."""
        deadline = time.monotonic() + wait_s
        while len(self._arrived) < limit:
            known = len(self._arrived)
            left = GATHER_S if self._arrived else deadline - time.monotonic()
            if left <= 0:
                break
            self._link.turn(left)
            if self._arrived and len(self._arrived) == known:
                break
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        """Each by itself, in the order in which they came, as the protocol wants."""
        for one in messages:
            mid, qos = one.handle
            if qos:
                self._link.client.ack(mid, qos)
        self._link.flush()

    def close(self) -> None:
        """Leave; the session stays at the broker, with what was not acknowledged."""
        self._link.close()

    def _take(self, message: MQTTMessage) -> None:
        properties = message.properties
        pairs = dict(getattr(properties, "UserProperty", None) or [])
        self._arrived.append(
            IncomingMessage(
                body=bytes(message.payload),
                source=message.topic,
                message_id=str(pairs.pop(MESSAGE_ID, "") or pairs.get("id", "")),
                headers={str(name): str(value) for name, value in pairs.items()},
                content_type=str(getattr(properties, "ContentType", None) or ""),
                handle=(message.mid, message.qos),
            )
        )
