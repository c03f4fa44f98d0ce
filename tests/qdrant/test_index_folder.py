"""A folder and its collection are kept in step: what vanished leaves, what is unreadable stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from decant.embedders import TextError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Field,
    FieldIn,
    IndexReport,
    read_documents,
)


def stored(collection: Collection, source: str) -> list[str]:
    """Return the texts of a document's chunks in their order in it."""
    hits = collection.search("x", limit=1_000, where=FieldIn(Field.SOURCE, [source]))
    return [hit.text for hit in sorted(hits, key=lambda hit: hit.start)]


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
