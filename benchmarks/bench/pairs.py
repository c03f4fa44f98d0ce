"""Whole ingest with LangChain and LlamaIndex: their usual embedder and their usual Qdrant store.

Both run sentence-transformers and qdrant-client's local mode on a folder, all with the defaults
of their authors. Documents are their own kind of objects, so they are passed through untyped.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from decant.embedders.errors import need

_COLLECTION = "benchmark"


class Pair(Protocol):
    """An embedder and a store of one framework.

    Attributes:
        name: The framework.
        settings: What both are, and how they are set.
        splitter: What cuts, and how it is set.
    """

    name: str
    settings: str
    splitter: str

    def ready(self, chunks: Sequence[str]) -> list[Any]:
        """Return given chunks as the framework's documents."""
        ...

    def split(self, files: Sequence[Path]) -> list[Any]:
        """Read files and cut them with the framework's usual splitter."""
        ...

    def texts(self, documents: Sequence[Any]) -> list[str]:
        """Return what is embedded of each document."""
        ...

    def store(self, documents: Sequence[Any], folder: Path) -> None:
        """Embed documents and store them in a new collection in ``folder``."""
        ...

    def first(self, folder: Path, queries: Sequence[str]) -> list[str]:
        """Return the text of each query's first hit in the collection in ``folder``."""
        ...


class LangChain:
    """HuggingFaceEmbeddings and QdrantVectorStore.

    Args:
        model: The model's folder.

    Raises:
        MissingExtra: LangChain's packages are not installed.
    """

    name = "LangChain"
    settings = "HuggingFaceEmbeddings and QdrantVectorStore on a path, all defaults; from chunks"
    splitter = "the same, from files with RecursiveCharacterTextSplitter(1000, 200)"

    def __init__(self, model: Path) -> None:
        library = need("langchain_huggingface", extra="peers")
        self._embeddings = library.HuggingFaceEmbeddings(
            model_name=str(model), model_kwargs={"device": "cpu"}
        )
        self._stores = need("langchain_qdrant", extra="peers").QdrantVectorStore
        self._document = need("langchain_core.documents", extra="peers").Document

    def ready(self, chunks: Sequence[str]) -> list[Any]:
        """Return given chunks as LangChain documents."""
        return [self._document(page_content=chunk) for chunk in chunks]

    def split(self, files: Sequence[Path]) -> list[Any]:
        """Read files and cut them; sizes as in LangChain's own tutorials."""
        library = need("langchain_text_splitters", extra="peers")
        splitter = library.RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)
        whole = [
            self._document(
                page_content=file.read_text(encoding="utf-8"), metadata={"source": str(file)}
            )
            for file in files
        ]
        return list(splitter.split_documents(whole))

    def texts(self, documents: Sequence[Any]) -> list[str]:
        """Return what is embedded of each document."""
        return [document.page_content for document in documents]

    def store(self, documents: Sequence[Any], folder: Path) -> None:
        """Embed documents and store them in a new collection in ``folder``."""
        made = self._stores.from_documents(
            list(documents), self._embeddings, path=str(folder), collection_name=_COLLECTION
        )
        made.client.close()

    def first(self, folder: Path, queries: Sequence[str]) -> list[str]:
        """Return the text of each query's first hit."""
        opened = self._stores.from_existing_collection(
            embedding=self._embeddings, path=str(folder), collection_name=_COLLECTION
        )
        try:
            return [opened.similarity_search(query, k=1)[0].page_content for query in queries]
        finally:
            opened.client.close()


class LlamaIndex:
    """HuggingFaceEmbedding and QdrantVectorStore.

    Args:
        model: The model's folder.

    Raises:
        MissingExtra: LlamaIndex's packages are not installed.
    """

    name = "LlamaIndex"
    settings = "HuggingFaceEmbedding and QdrantVectorStore on a path, all defaults; from chunks"
    splitter = "the same, from files with SentenceSplitter(256, 20)"

    def __init__(self, model: Path) -> None:
        library = need("llama_index.embeddings.huggingface", extra="peers")
        self._embedding = library.HuggingFaceEmbedding(model_name=str(model), device="cpu")
        self._core = need("llama_index.core", extra="peers")
        self._nodes = need("llama_index.core.schema", extra="peers")
        self._store = need("llama_index.vector_stores.qdrant", extra="peers").QdrantVectorStore
        self._client = need("qdrant_client", extra="peers").QdrantClient

    def ready(self, chunks: Sequence[str]) -> list[Any]:
        """Return given chunks as LlamaIndex nodes."""
        return [self._nodes.TextNode(text=chunk) for chunk in chunks]

    def split(self, files: Sequence[Path]) -> list[Any]:
        """Read files and cut them.

        The default of 1,024 tokens would leave three quarters of each chunk out of its vector,
        because this model reads 256.
        """
        library = need("llama_index.core.node_parser", extra="peers")
        splitter = library.SentenceSplitter(chunk_size=256, chunk_overlap=20)
        reader = self._core.SimpleDirectoryReader(input_files=[str(file) for file in files])
        return list(splitter.get_nodes_from_documents(reader.load_data()))

    def texts(self, documents: Sequence[Any]) -> list[str]:
        """Return what is embedded of each node, metadata included."""
        mode = self._nodes.MetadataMode.EMBED
        return [document.get_content(metadata_mode=mode) for document in documents]

    def store(self, documents: Sequence[Any], folder: Path) -> None:
        """Embed nodes and store them in a new collection in ``folder``."""
        client = self._client(path=str(folder))
        store = self._store(collection_name=_COLLECTION, client=client)
        context = self._core.StorageContext.from_defaults(vector_store=store)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Payload indexes have no effect")
            self._core.VectorStoreIndex(
                nodes=list(documents), storage_context=context, embed_model=self._embedding
            )
        client.close()

    def first(self, folder: Path, queries: Sequence[str]) -> list[str]:
        """Return the text of each query's first hit."""
        client = self._client(path=str(folder))
        try:
            store = self._store(collection_name=_COLLECTION, client=client)
            index = self._core.VectorStoreIndex.from_vector_store(
                store, embed_model=self._embedding
            )
            retriever = index.as_retriever(similarity_top_k=1)
            return [retriever.retrieve(query)[0].node.get_content() for query in queries]
        finally:
            client.close()
