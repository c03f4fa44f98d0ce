"""Dump and restore a collection that another program made and decant adopted, to the letter.

Every point goes along with its own id, its payload and all its vectors, whether decant knows them
or not, and so do the settings of the collection on its server. The restored one is adopted in the
same way, and the other program opens it as it opened the first. A folder of Edge holds collections
of decant's alone, so it takes none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from decant.embedders import StoreError

from ..foreign_payloads.raw_point import RawPoint
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import Layout
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Engine, Store
from .archive import DumpReader, DumpWriter
from .header import DumpError

if TYPE_CHECKING:
    from ..adoption.stored_collection import StoredCollection
    from ..adoption.stored_points import StoredPoints
    from ..server.store import RemoteStore

_PAGE = 256


class AdoptedContents:
    """The points of an adopted collection, by which everything of them is compared.

    The program that made it writes without a lease, and may replace a vector alone.

    Args:
        store: What holds it.
        name: Its own name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._points = stored_points(store, name)

    def pages(self) -> Iterator[list[RawPoint]]:
        """Yield the points with their vectors."""
        return self._points.pages(_PAGE)

    def pages_again(self) -> Iterator[list[RawPoint]]:
        """Yield the points with their vectors."""
        return self._points.pages(_PAGE)

    def fingerprint(self, point: RawPoint) -> bytes:
        """Return all that a point is."""
        return point.to_bytes()

    def vector_bytes(self, point: RawPoint) -> int:  # noqa: ARG002 - as for points of decant's
        """Return none, because the fingerprint has the vectors."""
        return 0

    def write(self, writer: DumpWriter, block: list[RawPoint]) -> None:
        """Write a block of points."""
        writer.add_raw(block)


def stored_points(store: Store, name: str) -> StoredPoints:
    """Return what reads and writes the points of an adopted collection to the letter."""
    # Imported here, because a folder does not need qdrant-client.
    from ..adoption.stored_points import StoredPoints

    return StoredPoints(cast("RemoteStore", store).requests, name)


def read_stored(store: Store, name: str) -> str:
    """Return how the server keeps an adopted collection, as JSON text.

    Raises:
        StoreInputError: Its points lie in shards that the program chooses by keys.
    """
    from ..adoption.stored_collection import StoredCollection

    return StoredCollection.read(cast("RemoteStore", store).requests, name).to_json()


class AdoptedTarget:
    """The collection that a dump of an adopted one is restored into.

    Args:
        reader: The dump.
        store: What shall hold it.
        name: Its name.

    Raises:
        StoreInputError: The store is a folder, or another layout is asked for.
        DumpError: The dump is damaged, or of a newer qdrant-client.
    """

    def __init__(self, reader: DumpReader, store: Store, name: str, layout: Layout) -> None:
        _check_place(store, name, layout)
        if reader.card.payload_layout is None:
            raise DumpError("the dump says that the collection was adopted, and not how it lies")
        self._store = cast("RemoteStore", store)
        self._name = name
        self._settings = _settings_of(reader)

    def make(self, card: CollectionMetadata) -> None:
        """Make the empty collection; other programs see it from now on."""
        self._settings.make(self._store.requests, self._name, card)

    def complete_indexes(self) -> None:
        """Make the payload indexes that it lacks, also if the process that made it was killed."""
        self._settings.make_indexes(self._store.requests, self._name)

    def there(self, block: list[RawPoint]) -> set[int | str]:
        """Return the ids of the points of a block that are stored."""
        return stored_points(self._store, self._name).there([point.id for point in block])

    def write(self, points: list[RawPoint]) -> None:
        """Store points."""
        stored_points(self._store, self._name).write(points)


def _settings_of(reader: DumpReader) -> StoredCollection:
    from ..adoption.stored_collection import StoredCollection

    try:
        return StoredCollection.from_json(reader.stored, where="stored.json in the dump")
    except DumpError:
        raise
    except StoreError as error:
        raise DumpError(str(error)) from error


def _check_place(store: Store, name: str, layout: Layout) -> None:
    if store.engine is Engine.EDGE:
        raise StoreInputError(
            f"the dump is of an adopted collection, whose points another program reads, and "
            f"{store.place} is a folder of Edge, which no other program opens; restore it on a "
            f"server, and move its texts here with migrate(store, {name!r}, encoder, to=…)"
        )
    if layout != Layout():
        raise StoreInputError(
            "an adopted collection keeps its layout; restore it without another one (--storage, "
            "--originals), and change it with a client of the server, or migrate the collection"
        )
