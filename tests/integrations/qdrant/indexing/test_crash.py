"""Whatever interrupts an indexing run, the next run ends with what an undisturbed run gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Field,
    FieldIn,
    Point,
    Select,
    Store,
    connect,
)
from decant.integrations.qdrant.points.handle import Target
from decant.integrations.qdrant.stores.protocol import each

ENCODER = HashEncoder(16, sparse=True)
SMALL = Chunking(max_tokens=8)
Contents: TypeAlias = dict[str, Point]
Texts: TypeAlias = Mapping[str, str]
T = TypeVar("T")


def contents(store: Store, name: str = "docs") -> Contents:
    """Return every point of a collection, markers too, with payload and vectors."""
    everything = FieldIn(Field.KIND, ["chunk", "record", "document"])
    pages = each(store, name, everything, Select(dense=True, sparse=True))
    return {point.id: point for page in pages for point in page}


def assert_same(found: Contents, expected: Contents) -> None:
    """Compare two collections point by point."""
    assert {id_: point.payload for id_, point in found.items()} == {
        id_: point.payload for id_, point in expected.items()
    }
    for id_, point in expected.items():
        same = found[id_].dense
        if point.dense is None or same is None:
            assert same is point.dense
        else:
            # Local mode makes a vector that it gave back a little more unit at every return.
            np.testing.assert_allclose(same, point.dense, atol=1e-6)
        assert weights(found[id_]) == weights(point)


def weights(point: Point) -> dict[int, float]:
    """Return a point's sparse vector."""
    if point.sparse is None:
        return {}
    indices, values = point.sparse.indices.tolist(), point.sparse.values.tolist()
    return dict(zip(indices, values, strict=True))


def version(*sources: int, salt: int = 0) -> Texts:
    """Return documents whose chunks partly repeat, within one and among several."""
    return {
        f"doc-{number}": "\n\n".join(
            f"paragraph {part} of the topic t{(number * part + salt) % 7} and more"
            for part in range(number % 5)
        )
        for number in sources
    }


def documents(texts: Texts) -> Iterator[Document]:
    for source, text in texts.items():
        yield Document(source=source, text=text, root="r", metadata={"length": len(text)})


class Breaking:
    """A store that fails at the n-th write, before or after the engine has carried it out."""

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store = store
        self._at = at
        self._after = after
        self.writes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        self._write(lambda: self._store.upsert(name, points))

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        return self._write(lambda: self._store.set_fields(name, points))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        self._write(lambda: self._store.delete(name, ids))

    def _write(self, work: Callable[[], T]) -> T:
        self.writes += 1
        if self.writes == self._at and not self._after:
            raise StoreError("the store broke before the write")
        result = work()
        if self.writes == self._at:
            raise StoreError("the store broke after the write")
        return result


def _collection(store: Breaking) -> Collection:
    """Open ``docs``, whatever of it is there."""
    return Collection(Target(store=store, name="docs", mark="crash", encoder=ENCODER, sparse=True))  # type: ignore[arg-type]


def break_while_indexing(store: Store, texts: Texts, at: int, *, after: bool) -> bool:
    """Index until the store breaks, and return whether it did."""
    breaking = Breaking(store, at, after=after)
    collection = _collection(breaking)
    try:
        collection.index(documents(texts), chunking=SMALL)
    except StoreError as error:
        assert "the store broke" in str(error)  # noqa: PT017 (it may also not break)
        return True
    return False


def undisturbed(make: Callable[[], Store], texts: Texts) -> Contents:
    """Return what indexing these texts into a new collection gives."""
    with make() as store:
        Collection.create(store, "docs", ENCODER).index(documents(texts), chunking=SMALL)
        return contents(store)


@pytest.fixture(params=["edge", "local"])
def make(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Callable[[], Store]]:
    """Return what makes an empty store of each engine in turn."""
    clients = []
    folders = iter(range(10_000))

    def edge() -> Store:
        return connect(scratch / str(next(folders)))

    def local() -> Store:
        clients.append(QdrantClient(":memory:"))
        return connect(clients[-1])

    yield edge if request.param == "edge" else local
    for client in clients:
        client.close()


OLD = version(*range(30))
NEW = {**version(*range(24)), **version(*range(0, 20, 2), salt=1), **version(*range(32, 46))}


@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_breaks_at_any_write_loses_nothing(
    make: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    # Small batches, so that few documents need many writes.
    monkeypatch.setattr("decant.integrations.qdrant.indexing.writer._DOCUMENTS", 8)
    old, new = undisturbed(make, OLD), undisturbed(make, NEW)
    for at in range(1, 100):
        with make() as store:
            collection = Collection.create(store, "docs", ENCODER)
            collection.index(documents(OLD), chunking=SMALL)
            assert_same(contents(store), old)
            broke = break_while_indexing(store, NEW, at, after=after)
            # Half of them go back to the old texts: their markers must not be believed.
            texts, expected = (OLD, old) if at % 2 else (NEW, new)
            collection.index(documents(texts), chunking=SMALL)
            if broke or texts is NEW:
                assert_same(contents(store), expected)
            if not broke:
                assert at > 15, "the run has more writes than this"
                return
    raise AssertionError("the run has fewer writes than this")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(
        st.tuples(
            st.dictionaries(
                st.sampled_from("abcd"),
                st.lists(st.sampled_from("pqrs"), max_size=5).map(
                    lambda words: "\n\n".join(f"{word} " * 6 for word in words)
                ),
                max_size=4,
            ),
            st.integers(1, 12),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_history_of_broken_runs_ends_like_an_undisturbed_one(
    make: Callable[[], Store], runs: list[tuple[dict[str, str], int, bool]]
) -> None:
    with make() as store:
        collection = Collection.create(store, "docs", ENCODER)
        for texts, at, after in runs:
            break_while_indexing(store, {**texts, "always": "here"}, at, after=after)
        last = {**runs[-1][0], "always": "here"}
        collection.index(documents(last), chunking=SMALL)
        assert_same(contents(store), undisturbed(make, last))


def test_breaking_while_deleting_is_made_good_by_the_next_indexing(
    make: Callable[[], Store],
) -> None:
    texts = version(*range(12))
    expected = undisturbed(make, texts)
    actions: list[Callable[[Collection], object]] = [
        lambda collection: collection.delete(list(expected)),
        lambda collection: collection.delete_where(FieldIn(Field.SOURCE, ["doc-3", "doc-4"])),
        lambda collection: collection.delete_source("doc-4"),
        lambda collection: collection.clear(),
    ]
    for action in actions:
        for at in range(1, 8):
            with make() as store:
                collection = Collection.create(store, "docs", ENCODER)
                collection.index(documents(texts), chunking=SMALL)
                breaking = Breaking(store, at, after=bool(at % 2))
                broken = _collection(breaking)
                try:
                    action(broken)
                except StoreError as error:
                    assert "the store broke" in str(error)  # noqa: PT017 (it may also not break)
                collection.index(documents(texts), chunking=SMALL)
                assert_same(contents(store), expected)
