"""Several writers of one collection in one process, each through a ``Collection`` of its own."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from decant.embedders import HashEncoder, Role, StoreError, Vectors
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Field,
    FieldIn,
    IndexReport,
    Point,
    Record,
    Store,
)
from decant.integrations.qdrant.points.handle import Target
from decant.integrations.qdrant.points.locks import CollectionLock, lock_of
from decant.integrations.qdrant.stores.point_ids import Kind
from stores import Between
from threads import in_thread, wait_until

SMALL = Chunking(max_tokens=8)
ROOT = "r"


class Held(HashEncoder):
    """Waits before it embeds passages, once it is told to, until it is let go."""

    def __init__(self) -> None:
        super().__init__(16)
        self.waits, self.begun, self.go_on = False, threading.Event(), threading.Event()

    def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
        if self.waits:
            self.begun.set()
            assert self.go_on.wait(20)
        yield from super().stream(texts, role=role, **options)


def text(source: str, version: str, parts: Iterable[int] = range(3)) -> str:
    """Return a text of one chunk a part; the first is the same in every version."""
    first = f"the first words of {source} stay"
    rest = [f"part {part} of {source} in the version {version}" for part in parts]
    return "\n\n".join([first, *rest])


def documents(version: str, count: int, **metadata: Any) -> list[Document]:
    return [
        Document(source=f"{n}", text=text(f"{n}", version), root=ROOT, metadata=metadata)
        for n in range(count)
    ]


def stored(collection: Collection) -> dict[str, str]:
    """Return each document's text, put together from its chunks."""
    chunks: dict[str, list[tuple[int, str]]] = {}
    for passage in collection.each():
        chunks.setdefault(passage.source, []).append((passage.start, passage.text))
    return {source: "\n\n".join(t for _, t in sorted(held)) for source, held in chunks.items()}


def lock(collection: Collection) -> CollectionLock:
    return lock_of(collection.store, "docs", collection.store.card("docs").mark)


def through(store: object) -> Collection:
    """Return the collection as one that works through this store."""
    held: Any = store
    mark = held.card("docs").mark
    target = Target(store=held, name="docs", mark=mark, encoder=HashEncoder(16), sparse=False)
    return Collection(target)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def slow(store: Store, held: Held) -> Collection:
    """Return a collection that the tests hold up."""
    return Collection.create(store, "docs", held)


@pytest.fixture
def quick(store: Store, slow: Collection) -> Collection:
    """Return the same collection, opened a second time."""
    return Collection.open(store, "docs", HashEncoder(16))


class TestTwoIndexers:
    def test_a_second_one_waits_until_the_first_has_ended(
        self, slow: Collection, quick: Collection, held: Held
    ) -> None:
        held.waits = True
        first = in_thread(lambda: slow.index(documents("one", 5), chunking=SMALL))
        assert held.begun.wait(20)
        second = in_thread(lambda: quick.index(documents("two", 5), chunking=SMALL))
        wait_until(lambda: lock(slow).indexing.waiting == 1)
        assert quick.count() == 0
        held.go_on.set()
        first.join(20)
        second.join(20)
        assert stored(quick) == {f"{n}": text(f"{n}", "two") for n in range(5)}
        assert quick.check().is_sound

    def test_each_document_is_of_one_version(self, edge: Store) -> None:
        Collection.create(edge, "docs", HashEncoder(16))
        start = threading.Barrier(2)
        reports: list[IndexReport] = []

        def index(version: str) -> None:
            collection = Collection.open(edge, "docs", HashEncoder(16))
            start.wait(20)
            reports.append(collection.index(documents(version, 400), chunking=SMALL))

        for thread in [in_thread(lambda v=version: index(v)) for version in ("one", "two")]:  # type: ignore[misc]
            thread.join(60)
        collection = Collection.open(edge, "docs", HashEncoder(16))
        versions = [{f"{n}": text(f"{n}", v) for n in range(400)} for v in ("one", "two")]
        assert stored(collection) in versions
        assert sorted(report.added for report in reports) == [0, 400]
        assert collection.check().is_sound
        collection.index(documents("one", 400), chunking=SMALL)
        assert stored(collection) == versions[0]

    def test_a_run_within_a_run_mixes_nothing(self, slow: Collection) -> None:
        inner = documents("inner", 75)

        def outer() -> Iterator[Document]:
            yield from documents("outer", 70)
            slow.index(inner, chunking=SMALL)
            yield Document(source="last", text="the last", root=ROOT)

        slow.index(outer(), chunking=SMALL)
        for source, found in stored(slow).items():
            assert found in (text(source, "outer"), text(source, "inner"), "the last")
        assert slow.check().is_sound


class TestADeleterBesideAnIndexer:
    @pytest.mark.parametrize(
        "delete",
        [
            lambda collection: collection.delete_source("2"),
            lambda collection: collection.delete_where(FieldIn(Field.SOURCE, ["2", "3"])),
            lambda collection: collection.clear(),
            lambda collection: collection.delete([p.id for p in collection.each()][:7]),
        ],
        ids=["delete_source", "delete_where", "clear", "delete"],
    )
    def test_it_does_not_wait_for_the_run_and_nothing_is_marked_done_without_its_chunks(
        self,
        slow: Collection,
        quick: Collection,
        held: Held,
        delete: Callable[[Collection], object],
    ) -> None:
        slow.index(documents("one", 5), chunking=SMALL)
        held.waits = True
        reports: list[IndexReport] = []
        run = in_thread(lambda: reports.append(slow.index(documents("two", 5), chunking=SMALL)))
        assert held.begun.wait(20)
        deleter = in_thread(lambda: delete(quick))
        deleter.join(20)
        assert not deleter.is_alive(), "it waited for the embedding"
        held.go_on.set()
        run.join(20)
        assert stored(quick) == {f"{n}": text(f"{n}", "two") for n in range(5)}
        assert quick.check().is_sound
        assert reports[0].documents == 5
        assert quick.index(documents("two", 5), chunking=SMALL) == IndexReport(unchanged=5)

    def test_a_document_under_way_in_several_batches_is_written_whole(
        self, slow: Collection, quick: Collection
    ) -> None:
        long = Document(source="long", text=text("long", "one", range(700)), root=ROOT)
        deleted: list[int] = []

        def delete(points: list[Point]) -> None:
            # After the first batch of the document, before its second.
            if not deleted and any(p.payload["kind"] == "chunk" for p in points):
                deleted.append(0)
                thread = in_thread(lambda: deleted.append(quick.delete_source("long")))
                wait_until(lambda: lock(slow).writing.waiting == 1)
                threads.append(thread)

        threads: list[threading.Thread] = []
        between = through(Between(slow.store, "upsert", delete))
        report = between.index([long], chunking=SMALL)
        threads[0].join(20)
        assert deleted[1] > 0, "it came between two batches, not after the last"
        assert stored(quick) == {"long": long.text}
        assert quick.check().is_sound
        assert report.added == 1

    def test_a_record_that_takes_the_place_of_a_chunk_is_not_overlooked(
        self, slow: Collection, quick: Collection, held: Held
    ) -> None:
        slow.index(documents("one", 2), chunking=SMALL)
        chunk = next(p for p in quick.each() if p.source == "1" and p.start == 0)
        held.waits = True
        run = in_thread(lambda: slow.index(documents("two", 2), chunking=SMALL))
        assert held.begun.wait(20)
        quick.add([Record(id=chunk.id, text="a record")])
        held.go_on.set()
        run.join(20)
        assert quick.check().is_sound
        assert stored(quick) == {f"{n}": text(f"{n}", "two") for n in range(2)}

    def test_whatever_is_deleted_meanwhile_the_next_run_completes(self, edge: Store) -> None:
        collection = Collection.create(edge, "docs", HashEncoder(16))
        other = Collection.open(edge, "docs", HashEncoder(16))
        ended = threading.Event()
        draw = random.Random(3)
        errors: list[Exception] = []

        def delete() -> None:
            try:
                while not ended.is_set():
                    other.delete_source(str(draw.randrange(100)))
                    ids = [hit.id for hit in other.search("part", limit=5)]
                    other.delete(ids)
            except Exception as error:  # noqa: BLE001 (it must not get lost in the thread)
                errors.append(error)

        deleter = in_thread(delete)
        for round_ in range(4):
            collection.index(documents(f"v{round_}", 100), chunking=SMALL)
        ended.set()
        deleter.join(20)
        assert errors == []
        report = collection.check()
        assert (report.missing, report.surplus, report.replaced, report.orphaned) == (0, 0, 0, 0)
        collection.index(documents("v3", 100), chunking=SMALL)
        assert stored(collection) == {f"{n}": text(f"{n}", "v3") for n in range(100)}
        assert collection.check().is_sound

    def test_it_comes_between_two_batches_of_the_run(
        self, slow: Collection, quick: Collection
    ) -> None:
        quick.add([Record(id="old", text="old", source="old")])
        quick.index([Document(source="away", text="away")])
        order: list[str] = []

        def delete() -> None:
            quick.delete_source("away")
            order.append("-")

        def note(points: list[Point]) -> None:
            order.extend({str(point.payload["kind"]) for point in points})
            if len(order) == 1:
                threads.append(in_thread(delete))
                wait_until(lambda: lock(slow).writing.waiting == 1)

        threads: list[threading.Thread] = []
        between = through(Between(slow.store, "upsert", note))
        between.index(documents("one", 300), chunking=SMALL)
        threads[0].join(20)
        after = order.index("-")
        assert 0 < after < len(order) - 5, "the run went on long after"


class TestPointsThatVanish:
    """Another process, or a request that came late, deletes what a run has just looked at."""

    def test_a_chunk_that_is_gone_is_written_anew_with_its_vector(self, slow: Collection) -> None:
        slow.index(documents("one", 6), chunking=SMALL)
        gone: list[str] = []

        def delete(points: list[Point]) -> None:
            if not gone:
                gone.append(points[2].id)
                slow.store.delete("docs", gone)

        between = through(Between(slow.store, "set_fields", delete))
        report = between.index(documents("one", 6, year=2), chunking=SMALL)
        assert (report.changed, report.embedded) == (6, 1)
        assert gone
        assert stored(slow) == {f"{n}": text(f"{n}", "one") for n in range(6)}
        assert slow.check().is_sound
        (passage,) = slow.get(gone, with_vectors=True)
        assert passage.vector is not None
        assert passage.metadata == {"year": 2}

    def test_a_run_whose_points_vanish_again_and_again_says_so(self, slow: Collection) -> None:
        slow.index(documents("one", 3), chunking=SMALL)

        class Losing(Between):
            def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
                return [point.id for point in points if point.payload["chunk"] == 2][:1]

        losing = through(Losing(slow.store, "", lambda _: None))
        with pytest.raises(StoreError, match=r"chunks of 1 documents, '.' first, were deleted"):
            losing.index(documents("one", 3, year=2), chunking=SMALL)
        assert slow.check().interrupted == 1
        slow.index(documents("one", 3, year=3), chunking=SMALL)
        assert slow.check().is_sound
        assert {str(passage.metadata["year"]) for passage in slow.each()} == {"3"}


def test_nobody_empties_a_collection_between_its_note_and_the_vectors_it_is_of(
    slow: Collection,
) -> None:
    emptied: list[threading.Thread] = []

    def empty(points: list[Point]) -> None:
        if points[0].payload["kind"] == Kind.NOTE:
            emptied.append(in_thread(slow.clear))
            wait_until(lambda: lock(slow).writing.waiting == 1)

    noting = through(Between(slow.store, "upsert", empty))
    noting.index(documents("one", 3), chunking=SMALL)
    emptied[0].join()
    slow.index(documents("one", 3), chunking=SMALL)
    assert [one.precision for one in slow.info().filled_by] == ["fp32"]
