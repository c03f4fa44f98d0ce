"""Copies of requests that arrive late, after newer work: they are found, and can be put right.

A proxy may deliver a request after the client gave it up and sent it again. What it undoes is not
prevented here, only seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Chunking, Collection, Document, Point, Store
from decant.integrations.qdrant.points.handle import Target

SMALL = Chunking(max_tokens=8)


class Copying:
    """A store that keeps a copy of each write, to be delivered a second time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.copies: list[tuple[str, Callable[[], object]]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        if points:
            self.copies.append((_said(points), lambda: self._store.upsert(name, points)))
        self._store.upsert(name, points)

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        if points:
            self.copies.append(("set_fields", lambda: self._store.set_fields(name, points)))
        return self._store.set_fields(name, points)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        if ids:
            self.copies.append(("delete", lambda: self._store.delete(name, ids)))
        self._store.delete(name, ids)

    def deliver(self, what: str) -> None:
        """Carry out the oldest copy of this kind again."""
        next(copy for said, copy in self.copies if said == what)()


def _said(points: Sequence[Point]) -> str:
    """Return what an upsert writes: ``chunk``, or a marker's state."""
    kinds = {str(point.payload.get("state", point.payload["kind"])) for point in points}
    return "".join(sorted(kinds))


@pytest.fixture
def copying(store: Store) -> Copying:
    return Copying(store)


@pytest.fixture
def late(copying: Copying, store: Store) -> Collection:
    """Return a collection whose writes are copied."""
    Collection.create(store, "docs", HashEncoder(16))
    target = Target(store=copying, name="docs", mark="late", encoder=HashEncoder(16), sparse=False)  # type: ignore[arg-type]
    return Collection(target)


def document(*parts: str) -> list[Document]:
    text = "\n\n".join(f"a long paragraph about the {part}" for part in parts)
    return [Document(source="a", text=text, root="r")]


def parts(collection: Collection) -> list[str]:
    passages = sorted(collection.each(), key=lambda passage: passage.start)
    return [passage.text.rpartition(" ")[2] for passage in passages]


def verify(collection: Collection, *words: str) -> None:
    """Index with ``verify`` and see that all is as these words say."""
    collection.index(document(*words), chunking=SMALL, verify=True)
    assert parts(collection) == list(words)
    assert collection.check().is_sound


def test_chunks_that_come_back_after_their_document_was_deleted(
    late: Collection, copying: Copying
) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.delete_source("a")
    copying.deliver("chunk")
    assert late.count() == 2
    assert late.check().orphaned == 2
    assert late.delete_source("a") == 2
    assert late.count() == 0
    assert late.check().is_sound


def test_such_chunks_leave_when_their_root_is_indexed(late: Collection, copying: Copying) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.delete_source("a")
    copying.deliver("chunk")
    other = [Document(source="b", text="a paragraph about the sun", root="r")]
    late.index(other, chunking=SMALL, verify=True)
    assert parts(late) == ["sun"]
    assert late.check().is_sound


def test_chunks_of_an_older_text_beside_those_of_the_newer(
    late: Collection, copying: Copying
) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.index(document("sun"), chunking=SMALL)
    copying.deliver("chunk")
    assert late.check().surplus == 2
    verify(late, "sun")


def test_chunks_of_an_older_text_before_the_document_is_indexed_anew(
    late: Collection, copying: Copying
) -> None:
    # Its marker is gone, so that an ordinary run takes it for a new document without chunks.
    late.index(document("sea", "sky"), chunking=SMALL)
    late.delete_source("a")
    copying.deliver("chunk")
    assert late.index(document("sun"), chunking=SMALL).damaged == 1
    late.index(document("sun"), chunking=SMALL)
    assert parts(late) == ["sun"]
    assert late.check().is_sound


def test_an_older_deletion_takes_chunks_that_have_come_again(
    late: Collection, copying: Copying
) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.index(document("sun"), chunking=SMALL)
    late.index(document("sea", "sky"), chunking=SMALL)
    copying.deliver("delete")
    assert late.check().missing == 2
    verify(late, "sea", "sky")


def test_an_older_place_of_a_chunk_that_stayed(late: Collection, copying: Copying) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.index(document("sun", "sea", "sky"), chunking=SMALL)
    late.index(document("sea", "sky"), chunking=SMALL)
    copying.deliver("set_fields")
    assert late.check().replaced == 1
    verify(late, "sea", "sky")


def test_an_older_marker_over_newer_chunks(late: Collection, copying: Copying) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.index(document("sun", "rain"), chunking=SMALL)
    copying.deliver("done")
    assert late.index(document("sea", "sky"), chunking=SMALL).unchanged == 1, "it is believed"
    assert late.check().replaced == 1
    verify(late, "sea", "sky")


def test_an_older_opening_of_a_marker(late: Collection, copying: Copying) -> None:
    late.index(document("sea", "sky"), chunking=SMALL)
    late.index(document("sun"), chunking=SMALL)
    copying.deliver("changing")
    assert late.check().interrupted == 1
    late.index(document("sun"), chunking=SMALL)
    assert late.check().is_sound
    assert parts(late) == ["sun"]
