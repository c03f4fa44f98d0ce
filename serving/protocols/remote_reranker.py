"""decant's own protocol: the reranker of another machine, for ``load_reranker("http://…")``.

A client names the recipe and the graph that it was opened with; another model refuses it. Raw
scores are answered as numbers, with the bits of the reranker's; the client applies the activation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decant.embedders import Vectors
from decant.embedders.json_records import Json, encode
from decant.embedders.remote import RerankerFacts, pack_vectors

from ..errors import RequestError
from ..models import PairGroup, RerankRequest, Scores, ServedReranker
from .json_fields import JsonFields
from .remote_encoder import check_same_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A request of a remote reranker.

    Args:
        groups: Queries with their passages, in order.
        instruction: The task, in place of the recipe's own; None: the recipe's.
        digest: The recipe that the client was opened with.
        graph: The graph that it was opened with; None for a model without a bundle.
        first: The client's number of the first passage, for messages.
    """

    groups: tuple[PairGroup, ...]
    instruction: str | None
    digest: str
    graph: str | None
    first: int

    def check_model(self, facts: RerankerFacts) -> None:
        """Refuse a client that was opened with another model.

        Raises:
            OtherModel: The recipe or the graph is another.
        """
        check_same_model(facts, digest=self.digest, graph=self.graph)

    def of(self, model: ServedReranker) -> RerankRequest:
        """Return what is asked of a model.

        Raises:
            InstructionRefused: It takes no instruction, or that is blank.
        """
        return RerankRequest(
            model=model, groups=self.groups, instruction=self.instruction, first=self.first
        )


def read_score_request(data: object) -> ScoreRequest:
    """Read the body of ``/score``.

    Raises:
        RequestError: It has another form.
    """
    body = JsonFields(data, known=("groups", "instruction", "digest", "graph", "first"))
    return ScoreRequest(
        groups=tuple(
            _read_group(item, f"groups[{place}]") for place, item in enumerate(body.items("groups"))
        ),
        instruction=body.optional_text("instruction"),
        digest=body.text("digest"),
        graph=body.optional_text("graph"),
        first=body.natural("first"),
    )


def reranker_answer(facts: RerankerFacts) -> Json:
    """Return the answer of ``/reranker``."""
    return encode(facts)


def score_answer(found: Scores) -> bytes:
    """Return the answer of ``/score``: raw scores as dense vectors of width 1."""
    return pack_vectors(Vectors(dense=found.raw[:, np.newaxis]))


def _read_group(data: object, where: str) -> PairGroup:
    group = JsonFields(data, where=where, known=("query", "texts"))
    items = group.items("texts")
    texts = tuple(item for item in items if isinstance(item, str))
    if len(texts) < len(items):
        raise RequestError(f"{where}.texts must be a list of strings")
    return PairGroup(query=group.text("query"), texts=texts)
