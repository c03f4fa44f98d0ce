"""DecantVectorStore for LangChain: what its standard suite does not ask, on every engine.

Many of these are defects that were found in the stock Qdrant store; the test says we lack them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from qdrant_client import models

from decant.embedders import HashEncoder, Role, StoreError, Vectors
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.langchain.filters import Filter
from decant.integrations.qdrant import Collection, Equals, Range, Store
from decant.integrations.qdrant import Document as SourceDocument

TREES = ["oak trees grow slowly", "birch trees grow fast", "the sea is deep", "birch trees fall"]
FACTS: list[dict[str, Any]] = [
    {"kind": "tree", "year": 1900},
    {"kind": "tree", "year": 1950},
    {"kind": "water", "year": 2000},
    {"kind": "tree", "year": 2010, "nested": {"a": [1, None, "x"], "b": {}}, "none": None},
]
IDS = ["oak", "birch", "sea", "fallen"]


@pytest.fixture
def trees(collection: Collection) -> DecantVectorStore:
    made = DecantVectorStore(collection)
    assert made.add_texts(TREES, FACTS, ids=IDS) == IDS
    return made


def ids(documents: Iterable[Document]) -> list[str | None]:
    return [document.id for document in documents]


def test_a_generator_of_texts_is_stored(collection: Collection) -> None:
    made = DecantVectorStore(collection)
    given = made.add_texts(f"text {number}" for number in range(5))
    assert len(set(given)) == 5
    assert collection.count() == 5


def test_one_string_is_not_taken_for_its_letters(collection: Collection) -> None:
    with pytest.raises(TypeError, match="one string"):
        DecantVectorStore(collection).add_texts("oak")


def test_results_carry_their_id_and_exactly_the_metadata_given(trees: DecantVectorStore) -> None:
    for document in trees.similarity_search("trees", k=4):
        row = IDS.index(str(document.id))
        assert document.page_content == TREES[row]
        assert document.metadata == FACTS[row]


@pytest.mark.parametrize("identity", ["1", "a/b c", "ü", "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"])
def test_an_id_may_be_any_string(collection: Collection, identity: str) -> None:
    made = DecantVectorStore(collection)
    assert made.add_texts(["oak"], ids=[identity]) == [identity]
    assert ids(made.get_by_ids([identity])) == [identity]
    assert ids(made.similarity_search("oak")) == [identity]
    made.delete([identity])
    assert made.get_by_ids([identity]) == []


def test_some_documents_may_have_ids_and_others_not(collection: Collection) -> None:
    given = DecantVectorStore(collection).add_documents(
        [Document("oak", id="x"), Document("birch"), Document("sea")]
    )
    assert given[0] == "x"
    assert len(set(given)) == 3
    assert all(given)


@pytest.mark.parametrize("what", ["metadatas", "ids"])
def test_a_list_of_the_wrong_length_stores_nothing(collection: Collection, what: str) -> None:
    lists: dict[str, Any] = {what: [{}] if what == "metadatas" else ["a"]}
    with pytest.raises(ValueError, match=f"2 texts and 1 {what}"):
        DecantVectorStore(collection).add_texts(["oak", "birch"], **lists)
    assert collection.count() == 0


def test_metadata_that_are_not_json_store_nothing(collection: Collection) -> None:
    with pytest.raises(StoreError, match="metadata"):
        DecantVectorStore(collection).add_texts(["oak", "birch"], [{}, {"a": math.nan}])
    assert collection.count() == 0


def test_an_unknown_argument_is_refused_by_name(trees: DecantVectorStore) -> None:
    for call in (
        lambda: trees.similarity_search("oak", where=Equals("kind", "tree")),
        lambda: trees.similarity_search_by_vector([1.0] * 48, where=None),
        lambda: trees.max_marginal_relevance_search("oak", where=None),
        lambda: trees.add_texts(["a"], where=None),
        lambda: trees.delete(["oak"], where=None),
    ):
        with pytest.raises(TypeError, match="where"):
            call()


def test_queries_and_documents_are_embedded_in_their_roles(
    trees: DecantVectorStore, encoder: HashEncoder
) -> None:
    (document, score), *_ = trees.similarity_search_with_score("oak trees grow slowly", k=1)
    query = encoder.encode(["oak trees grow slowly"], role=Role.QUERY).dense[0]
    passage = encoder.encode([document.page_content], role=Role.PASSAGE).dense[0]
    assert score == pytest.approx(float(query @ passage), abs=1e-5)
    assert score < 0.999


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "tree", "year": 1950},
        Equals("year", 1950),
        Range("year", gt=1900, lt=2000),
        models.Filter(
            must=[models.FieldCondition(key="metadata.year", match=models.MatchValue(value=1950))]
        ),
    ],
    ids=["mapping", "equals", "range", "models"],
)
def test_a_filter_holds_in_every_kind_of_search(
    trees: DecantVectorStore, condition: Filter
) -> None:
    vector = trees.embeddings.embed_query("grow")
    assert ids(trees.similarity_search("grow", filter=condition)) == ["birch"]
    assert ids(trees.similarity_search_by_vector(vector, filter=condition)) == ["birch"]
    assert ids(trees.max_marginal_relevance_search("grow", filter=condition)) == ["birch"]
    found = trees.similarity_search_with_relevance_scores("grow", filter=condition)
    assert ids(document for document, _ in found) == ["birch"]
    retriever = trees.as_retriever(search_kwargs={"filter": condition})
    assert ids(retriever.invoke("grow")) == ["birch"]


def test_pages_by_offset_are_the_whole_ranking(trees: DecantVectorStore) -> None:
    whole = ids(trees.similarity_search("birch trees", k=4))
    pages = [trees.similarity_search("birch trees", k=2, offset=start) for start in (0, 2, 4)]
    assert [identity for page in pages for identity in ids(page)] == whole
    assert len(whole) == 4


def test_a_search_by_the_querys_vector_is_the_search_by_the_query(trees: DecantVectorStore) -> None:
    vector = trees.embeddings.embed_query("birch")
    assert trees.similarity_search_by_vector(vector, k=3) == trees.similarity_search("birch", k=3)


@pytest.mark.parametrize("vector", [[1.0] * 47, [math.nan] * 48], ids=["width", "nan"])
def test_a_vector_that_does_not_fit_is_refused(
    trees: DecantVectorStore, vector: list[float]
) -> None:
    with pytest.raises(StoreError):
        trees.similarity_search_by_vector(vector)


def test_lambda_one_is_relevance_and_lambda_zero_is_variety(trees: DecantVectorStore) -> None:
    """langchain-ai/langchain#39052: the other way round."""
    nearest = ids(trees.similarity_search("birch trees", k=2))
    assert set(nearest) == {"birch", "fallen"}
    relevant = trees.max_marginal_relevance_search("birch trees", k=2, lambda_mult=1.0)
    varied = trees.max_marginal_relevance_search("birch trees", k=2, lambda_mult=0.0)
    assert ids(relevant) == nearest
    assert ids(varied) == [nearest[0], "sea"]


def test_the_relevant_and_varied_picks_are_those_of_langchains_own_store(
    trees: DecantVectorStore,
) -> None:
    theirs = InMemoryVectorStore(trees.embeddings)
    theirs.add_texts(TREES, FACTS, ids=IDS)
    for balance in (0.0, 0.3, 0.7, 1.0):
        arguments: dict[str, Any] = {"k": 3, "fetch_k": 4, "lambda_mult": balance}
        ours = trees.max_marginal_relevance_search("birch trees", **arguments)
        expected = theirs.max_marginal_relevance_search("birch trees", **arguments)
        assert [document.page_content for document in ours] == [
            document.page_content for document in expected
        ]


def test_relevance_scores_lie_between_zero_and_one_and_keep_the_order(
    trees: DecantVectorStore,
) -> None:
    plain = trees.similarity_search_with_score("birch trees", k=4)
    scored = trees.similarity_search_with_relevance_scores("birch trees", k=4)
    assert ids(document for document, _ in scored) == ids(document for document, _ in plain)
    for (_, cosine), (_, relevance) in zip(plain, scored, strict=True):
        assert 0.0 <= relevance <= 1.0
        assert relevance == pytest.approx((cosine + 1) / 2)


def test_a_score_threshold_cuts_the_results(trees: DecantVectorStore) -> None:
    scored = trees.similarity_search_with_relevance_scores("birch trees", k=4)
    threshold = (scored[1][1] + scored[2][1]) / 2
    retriever = trees.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": threshold}
    )
    assert ids(retriever.invoke("birch trees")) == ids(document for document, _ in scored[:2])


def test_documents_come_back_in_the_order_of_the_ids_asked_for(trees: DecantVectorStore) -> None:
    assert ids(trees.get_by_ids(["sea", "nobody", "oak"])) == ["sea", "oak"]


def test_delete_without_anything_is_refused(trees: DecantVectorStore) -> None:
    with pytest.raises(ValueError, match="does not mean everything"):
        trees.delete()
    assert trees.collection.count() == 4


def test_deleting_no_ids_deletes_nothing(trees: DecantVectorStore) -> None:
    trees.delete([])
    trees.delete([], filter={"kind": "tree"})
    assert trees.collection.count() == 4


def test_delete_by_filter_deletes_what_meets_it(trees: DecantVectorStore) -> None:
    trees.delete(filter={"kind": "tree"})
    assert ids(trees.similarity_search("trees", k=9)) == ["sea"]


def test_ids_and_a_filter_delete_what_meets_both(trees: DecantVectorStore) -> None:
    trees.delete(["oak", "sea"], filter={"kind": "tree"})
    assert sorted(map(str, ids(trees.similarity_search("trees", k=9)))) == [
        "birch",
        "fallen",
        "sea",
    ]


class CountingEncoder(HashEncoder):
    """A HashEncoder that counts the texts it embeds."""

    def __init__(self) -> None:
        super().__init__(16)
        self.texts = 0

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        """Count, then encode."""
        vectors = super().encode(texts, role=role, **options)
        self.texts += len(vectors)
        return vectors


def test_opening_a_store_and_searching_by_vector_do_not_run_the_model(store: Store) -> None:
    encoder = CountingEncoder()
    made = DecantVectorStore(Collection.create(store, "counting", encoder))
    made.similarity_search_by_vector([1.0] * 16)
    assert encoder.texts == 0
    store.drop("counting")


def test_a_vector_store_is_made_from_a_collection_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes a Collection"):
        DecantVectorStore(tmp_path)  # type: ignore[arg-type]


def test_a_collection_filled_by_index_is_searched_with_its_source(collection: Collection) -> None:
    collection.index([SourceDocument(source="woods.txt", text=TREES[0], metadata={"page": 3})])
    (document,) = DecantVectorStore(collection).similarity_search("oak")
    assert document.page_content == TREES[0]
    assert document.metadata == {"page": 3, "source": "woods.txt", "start_index": 0}


def test_stored_vectors_are_those_of_the_encoder(
    trees: DecantVectorStore, encoder: HashEncoder
) -> None:
    vector = encoder.encode([TREES[2]], role=Role.PASSAGE).dense[0]
    hit, *_ = trees.collection.search_vector(vector, limit=1, with_vectors=True)
    assert hit.id == "sea"
    assert hit.vector is not None
    assert np.allclose(hit.vector, vector, atol=1e-6)
