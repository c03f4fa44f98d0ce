"""An encoder without a model: hashed words, deterministic, instant. For tests and dry runs.

It obeys the same contract as the real encoders (prompts, truncation, order, errors). Texts that
share words get similar vectors, so a search with it behaves like a search. The method is feature
hashing with signs (Weinberger et al. 2009, arXiv 0902.2206) over lower-case words; each word
contributes a fixed pseudo-random unit direction.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer

from ..bundle.precision import Precision
from ..errors import RecipeError
from ..forks import renew_after_fork
from ..recipe.enums import Attention, Pooling
from ..recipe.late_interaction import LateInteraction
from ..recipe.prompt import Prompt, Role
from ..recipe.recipe import Recipe
from ..recipe.sparse_head import SparseHead
from ..tokens.texts import blocks, checked
from .outputs import joined
from .protocol import Output, Progress, Vectors, check_outputs
from .sparse_vectors import SparseVectors

_BLOCK = 256
_REMEMBERED = 65_536
_UNKNOWN = "[UNK]"


class HashEncoder:
    """Vectors from hashed words.

    Args:
        dim: Width of the vectors.
        query_prompt: Prompt for queries.
        passage_prompt: Prompt for passages.
        max_tokens: Words of prompt and text that count; what follows is cut.
        sparse: Whether it also gives sparse vectors: hashed words of the text, weighed by ``log(1 +
            count)``.
        tokens: Whether it also gives token embeddings, for late interaction: each word's direction.

    Raises:
        RecipeError: A value is out of range, or a prompt leaves no room for text.

    >>> HashEncoder(dim=4).encode(["a", "b"], role=Role.QUERY).dense.shape
    (2, 4)
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        query_prompt: Prompt | None = None,
        passage_prompt: Prompt | None = None,
        max_tokens: int = 512,
        sparse: bool = False,
        tokens: bool = False,
    ) -> None:
        self._recipe = Recipe(
            base="hash",
            revision="1",
            attention=Attention.BIDIRECTIONAL,
            pooling=Pooling.MEAN,
            max_tokens=max_tokens,
            query_prompt=query_prompt or Prompt(),
            passage_prompt=passage_prompt or Prompt(),
            dim=dim,
            sparse_head=SparseHead(top=max_tokens) if sparse else None,
            token_embeddings=tokens,
            late_interaction=LateInteraction() if tokens else None,
        )
        self._tokenizer = Tokenizer(WordLevel({_UNKNOWN: 0}, unk_token=_UNKNOWN))
        self._tokenizer.normalizer = Lowercase()
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._directions: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        renew_after_fork(self)
        for role in Role:
            if self.max_text_tokens(role) < 1:
                raise RecipeError(
                    f"the {role} prompt fills all {max_tokens} tokens; raise max_tokens"
                )

    def __reduce__(self) -> tuple[object, ...]:
        """Return a constructor of an equal encoder, for pickling and copying."""
        recipe = self._recipe
        made = partial(
            HashEncoder,
            self.dim,
            query_prompt=recipe.query_prompt,
            passage_prompt=recipe.passage_prompt,
            max_tokens=recipe.max_tokens,
            sparse=recipe.sparse_head is not None,
            tokens=recipe.token_embeddings,
        )
        return made, ()

    def renew(self) -> None:
        """Make a new lock, because another thread may have held the old one at the fork."""
        self._lock = Lock()

    @property
    def recipe(self) -> Recipe:
        """The recipe, which decides the vectors."""
        return replace(self._recipe)

    @property
    def precision(self) -> Precision:
        """Always float32."""
        return Precision.FP32

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        assert self._recipe.dim is not None
        return self._recipe.dim

    @property
    def tokenizer(self) -> Tokenizer:
        """Splits into lower-case words and punctuation; every word has the id 0."""
        return self._tokenizer

    def max_text_tokens(self, role: Role) -> int:
        """Return how many words of text fit next to the prompt."""
        prompt = self._recipe.prompt(role)
        return self._recipe.max_tokens - len(self._words(prompt.prefix + " " + prompt.suffix))

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Vectors:
        """Return one unit vector per text, in the order given; see :class:`Encoder`."""
        parts = list(
            self.stream(
                texts, role=role, instruction=instruction, outputs=outputs, progress=progress
            )
        )
        return joined(parts, dim=self.dim, outputs=outputs)

    def stream(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Iterator[Vectors]:
        """Yield vectors in blocks, in order; see :class:`Encoder`."""
        check_outputs(self._recipe, outputs)
        room = self.max_text_tokens(role)
        prompt = self._recipe.prompt(role)
        if instruction is not None:
            prompt = self._recipe.instructed(instruction)
        before, after = self._words(prompt.prefix), self._words(prompt.suffix)
        for block in blocks(checked(texts), _BLOCK):
            words = [self._words(text)[:room] for text in block]
            rows = [self._states([*before, *own, *after]) for own in words]
            if progress is not None:
                progress(len(rows))
            yield Vectors(
                dense=np.stack([_summed(states) for states in rows]),
                sparse=_counted(words) if Output.SPARSE in outputs else None,
                token_embeddings=tuple(rows) if Output.TOKEN_EMBEDDINGS in outputs else None,
            )

    def _words(self, text: str) -> list[str]:
        normal = self._tokenizer.normalizer.normalize_str(text)
        return [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normal)]

    def _states(self, words: list[str]) -> NDArray[np.float32]:
        # A text of white space alone has no words; it still needs a direction of its own.
        return np.stack([self._direction(word) for word in words or [""]])

    def _direction(self, word: str) -> NDArray[np.float32]:
        with self._lock:
            if (known := self._directions.get(word)) is not None:
                return known
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
        drawn = np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
        drawn /= np.linalg.norm(drawn)
        with self._lock:
            self._directions[word] = drawn
            if len(self._directions) > _REMEMBERED:
                self._directions.popitem(last=False)
        return drawn


def _summed(states: NDArray[np.float32]) -> NDArray[np.float32]:
    total = states.sum(axis=0, dtype=np.float32)
    return np.asarray(total / np.linalg.norm(total), np.float32)


def _counted(texts: list[list[str]]) -> SparseVectors:
    """Return sparse vectors: each word's weight is by its count, at the word's hashed index."""
    counts = [Counter(_place(word) for word in words) for words in texts]
    widest = max(1, *(len(count) for count in counts))
    indices = np.zeros((len(texts), widest), np.int64)
    values = np.zeros((len(texts), widest), np.float32)
    for row, count in enumerate(counts):
        indices[row, : len(count)] = list(count)
        values[row, : len(count)] = np.log1p(list(count.values()))
    return SparseVectors.from_top(indices, values)


def _place(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
