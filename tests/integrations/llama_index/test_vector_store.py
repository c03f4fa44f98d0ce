"""DecantVectorStore for LlamaIndex, on every engine.

Many of these are defects that were found in the stock Qdrant store; the test says we lack them.
"""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from decant.embedders import CollectionMismatch, HashEncoder, Role, StoreError
from decant.integrations.llama_index import DecantVectorStore
from decant.integrations.qdrant import Collection, Store
from gated_encoder import GatedEncoder, through
from tree_nodes import ALL, ask, left, nodes


@pytest.fixture
def trees(collection: Collection) -> DecantVectorStore:
    made = DecantVectorStore(collection)
    made.add(nodes())
    return made


def test_it_is_a_llama_index_vector_store(trees: DecantVectorStore) -> None:
    assert isinstance(trees, BasePydanticVectorStore)
    assert trees.stores_text
    assert trees.client is trees.collection
    assert trees.to_dict()["class_name"] == "DecantVectorStore"


def test_a_query_gives_nodes_scores_and_ids_best_first(trees: DecantVectorStore) -> None:
    found = ask(trees, "birch trees grow", similarity_top_k=3)
    assert found.ids is not None
    assert found.nodes is not None
    assert found.similarities is not None
    assert found.ids[0] == "birch"
    assert [node.node_id for node in found.nodes] == found.ids
    assert found.similarities == sorted(found.similarities, reverse=True)
    assert len(found.ids) == 3


def test_a_query_by_text_alone_is_embedded_as_a_query(trees: DecantVectorStore) -> None:
    by_text = trees.query(VectorStoreQuery(query_str="birch trees", similarity_top_k=4))
    assert by_text.ids == ask(trees, "birch trees", similarity_top_k=4).ids


def test_a_query_without_vector_and_text_is_refused(trees: DecantVectorStore) -> None:
    with pytest.raises(ValueError, match="query_embedding"):
        trees.query(VectorStoreQuery())


def test_a_query_of_the_wrong_width_names_both_widths(trees: DecantVectorStore) -> None:
    with pytest.raises(StoreError, match="48"):
        trees.query(VectorStoreQuery(query_embedding=[1.0] * 47))


def varied(store: DecantVectorStore, threshold: float) -> list[str] | None:
    """Ask with the threshold in the query and as an argument, as the retriever passes it on."""
    mmr: dict[str, Any] = {"mode": VectorStoreQueryMode.MMR, "similarity_top_k": 2}
    given = ask(store, "birch trees", **mmr, mmr_threshold=threshold).ids
    assert given == ask(store, "birch trees", **mmr, kwargs={"mmr_threshold": threshold}).ids
    return given


def test_threshold_one_is_relevance_and_threshold_zero_is_variety(trees: DecantVectorStore) -> None:
    """run-llama/llama_index#17048: the threshold was ignored."""
    nearest = ask(trees, "birch trees", similarity_top_k=2).ids
    assert nearest is not None
    assert set(nearest) == {"birch", "fallen"}
    assert varied(trees, 1.0) == nearest
    assert varied(trees, 0.0) == [nearest[0], "sea"]


def test_a_small_prefetch_leaves_little_to_choose_from(trees: DecantVectorStore) -> None:
    found = ask(
        trees,
        "birch trees",
        mode=VectorStoreQueryMode.MMR,
        similarity_top_k=2,
        mmr_threshold=0.0,
        kwargs={"mmr_prefetch_k": 2},
    )
    assert set(found.ids or []) == {"birch", "fallen"}


@pytest.mark.parametrize("mode", ["svm", "semantic_hybrid"])
def test_a_mode_without_a_counterpart_is_refused(trees: DecantVectorStore, mode: str) -> None:
    with pytest.raises(ValueError, match=mode):
        ask(trees, "trees", mode=VectorStoreQueryMode(mode))


def test_an_unknown_argument_is_refused_by_name(trees: DecantVectorStore) -> None:
    with pytest.raises(TypeError, match="qdrant_filters"):
        ask(trees, "trees", kwargs={"qdrant_filters": None})
    with pytest.raises(TypeError, match="batch_size"):
        trees.add([], batch_size=3)
    with pytest.raises(TypeError, match="really"):
        trees.delete("trees", really=True)
    with pytest.raises(TypeError, match="really"):
        trees.delete_nodes(["oak"], really=True)


def test_clear_empties_the_collection(trees: DecantVectorStore) -> None:
    trees.clear()
    assert left(trees) == []


@pytest.mark.slow
def test_get_nodes_gives_more_than_ten_thousand(collection: Collection) -> None:
    store = DecantVectorStore(collection)
    row = collection.encoder.encode(["oak"], role=Role.PASSAGE).dense[0].tolist()
    store.add([TextNode(id_=str(number), text="oak", embedding=row) for number in range(10_050)])
    assert {node.node_id for node in store.get_nodes()} == {str(number) for number in range(10_050)}


def test_adding_no_nodes_gives_no_ids(trees: DecantVectorStore) -> None:
    assert trees.add([]) == []


def test_adding_a_node_again_replaces_it(trees: DecantVectorStore) -> None:
    trees.add([TextNode(id_="oak", text="an oak")])
    (node,) = trees.get_nodes(["oak"])
    assert node.get_content() == "an oak"
    assert left(trees) == ALL


def test_embeddings_of_another_model_are_refused_and_nothing_is_written(
    collection: Collection,
) -> None:
    other = HashEncoder(48)  # the same width, but without the prompts
    rows = other.encode(["one short text", "two"], role=Role.PASSAGE).dense.tolist()
    nodes = [TextNode(text="one short text", embedding=rows[0]), TextNode(text="two")]
    nodes[1].embedding = rows[1]
    with pytest.raises(CollectionMismatch) as caught:
        DecantVectorStore(collection).add(nodes)
    assert collection.encoder.recipe.digest() in str(caught.value)
    assert collection.count() == 0


def test_embeddings_of_another_width_are_refused_by_node(collection: Collection) -> None:
    with pytest.raises(StoreError, match="'wide' has 49 values"):
        DecantVectorStore(collection).add([TextNode(id_="wide", text="a", embedding=[1.0] * 49)])


def test_nodes_with_and_without_embedding_do_not_mix(collection: Collection) -> None:
    row = collection.encoder.encode(["a"], role=Role.PASSAGE).dense[0].tolist()
    with pytest.raises(ValueError, match="1 of 2 nodes"):
        DecantVectorStore(collection).add([TextNode(text="a", embedding=row), TextNode(text="b")])


def test_a_store_is_not_pickled_into_something_broken(trees: DecantVectorStore) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(trees)


def test_a_vector_store_is_made_from_a_collection_only() -> None:
    with pytest.raises(TypeError, match="str"):
        DecantVectorStore("./index")  # type: ignore[arg-type]


async def test_the_asynchronous_methods_do_what_the_others_do(trees: DecantVectorStore) -> None:
    """run-llama/llama_index#19277, #21049: adelete_nodes and adelete were missing."""
    await trees.async_add([TextNode(id_="pine", text="pine trees")])
    found = await trees.aquery(VectorStoreQuery(query_str="pine trees"))
    assert found.ids == ["pine"]
    assert len(await trees.aget_nodes()) == 5
    await trees.adelete_nodes(["pine"])
    await trees.adelete("trees")
    assert left(trees) == ["sea"]
    await trees.aclear()
    assert left(trees) == []


async def test_concurrent_additions_lose_nothing(collection: Collection) -> None:
    store = DecantVectorStore(collection)
    await asyncio.gather(
        *(
            store.async_add([TextNode(text=f"text {task} {number}") for number in range(50)])
            for task in range(4)
        )
    )
    assert len(left(store)) == 200


async def test_the_asynchronous_methods_leave_the_event_loop_free(
    store: Store, collection: Collection
) -> None:
    encoder = GatedEncoder(48)
    gated = DecantVectorStore(Collection.create(store, f"{collection.name}-gated", encoder))
    await through(encoder, gated.async_add([TextNode(id_="oak", text="an oak")]))
    found = await through(encoder, gated.aquery(VectorStoreQuery(query_str="an oak")))
    assert found.ids == ["oak"]
    store.drop(gated.collection.name)
