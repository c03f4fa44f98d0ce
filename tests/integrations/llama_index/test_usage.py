"""Both LlamaIndex classes where people use them: in an ingestion pipeline and in an index."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore

from decant.embedders import CollectionMismatch, HashEncoder
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import Collection

DOCUMENTS = [
    Document(doc_id="trees", text="oak trees grow slowly.\nbirch trees grow fast."),
    Document(doc_id="water", text="the sea is deep.\nrivers flow to the sea."),
]


@pytest.fixture
def embedding(encoder: HashEncoder) -> DecantEmbedding:
    return DecantEmbedding(encoder=encoder)


@pytest.fixture
def splitter(encoder: HashEncoder) -> TokenTextSplitter:
    """Return a splitter that counts in the encoder's own words."""
    return TokenTextSplitter(
        chunk_size=8,
        chunk_overlap=0,
        separator="\n",
        tokenizer=lambda text: encoder.tokenizer.encode(text).tokens,
    )


@pytest.fixture
def pipeline(
    collection: Collection, embedding: DecantEmbedding, splitter: TokenTextSplitter
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[splitter, embedding],
        vector_store=DecantVectorStore(collection),
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )


def texts(collection: Collection, source: str) -> str:
    nodes = DecantVectorStore(collection).get_nodes()
    return " ".join(sorted(node.get_content() for node in nodes if node.ref_doc_id == source))


def test_a_pipeline_stores_updates_and_removes_documents(
    pipeline: IngestionPipeline, collection: Collection
) -> None:
    assert len(pipeline.run(documents=DOCUMENTS)) == collection.count() == 4
    assert pipeline.run(documents=DOCUMENTS) == []
    pipeline.run(documents=[Document(doc_id="trees", text="pine trees stay green")])
    assert texts(collection, "trees") == "pine trees stay green"
    assert texts(collection, "water") == ""


async def test_a_pipeline_runs_asynchronously(
    pipeline: IngestionPipeline, collection: Collection
) -> None:
    await pipeline.arun(documents=DOCUMENTS)
    assert collection.count() == 4


def test_a_pipelines_cache_serves_the_same_recipe_only(
    embedding: DecantEmbedding, splitter: TokenTextSplitter
) -> None:
    cache = IngestionCache()
    first = IngestionPipeline(transformations=[splitter, embedding], cache=cache)
    other = DecantEmbedding(encoder=HashEncoder(48))
    second = IngestionPipeline(transformations=[splitter, other], cache=cache)
    ours = [node.embedding for node in first.run(documents=DOCUMENTS)]
    theirs = [node.embedding for node in second.run(documents=DOCUMENTS)]
    assert ours != theirs
    assert ours == [node.embedding for node in first.run(documents=DOCUMENTS)]


@pytest.fixture
def index(
    collection: Collection, embedding: DecantEmbedding, pipeline: IngestionPipeline
) -> VectorStoreIndex:
    pipeline.run(documents=DOCUMENTS)
    return VectorStoreIndex.from_vector_store(DecantVectorStore(collection), embed_model=embedding)


def test_an_index_over_the_store_retrieves_and_answers(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever(similarity_top_k=1)
    (found,) = retriever.retrieve("how do birch trees grow?")
    assert "birch" in found.node.get_content()
    assert found.node.ref_doc_id == "trees"
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=1).query("birch trees?")
    assert "birch trees grow fast" in str(answer)


def test_an_index_is_built_from_documents_into_the_store(
    collection: Collection, embedding: DecantEmbedding, splitter: TokenTextSplitter
) -> None:
    index = VectorStoreIndex.from_documents(
        DOCUMENTS,
        storage_context=StorageContext.from_defaults(vector_store=DecantVectorStore(collection)),
        embed_model=embedding,
        transformations=[splitter],
    )
    assert collection.count() == 4
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("how deep is the sea?")
    assert found.node.get_content() == "the sea is deep."


def test_an_index_retrieves_asynchronously_and_with_variety(index: VectorStoreIndex) -> None:
    retriever = index.as_retriever(
        similarity_top_k=2,
        vector_store_query_mode="mmr",
        vector_store_kwargs={"mmr_threshold": 0.2},
    )
    found = asyncio.run(retriever.aretrieve("how do birch trees grow?"))
    assert len({node.node_id for node in found}) == 2


def test_an_index_takes_and_gives_up_documents(
    index: VectorStoreIndex, collection: Collection
) -> None:
    index.insert(Document(doc_id="sky", text="the sky is blue"))
    assert texts(collection, "sky") == "the sky is blue"
    index.delete_ref_doc("trees")
    assert texts(collection, "trees") == ""
    assert texts(collection, "sky") == "the sky is blue"


def test_an_index_with_another_model_cannot_write(collection: Collection) -> None:
    index = VectorStoreIndex.from_vector_store(
        DecantVectorStore(collection), embed_model=MockEmbedding(embed_dim=48)
    )
    with pytest.raises(CollectionMismatch, match="DecantEmbedding"):
        index.insert(Document(text="the sky is blue"))
    assert collection.count() == 0
