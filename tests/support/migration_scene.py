"""Collections to migrate: two encoders, what is stored, and what is there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from threading import Event
from typing import Any, TypeAlias

from decant.embedders import HashEncoder, Precision, Role, Vectors
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionSettings,
    Document,
    FieldType,
    PayloadIndex,
    Record,
    Select,
    Store,
    TenantStore,
    drop_replaced,
    migrate,
)
from decant.integrations.qdrant.migration.copier import COPIED
from decant.integrations.qdrant.stores.protocol import each

Contents: TypeAlias = dict[str, tuple[object, object]]

OLD, NEW = HashEncoder(16), HashEncoder(24)
SMALL = Chunking(max_tokens=8)
DOCUMENTS = 12
SETTINGS = CollectionSettings(indexed=(PayloadIndex(key="number", type=FieldType.INTEGER),))


class Precise(HashEncoder):
    """Says that it has a precision, and counts the texts that it embeds."""

    def __init__(self, precision: Precision, dim: int = 16) -> None:
        super().__init__(dim)
        self._precision = precision
        self.texts: list[str] = []

    @property
    def precision(self) -> Precision:
        return self._precision

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        texts = list(texts)
        self.texts += texts
        return super().encode(texts, role=role, **options)


def documents(*numbers: int, salt: int = 0) -> list[Document]:
    """Return documents whose chunks partly repeat, within one and among several."""
    return [
        Document(
            source=f"doc-{number}",
            root="r",
            text="\n\n".join(
                f"paragraph {part} of the topic t{(number * part + salt) % 7} and more"
                for part in range(number % 5)
            )
            + f"\n\nthe end of document {number}",
        )
        for number in numbers
    ]


def records(*numbers: int) -> list[Record]:
    return [
        Record(
            id=f"record-{number}",
            text=f"the record {number} of the year {number % 9}" if number % 11 else " ",
            metadata={"number": number, "share": number / 7},
        )
        for number in numbers
    ]


def fill(collection: Collection, *, count: int = DOCUMENTS) -> Collection:
    """Store so many documents, and twice as many records, some of which are blank."""
    collection.index(documents(*range(count)), chunking=SMALL)
    collection.add(records(*range(2 * count)))
    return collection


def contents(store: Store, name: str) -> Contents:
    """Return every point of what a name means, markers too, with payload and vector."""
    real = store.find(name).name
    return {
        point.id: (point.payload, None if point.dense is None else point.dense.tolist())
        for page in each(store, real, COPIED, Select(dense=True))
        for point in page
    }


def contents_of(store: Store, tenant: str) -> Contents:
    """Return what a tenant has in what ``docs`` means."""
    return contents(TenantStore.of(store, "docs", tenant), "docs")


def payloads(held: Contents) -> dict[str, object]:
    return {identity: payload for identity, (payload, _) in held.items()}


def without_grace(store: Store) -> Store:
    """Return a store in whose tests no other process writes, so that none need be waited for."""
    store.aliases.grace = 0.0  # type: ignore[misc]
    return store


def migrate_now(store: Store, encoder: HashEncoder = NEW) -> str:
    """Migrate ``docs``, or complete its migration, drop the old vectors, and return the name."""
    migration = migrate(store, "docs", encoder)
    migration.run()
    migration.cut_over()
    note = store.aliases.note(migration.target)
    if note is not None and note.previous is not None:
        drop_replaced(store, "docs", keep=timedelta(0))
    return migration.target


@contextmanager
def throughout(work: Callable[[int], object], *, least: int = 3) -> Iterator[Callable[[], None]]:
    """Repeat work in a thread during the block; its error is raised at the end.

    Yields:
        Waits until the work was done some more times.
    """
    done, ticks = Event(), count()
    turns = [0]

    def repeat() -> None:
        for number in ticks:
            if done.is_set():
                return
            work(number)
            turns[0] += 1

    with ThreadPoolExecutor(1) as pool:
        future: Future[None] = pool.submit(repeat)

        def wait() -> None:
            wanted = turns[0] + least
            while turns[0] < wanted and not future.done():
                done.wait(0.01)

        try:
            yield wait
        finally:
            done.set()
        future.result()
