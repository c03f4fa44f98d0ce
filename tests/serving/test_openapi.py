"""The OpenAPI document and the server agree: schemathesis asks what the document allows, and more.

schemathesis makes requests that the document allows and ones that it forbids; every answer has a
status and a form that the document names, and none is a fault of the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from decant.embedders import HashEncoder, HashReranker
from decant.serving import ServedModel, ServedReranker, create_app
from decant.serving.openapi import openapi_document
from instructed_encoder import InstructedEncoder
from served_app import Served, served

schemathesis = pytest.importorskip("schemathesis", reason="it is in the extra `dev` alone")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")


@pytest.fixture(scope="module")
def server(full: InstructedEncoder, plain: HashEncoder, ranker: HashReranker) -> Iterator[Served]:
    """Serve two encoders and a reranker over a port."""
    models: list[ServedModel | ServedReranker] = [
        ServedModel(name="full", encoder=full),
        ServedModel(name="minilm", encoder=plain),
        ServedReranker(name="ranker", reranker=ranker),
    ]
    with served(create_app(models)) as found:
        yield found


NAMES = [
    "full:query",
    "full:passage",
    "full:sparse:query",
    "full:tokens",
    "minilm",
    "ranker",
    "unknown",
]


def known_models(value: object) -> object:
    """Return a document in which the names of models are those of the server, and one unknown."""
    match value:
        case {"type": "string", "description": str(text)} if text.startswith("name[@digest]"):
            return {"enum": NAMES}
        case dict():
            return {key: known_models(item) for key, item in value.items()}
        case list():
            return [known_models(item) for item in value]
        case _:
            return value


schema = schemathesis.openapi.from_dict(known_models(openapi_document("0")))


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=15, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType]
def test_every_answer_is_one_that_the_document_names(case: Any, server: Served) -> None:
    # What a model gives or takes is more than a schema says, so a 400 may answer what it allows.
    case.call_and_validate(base_url=server.url, excluded_checks=[checks.positive_data_acceptance])
