"""Publishing with QoS 1: the broker acknowledges each message, or says why it does not take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from apps.connectors.catalog.mqtt.link import MqttLink
from apps.connectors.contracts import OutgoingMessage
from apps.connectors.exceptions import SystemUnavailable
from apps.connectors.messaging.settings import Destination
from apps.connectors.messaging.writer import Publisher

MAX_TOPIC_BYTES = 65_535
MESSAGE_ID = "message-id"


class MqttPublisher(Publisher):
    """One connection with a clean session."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Keep the settings; the connection is opened with the first message."""
        self._config, self._secrets = config, secrets
        self._link: MqttLink | None = None

    def check_address(self, address: str) -> str:
        """A topic has no wildcards when publishing."""
        if not address or any(one in address for one in "+#\x00") or len(address.encode()) > MAX_TOPIC_BYTES:
            return f"{address[:80]!r} is no topic: it must not be empty, and have no + and #."
        return ""

    def publish(self, destination: Destination, messages: Sequence[OutgoingMessage]) -> Mapping[int, str]:
        """Send all, at most 20 of them unacknowledged at a time, and wait for the broker's word on each."""
        if self._link is not None and not self._link.is_alive():
            self.close()
        if self._link is None:
            self._link = MqttLink(self._config, self._secrets)
        try:
            return self._publish(self._link, messages)
        except BaseException:
            self.close()  # answers that are still on their way must not count for other messages
            raise

    def close(self) -> None:
        """Leave. Safe to repeat."""
        found, self._link = self._link, None
        if found is not None:
            found.close()

    def _publish(self, link: MqttLink, messages: Sequence[OutgoingMessage]) -> dict[int, str]:
        link.published.clear()
        sent: dict[int, int] = {}
        for index, message in enumerate(messages):
            properties = Properties(PacketTypes.PUBLISH)
            properties.ContentType = message.content_type
            properties.UserProperty = [(MESSAGE_ID, message.message_id), *message.headers.items()]
            info = link.client.publish(
                message.address,
                message.body,
                qos=1,
                retain=bool(self._config.get("retain")),
                properties=properties,
            )
            if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_QUEUE_SIZE}:
                raise SystemUnavailable(f"The connection to {link.where} is lost.", value=link.where)
            sent[info.mid] = index
        link.turn_until(lambda: len(link.published) >= len(sent))
        return {
            index: f"The broker refused it: {link.published[mid]}."
            for mid, index in sent.items()
            if link.published[mid].is_failure
        }
