"""Send the pairs of one request to a reranker, and read raw scores or what was refused.

Raw scores travel as dense vectors of width 1. Invariant: a request that is too large after all is
halved, and the scores stay in their order.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import json_records
from ..encoding.finite import check_finite
from ..encoding.outputs import joined
from ..encoding.protocol import Vectors
from ..errors import BundleError, RemoteError
from ..tokens.pair_tokenizer import Pair
from .client import EncoderClient
from .request_sender import ANSWER_ROOM, check_answered
from .score_wire import RERANKER_PATH, SCORE_PATH, RerankerFacts, score_body
from .vector_archive import Expected, unpack_vectors
from .wire import PROTOCOL, Refusal

_MOST_FACTS = 2**22  # bytes; a recipe takes some thousand
_INFO_PATH = "/info"  # of text-embeddings-inference


class ScoreSender:
    """Turns the pairs of one request into raw scores; safe to share between threads.

    Args:
        client: Sends requests.
        facts: The model that must answer.
    """

    def __init__(self, client: EncoderClient, facts: RerankerFacts) -> None:
        self._client = client
        self._facts = facts

    @property
    def dim(self) -> int:
        """Always 1."""
        return 1

    def encode(self, texts: Sequence[Pair], options: str | None, *, first: int) -> Vectors:
        """Return the raw scores of the pairs of one request, float32 (N, 1).

        Args:
            texts: At least one pair.
            options: The instruction, in place of the recipe's.
            first: The caller's number of the first passage, for messages.

        Raises:
            TextError: The server refuses a query or a text, or it is larger than the server takes.
            RecipeError: The model cannot take the instruction.
            BundleError: Another model answers.
            ParityError: A score is NaN or infinite.
            RemoteError: There is no answer, or something else.
        """
        facts, client = self._facts, self._client
        body = score_body(texts, options, facts, first=first)
        if len(body) > facts.limits.body_bytes and len(texts) > 1:
            return self._halves(texts, options, first)
        answer = client.post(SCORE_PATH, body, most_bytes=4 * len(texts) + ANSWER_ROOM)
        if answer.refusal is Refusal.TOO_LARGE and len(texts) > 1:
            return self._halves(texts, options, first)
        check_answered(answer, client, first=first)
        expected = Expected(count=len(texts), dim=1)
        vectors = unpack_vectors(answer.body, expected, where=f"the reranker at {client.url}")
        return check_finite(vectors, first=first, by=facts.recipe.base)

    def _halves(self, texts: Sequence[Pair], options: str | None, first: int) -> Vectors:
        half = len(texts) // 2
        parts = [
            self.encode(texts[:half], options, first=first),
            self.encode(texts[half:], options, first=first + half),
        ]
        return joined(parts, dim=1, outputs=())


def read_reranker(client: EncoderClient) -> RerankerFacts:
    """Ask a server for its reranker.

    Raises:
        RemoteError: It does not answer, has no such reranker or several, is no server of decant, or
            speaks another version of the protocol.
        BundleError: Its recipe has another digest here.
    """
    try:
        answer = client.get(RERANKER_PATH, most_bytes=_MOST_FACTS)
    except RemoteError as error:
        if _is_of_others(client):
            raise RemoteError(
                f"{client.url} is a server of text-embeddings-inference (TEI), which does not say "
                "by what recipe it scores; serve a bundle of the model there with `decant serve`, "
                "which answers TEI's clients, too"
            ) from error
        raise
    if answer.refusal is not None:
        raise RemoteError(f"{client.url} gives no reranker: {answer.message}")
    where = f"what {client.url}{RERANKER_PATH} says"
    data = json_records.parse(answer.body, where=where, error=RemoteError)
    found = data.get("protocol") if isinstance(data, dict) else None
    if type(found) is not int:
        raise RemoteError(
            f"{client.url}{RERANKER_PATH} answers something that is no reranker of decant; check "
            "the address"
        )
    if found != PROTOCOL:
        raise RemoteError(
            f"{client.url} speaks version {found} of the protocol, and this decant version "
            f"{PROTOCOL}; run the same version of decant on both sides"
        )
    return json_records.decode(RerankerFacts, data, where=where, error=BundleError)


def _is_of_others(client: EncoderClient) -> bool:
    """Return whether TEI answers at an address; decant's own page of this name says less."""
    try:
        body = client.get(_INFO_PATH, most_bytes=_MOST_FACTS).body
        data = json_records.parse(body, where=_INFO_PATH, error=RemoteError)
    except RemoteError:
        return False
    return isinstance(data, dict) and "max_concurrent_requests" in data
