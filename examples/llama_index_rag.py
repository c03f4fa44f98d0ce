"""Answer a question from your own texts with LlamaIndex, over a collection in a folder.

Runs as it is, without a model, a server or a network: the encoder hashes words and the language
model repeats what it is shown. For real use take the lines in the comments instead.
"""

from __future__ import annotations

import tempfile

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters

from decant.embedders import HashEncoder
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import Collection, connect

PAGES = [
    Document(doc_id="oak", text="Oak trees grow slowly and get very old.", metadata={"page": 1}),
    Document(doc_id="birch", text="Birch trees grow fast and love light.", metadata={"page": 2}),
    Document(doc_id="sea", text="The sea is deep, and rivers flow to it.", metadata={"page": 3}),
]
QUESTION = "which trees grow fast?"


def main() -> None:
    """Ingest, search with a filter, and answer."""
    encoder = HashEncoder()  # or: decant.embedders.load("minilm")
    embedding = DecantEmbedding(encoder=encoder)  # or: DecantEmbedding.from_bundle("minilm")
    with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
        vectors = DecantVectorStore(Collection.create(store, "trees", encoder))
        # Cut by the encoder's own tokens, so that no chunk is longer than it can take.
        splitter = TokenTextSplitter(
            chunk_size=64,
            chunk_overlap=0,
            tokenizer=lambda text: encoder.tokenizer.encode(text).tokens,
        )
        pipeline = IngestionPipeline(transformations=[splitter, embedding], vector_store=vectors)
        pipeline.run(documents=PAGES)

        index = VectorStoreIndex.from_vector_store(vectors, embed_model=embedding)
        first_pages = MetadataFilters(
            filters=[MetadataFilter(key="page", value=2, operator=FilterOperator.LTE)]
        )
        retriever = index.as_retriever(similarity_top_k=2, filters=first_pages)
        for found in retriever.retrieve("trees"):
            print(f"{found.score:.3f}  {found.node.ref_doc_id}  {found.node.get_content()}")

        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)  # or: llm=your own
        print(engine.query(QUESTION))


if __name__ == "__main__":
    main()
