"""DecantEmbedding: roles, batches, serialised fields, and an event loop that is not blocked."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError

from decant.embedders import HashEncoder, Prompt, Recipe, RecipeError, Role, Vectors
from decant.integrations.llama_index import DecantEmbedding
from gated_encoder import GatedEncoder, through


class CountingEncoder(HashEncoder):
    """A HashEncoder that remembers how many texts each call held."""

    def __init__(self) -> None:
        super().__init__(8)
        self.calls: list[int] = []

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        """Note the call, then encode."""
        vectors = super().encode(texts, role=role, **options)
        self.calls.append(len(vectors))
        return vectors


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(
        8, query_prompt=Prompt.parse("ask: {text}"), passage_prompt=Prompt.parse("tell: {text}")
    )


def test_it_is_a_llama_index_embedding(encoder: HashEncoder) -> None:
    assert isinstance(DecantEmbedding(encoder=encoder), BaseEmbedding)
    assert DecantEmbedding.class_name() == "DecantEmbedding"


def test_texts_are_passages_and_queries_are_queries(encoder: HashEncoder) -> None:
    embedding = DecantEmbedding(encoder=encoder)
    passage = encoder.encode(["a tree"], role=Role.PASSAGE).dense[0]
    query = encoder.encode(["a tree"], role=Role.QUERY).dense[0]
    assert embedding.get_text_embedding("a tree") == passage.tolist()
    assert embedding.get_text_embedding_batch(["a tree"]) == [passage.tolist()]
    assert embedding.get_query_embedding("a tree") == query.tolist()
    assert not np.array_equal(passage, query)


def test_the_vectors_are_python_floats(encoder: HashEncoder) -> None:
    assert type(DecantEmbedding(encoder=encoder).get_text_embedding("a tree")[0]) is float


def test_a_batch_reaches_the_encoder_whole() -> None:
    encoder = CountingEncoder()
    rows = DecantEmbedding(encoder=encoder).get_text_embedding_batch(
        [f"text {i}" for i in range(3_000)]
    )
    assert len(rows) == 3_000
    assert encoder.calls == [2048, 952]


def test_nodes_are_embedded_with_the_metadata_that_they_show_to_models(
    encoder: HashEncoder,
) -> None:
    node = TextNode(text="a tree", metadata={"title": "Woods"})
    (embedded,) = DecantEmbedding(encoder=encoder)([node])
    seen = node.get_content(metadata_mode=MetadataMode.EMBED)
    assert embedded.embedding == encoder.encode([seen], role=Role.PASSAGE).dense[0].tolist()


async def test_the_asynchronous_methods_leave_the_event_loop_free() -> None:
    encoder = GatedEncoder()
    embedding = DecantEmbedding(encoder=encoder)
    query = await through(encoder, embedding.aget_query_embedding("a tree"))
    text = await through(encoder, embedding.aget_text_embedding("a tree"))
    rows = await through(encoder, embedding.aget_text_embedding_batch(["a tree", "a house"]))
    assert query == embedding.get_query_embedding("a tree")
    assert text == embedding.get_text_embedding("a tree")
    assert rows == embedding.get_text_embedding_batch(["a tree", "a house"])


def test_the_recipe_is_a_serialised_field(encoder: HashEncoder) -> None:
    saved = DecantEmbedding(encoder=encoder).to_dict()
    assert Recipe.from_json(saved["recipe"]) == encoder.recipe
    assert {"bundle", "provider", "precision"} <= set(saved)


def test_another_prompt_gives_another_serialised_form(encoder: HashEncoder) -> None:
    saved = str(DecantEmbedding(encoder=encoder).to_dict())
    assert saved != str(DecantEmbedding(encoder=HashEncoder(8)).to_dict())
    assert saved == str(DecantEmbedding(encoder=encoder).to_dict())


def test_saved_fields_and_the_encoder_give_the_embedding_back(encoder: HashEncoder) -> None:
    embedding = DecantEmbedding(encoder=encoder, embed_batch_size=7)
    again = DecantEmbedding.from_dict(embedding.to_dict(), encoder=encoder)
    assert again.to_dict() == embedding.to_dict()
    assert again.embed_batch_size == 7
    assert again.get_query_embedding("a tree") == embedding.get_query_embedding("a tree")


def test_saved_fields_with_another_encoder_are_refused(encoder: HashEncoder) -> None:
    saved = DecantEmbedding(encoder=encoder).to_dict()
    other = HashEncoder(9)
    with pytest.raises(RecipeError) as caught:
        DecantEmbedding.from_dict(saved, encoder=other)
    assert encoder.recipe.digest() in str(caught.value)
    assert other.recipe.digest() in str(caught.value)


def test_saved_fields_without_bundle_or_encoder_say_what_to_do(encoder: HashEncoder) -> None:
    with pytest.raises(TypeError, match="from_bundle"):
        DecantEmbedding.from_dict(DecantEmbedding(encoder=encoder).to_dict())


def test_an_encoder_in_memory_is_not_pickled_into_something_broken(encoder: HashEncoder) -> None:
    with pytest.raises(TypeError, match="from_bundle"):
        pickle.dumps(DecantEmbedding(encoder=encoder))


def test_llama_indexes_own_cache_is_refused_because_it_mixes_roles(encoder: HashEncoder) -> None:
    with pytest.raises(ValidationError, match="keyed by the text alone"):
        DecantEmbedding(encoder=encoder, embeddings_cache=SimpleKVStore())
