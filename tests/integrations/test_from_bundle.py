"""Both frameworks' embeddings from a bundle on disk, with the real encoder."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from decant.embedders import BundleError, OnnxEncoder, ProviderError, RecipeError, Role, load
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.llama_index import DecantEmbedding

TEXTS = ["a b c", "what is a tree?"]


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> OnnxEncoder:
    return load(tiny_bundle, provider="cpu")


def test_langchain_embeds_as_the_bundle_does(tiny_bundle: Path, encoder: OnnxEncoder) -> None:
    embeddings = DecantEmbeddings.from_bundle(tiny_bundle, provider="cpu")
    expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
    assert embeddings.embed_documents(TEXTS) == expected
    assert isinstance(embeddings.encoder, OnnxEncoder)


def test_llama_index_embeds_as_the_bundle_does(tiny_bundle: Path, encoder: OnnxEncoder) -> None:
    embedding = DecantEmbedding.from_bundle(tiny_bundle, provider="cpu")
    expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
    assert embedding.get_text_embedding_batch(TEXTS) == expected


def test_the_saved_fields_open_the_bundle_again(tiny_bundle: Path, encoder: OnnxEncoder) -> None:
    embedding = DecantEmbedding.from_bundle(tiny_bundle, provider="cpu")
    saved = embedding.to_dict()
    assert saved["precision"] == "fp32"
    assert saved["provider"] == "cpu"
    assert saved["model_name"] == encoder.recipe.base
    again = DecantEmbedding.from_dict(saved)
    assert again.to_dict() == saved
    assert again.get_query_embedding(TEXTS[1]) == embedding.get_query_embedding(TEXTS[1])


def test_another_process_opens_the_bundle_again(tiny_bundle: Path) -> None:
    embedding = DecantEmbedding.from_bundle(tiny_bundle, provider="cpu")
    again = pickle.loads(pickle.dumps(embedding))
    assert again.to_dict() == embedding.to_dict()
    assert again.get_query_embedding(TEXTS[1]) == embedding.get_query_embedding(TEXTS[1])


def test_langchains_embeddings_open_the_bundle_again_in_another_process(tiny_bundle: Path) -> None:
    embeddings = DecantEmbeddings.from_bundle(tiny_bundle, provider="cpu")
    again = pickle.loads(pickle.dumps(embeddings))
    assert again.encoder is not embeddings.encoder
    assert again.encoder.precision == "fp32"
    assert again.embed_query(TEXTS[1]) == embeddings.embed_query(TEXTS[1])
    assert pickle.loads(pickle.dumps(again)).embed_query("a") == embeddings.embed_query("a")


def test_a_bundle_that_was_replaced_is_refused(tiny_bundle: Path, encoder: OnnxEncoder) -> None:
    saved = DecantEmbedding.from_bundle(tiny_bundle, provider="cpu").to_dict()
    before = saved["recipe"].replace('"normalize": true', '"normalize": false')
    assert before != saved["recipe"]
    with pytest.raises(RecipeError, match=encoder.recipe.digest()):
        DecantEmbedding.from_dict({**saved, "recipe": before})


def test_a_bundle_that_is_not_there_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing-here"):
        DecantEmbeddings.from_bundle(tmp_path / "nothing-here")
    with pytest.raises(BundleError, match="nothing-here"):
        DecantEmbedding.from_bundle(tmp_path / "nothing-here")


def test_a_provider_that_nobody_knows_is_a_provider_error(tiny_bundle: Path) -> None:
    with pytest.raises(ProviderError, match="abacus"):
        DecantEmbeddings.from_bundle(tiny_bundle, provider="abacus")
    with pytest.raises(ProviderError, match="abacus"):
        DecantEmbedding.from_bundle(tiny_bundle, provider="abacus")
