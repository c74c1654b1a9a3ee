"""Publishing to JetStream: every message is acknowledged by its stream, which drops repeats of an id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import nats.errors
import nats.js.errors

from apps.connectors.catalog.nats.link import NatsLink
from apps.connectors.contracts import OutgoingMessage
from apps.connectors.messaging.settings import Destination
from apps.connectors.messaging.writer import Publisher

IN_FLIGHT = 128
PUBLISH_S = 120.0
SUBJECT = re.compile(r"^[^\s.*>]+(\.[^\s.*>]+)*\Z")


class NatsPublisher(Publisher):
    """One connection."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Keep the settings; the connection is opened with the first message."""
        self._config, self._secrets = config, secrets
        self._link: NatsLink | None = None

    def check_address(self, address: str) -> str:
        """A subject has words with dots between them, and no wildcard when publishing."""
        return "" if SUBJECT.match(address) else f"{address!r} is no subject: words with dots, no spaces, no * and >."

    def publish(self, destination: Destination, messages: Sequence[OutgoingMessage]) -> Mapping[int, str]:
        """Send all, many at a time, and wait for each stream's acknowledgement."""
        if self._link is None or not self._link.is_connected:
            self.close()
            self._link = NatsLink(self._config, self._secrets, purpose="publish")
        return self._link.call(self._publish(self._link, messages), what=messages[0].address, timeout_s=PUBLISH_S)

    def close(self) -> None:
        """Leave. Safe to repeat."""
        found, self._link = self._link, None
        if found is not None:
            found.close()

    async def _publish(self, link: NatsLink, messages: Sequence[OutgoingMessage]) -> dict[int, str]:
        gate = asyncio.Semaphore(IN_FLIGHT)
        stream = link.stream
        faults: dict[int, str] = {}

        async def send(index: int, message: OutgoingMessage) -> None:
            headers = {**message.headers, "Nats-Msg-Id": message.message_id, "Content-Type": message.content_type}
            async with gate:
                try:
                    await stream.publish(message.address, message.body, headers=headers)
                except nats.js.errors.NoStreamResponseError:
                    faults[index] = f"No stream takes the subject {message.address!r}."
                except nats.errors.MaxPayloadError:
                    faults[index] = "The message is larger than the server takes."
                except nats.js.errors.ServiceUnavailableError:
                    raise
                except nats.js.errors.APIError as error:
                    faults[index] = f"The stream refused it: {error.description}."

        done = await asyncio.gather(*(send(*one) for one in enumerate(messages)), return_exceptions=True)
        if (error := next((one for one in done if one is not None), None)) is not None:
            raise error
        return faults
