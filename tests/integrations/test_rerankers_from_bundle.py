"""Both frameworks' rerankers from a bundle on disk, with the real reranker."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from decant.embedders import BundleError, OnnxReranker, RecipeError, best_first, load_reranker
from decant.integrations.langchain import DecantReranker
from decant.integrations.llama_index import DecantRerank

QUERY = "where is the river"
TEXTS = ["the sea", "a hill in the sun", "a river", "the cat sat on the mat"]
DOCUMENTS = [Document(text) for text in TEXTS]
NODES = [NodeWithScore(node=TextNode(id_=text, text=text), score=0.5) for text in TEXTS]


@pytest.fixture(scope="module")
def best(tiny_reranker: Path) -> list[tuple[str, float]]:
    """Return the texts with the bundle's scores, best first."""
    with load_reranker(tiny_reranker, provider="cpu") as reranker:
        scores = reranker.score(QUERY, TEXTS)
    assert len(set(scores.tolist())) == len(TEXTS)
    return [(TEXTS[at], float(scores[at])) for at in best_first(scores)]


@pytest.fixture(scope="module")
def compressor(tiny_reranker: Path) -> Iterator[DecantReranker]:
    made = DecantReranker.from_bundle(tiny_reranker, provider="cpu", top_n=3)
    assert isinstance(made.reranker, OnnxReranker)
    yield made
    made.reranker.close()


@pytest.fixture(scope="module")
def postprocessor(tiny_reranker: Path) -> DecantRerank:
    made = DecantRerank.from_bundle(tiny_reranker, provider="cpu", top_n=3)
    assert isinstance(made.reranker, OnnxReranker)
    return made


def shown(found: list[Document]) -> list[tuple[str, float]]:
    return [(one.page_content, one.metadata["relevance_score"]) for one in found]


async def test_langchain_scores_as_the_bundle_does(
    compressor: DecantReranker, best: list[tuple[str, float]]
) -> None:
    found = compressor.compress_documents(DOCUMENTS, QUERY)
    assert [text for text, _ in shown(found)] == [text for text, _ in best[:3]]
    assert [score for _, score in shown(found)] == pytest.approx(
        [score for _, score in best[:3]], abs=1e-5
    )
    assert await compressor.acompress_documents(DOCUMENTS, QUERY) == found
    again = pickle.loads(pickle.dumps(compressor))
    assert again.reranker is not compressor.reranker
    assert again.compress_documents(DOCUMENTS, QUERY) == found


async def test_llama_index_scores_as_the_bundle_does(
    postprocessor: DecantRerank, best: list[tuple[str, float]]
) -> None:
    found = postprocessor.postprocess_nodes(NODES, query_str=QUERY)
    assert [one.node_id for one in found] == [text for text, _ in best[:3]]
    assert [one.score for one in found] == pytest.approx([one for _, one in best[:3]], abs=1e-5)
    assert await postprocessor.apostprocess_nodes(NODES, query_str=QUERY) == found
    again = DecantRerank.from_dict(postprocessor.to_dict())
    assert again.reranker is not postprocessor.reranker
    assert again.postprocess_nodes(NODES, query_str=QUERY) == found


def test_a_bundle_with_another_recipe_than_the_saved_one_is_refused(
    postprocessor: DecantRerank,
) -> None:
    saved = postprocessor.to_dict()
    other = saved["recipe"].replace('"max_tokens": 64', '"max_tokens": 32')
    assert other != saved["recipe"]
    with pytest.raises(RecipeError, match="saved with the recipe"):
        DecantRerank.from_dict({**saved, "recipe": other})


def test_an_encoder_is_no_reranker(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="is an encoder, which gives vectors"):
        DecantReranker.from_bundle(tiny_bundle)
    with pytest.raises(BundleError, match="is an encoder, which gives vectors"):
        DecantRerank.from_bundle(tiny_bundle)
