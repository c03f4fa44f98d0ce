"""Send the texts of one request, and read its vectors or what was refused.

Invariant: a request that is too large after all is halved, and the vectors stay in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..encoding.finite import check_finite
from ..encoding.outputs import joined
from ..encoding.protocol import Vectors
from ..encoding.truncate import cut
from ..errors import BundleError, ParityError, RecipeError, RemoteError, TextError
from ..recipe.recipe import Recipe
from .client import EncoderClient
from .faults import Answer
from .vector_archive import Expected, unpack_vectors
from .wire import ENCODE_PATH, EncodeOptions, EncoderFacts, Refusal, encode_body

ANSWER_ROOM = 2**20
"""Bytes of an answer that are no vectors."""

_MOST = 2**31  # bytes of an answer whose size is not known


class RequestSender:
    """Turns the texts of one request into vectors; safe to share between threads.

    Args:
        client: Sends requests.
        facts: The model that must answer.
        recipe: Its recipe, or the same with a smaller ``dim``, to which vectors are then cut.
    """

    def __init__(self, client: EncoderClient, facts: EncoderFacts, recipe: Recipe) -> None:
        self._client = client
        self._facts = facts
        self._recipe = recipe

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self._recipe.dim or self._facts.dim

    def encode(self, texts: Sequence[str], options: EncodeOptions, *, first: int) -> Vectors:
        """Return the vectors of the texts of one request.

        Args:
            texts: At least one text.
            options: How they are encoded.
            first: The caller's number of the first text, for messages.

        Raises:
            TextError: The server refuses a text, or it is larger than the server takes.
            RecipeError: The model cannot take the instruction.
            BundleError: Another model answers.
            ParityError: A vector holds NaN or infinity.
            RemoteError: There is no answer, or something else.
        """
        facts, where = self._facts, self._client.url
        body = encode_body(texts, options, facts, first=first)
        if len(body) > facts.limits.body_bytes and len(texts) > 1:
            return self._halves(texts, options, first)
        most = _MOST if options.outputs else 4 * len(texts) * facts.dim + ANSWER_ROOM
        answer = self._client.post(ENCODE_PATH, body, most_bytes=most)
        if answer.refusal is Refusal.TOO_LARGE and len(texts) > 1:
            return self._halves(texts, options, first)
        check_answered(answer, self._client, first=first)
        expected = Expected(
            count=len(texts),
            dim=facts.dim,
            outputs=options.outputs,
            soft_tokens_shape=facts.soft_tokens_shape,
        )
        vectors = unpack_vectors(answer.body, expected, where=f"the encoder at {where}")
        check_finite(vectors, first=first, by=self._recipe.base)
        if self.dim == facts.dim:
            return vectors
        shown = cut(vectors.dense, dim=self.dim, normalize=self._recipe.normalize)
        return replace(vectors, dense=shown)

    def _halves(self, texts: Sequence[str], options: EncodeOptions, first: int) -> Vectors:
        half = len(texts) // 2
        parts = [
            self.encode(texts[:half], options, first=first),
            self.encode(texts[half:], options, first=first + half),
        ]
        return joined(parts, dim=self.dim, outputs=options.outputs)


def check_answered(answer: Answer, client: EncoderClient, *, first: int) -> None:
    """Raise the error for what a server refused; nothing happens if it gave vectors.

    Args:
        answer: What it answered.
        client: Who asked.
        first: The caller's number of the first text, for messages.

    Raises:
        TextError: It refused a text, or the only text is larger than it takes.
        RecipeError: The model cannot take the instruction.
        BundleError: Another model answers.
        ParityError: A vector holds NaN or infinity.
        RemoteError: It refused something else.
    """
    if answer.refusal is not None:
        raise _refused(answer.refusal, answer.message, client, first)


def _refused(refusal: Refusal, message: str, client: EncoderClient, first: int) -> Exception:
    """Return the error for what a server refused."""
    where, what = client.url, client.what
    match refusal:
        case Refusal.TOO_LARGE:
            return TextError(
                f"text {first} is larger than the server of the {what} takes: {message}; shorten "
                "it, or raise the limits of the server"
            )
        case Refusal.TEXT:
            return TextError(message)
        case Refusal.INSTRUCTION:
            return RecipeError(message)
        case Refusal.OTHER_MODEL:
            return BundleError(
                f"{message}. Another model is served at {where} than when this {what} was opened: "
                "open it again, and use a collection of that model"
            )
        case Refusal.NOT_FINITE:
            return ParityError(f"the {what} at {where}: {message}")
        case _:
            return RemoteError(f"the {what} at {where} refused the request: {message}")
