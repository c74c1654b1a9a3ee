"""Typed plug-in registry: unique names, one base class, own errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from apps.core.exceptions import NotFound, PortalError


class Registrable(Protocol):
    """Anything with a unique `type` name."""

    @property
    def type(self) -> str:
        """The name under which it is registered."""


ItemT = TypeVar("ItemT", bound=Registrable)


class AlreadyRegistered(PortalError):
    """Two plug-ins claim the same type name."""

    code = "core.registry.duplicate"


class UnknownType(NotFound):
    """No plug-in of that type is installed."""

    code = "core.registry.unknown_type"


class Registry(Generic[ItemT]):
    """Plug-ins of one kind, by type name, in order of registration."""

    def __init__(self, kind: str, base: type[ItemT]) -> None:
        """Name the kind (for messages) and the base class that every item must have."""
        self.kind = kind
        self._base = base
        self._items: dict[str, ItemT] = {}

    def register(self, item: ItemT) -> ItemT:
        """Add a plug-in.

        Raises:
            TypeError: the item is not of the registry's base class.
            AlreadyRegistered: another item has the same type.
        """
        if not isinstance(item, self._base):
            raise TypeError(f"{item!r} is not a {self._base.__name__}")
        known = self._items.get(item.type)
        if known is not None and type(known) is not type(item):
            raise AlreadyRegistered(f"Two {self.kind} plug-ins are called {item.type!r}.", value=item.type)
        self._items[item.type] = item
        return item

    def get(self, type_: str) -> ItemT:
        """The plug-in of that type.

        Raises:
            UnknownType: none is registered; the message lists those that are.
        """
        item = self._items.get(type_)
        if item is None:
            known = ", ".join(sorted(self._items)) or "none"
            raise UnknownType(f"There is no {self.kind} {type_!r}.", value=type_, remedy=f"Use one of: {known}.")
        return item

    def find(self, type_: str) -> ItemT | None:
        """The plug-in of that type, or None."""
        return self._items.get(type_)

    def all(self) -> list[ItemT]:
        """Every plug-in, in order of registration."""
        return list(self._items.values())

    def __iter__(self) -> Iterator[ItemT]:
        return iter(self.all())

    def __contains__(self, type_: object) -> bool:
        return type_ in self._items
