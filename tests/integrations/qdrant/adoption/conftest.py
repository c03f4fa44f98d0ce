"""Tiny real models in PyTorch, and collections that were filled with their vectors in some way."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import Attention, Choices, Pooling, TorchEncoder
from decant.integrations.qdrant import Store, connect
from filled_collections import TEXTS, Fill, Vectors, tiny
from models import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEncoder]:
    with tiny(tmp_path_factory.mktemp("model") / "tiny") as encoder:
        yield encoder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEncoder]:
    """Return a causal model whose last token, an EOS, is pooled."""
    folder = save_model(tmp_path_factory.mktemp("model") / "causal", "llama", ending="<s> $A")
    choices = Choices(attention=Attention.CAUSAL, pooling=Pooling.LAST, eos="</s>")
    with TorchEncoder.from_pretrained(folder, choices=choices) as encoder:
        yield encoder


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def local(client: QdrantClient) -> Iterator[Store]:
    with connect(client) as store:
        yield store


@pytest.fixture
def fill(client: QdrantClient) -> Fill:
    """Return what makes a collection ``notes`` of texts and vectors, as langchain-qdrant does."""

    def made(
        vectors: Vectors,
        *,
        texts: list[str] = TEXTS,
        distance: models.Distance = models.Distance.COSINE,
        vector: str = "",
    ) -> None:
        params = models.VectorParams(size=vectors.shape[1], distance=distance)
        client.create_collection("notes", {vector: params} if vector else params)
        points = [
            models.PointStruct(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, text)),
                vector={vector: row.tolist()} if vector else row.tolist(),
                payload={"page_content": text, "metadata": {"year": 2000 + number % 5}},
            )
            for number, (text, row) in enumerate(zip(texts, vectors, strict=True))
        ]
        client.upsert("notes", points)

    return made
