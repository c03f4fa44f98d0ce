"""``from_texts`` and ``from_documents``: where the collection comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from decant.embedders import CollectionMismatch, HashEncoder, StoreError, TextError
from decant.integrations.langchain import DecantEmbeddings, DecantVectorStore
from decant.integrations.qdrant import Collection, connect

TREES = ["oak trees grow slowly", "birch trees grow fast", "the sea is deep"]


def test_from_texts_makes_the_collection_and_from_documents_finds_it_again(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    embeddings = DecantEmbeddings(encoder=encoder)
    with connect(tmp_path / "index") as store:
        first = DecantVectorStore.from_texts(
            TREES, embeddings, ids=["oak", "birch", "sea"], store=store, collection="trees"
        )
        more = [Document("pine trees", id="pine"), Document("a river")]
        second = DecantVectorStore.from_documents(more, embeddings, store=store, collection="trees")
        assert first.collection.count() == 5
        assert second.similarity_search("pine trees", k=1)[0].id == "pine"


def test_from_texts_takes_a_folder(tmp_path: Path, encoder: HashEncoder) -> None:
    embeddings = DecantEmbeddings(encoder=encoder)
    made = DecantVectorStore.from_texts(["oak"], embeddings, store=tmp_path / "index")
    assert made.collection.name == "langchain"
    made.collection.store.close()
    with connect(tmp_path / "index") as store:
        assert Collection.open(store, "langchain", encoder).count() == 1


async def test_from_texts_takes_a_collection(collection: Collection, encoder: HashEncoder) -> None:
    embeddings = DecantEmbeddings(encoder=encoder)
    made = await DecantVectorStore.afrom_texts(["oak"], embeddings, collection=collection)
    assert made.collection.count() == 1


def test_from_texts_refuses_embeddings_without_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="DecantEmbeddings"):
        DecantVectorStore.from_texts(["a"], DeterministicFakeEmbedding(size=4), store=tmp_path)


def test_from_texts_says_when_the_store_is_missing(encoder: HashEncoder) -> None:
    with pytest.raises(TypeError, match="store="):
        DecantVectorStore.from_texts(["a"], DecantEmbeddings(encoder=encoder))


def test_from_texts_refuses_a_collection_of_another_recipe(collection: Collection) -> None:
    embeddings = DecantEmbeddings(encoder=HashEncoder(48))
    with pytest.raises(CollectionMismatch):
        DecantVectorStore.from_texts(["a"], embeddings, collection=collection)
    assert collection.count() == 0


def test_a_text_that_cannot_be_embedded_leaves_no_collection_and_no_lock(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    embeddings = DecantEmbeddings(encoder=encoder)
    with pytest.raises(TextError):
        DecantVectorStore.from_texts(["oak", "\ud800"], embeddings, store=tmp_path / "index")
    with pytest.raises(StoreError, match="name"):
        DecantVectorStore.from_texts(
            ["oak"], embeddings, store=tmp_path / "index", collection="no / name"
        )
    with connect(tmp_path / "index") as store:
        assert store.names() == []


def test_metadatas_may_be_none_for_some_texts_and_come_from_a_generator(
    collection: Collection,
) -> None:
    trees = DecantVectorStore(collection)
    metadatas: Any = (held for held in ({"page": 1}, None))
    ids = trees.add_texts(["one text", "two texts"], metadatas, ids=iter(["a", "b"]))
    assert ids == ["a", "b"]
    assert [held.metadata for held in trees.get_by_ids(ids)] == [{"page": 1}, {}]


@pytest.mark.parametrize(
    ("metadatas", "message"),
    [
        ([{}, "page 2"], "text 1 has a str as its metadata; give a dict, or None"),
        ([{}, ["page"]], "text 1 has a list as its metadata"),
        ({"page": 1}, "metadatas takes one for each text, got one dict"),
        ("ab", "metadatas takes one for each text, got one str"),
    ],
)
def test_metadatas_that_are_none_are_named(
    collection: Collection, metadatas: Any, message: str
) -> None:
    trees = DecantVectorStore(collection)
    with pytest.raises(TypeError, match=message):
        trees.add_texts(["one text", "two texts"], metadatas)
    assert trees.get_by_ids(["a"]) == []
