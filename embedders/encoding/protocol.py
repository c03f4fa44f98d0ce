"""The protocol of encoders, which the whole project uses, and the vectors that they return.

The implementations are ``OnnxEncoder``, ``TorchEncoder``, ``RemoteEncoder`` and ``HashEncoder``;
one contract test class holds for all of them. Nothing here imports more than numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from ..errors import RecipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ..recipe.prompt import Role
    from ..recipe.recipe import Recipe
    from .sparse_vectors import SparseVectors

Progress = Callable[[int], object]
"""Called with the number of texts that were finished since the last call."""
OnStep = Callable[[str], object]
"""Called with the name of each step as it begins."""


class Output(StrEnum):
    """What an encoder can give in addition to dense vectors, from the same pass."""

    SPARSE = "sparse"
    SOFT_TOKENS = "soft_tokens"
    TOKEN_EMBEDDINGS = "token_embeddings"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vectors:
    """What one pass over some texts gave, row i for text i.

    Args:
        dense: float32, shape ``(N, D)``, unit length if the recipe normalises.
        sparse: N sparse vectors; None unless requested.
        soft_tokens: float32, shape ``(N, n, d')``: the hidden states of the appended tokens that
            are read, in their order, as a frozen language model decodes them; None unless
            requested.
        token_embeddings: N arrays, float32, each of shape ``(T, d)``: the last hidden state of
            every token of the text as the model sees it, prompt and special tokens included, in
            their order and not normalised. Of a recipe with late interaction: the projected vector
            of each token that counts, unit length if it normalises, which :func:`max_sim` compares;
            they differ by role. None unless requested. They are large: request them for few texts
            at a time.
    """

    dense: NDArray[np.float32]
    sparse: SparseVectors | None = None
    soft_tokens: NDArray[np.float32] | None = None
    token_embeddings: tuple[NDArray[np.float32], ...] | None = None

    def __len__(self) -> int:
        return len(self.dense)


class Encoder(Protocol):
    """Turns texts into vectors as one recipe specifies."""

    @property
    def recipe(self) -> Recipe:
        """What decides the vectors."""
        ...

    @property
    def dim(self) -> int:
        """The width D of the dense vectors."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The bare tokenizer, without prompt, padding or truncation: for counting and cutting.

        It is shared and must not be changed.
        """
        ...

    def max_text_tokens(self, role: Role) -> int:
        """Return how many tokens of text fit next to the prompt and the special tokens."""
        ...

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Vectors:
        """Return one vector per text, in the order given.

        Safe to call from several threads. A text's vector does not depend on its neighbours.

        Args:
            texts: Any number of non-empty strings in an order, which are embedded exactly as they
                are; zero texts give a ``(0, D)`` array. Texts longer than :meth:`max_text_tokens`
                are cut at the end.
            role: Whether these are queries or passages; selects the prompt.
            instruction: The task, for models that take one, in place of the recipe's own.
            outputs: What to return in addition to dense vectors.
            progress: Called with the number of newly finished texts, from the calling thread.

        Raises:
            TextError: A text is empty or not a string (the message holds its index), or ``texts``
                is a mapping, a set, or something else that does not give texts in an order.
            RecipeError: The recipe has no such output, or takes no instruction.
            ParityError: A vector holds NaN or infinity; the message holds its text's index.
        """
        ...

    def stream(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Iterator[Vectors]:
        """Yield the vectors of ``texts`` in order, in blocks, holding only a few blocks in memory.

        ``texts`` may be endless. It is read in the calling thread, a bounded number of texts ahead
        of the yielded vectors.

        Args:
            texts: As in :meth:`encode`.
            role: As in :meth:`encode`.
            instruction: As in :meth:`encode`.
            outputs: As in :meth:`encode`.
            progress: As in :meth:`encode`; called while a block is under way.

        Raises:
            TextError: As in :meth:`encode`, when the text's block is reached.
            RecipeError: As :meth:`encode`.
            ParityError: As :meth:`encode`.
        """
        ...


def check_outputs(recipe: Recipe, outputs: Collection[Output]) -> None:
    """Refuse outputs that a recipe does not have.

    Raises:
        RecipeError: Says which, and how to get it.
    """
    if Output.SPARSE in outputs and recipe.sparse_head is None:
        raise RecipeError(
            f"{recipe.base} gives no sparse vectors: its recipe has no sparse head. Export it "
            "with one (strategy 'splade' or 'promptreps')"
        )
    if Output.SOFT_TOKENS in outputs and recipe.appended is None:
        raise RecipeError(
            f"{recipe.base} gives no soft tokens: its recipe appends no tokens. The recipes of "
            "models trained by AutoRegEmbed or LLM2Vec-Gen do"
        )
    if Output.TOKEN_EMBEDDINGS in outputs and not recipe.token_embeddings:
        raise RecipeError(
            f"{recipe.base} gives no token embeddings: its recipe has token_embeddings=False. "
            "Export it with token_embeddings=True (--token-embeddings)"
        )
