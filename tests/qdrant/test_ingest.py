"""Indexing documents: what is embedded, kept, moved and removed, and what is never lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from decant.embedders import HashEncoder, Progress, Role, StoreError, TextError, Vectors
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Equals,
    Field,
    FieldIn,
    IndexReport,
    Record,
    Store,
    read_documents,
)

SMALL = Chunking(max_tokens=8)


class Watched(HashEncoder):
    """Remembers the texts that it was given to embed as passages, in order."""

    def __init__(self) -> None:
        super().__init__(16)
        self.texts: list[str] = []
        self.streams = 0

    def stream(
        self, texts: Iterable[str], *, role: Role, progress: Progress | None = None
    ) -> Iterator[Vectors]:
        def watch() -> Iterator[str]:
            for text in texts:
                self.texts.append(text)
                yield text

        if role is Role.QUERY:
            yield from super().stream(texts, role=role, progress=progress)
        else:
            self.streams += 1
            yield from super().stream(watch(), role=role, progress=progress)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def docs(store: Store, watched: Watched) -> Collection:
    return Collection.create(store, "docs", watched)


def paragraphs(*numbers: int) -> str:
    """Return a text that ``SMALL`` cuts into one chunk a number."""
    return "\n\n".join(f"paragraph {n} has the words a{n} b{n} c{n}" for n in numbers)


def stored(collection: Collection, source: str) -> list[str]:
    """Return the texts of a document's chunks in their order in it."""
    hits = collection.search("x", limit=1_000, where=FieldIn(Field.SOURCE, [source]))
    return [hit.text for hit in sorted(hits, key=lambda hit: hit.start)]


class TestOneDocument:
    def test_its_chunks_can_be_found_with_source_place_and_metadata(self, docs: Collection) -> None:
        text = paragraphs(*range(5))
        report = docs.index(
            [Document(source="a.md", text=text, metadata={"lang": "en"}, root="r")], chunking=SMALL
        )
        assert report == IndexReport(added=1, embedded=5)
        (hit,) = docs.search("a3 b3 c3", limit=1, where=Equals("lang", "en"))
        assert (hit.source, hit.root, hit.metadata) == ("a.md", "r", {"lang": "en"})
        assert text[hit.start : hit.start + len(hit.text)] == hit.text
        assert "a3 b3 c3" in hit.text

    def test_unchanged_it_costs_no_embedding(self, docs: Collection, watched: Watched) -> None:
        document = Document(source="a", text=paragraphs(*range(5)))
        docs.index([document], chunking=SMALL)
        watched.texts.clear()
        assert docs.index([document], chunking=SMALL) == IndexReport(unchanged=1)
        assert watched.texts == []

    def test_an_edit_at_the_end_embeds_one_chunk(self, docs: Collection, watched: Watched) -> None:
        docs.index([Document(source="a", text=paragraphs(*range(5)))], chunking=SMALL)
        watched.texts.clear()
        edited = paragraphs(0, 1, 2, 3, 99)
        report = docs.index([Document(source="a", text=edited)], chunking=SMALL)
        assert report == IndexReport(changed=1, embedded=1, reused=4, deleted=1)
        assert watched.texts == [paragraphs(99)]
        assert stored(docs, "a") == edited.split("\n\n")

    def test_an_edit_at_the_start_moves_the_rest_without_embedding(
        self, docs: Collection, watched: Watched
    ) -> None:
        docs.index([Document(source="a", text=paragraphs(*range(5)))], chunking=SMALL)
        watched.texts.clear()
        text = paragraphs(77, *range(5))
        report = docs.index([Document(source="a", text=text)], chunking=SMALL)
        assert report == IndexReport(changed=1, embedded=1, reused=5)
        assert watched.texts == [paragraphs(77)]
        (hit,) = docs.search(paragraphs(4), limit=1)
        assert hit.start == text.index(paragraphs(4)), "its place is the new one"

    def test_new_metadata_reaches_all_chunks_without_embedding(
        self, docs: Collection, watched: Watched
    ) -> None:
        text = paragraphs(*range(5))
        docs.index([Document(source="a", text=text, metadata={"n": 1, "old": 1})], chunking=SMALL)
        watched.texts.clear()
        changed = Document(source="a", text=text, metadata={"n": True})
        report = docs.index([changed], chunking=SMALL)
        assert report == IndexReport(changed=1, reused=5)
        assert watched.texts == []
        for hit in docs.search("x", limit=10):
            assert hit.metadata == {"n": True}
            assert hit.metadata["n"] is True, "1 and True are not the same"

    def test_other_chunking_is_a_change(self, docs: Collection) -> None:
        text = paragraphs(*range(4))
        docs.index([Document(source="a", text=text)], chunking=SMALL)
        report = docs.index([Document(source="a", text=text)], chunking=Chunking(max_tokens=20))
        assert (report.changed, report.deleted) == (1, 4)
        assert "\n\n".join(stored(docs, "a")) == text

    def test_text_that_stands_twice_is_embedded_once_and_stored_twice(
        self, docs: Collection, watched: Watched
    ) -> None:
        document = Document(source="a", text=paragraphs(1, 2, 1, 1))
        report = docs.index([document], chunking=SMALL)
        assert report == IndexReport(added=1, embedded=2, reused=2)
        assert sorted(watched.texts) == [paragraphs(1), paragraphs(2)]
        assert stored(docs, "a") == [paragraphs(n) for n in (1, 2, 1, 1)]
        fewer = docs.index([Document(source="a", text=paragraphs(1, 2, 1))], chunking=SMALL)
        assert fewer == IndexReport(changed=1, reused=3, deleted=1)
        assert stored(docs, "a") == [paragraphs(n) for n in (1, 2, 1)]

    def test_without_text_it_is_stored_without_chunks(self, docs: Collection) -> None:
        empty = [Document(source="a", text=""), Document(source="b", text=" \n ")]
        assert docs.index(empty) == IndexReport(added=2)
        assert docs.index(empty) == IndexReport(unchanged=2)
        assert docs.count() == 0

    def test_that_lost_its_text_loses_its_chunks(self, docs: Collection) -> None:
        docs.index([Document(source="a", text=paragraphs(1, 2))], chunking=SMALL)
        report = docs.index([Document(source="a", text="")], chunking=SMALL)
        assert report == IndexReport(changed=1, deleted=2)

    def test_the_overlap_is_stored(self, docs: Collection) -> None:
        text = " ".join(f"w{number}" for number in range(30))
        docs.index([Document(source="a", text=text)], chunking=Chunking(max_tokens=10, overlap=4))
        chunks = stored(docs, "a")
        assert len(chunks) > 3
        assert set(chunks[0].split()) & set(chunks[1].split())


class TestManyDocuments:
    def test_chunks_of_many_are_embedded_together(self, docs: Collection, watched: Watched) -> None:
        report = docs.index(Document(source=f"{n}", text=f"text number {n}") for n in range(300))
        assert report == IndexReport(added=300, embedded=300)
        assert watched.streams == 1
        assert docs.count() == 300

    def test_a_text_that_another_document_has_is_not_embedded_again(
        self, docs: Collection, watched: Watched
    ) -> None:
        docs.index([Document(source="old", text=paragraphs(*range(6)), root="r")], chunking=SMALL)
        watched.texts.clear()
        renamed = [Document(source="new", text=paragraphs(*range(6), 7), root="r")]
        report = docs.index(renamed, chunking=SMALL)
        assert report == IndexReport(added=1, removed=1, embedded=1, reused=6, deleted=6)
        assert watched.texts == [paragraphs(7)]
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
        with pytest.raises(TextError, match="'a' of root None comes twice"):
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
        collection = Collection.create(edge, "docs", Watched())
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
        encoder = Watched()
        collection = Collection.create(edge, "docs", encoder)
        texts = "\n\n".join(["same words here"] * 12_000 + ["another text"])
        report = collection.index(
            [Document(source="a", text=texts)], chunking=Chunking(max_tokens=3)
        )
        assert (report.embedded, report.reused) == (2, 11_999)


class TestVanished:
    def documents(self, *names: str, root: str | None = "r") -> list[Document]:
        return [Document(source=name, text=f"text of {name}", root=root) for name in names]

    def test_a_document_that_its_root_no_longer_has_is_removed(self, docs: Collection) -> None:
        docs.index(self.documents("a", "b", "c"))
        report = docs.index(self.documents("a", "c"))
        assert report == IndexReport(unchanged=2, removed=1, deleted=1)
        assert docs.info().documents == 2
        assert stored(docs, "b") == []

    def test_other_roots_are_left_alone(self, docs: Collection) -> None:
        docs.index(self.documents("a", "b", root="r"))
        docs.index(self.documents("a", root="s"))
        docs.index(self.documents("a", root=None))
        assert docs.info().documents == 4

    def test_documents_without_root_are_never_removed_so(self, docs: Collection) -> None:
        docs.index(self.documents("a", "b", root=None))
        assert docs.index(self.documents("a", root=None)).removed == 0
        assert docs.index([]) == IndexReport()
        assert docs.count() == 2

    def test_nothing_is_removed_if_reading_stops_with_an_error(self, docs: Collection) -> None:
        docs.index(self.documents("a", "b", "c"))

        def breaking() -> Iterator[Document]:
            yield from self.documents("a")
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            docs.index(breaking())
        assert docs.count() == 3

    def test_records_are_left_alone(self, years: Collection) -> None:
        years.index(self.documents("book-0", "book-1"))
        years.index(self.documents("book-0"))
        assert years.count() == 10 + 1


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "texts"
        (folder / "sub").mkdir(parents=True)
        for name in ("a.txt", "b.txt", "sub/c.txt"):
            (folder / name).write_text(f"the text of {name}")
        return folder

    def test_a_folder_is_kept_in_step(self, docs: Collection, folder: Path) -> None:
        assert docs.index(read_documents(folder)) == IndexReport(added=3, embedded=3)
        assert docs.index(read_documents(folder)) == IndexReport(unchanged=3)
        (folder / "a.txt").write_text("other words")
        (folder / "b.txt").unlink()
        (folder / "d.txt").write_text("a fourth")
        report = docs.index(read_documents(folder))
        assert report == IndexReport(
            added=1, changed=1, unchanged=1, removed=1, embedded=2, deleted=2
        )
        assert {hit.source for hit in docs.search("x")} == {"a.txt", "d.txt", "sub/c.txt"}

    def test_what_became_unreadable_stays_and_is_reported(
        self, docs: Collection, folder: Path
    ) -> None:
        docs.index(read_documents(folder))
        (folder / "b.txt").write_bytes(b"\xff\xf0 broken")
        report = docs.index(read_documents(folder))
        assert (report.unchanged, report.removed, report.unreadable) == (2, 0, 1)
        assert report.problems[0].source == "b.txt"
        assert stored(docs, "b.txt") == ["the text of b.txt"]

    def test_a_folder_that_cannot_be_listed_keeps_its_documents(
        self, docs: Collection, folder: Path
    ) -> None:
        documents = read_documents(folder)
        docs.index(documents)
        from decant.integrations.qdrant import Unreadable
        from decant.integrations.qdrant.documents import Documents

        class Barred(Documents):
            """As if ``sub`` could not be listed; this test may run as root, who may list all."""

            def __iter__(self) -> Iterator[Document]:
                yield from (item for item in super().__iter__() if "/" not in item.source)
                self._unreadable.append(Unreadable(source="sub/", reason="barred"))

        report = docs.index(Barred(folder, documents.root))
        assert (report.unchanged, report.removed, report.unreadable) == (2, 0, 1)
        assert stored(docs, "sub/c.txt") == ["the text of sub/c.txt"]

    def test_a_folder_without_text_is_an_error_and_touches_nothing(
        self, docs: Collection, folder: Path
    ) -> None:
        docs.index(read_documents(folder))
        for path in folder.rglob("*.txt"):
            path.unlink()
        with pytest.raises(TextError, match="no readable text"):
            docs.index(read_documents(folder))
        assert docs.count() == 3

    def test_indexing_one_file_leaves_its_neighbours(self, docs: Collection, folder: Path) -> None:
        docs.index(read_documents(folder))
        docs.index(read_documents(folder / "a.txt"))
        assert docs.info().documents == 4


def test_an_encoder_error_stops_the_run_and_nothing_is_lost(store: Store) -> None:
    class Failing(Watched):
        def _vector(self, words: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            if "fatal" in words:
                raise RuntimeError("out of memory")
            return super()._vector(words)

    collection = Collection.create(store, "docs", Failing())
    collection.index([Document(source="a", text="fine")])
    with pytest.raises(RuntimeError, match="out of memory"):
        collection.index([Document(source="a", text="fatal"), Document(source="b", text="b")])
    assert stored(collection, "a") == ["fine"]
    assert stored(collection, "b") == []
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"decant-embed", "decant-write"}, "no thread is left behind"


def test_while_one_thread_indexes_others_who_touch_chunks_wait(edge: Store) -> None:
    class Waiting(Watched):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go_on = threading.Event(), threading.Event()

        def stream(
            self, texts: Iterable[str], *, role: Role, progress: Progress | None = None
        ) -> Iterator[Vectors]:
            if role is Role.PASSAGE and self.texts:
                self.begun.set()
                self.go_on.wait(20)
            yield from super().stream(texts, role=role, progress=progress)

    encoder = Waiting()
    collection = Collection.create(edge, "docs", encoder)
    collection.index([Document(source="a", text=paragraphs(1, 2))], chunking=SMALL)
    kept = next(hit for hit in collection.search("x") if hit.text == paragraphs(1))
    edited = [Document(source="a", text=paragraphs(1, 3))]
    indexing = threading.Thread(target=lambda: collection.index(edited, chunking=SMALL))
    indexing.start()
    assert encoder.begun.wait(20)
    deleting = threading.Thread(target=lambda: collection.delete([kept.id]))
    deleting.start()
    again = threading.Thread(target=lambda: collection.index(edited, chunking=SMALL))
    again.start()
    collection.add([Record(id="1", text="a record"), Record(id="2", text="another")])
    assert collection.delete(["2"]) == 1
    assert collection.get(["1"])[0].text == "a record", "records do not wait"
    assert deleting.is_alive()
    assert again.is_alive()
    encoder.go_on.set()
    for thread in (indexing, deleting, again):
        thread.join(20)
    collection.index(edited, chunking=SMALL)
    assert stored(collection, "a") == [paragraphs(1), paragraphs(3)]
