"""A name that is followed through a migration, with the encoders of both of its collections.

A :class:`Collection` is one collection for good. What searches and writes for days asks here before
each search which collection the name means by now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import TypeVar

from decant.embedders import CollectionMismatch, Encoder

from ..collection import Collection
from ..open import target_of
from ..points.provenance import Filling, read_fillings
from ..stores.aliases import CollectionMovedError, FoundCollection
from ..stores.protocol import Store
from ..tenants.unbound_store import whole_store

T = TypeVar("T")

_PAUSE = 0.1


class CollectionFollower:
    """Opens what a name means, again and again, with the encoder that fits.

    Safe to use from several threads.

    Args:
        store: The store of the collection.
        name: Its name, or an alias.
        encoders: The encoders of the collection before and after the migration.
        patience: For how many seconds a write is repeated while a cut-over is under way.
        tenant: The tenant whose view is opened, of a collection with tenants.

    >>> import tempfile
    >>> from decant.embedders import HashEncoder
    >>> from decant.integrations.qdrant import Collection, CollectionFollower, Record, connect
    >>> from decant.integrations.qdrant import migrate
    >>> old, new = HashEncoder(16), HashEncoder(32)
    >>> with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    ...     ids = Collection.create(store, "docs", old).add([Record(id="a", text="a cat")])
    ...     docs = CollectionFollower(store, "docs", [old, new])
    ...     before = docs.current().encoder.dim
    ...     migration = migrate(store, "docs", new)
    ...     done = migration.run()
    ...     migration.cut_over()
    ...     before, docs.current().encoder.dim, docs.current().search("cat")[0].id
    (16, 32, 'a')
    """

    def __init__(
        self,
        store: Store,
        name: str,
        encoders: Sequence[Encoder],
        *,
        patience: float = 60.0,
        tenant: str | None = None,
    ) -> None:
        self._store = whole_store(store, f"following what {name!r} means")
        self._tenant = tenant
        self._name = name
        self._encoders = tuple(encoders)
        self._patience = patience
        self._opening = Lock()
        self._held: tuple[str, Collection] | None = None

    def current(self) -> Collection:
        """Return the collection that the name means now; this asks the store.

        Raises:
            CollectionMismatch: None of the encoders is that of the collection.
            StoreError: The name means no collection, or the store failed.
        """
        found = self._store.find(self._name)
        with self._opening:
            if self._held is not None and self._held[0] == found.card.mark:
                return self._held[1]
            # Not by its name, which may come to mean another one in between.
            target = target_of(self._store, found, self._encoder(found))
            opened = Collection(replace(target, alias=self._name))
            if self._tenant is not None:
                opened = opened.tenant(self._tenant)
            self._held = (found.card.mark, opened)
            return opened

    def write(self, change: Callable[[Collection], T]) -> T:
        """Return the result of a change, which is repeated if a cut-over has closed the collection.

        Args:
            change: Called with the collection. If it adds several hundred records, give these ids,
                because the first of them may have been stored before it is repeated.

        Raises:
            CollectionMovedError: The cut-over is not done within the patience.
        """
        end = time.monotonic() + self._patience
        while True:
            collection = self.current()
            try:
                return change(collection)
            except CollectionMovedError:
                if self.current() is not collection:
                    continue
                if time.monotonic() > end:
                    raise
                time.sleep(_PAUSE)

    def _encoder(self, found: FoundCollection) -> Encoder:
        digest, dim = found.card.recipe.digest(), found.card.dim
        fits = [one for one in self._encoders if (one.recipe.digest(), one.dim) == (digest, dim)]
        if not fits:
            given = ", ".join(one.recipe.base for one in self._encoders)
            raise CollectionMismatch(
                f"the name {self._name!r} in {self._store.place} means {found.name!r} by now, of "
                f"{found.card.recipe.base} ({digest}), and the encoders here are {given}; give its "
                "encoder, too"
            )
        if len(fits) > 1:  # of several precisions
            filled_by = {one.precision for one in read_fillings(self._store, found.name)}
            fits.sort(key=lambda one: Filling.of(one).precision not in filled_by)
        return fits[0]
