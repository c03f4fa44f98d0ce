"""A folder and its collection are kept in step: what vanished leaves, what is unreadable stays."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, TextError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Field,
    FieldIn,
    IndexReport,
    Skipped,
    SkipReason,
    connect,
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
        from decant.integrations.qdrant.indexing.documents import Documents

        class Barred(Documents):
            """As if ``sub`` could not be listed; this test may run as root, who may list all."""

            def __iter__(self) -> Iterator[Document]:
                yield from (item for item in super().__iter__() if "/" not in item.source)
                self._walk.cannot("sub/", "barred")

        report = docs.index(Barred(folder, documents.root))
        assert (report.unchanged, report.removed, report.unreadable) == (2, 0, 1)
        assert stored(docs, "sub/c.txt") == ["the text of sub/c.txt"]

    def test_a_folder_that_never_held_text_is_an_error(
        self, docs: Collection, folder: Path, tmp_path: Path
    ) -> None:
        docs.index(read_documents(folder))
        (tmp_path / "typo").mkdir()
        with pytest.raises(TextError, match="no readable text"):
            docs.index(read_documents(tmp_path / "typo"))
        assert docs.count() == 3

    def test_an_emptied_folder_empties_its_root(
        self, docs: Collection, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.txt").write_text("of another root")
        docs.index(read_documents(tmp_path / "other"))
        docs.index(read_documents(folder))
        for path in folder.rglob("*.txt"):
            path.unlink()
        assert docs.index(read_documents(folder)) == IndexReport(removed=3, deleted=3)
        assert [passage.text for passage in docs.each()] == ["of another root"]
        with pytest.raises(TextError, match="no readable text"):
            docs.index(read_documents(folder))

    def test_an_emptied_folder_among_others_does_not_hide_them(
        self, docs: Collection, folder: Path, tmp_path: Path
    ) -> None:
        docs.index(read_documents(folder))
        (tmp_path / "empty").mkdir()
        both = chain(read_documents(tmp_path / "empty"), read_documents(folder))
        with pytest.raises(TextError, match="no readable text"):
            docs.index(both)
        assert docs.count() == 3

    def test_where_all_became_unreadable_nothing_is_removed(
        self, docs: Collection, folder: Path
    ) -> None:
        docs.index(read_documents(folder))
        for path in folder.rglob("*.txt"):
            path.write_bytes(b"\xff\xf0 broken")
        report = docs.index(read_documents(folder))
        assert (report.documents, report.removed, report.unreadable) == (0, 0, 3)
        assert docs.count() == 3

    @pytest.mark.parametrize("error", [FileNotFoundError, PermissionError, OSError])
    def test_a_folder_that_goes_before_it_is_listed_is_not_an_emptied_one(
        self,
        docs: Collection,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: type[OSError],
    ) -> None:
        docs.index(read_documents(folder))
        documents = read_documents(folder)

        def gone(_path: Path) -> None:
            raise error(5, "it is not there any more")

        monkeypatch.setattr("os.scandir", gone)
        report = docs.index(documents)
        assert (report.removed, [bad.source for bad in report.problems]) == (0, ["/"])
        assert docs.count() == 3

    def test_what_an_earlier_version_took_from_an_index_leaves(
        self, docs: Collection, folder: Path
    ) -> None:
        root = read_documents(folder).root
        card = Document(source="index/docs/collection.json", text='{"format": 1}', root=root)
        docs.index([*read_documents(folder), card])
        (folder / "index" / "docs" / "shard").mkdir(parents=True)
        (folder / "index" / "docs" / "collection.json").write_text(card.text)
        report = docs.index(read_documents(folder))
        assert (report.unchanged, report.removed) == (3, 1)
        assert report.skipped == (Skipped(source="index/docs/", reason=SkipReason.COLLECTION),)
        assert stored(docs, card.source) == []

    def test_a_folder_may_hold_the_store_it_is_indexed_into(
        self, folder: Path, watched: HashEncoder
    ) -> None:
        with connect(folder / "index") as store:
            docs = Collection.create(store, "docs", watched)
            assert docs.index(read_documents(folder)).added == 3
            again = docs.index(read_documents(folder))
            assert (again.documents, again.unchanged) == (3, 3)

    def test_a_renamed_folder_goes_on_under_its_name(
        self, docs: Collection, folder: Path, tmp_path: Path
    ) -> None:
        root = read_documents(folder).root
        docs.index(read_documents(folder))
        folder.rename(tmp_path / "renamed")
        (tmp_path / "renamed" / "a.txt").unlink()
        report = docs.index(read_documents(tmp_path / "renamed", root=root))
        assert report == IndexReport(unchanged=2, removed=1, deleted=1)

    def test_indexing_one_file_leaves_its_neighbours(self, docs: Collection, folder: Path) -> None:
        docs.index(read_documents(folder))
        docs.index(read_documents(folder / "a.txt"))
        assert docs.info().documents == 4
