"""A collection of LlamaIndex's own Qdrant store, adopted: that store answers as before."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from llama_index.core.schema import (
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, Role
from decant.integrations.qdrant import Collection, Record, audit, connect, dump, restore

stock = pytest.importorskip(
    "llama_index.vector_stores.qdrant", reason="llama-index-vector-stores-qdrant is not installed"
)

ANIMALS = ("cat", "dog", "owl", "fox", "elk", "bee")
KINDS = ["dense", "hybrid"]
Answers: TypeAlias = dict[str, Any]


def node(number: int, animal: str, encoder: HashEncoder) -> TextNode:
    """Return a node whose metadata are embedded with its text, but for one entry."""
    made = TextNode(
        id_=str(uuid.uuid5(uuid.NAMESPACE_URL, animal)),
        text=f"the {animal} of the year",
        metadata={"year": 1990 + number, "tags": ["a", f"t{number}"], "page": f"p{number % 2}"},
        excluded_embed_metadata_keys=["tags"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"book-{number % 3}")},
    )
    content = made.get_content(metadata_mode=MetadataMode.EMBED)
    made.embedding = encoder.encode([content], role=Role.PASSAGE).dense[0].tolist()
    return made


def sparse(texts: Sequence[str]) -> tuple[list[list[int]], list[list[float]]]:
    """Return sparse vectors that count words."""
    rows = [sorted({_place(word): 1.0 for word in text.split()}.items()) for text in texts]
    return [[one for one, _ in row] for row in rows], [[one for _, one in row] for row in rows]


def _place(word: str) -> int:
    return int(hashlib.sha256(word.encode()).hexdigest()[:6], 16)


def opened(client: QdrantClient, name: str, kind: str) -> Any:
    """Return LlamaIndex's store of a collection, which it makes with the first node."""
    # Local mode has no payload indexes, and warns.
    if kind == "dense":
        return stock.QdrantVectorStore(name, client=client, index_doc_id=False)
    return stock.QdrantVectorStore(
        name,
        client=client,
        index_doc_id=False,
        enable_hybrid=True,
        sparse_doc_fn=sparse,
        sparse_query_fn=sparse,
    )


@pytest.fixture(scope="module")
def encoder() -> HashEncoder:
    return HashEncoder(64)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def nodes(encoder: HashEncoder) -> list[TextNode]:
    return [node(number, animal, encoder) for number, animal in enumerate(ANIMALS)]


def filled(client: QdrantClient, name: str, kind: str, nodes: list[TextNode]) -> Any:
    """Return LlamaIndex's store of some nodes."""
    found = opened(client, name, kind)
    found.add(nodes)
    return found


FILTERS: dict[str, MetadataFilters] = {
    "eq": MetadataFilters(filters=[MetadataFilter(key="year", value=1991)]),
    "range": MetadataFilters(
        filters=[
            MetadataFilter(key="year", value=1991, operator=FilterOperator.GTE),
            MetadataFilter(key="year", value=1994, operator=FilterOperator.LT),
        ]
    ),
    "in": MetadataFilters(
        filters=[MetadataFilter(key="page", value=["p1"], operator=FilterOperator.IN)]
    ),
    "not in": MetadataFilters(
        filters=[MetadataFilter(key="tags", value=["t1"], operator=FilterOperator.NIN)]
    ),
    "or": MetadataFilters(
        filters=[
            MetadataFilter(key="year", value=1990),
            MetadataFilter(key="page", value="p1"),
        ],
        condition=FilterCondition.OR,
    ),
    "not": MetadataFilters(
        filters=[MetadataFilter(key="page", value="p1")], condition=FilterCondition.NOT
    ),
    "empty": MetadataFilters(
        filters=[MetadataFilter(key="none", value=None, operator=FilterOperator.IS_EMPTY)]
    ),
}


def answers(store: Any, encoder: HashEncoder, kind: str) -> Answers:
    """Return what LlamaIndex's store says to all kinds of questions."""
    vector = encoder.encode(["the owl of the year"], role=Role.QUERY).dense[0].tolist()
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, animal)) for animal in ANIMALS]

    def ask(**options: Any) -> list[Any]:
        query = VectorStoreQuery(query_embedding=vector, similarity_top_k=4, **options)
        found = store.query(query)
        rows = zip(found.nodes, found.similarities, strict=True)
        # Of equal scores any may come first; a file keeps vectors within a bit of the last place.
        return sorted((-round(score, 5), one.node_id, shown(one)) for one, score in rows)

    said: Answers = {"dense": ask(), "documents": ask(doc_ids=["book-1"])}
    said["ids"] = ask(node_ids=ids[:2])
    for name, filters in FILTERS.items():
        said[name] = ask(filters=filters)
        got = sorted(store.get_nodes(filters=filters), key=lambda one: one.node_id)
        said[f"get {name}"] = [shown(one) for one in got]
    said["get"] = sorted(shown(one) for one in store.get_nodes(node_ids=ids))
    if kind == "hybrid":
        for mode in (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SPARSE):
            said[mode] = ask(mode=mode, query_str="the fox", sparse_top_k=9, hybrid_top_k=9)
    return said


def shown(one: TextNode) -> str:
    """Return all of a node but its vector, which the engine normalises again."""
    return str(one.model_dump(exclude={"embedding"}))


@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_before(
    client: QdrantClient, nodes: list[TextNode], encoder: HashEncoder, kind: str
) -> None:
    store = filled(client, "notes", kind, nodes)
    before = answers(store, encoder, kind)
    assert all(before.values())
    with connect(client) as opening:
        docs = Collection.adopt(opening, "notes", encoder)
        assert answers(store, encoder, kind) == before
        assert answers(opened(client, "notes", kind), encoder, kind) == before
        hits = docs.search("year: 1992\npage: p0\n\nthe owl of the year", limit=1)
        assert [hit.text for hit in hits] == ["the owl of the year"]


CHANGES: list[Callable[[Any, list[TextNode]], object]] = [
    lambda store, nodes: store.add(nodes[4:]),
    lambda store, nodes: store.add([nodes[0].model_copy(update={"text": "another text"})]),
    lambda store, _: store.delete("book-1"),
    lambda store, nodes: store.delete_nodes(node_ids=[nodes[2].node_id]),
    lambda store, _: store.delete_nodes(filters=FILTERS["in"]),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_the_same_as_without_an_adoption(
    client: QdrantClient, nodes: list[TextNode], encoder: HashEncoder, kind: str
) -> None:
    never = filled(client, "never", kind, nodes[:4])
    adopted = filled(client, "notes", kind, nodes[:4])
    with connect(client) as opening:
        docs = Collection.adopt(opening, "notes", encoder)
        for change in CHANGES:
            change(never, nodes)
            change(adopted, nodes)
            assert answers(adopted, encoder, kind) == answers(never, encoder, kind)
            texts = {one.text for one in docs.each()}
            assert texts == {one.text for one in adopted.get_nodes()}


def test_both_read_and_write_one_collection(
    client: QdrantClient, nodes: list[TextNode], encoder: HashEncoder
) -> None:
    store = filled(client, "notes", "dense", nodes)
    with connect(client) as opening:
        docs = Collection.adopt(opening, "notes", encoder)
        (added,) = docs.add([Record(text="a hen sang", metadata={"year": 2003}, source="farm")])
        (found,) = store.get_nodes(node_ids=[added])
        assert (found.text, found.metadata) == ("a hen sang", {"year": 2003, "source": "farm"})
        query = encoder.encode(["a hen sang"], role=Role.QUERY).dense[0].tolist()
        best = store.query(VectorStoreQuery(query_embedding=query, similarity_top_k=1))
        assert [one.node_id for one in best.nodes] == [added]
        store.delete_nodes(node_ids=[added])
        assert docs.count() == len(ANIMALS)
        docs.delete([nodes[0].node_id])
        assert len(store.get_nodes()) == len(ANIMALS) - 1
        # The vectors of both are those of the encoder, of metadata and text or of text alone.
        assert audit(opening, "notes", encoder).passed


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_what_was_restored_from_a_dump(
    client: QdrantClient, nodes: list[TextNode], encoder: HashEncoder, kind: str, tmp_path: Path
) -> None:
    store = filled(client, "notes", kind, nodes)
    before = answers(store, encoder, kind)
    other = QdrantClient(":memory:")
    with connect(client) as opening, connect(other) as there:
        Collection.adopt(opening, "notes", encoder)
        dump(opening, "notes", tmp_path / "notes.dump")
        restore(tmp_path / "notes.dump", there, "notes")
        copy = opened(other, "notes", kind)
        assert answers(copy, encoder, kind) == before
        for change in CHANGES:
            change(store, nodes)
            change(copy, nodes)
        assert answers(copy, encoder, kind) == answers(store, encoder, kind)
        assert Collection.open(there, "notes", encoder).count() == len(copy.get_nodes())
    other.close()
