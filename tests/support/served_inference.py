"""``decant serve`` as the inference service of a Qdrant double, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from decant.embedders import Encoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    ServerInference,
    Words,
)
from decant.serving import ApiKeys, ServedModel, create_app
from qdrant_double import QdrantDouble, Service, ServiceAnswer, reached


@contextmanager
def serve_inference(models: Mapping[str, Encoder], *, key: str | None = None) -> Iterator[Service]:
    """Yield a service that answers with the application of ``decant serve``.

    Args:
        models: The encoders by their names.
        key: The API key that it asks for.
    """
    served = [ServedModel(name=name, encoder=encoder) for name, encoder in models.items()]
    keys = None if key is None else ApiKeys.of([key])
    with TestClient(create_app(served, keys=keys)) as client:

        def ask(body: Any) -> ServiceAnswer:
            answer = client.post("/infer", json=body)
            return ServiceAnswer(
                status=answer.status_code, body=answer.content, headers=answer.headers
            )

        yield ask


@contextmanager
def serve_collection(encoder: Encoder) -> Iterator[tuple[Collection, Collection]]:
    """Yield an empty collection with words, opened with its encoder and opened without it."""
    with (
        serve_inference({"model": encoder}) as service,
        QdrantDouble() as double,
        reached(double) as store,
    ):
        double.inference = service
        settings = CollectionSettings(words=Words())
        held = Collection.create(store, "docs", encoder, settings=settings)
        held.keep_golden_vectors()
        yield held, Collection.open(store, "docs", ServerInference("model"))
