"""Our own import-linter contract: an app's private rooms are imported by that app alone.

import-linter's `forbidden` with wildcards would also forbid an app its own models, and one contract per app would be
forgotten for the next app. This one covers every app there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph


class PrivateRoomsContract(Contract):
    """Forbid direct imports of `<package>.<app>.<room>` from outside `<package>.<app>`.

    Options:
        package: the package whose children are the apps.
        rooms: names of the private modules or packages.
        shared: modules that are open to all in spite of their room.
        composers: packages that may import `composed_rooms` of every app (they mount urls and consumers).
        composed_rooms: the rooms that composers may import.
    """

    type_name = "private_rooms"

    # import-linter replaces each field by its parsed value on the instance, which its types do not say.
    package: Any = fields.StringField()
    rooms: Any = fields.ListField(subfield=fields.StringField())
    shared: Any = fields.ListField(subfield=fields.StringField(), required=False)
    composers: Any = fields.ListField(subfield=fields.StringField(), required=False)
    composed_rooms: Any = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """List every import that enters another app's private room."""
        broken: list[dict[str, Any]] = []
        for imported in sorted(graph.modules):
            parts = imported.split(".")
            if len(parts) < 3 or parts[0] != self.package or parts[2] not in self.rooms:
                continue
            if any(_is_inside(imported, module) for module in self.shared or []):
                continue
            app = ".".join(parts[:2])
            for importer in sorted(graph.find_modules_that_directly_import(imported)):
                if _is_inside(importer, app) or self._may_compose(importer, parts[2]):
                    continue
                details = graph.get_import_details(importer=importer, imported=imported)
                broken.append(
                    {"importer": importer, "imported": imported, "lines": [d["line_number"] for d in details]}
                )
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each forbidden import with its lines, and what to import instead."""
        for link in check.metadata["broken"]:
            lines = ", ".join(f"l.{line}" for line in link["lines"])
            output.print_error(f"{link['importer']} imports {link['imported']} ({lines})", bold=True)
        output.print("Use the other app's services, selectors, contracts, events, registries, choices or exceptions.")

    def _may_compose(self, importer: str, room: str) -> bool:
        composers = self.composers or []
        return room in (self.composed_rooms or []) and any(_is_inside(importer, package) for package in composers)


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
