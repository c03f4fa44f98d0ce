"""``as_retriever``: no argument is dropped, whether it stands in ``search_kwargs`` or beside."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.vectorstores import VectorStoreRetriever

from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, SearchMode

TENANTS = {"oak": "red", "birch": "blue", "pine": "red", "larch": "blue"}


@pytest.fixture
def trees(collection: Collection) -> DecantVectorStore:
    made = DecantVectorStore(collection)
    texts = [f"{name} trees grow" for name in TENANTS]
    made.add_texts(texts, [{"tenant": tenant} for tenant in TENANTS.values()], ids=list(TENANTS))
    return made


def found(retriever: VectorStoreRetriever) -> list[str]:
    return sorted(str(document.id) for document in retriever.invoke("trees"))


@pytest.mark.parametrize("search_type", ["similarity", "mmr"])
def test_a_filter_beside_search_kwargs_holds(trees: DecantVectorStore, search_type: str) -> None:
    wanted = {"tenant": "red"}
    beside = trees.as_retriever(search_type=search_type, filter=wanted)
    inside = trees.as_retriever(search_type=search_type, search_kwargs={"filter": wanted})
    assert found(beside) == found(inside) == ["oak", "pine"]


async def test_it_holds_asynchronously(trees: DecantVectorStore) -> None:
    documents = await trees.as_retriever(filter={"tenant": "red"}).ainvoke("trees")
    assert sorted(str(document.id) for document in documents) == ["oak", "pine"]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"k": 1}, 1),
        ({"offset": 3}, 1),
        ({"k": 2, "search_kwargs": {"filter": {"tenant": "blue"}}}, 2),
        ({"mode": SearchMode.DENSE, "k": 3}, 3),
        ({"search_type": "mmr", "k": 2, "fetch_k": 3, "lambda_mult": 0.1}, 2),
        ({"search_type": "similarity_score_threshold", "score_threshold": 0.999}, 0),
        ({"tags": ["mine"], "metadata": {"a": 1}, "name": "named"}, 4),
    ],
    ids=str,
)
def test_what_belongs_to_a_search_or_to_a_retriever_is_taken(
    trees: DecantVectorStore, arguments: dict[str, Any], count: int
) -> None:
    assert len(found(trees.as_retriever(**arguments))) == count


def test_a_retrievers_own_fields_stay_its_own(trees: DecantVectorStore) -> None:
    made = trees.as_retriever(tags=["mine"], metadata={"a": 1}, name="named", k=2)
    assert (made.tags, made.metadata, made.name) == (["mine"], {"a": 1}, "named")
    assert made.search_kwargs == {"k": 2}
    plain = trees.as_retriever(search_kwargs={"k": 3})
    assert plain.search_kwargs == {"k": 3}
    assert "DecantVectorStore" in (plain.tags or [])


@pytest.mark.parametrize("unknown", ["filters", "where", "top_k", "vectorstore"])
def test_an_unknown_argument_is_refused_by_name(trees: DecantVectorStore, unknown: str) -> None:
    arguments: dict[str, Any] = {unknown: {"tenant": "red"}}
    with pytest.raises(TypeError, match=rf"as_retriever\(\) does not know {unknown}"):
        trees.as_retriever(**arguments)


def test_the_same_argument_in_both_places_is_refused(trees: DecantVectorStore) -> None:
    with pytest.raises(TypeError, match="filter both"):
        trees.as_retriever(filter={"tenant": "red"}, search_kwargs={"filter": {"tenant": "blue"}})


def test_the_callers_search_kwargs_are_not_written_to(trees: DecantVectorStore) -> None:
    own: dict[str, Any] = {"k": 1}
    trees.as_retriever(search_kwargs=own, filter={"tenant": "red"})
    assert own == {"k": 1}
