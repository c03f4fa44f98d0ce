"""What the server of a reranker and its clients write to each other, but for the scores.

``GET …/reranker`` answers :class:`RerankerFacts`, and ``POST …/score`` takes :func:`score_body` and
answers raw scores as the dense vectors of a :mod:`vector_archive`, of width 1, or an error with a
:class:`Refusal`. As for encoders, every request names the recipe and the graph that must answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from ..bundle.precision import Precision
from ..errors import BundleError
from ..recipe.rerank_recipe import RerankRecipe
from ..tokens.pair_tokenizer import Pair
from .wire import RequestLimits

RERANKER_PATH = "/reranker"
SCORE_PATH = "/score"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerFacts:
    """What a client has to know of a served reranker.

    Args:
        protocol: The version of the protocol.
        version: The server's version of decant.
        name: The model's name on the server.
        recipe: What decides the scores; its activation is applied by the client.
        digest: The recipe's digest.
        precision: The precision of the graph.
        provider: What runs it, for example ``CPUExecutionProvider``.
        graph: SHA-256 of the graph; None for a reranker without a bundle.
        limits: How much one request may ask for.

    Raises:
        BundleError: The digest is not the recipe's.
    """

    protocol: int
    version: str
    name: str
    recipe: RerankRecipe
    digest: str
    precision: Precision
    provider: str
    graph: str | None
    limits: RequestLimits

    def __post_init__(self) -> None:
        if self.digest != self.recipe.digest():
            raise BundleError(
                f"it says digest {self.digest}, and its recipe has {self.recipe.digest()} here; "
                "run the same version of decant on both sides"
            )


def score_body(
    pairs: Sequence[Pair], instruction: str | None, facts: RerankerFacts, *, first: int
) -> bytes:
    """Return the body of a request for raw scores.

    Args:
        pairs: The pairs; a query is written once for all passages that follow it.
        instruction: The task, in place of the recipe's.
        facts: The model that must answer.
        first: The caller's number of the first passage, for messages.
    """
    content = {
        "groups": [
            {"query": query, "texts": [text for _, text in group]}
            for query, group in groupby(pairs, key=itemgetter(0))
        ],
        "instruction": instruction,
        "digest": facts.digest,
        "graph": facts.graph,
        "first": first,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
