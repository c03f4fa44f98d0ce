"""What would be taken for something else is refused: a string as ids, a pickle of something open.

Copies are no pickles: they share what is open (langchain-ai/langchain#26425 asks for both).
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.schema import TextNode

from decant.embedders import HashEncoder
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantEmbedding
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import Collection
from tree_nodes import ask, where

AB: Any = "ab"


@pytest.fixture
def letters(collection: Collection) -> Collection:
    """Return a collection whose ids are single letters."""
    LlamaIndexStore(collection).add([TextNode(id_=letter, text=letter) for letter in "abc"])
    return collection


@pytest.mark.parametrize(
    "call",
    [
        lambda made: LangChainStore(made).get_by_ids(AB),
        lambda made: LangChainStore(made).delete(AB),
        lambda made: LangChainStore(made).delete(AB, filter={"x": 1}),
        lambda made: LangChainStore(made).add_texts(["x", "y"], ids=AB),
        lambda made: LlamaIndexStore(made).get_nodes(AB),
        lambda made: LlamaIndexStore(made).get_nodes(AB, where("x", 1)),
        lambda made: LlamaIndexStore(made).delete_nodes(AB),
        lambda made: LlamaIndexStore(made).delete_nodes(AB, where("x", 1, "!=")),
        lambda made: ask(LlamaIndexStore(made), "x", node_ids=AB),
        lambda made: ask(LlamaIndexStore(made), "x", doc_ids=AB),
    ],
)
def test_a_string_where_ids_are_wanted_is_refused(
    letters: Collection, call: Callable[[Collection], object]
) -> None:
    with pytest.raises(TypeError, match=r"write \['ab'\]"):
        call(letters)
    assert sorted(passage.id for passage in letters.each()) == ["a", "b", "c"]


async def test_the_asynchronous_forms_refuse_it_too(letters: Collection) -> None:
    langchain, llama_index = LangChainStore(letters), LlamaIndexStore(letters)
    calls: list[Any] = [
        langchain.aget_by_ids(AB),
        langchain.adelete(AB),
        llama_index.aget_nodes(AB),
        llama_index.adelete_nodes(AB),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"write \['ab'\]"):
            await call
    assert letters.count() == 3


@pytest.mark.parametrize("nobody", [None, "", ["a"], 7], ids=repr)
def test_llama_index_deletes_no_document_without_an_id(letters: Collection, nobody: Any) -> None:
    """As in turbovec#302: the message holds what was given."""
    with pytest.raises(ValueError, match="id of a document, got") as caught:
        LlamaIndexStore(letters).delete(nobody)
    assert repr(nobody) in str(caught.value)
    assert letters.count() == 3


def test_stores_are_not_pickled(letters: Collection) -> None:
    for made in (LangChainStore(letters), LlamaIndexStore(letters)):
        with pytest.raises(TypeError, match=r"cannot be pickled.*open the collection"):
            pickle.dumps(made)
    with pytest.raises(TypeError, match=r"cannot be pickled.*open the collection"):
        pickle.dumps(LangChainStore(letters).as_retriever())


def test_embeddings_without_a_bundle_are_not_pickled(encoder: HashEncoder) -> None:
    for made in (DecantEmbeddings(encoder=encoder), DecantEmbedding(encoder=encoder)):
        with pytest.raises(TypeError, match=r"cannot be pickled.*from_bundle"):
            pickle.dumps(made)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_stores_share_the_collection(
    letters: Collection, copied: Callable[[Any], Any]
) -> None:
    assert copied(LangChainStore(letters)).collection is letters
    assert copied(LlamaIndexStore(letters)).collection is letters
    retriever = copied(LangChainStore(letters).as_retriever(k=1))
    assert [document.page_content for document in retriever.invoke("b")] == ["b"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_of_embeddings_share_the_encoder(
    encoder: HashEncoder, copied: Callable[[Any], Any]
) -> None:
    assert copied(DecantEmbeddings(encoder=encoder)).encoder is encoder
    embedding = DecantEmbedding(encoder=encoder, embed_batch_size=3)
    twin = copied(embedding)
    assert twin.encoder is encoder
    assert twin.to_dict() == embedding.to_dict()
