"""What the tests of serving share: models without weights, and clients of applications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from decant.embedders import HashEncoder, HashReranker
from decant.serving import ServedModel, ServedReranker, create_app
from instructed_encoder import InstructedEncoder


@pytest.fixture(scope="session")
def full() -> InstructedEncoder:
    """Return the encoder of the model ``full``: prompts, instructions, all kinds of vectors."""
    return InstructedEncoder()


@pytest.fixture(scope="session")
def plain() -> HashEncoder:
    """Return the encoder of the model ``minilm``, whose queries and passages are alike."""
    return HashEncoder(dim=4)


@pytest.fixture(scope="session")
def client(full: InstructedEncoder, plain: HashEncoder) -> Iterator[TestClient]:
    """Return a client of a server with both models."""
    models = [ServedModel(name="full", encoder=full), ServedModel(name="minilm", encoder=plain)]
    with TestClient(create_app(models)) as found:
        yield found


@pytest.fixture(scope="session")
def lone(full: InstructedEncoder) -> Iterator[TestClient]:
    """Return a client of a server with one model."""
    with TestClient(create_app([ServedModel(name="full", encoder=full)])) as found:
        yield found


@pytest.fixture(scope="session")
def ranker() -> HashReranker:
    """Return the reranker of the model ``ranker``, which reads 24 words."""
    return HashReranker(max_tokens=24)


@pytest.fixture(scope="session")
def ranking(ranker: HashReranker, plain: HashEncoder) -> Iterator[TestClient]:
    """Return a client of a server with a reranker and an encoder."""
    models: list[ServedModel | ServedReranker] = [
        ServedReranker(name="ranker", reranker=ranker),
        ServedModel(name="minilm", encoder=plain),
    ]
    with TestClient(create_app(models)) as found:
        yield found
