"""One document is indexed again and again: what is embedded, kept, moved and deleted."""

from __future__ import annotations

import hashlib
import json

import pytest

from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Equals,
    Field,
    FieldIn,
    IndexReport,
    Select,
    Store,
)
from decant.integrations.qdrant.indexing.chunking import Syntax

SMALL = Chunking(max_tokens=8)


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

    def test_unchanged_it_costs_no_embedding(self, docs: Collection, embedded: list[str]) -> None:
        document = Document(source="a", text=paragraphs(*range(5)))
        docs.index([document], chunking=SMALL)
        embedded.clear()
        assert docs.index([document], chunking=SMALL) == IndexReport(unchanged=1)
        assert embedded == []

    def test_an_edit_at_the_end_embeds_one_chunk(
        self, docs: Collection, embedded: list[str]
    ) -> None:
        docs.index([Document(source="a", text=paragraphs(*range(5)))], chunking=SMALL)
        embedded.clear()
        edited = paragraphs(0, 1, 2, 3, 99)
        report = docs.index([Document(source="a", text=edited)], chunking=SMALL)
        assert report == IndexReport(changed=1, embedded=1, reused=4, deleted=1)
        assert embedded == [paragraphs(99)]
        assert stored(docs, "a") == edited.split("\n\n")

    def test_an_edit_at_the_start_moves_the_rest_without_embedding(
        self, docs: Collection, embedded: list[str]
    ) -> None:
        docs.index([Document(source="a", text=paragraphs(*range(5)))], chunking=SMALL)
        embedded.clear()
        text = paragraphs(77, *range(5))
        report = docs.index([Document(source="a", text=text)], chunking=SMALL)
        assert report == IndexReport(changed=1, embedded=1, reused=5)
        assert embedded == [paragraphs(77)]
        (hit,) = docs.search(paragraphs(4), limit=1)
        assert hit.start == text.index(paragraphs(4)), "its place is the new one"

    def test_new_metadata_reaches_all_chunks_without_embedding(
        self, docs: Collection, embedded: list[str]
    ) -> None:
        text = paragraphs(*range(5))
        docs.index([Document(source="a", text=text, metadata={"n": 1, "old": 1})], chunking=SMALL)
        embedded.clear()
        changed = Document(source="a", text=text, metadata={"n": True})
        report = docs.index([changed], chunking=SMALL)
        assert report == IndexReport(changed=1, reused=5)
        assert embedded == []
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
        self, docs: Collection, embedded: list[str]
    ) -> None:
        document = Document(source="a", text=paragraphs(1, 2, 1, 1))
        report = docs.index([document], chunking=SMALL)
        assert report == IndexReport(added=1, embedded=2, reused=2)
        assert sorted(embedded) == [paragraphs(1), paragraphs(2)]
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


class TestMarkdown:
    TEXT = """\
This is a paragraph of so many words that nothing else fits.

# Islands

One is in the middle of the sea.

## Bornholm

It has round churches, four of them.

## Samso

It has early potatoes.
"""
    CUT = Chunking(max_tokens=14)

    def guide(self, source: str) -> Document:
        return Document(source=source, text=self.TEXT)

    def test_a_heading_is_in_the_chunk_of_its_section(self, docs: Collection) -> None:
        docs.index([self.guide("guide.md")], chunking=self.CUT)
        assert [text.splitlines()[0] for text in stored(docs, "guide.md")][1:] == [
            "# Islands",
            "## Bornholm",
            "## Samso",
        ]

    def test_what_older_versions_cut_as_plain_text_is_cut_anew_once(
        self, docs: Collection, embedded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as older:
            older.setattr(
                "decant.integrations.qdrant.indexing.plan.syntax_of", lambda _: Syntax.PLAIN
            )
            docs.index([self.guide("guide.md"), self.guide("guide.txt")], chunking=self.CUT)
        before = stored(docs, "guide.md")
        assert before[1].endswith("## Bornholm"), "else there is nothing to mend"
        embedded.clear()
        report = docs.index([self.guide("guide.md"), self.guide("guide.txt")], chunking=self.CUT)
        after = stored(docs, "guide.md")
        assert embedded == [text for text in after if text not in before] != after
        assert (report.changed, report.unchanged) == (1, 1)
        assert docs.index([self.guide("guide.md")], chunking=self.CUT).unchanged == 1

    def test_the_digest_of_other_documents_is_that_of_older_versions(
        self, docs: Collection, store: Store
    ) -> None:
        document = self.guide("guide.txt")
        docs.index([document], chunking=self.CUT)
        parts = {
            "max_tokens": 14,
            "metadata": {},
            "overlap": 0,
            "recipe": docs.encoder.recipe.digest(),
            "text": hashlib.sha256(self.TEXT.encode()).hexdigest(),
        }
        (marker,) = store.retrieve("docs", [document.key.marker_id], Select(fields=("digest",)))
        assert marker.payload["digest"] == hashlib.sha256(json.dumps(parts).encode()).hexdigest()
