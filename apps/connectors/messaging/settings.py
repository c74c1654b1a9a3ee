"""Settings that brokers have in common: TLS, destinations, limits of addresses."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.connectors.exceptions import ConfigInvalid, TlsFailed


def build_tls_context(config: Mapping[str, Any]) -> ssl.SSLContext | None:
    """TLS as the connection wants it; None without.

    Raises:
        TlsFailed: the root certificate cannot be read.
    """
    mode = config.get("tls_mode", "verify-full")
    if mode == "disable":
        return None
    authority = str(config.get("tls_root_certificate") or "")
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError) as error:
        raise TlsFailed(
            "The root certificate is not a certificate in PEM form.", field="config.tls_root_certificate"
        ) from error
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True)
class Destination:
    """Where the records of one entity are published, and how a record becomes a message.

    Attributes:
        name: the entity.
        address: routing key, subject or topic; `{field}` stands for the record's value.
        exchange: AMQP only; empty for the default one, which routes to the queue of the address' name.
        key_field: field that keeps an order.
        id_field: field that identifies the message; without one, run and row do.
        body_field: field whose text is the body as it is; without one, the record is sent as a JSON object.
        headers: {header: field}.
        format: `json`, or `cloudevents` for the structured mode of CloudEvents 1.0.
        event_type, event_source: of the CloudEvent.
    """

    name: str
    address: str
    exchange: str = ""
    key_field: str = ""
    id_field: str = ""
    body_field: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    format: str = "json"
    event_type: str = ""
    event_source: str = ""


def read_destinations(config: Mapping[str, Any]) -> dict[str, Destination]:
    """The configured destinations by name.

    Raises:
        ConfigInvalid: a name is there twice, or a CloudEvent lacks type or source.
    """
    found: dict[str, Destination] = {}
    for index, given in enumerate(config.get("destinations") or []):
        one = Destination(**given)
        path = f"config.destinations[{index}]"
        if one.name in found:
            raise ConfigInvalid(f"Two destinations are called {one.name!r}.", field=f"{path}.name", value=one.name)
        if one.format == "cloudevents" and not (one.event_type and one.event_source):
            raise ConfigInvalid(
                f"{one.name}: a CloudEvent has a type and a source.", field=f"{path}.event_type", value=one.name
            )
        if one.format == "cloudevents" and one.body_field:
            raise ConfigInvalid(
                f"{one.name}: a CloudEvent carries the record, not the text of one field.",
                field=f"{path}.body_field",
                value=one.body_field,
            )
        found[one.name] = one
    return found


def find_destination(config: Mapping[str, Any], entity: str) -> Destination:
    """The destination of that name; an unknown name is itself the address (queue, subject or topic)."""
    return read_destinations(config).get(entity) or Destination(entity, entity)
