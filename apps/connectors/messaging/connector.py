"""What every connector of a message broker does the same way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from apps.connectors.base import ConnectorBase, Writer
from apps.connectors.contracts import ConnectionContext, Manifest, WriteRequest
from apps.connectors.messaging.settings import build_tls_context, find_destination, read_destinations
from apps.connectors.messaging.writer import MessageWriter, Publisher


class BrokerConnector(ConnectorBase):
    """Keeps settings until something is asked, and one publisher from the first writer on."""

    def __init__(self, manifest: Manifest, context: ConnectionContext) -> None:
        """Make a connector that is not connected."""
        super().__init__(manifest, context)
        self._secrets: Mapping[str, str] = {}
        self._publisher: Publisher | None = None

    @abstractmethod
    def make_publisher(self) -> Publisher:
        """The broker's side of publishing; it connects with the first message."""

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Take the settings; nothing is opened yet.

        Raises:
            ConfigInvalid: a destination is incomplete.
            TlsFailed: the root certificate cannot be read.
        """
        read_destinations(config)
        build_tls_context(config)
        self.config, self._secrets = dict(config), secrets

    def disconnect(self) -> None:
        """Close the publisher."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def open_writer(self, request: WriteRequest) -> Writer:
        """A load that publishes to a destination, or to the queue, subject or topic of that name."""
        if self._publisher is None:
            self._publisher = self.make_publisher()
        return MessageWriter(request, self._publisher, find_destination(self.config, request.entity))
