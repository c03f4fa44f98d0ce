"""What a tenant may see of its collection's names and migrations, none of which it may change."""

from __future__ import annotations

from collections.abc import Callable

from ..stores.aliases import Aliases, MigrationNote
from ..stores.collection_settings import PayloadIndex
from ..stores.input_errors import TenantError


class TenantAliases:
    """The aliases of one collection, and its part in migrations, to be read.

    Args:
        aliases: Those of the collection's store.
        name: The collection's own name.
        for_all: Makes the error for what concerns all tenants.
    """

    def __init__(self, aliases: Aliases, name: str, for_all: Callable[[str], TenantError]) -> None:
        self._aliases = aliases
        self._name = name
        self._for_all = for_all

    @property
    def grace(self) -> float:
        """That of the store."""
        return self._aliases.grace

    def all(self) -> dict[str, str]:
        """Return the aliases of the collection."""
        return {alias: name for alias, name in self._aliases.all().items() if name == self._name}

    def point(self, alias: str, name: str | None) -> None:  # noqa: ARG002
        """Refuse to change an alias."""
        raise self._for_all(f"changing what {alias!r} means")

    def note(self, name: str) -> MigrationNote | None:
        """Return the note of the collection; None for others."""
        return self._aliases.note(name) if name == self._name else None

    def set_note(self, name: str, note: MigrationNote | None) -> None:  # noqa: ARG002
        """Refuse to change a note."""
        raise self._for_all(f"migrating {name!r}")

    def indexed(self, name: str) -> tuple[PayloadIndex, ...]:
        """Return the metadata entries that the collection indexes; none for others."""
        return self._aliases.indexed(name) if name == self._name else ()

    def drop_replaced(self, alias: str, name: str) -> None:  # noqa: ARG002
        """Refuse to delete a collection."""
        raise self._for_all(f"dropping what {alias!r} was")
