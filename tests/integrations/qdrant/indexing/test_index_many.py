"""Many documents are indexed together: batches, threads, memory, progress, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import HashEncoder, Role, StoreError, TextError, Vectors
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Field,
    FieldIn,
    IndexReport,
    Record,
    Store,
)

SMALL = Chunking(max_tokens=8)


def paragraphs(*numbers: int) -> str:
    """Return a text that ``SMALL`` cuts into one chunk a number."""
    return "\n\n".join(f"paragraph {n} has the words a{n} b{n} c{n}" for n in numbers)


def stored(collection: Collection, source: str) -> list[str]:
    """Return the texts of a document's chunks in their order in it."""
    hits = collection.search("x", limit=1_000, where=FieldIn(Field.SOURCE, [source]))
    return [hit.text for hit in sorted(hits, key=lambda hit: hit.start)]


class TestManyDocuments:
    def test_chunks_of_many_are_embedded_together(self, docs: Collection, watched: Any) -> None:
        report = docs.index(Document(source=f"{n}", text=f"text number {n}") for n in range(300))
        assert report == IndexReport(added=300, embedded=300)
        assert watched.streams == 1
        assert docs.count() == 300

    def test_a_text_that_another_document_has_is_not_embedded_again(
        self, docs: Collection, embedded: list[str]
    ) -> None:
        docs.index([Document(source="old", text=paragraphs(*range(6)), root="r")], chunking=SMALL)
        embedded.clear()
        renamed = [Document(source="new", text=paragraphs(*range(6), 7), root="r")]
        report = docs.index(renamed, chunking=SMALL)
        assert report == IndexReport(added=1, removed=1, embedded=1, reused=6, deleted=6)
        assert embedded == [paragraphs(7)]
        (hit,) = docs.search(paragraphs(3), limit=1)
        assert (hit.source, round(hit.score, 5)) == ("new", 1)

    def test_the_same_source_in_two_roots_is_two_documents(self, docs: Collection) -> None:
        first = [Document(source="a", text=paragraphs(1), root="r")]
        second = [Document(source="a", text=paragraphs(2), root="s")]
        docs.index(first, chunking=SMALL)
        docs.index(second, chunking=SMALL)
        assert sorted(stored(docs, "a")) == [paragraphs(1), paragraphs(2)]
        changed = [Document(source="a", text=paragraphs(3), root="s")]
        assert docs.index(changed, chunking=SMALL) == IndexReport(changed=1, embedded=1, deleted=1)
        assert sorted(stored(docs, "a")) == [paragraphs(1), paragraphs(3)]

    def test_a_document_given_twice_is_refused(self, docs: Collection) -> None:
        twice = [Document(source="a", text="one"), Document(source="a", text="two")]
        with pytest.raises(TextError, match="'a' of root None appears twice"):
            docs.index(twice)
        assert docs.count() == 0

    def test_progress_is_told_in_the_callers_thread_and_ends_with_the_report(
        self, docs: Collection
    ) -> None:
        told: list[IndexReport] = []
        threads = set()

        def progress(report: IndexReport) -> None:
            told.append(report)
            threads.add(threading.get_ident())

        documents = [Document(source=f"{n}", text=f"text {n}") for n in range(200)]
        report = docs.index(documents, progress=progress)
        assert report == IndexReport(added=200, embedded=200)
        assert told[-1] == report
        assert [item.documents for item in told] == sorted(item.documents for item in told)
        assert threads == {threading.get_ident()}

    def test_endless_documents_are_taken_in_bounded_memory(self, edge: Store) -> None:
        # The writer stops, so reading must stop too, and not run ahead for ever.
        collection = Collection.create(edge, "docs", HashEncoder(16))
        read = 0

        def endless() -> Iterator[Document]:
            nonlocal read
            for number in count():
                read = number
                yield Document(source=str(number), text=f"text {number}")

        stop = threading.Event()
        original = edge.upsert

        def stuck(name: str, points: object) -> None:
            stop.wait(20)
            raise StoreError("stuck")

        edge.upsert = stuck  # type: ignore[method-assign]
        failed: list[StoreError] = []

        def run() -> None:
            try:
                collection.index(endless())
            except StoreError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        before = -1
        while read != before or read == 0:
            before = read
            time.sleep(0.5)
        stop.set()
        thread.join(20)
        edge.upsert = original  # type: ignore[method-assign]
        assert before < 12_000
        assert str(failed[0]) == "stuck"

    def test_a_wall_of_known_texts_does_not_wait_for_a_full_block(self, edge: Store) -> None:
        # One new text among thousands of repeated ones: its block would fill only much later.
        collection = Collection.create(edge, "docs", HashEncoder(16))
        texts = "\n\n".join(["same words here"] * 12_000 + ["another text"])
        report = collection.index(
            [Document(source="a", text=texts)], chunking=Chunking(max_tokens=3)
        )
        assert (report.embedded, report.reused) == (2, 11_999)


def test_an_encoder_error_stops_the_run_and_nothing_is_lost(store: Store) -> None:
    class Failing(HashEncoder):
        def _states(self, words: list[str]) -> NDArray[np.float32]:
            if "fatal" in words:
                raise RuntimeError("out of memory")
            return super()._states(words)

    collection = Collection.create(store, "docs", Failing(16))
    collection.index([Document(source="a", text="fine")])
    with pytest.raises(RuntimeError, match="out of memory"):
        collection.index([Document(source="a", text="fatal"), Document(source="b", text="b")])
    assert stored(collection, "a") == ["fine"]
    assert stored(collection, "b") == []
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"decant-embed", "decant-write"}, "no thread is left behind"


def test_while_one_thread_indexes_others_delete_and_other_indexers_wait(edge: Store) -> None:
    class Waiting(HashEncoder):
        def __init__(self) -> None:
            super().__init__(16)
            self.waits, self.begun, self.go_on = False, threading.Event(), threading.Event()

        def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
            if self.waits and threading.current_thread().name == "decant-embed":
                self.begun.set()
                self.go_on.wait(20)
            yield from super().stream(texts, role=role, **options)

    encoder = Waiting()
    collection = Collection.create(edge, "docs", encoder)
    collection.index([Document(source="a", text=paragraphs(1, 2))], chunking=SMALL)
    kept = next(hit for hit in collection.search("x") if hit.text == paragraphs(1))
    edited = [Document(source="a", text=paragraphs(1, 3))]
    encoder.waits = True
    indexing = threading.Thread(target=lambda: collection.index(edited, chunking=SMALL))
    indexing.start()
    assert encoder.begun.wait(20)
    deleting = threading.Thread(target=lambda: collection.delete([kept.id]))
    deleting.start()
    deleting.join(20)
    again = threading.Thread(target=lambda: collection.index(edited, chunking=SMALL))
    again.start()
    collection.add([Record(id="1", text="a record"), Record(id="2", text="another")])
    assert collection.delete(["2"]) == 1
    assert collection.get(["1"])[0].text == "a record"
    assert not deleting.is_alive(), "who deletes does not wait for the embedding"
    assert again.is_alive()
    encoder.go_on.set()
    for thread in (indexing, again):
        thread.join(20)
    assert stored(collection, "a") == [paragraphs(1), paragraphs(3)]
