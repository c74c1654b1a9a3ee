"""Paging styles as data: each says how the first page is asked for and what the answer says about the next one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from apps.connectors.exceptions import UnreadableInput

LINK = re.compile(r'<([^>]*)>\s*;[^,]*?\brel="?([^",;]+)"?')


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What to ask for: an address of its own, or parameters for the resource's address."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its records, and where the next page is (None at the end)."""

    records: list[dict[str, Any]]
    next: PageRequest | None


@dataclass(frozen=True, slots=True)
class Paging:
    """One API's way to hand out long lists.

    Attributes:
        style: none, page, offset, cursor_body, cursor_header, link_header or next_url.
        parameter: query parameter of the page number, offset or cursor.
        size_parameter: query parameter of the page size; empty when there is none.
        page_size: rows asked for; a shorter page is the last one (page and offset styles).
        first_page: number of the first page.
        next_path: dotted path in the body, or header name, of the next cursor or address.
    """

    style: str
    parameter: str
    size_parameter: str
    page_size: int
    first_page: int
    next_path: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Paging:
        """The paging that a connection's settings describe."""
        return cls(
            style=config.get("paging", "none"),
            parameter=config.get("page_parameter", "page"),
            size_parameter=config.get("size_parameter", ""),
            page_size=int(config.get("page_size", 100)),
            first_page=int(config.get("first_page", 1)),
            next_path=config.get("next_path", "next"),
        )

    def first(self) -> PageRequest:
        """How the first page is asked for."""
        parameters = {self.size_parameter: str(self.page_size)} if self.size_parameter else {}
        if self.style == "page":
            parameters[self.parameter] = str(self.first_page)
        elif self.style == "offset":
            parameters[self.parameter] = "0"
        return PageRequest(parameters)

    def following(
        self, asked: PageRequest, *, url: str, body: Any, headers: Mapping[str, str], count: int
    ) -> PageRequest | None:
        """How the page after an answer is asked for; None when it was the last.

        Raises:
            UnreadableInput: the answer points to itself, so that reading would never end.
        """
        found = self._next(asked, url=url, body=body, headers=headers, count=count)
        if found is not None and found == asked:
            raise UnreadableInput(
                "The API names the same page as the next one, so reading would never end.",
                field="next_path",
                value=found.url or str(dict(found.parameters)),
                remedy="Check the paging style and where the next cursor stands.",
            )
        return found

    def _next(
        self, asked: PageRequest, *, url: str, body: Any, headers: Mapping[str, str], count: int
    ) -> PageRequest | None:
        if self.style in {"page", "offset"}:
            if count == 0 or (self.size_parameter and count < self.page_size):
                return None
            step = 1 if self.style == "page" else count
            return PageRequest({**asked.parameters, self.parameter: str(int(asked.parameters[self.parameter]) + step)})
        if self.style in {"cursor_body", "cursor_header"}:
            cursor = find_path(body, self.next_path) if self.style == "cursor_body" else headers.get(self.next_path)
            if cursor in (None, "", False):
                return None
            return PageRequest({**asked.parameters, self.parameter: str(cursor)})
        link = None
        if self.style == "link_header":
            links = {relation: target for target, relation in LINK.findall(headers.get("Link", ""))}
            link = links.get("next")
        elif self.style == "next_url":
            link = find_path(body, self.next_path)
        return PageRequest(url=urljoin(url, str(link))) if link else None


def find_path(value: Any, path: str) -> Any:
    """The value at a dotted path (`data.items`), or None; the value itself for an empty path."""
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def records_of(body: Any, path: str) -> list[dict[str, Any]]:
    """The list of objects at a dotted path of an answer.

    Raises:
        UnreadableInput: there is no list there, or its items are no objects.
    """
    found = find_path(body, path)
    if isinstance(found, Mapping) and not path:
        names = ", ".join(name for name, inner in found.items() if isinstance(inner, list))
        raise UnreadableInput(
            "The answer is an object, not a list.",
            field="records",
            value=path,
            remedy=f"Name the path of the list, for example one of: {names}."
            if names
            else "Name the path of the list.",
        )
    if not isinstance(found, list):
        raise UnreadableInput(
            f"The answer has no list at {path!r}.", field="records", value=path, remedy="Check the path of the list."
        )
    if any(not isinstance(record, Mapping) for record in found):
        raise UnreadableInput("The list in the answer does not hold objects.", field="records", value=path)
    return found
