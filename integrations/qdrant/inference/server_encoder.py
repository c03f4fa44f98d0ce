"""An encoder without a model on this machine: it makes rows of texts, which the server embeds.

It has the recipe of the collection that it was opened for. What must return numbers, it cannot
do. Invariant: no row is given out before the server's model was proven to be the collection's,
unless there is nothing yet that a search could find.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, NoReturn

from decant.embedders import Encoder, Output, Recipe, Role, StoreError, Vectors
from decant.embedders.forks import renew_after_fork
from decant.embedders.tokens import TextTokenizer, is_blank, is_unseen

from ..points.vectors import Row
from ..stores.collection_metadata import CollectionMetadata
from ..stores.protocol import DENSE, SPARSE, Store
from ..stores.text_to_embed import TextToEmbed
from .proof import Proof
from .server_inference import ServerInference

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNKNOWN = "unknown"


class ServerEncoder:
    """The encoder of a collection whose server makes the vectors; see :class:`ServerInference`.

    Args:
        inference: The model's name, and a tokenizer perhaps.
        store: The server.
        name: The collection's name.
        card: The collection's metadata.
    """

    def __init__(
        self, inference: ServerInference, store: Store, name: str, card: CollectionMetadata
    ) -> None:
        self._inference = inference
        self._recipe = card.recipe
        self._dim = card.dim
        kept = {"soft tokens": card.soft_tokens, "token vectors": card.token_vectors}
        self._kept = [name for name, held in kept.items() if held is not None]
        self._pinned = f"{inference.model}@{card.recipe.digest()}"
        self._proof = Proof(store=store, name=name, model=self._pinned)
        self._precision: str | None = None
        self._lock = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make the lock anew that another thread may have held at a fork."""
        self._lock = Lock()

    def of_store(self, store: Store) -> ServerEncoder:
        """Return the encoder for the same collection in another store, such as a tenant's."""
        other = copy.copy(self)
        other._proof = replace(self._proof, store=store)  # noqa: SLF001 - it is of this class
        other._precision = None  # noqa: SLF001
        other.renew()
        renew_after_fork(other)
        return other

    def __repr__(self) -> str:
        """Return the class and the model."""
        return f"ServerEncoder({self._pinned!r})"

    @property
    def model(self) -> str:
        """The model's name at the service, with the digest of the recipe."""
        return self._pinned

    @property
    def recipe(self) -> Recipe:
        """The recipe of the collection."""
        return self._recipe

    @property
    def dim(self) -> int:
        """The width of the collection's dense vectors."""
        return self._dim

    @property
    def precision(self) -> str:
        """The precision whose golden vectors the server's model gives; "unknown" before use."""
        return self._precision or _UNKNOWN

    @property
    def provider(self) -> str:
        """Where the vectors are made."""
        return "the server's inference service"

    @property
    def has_tokenizer(self) -> bool:
        """Whether tokens can be counted here."""
        return self._inference.tokenizer is not None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that was given.

        Raises:
            StoreError: None was given.
        """
        if self._inference.tokenizer is None:
            raise StoreError(
                f"the tokenizer of {self._inference.model} is not on this machine; give it: "
                f"ServerInference({self._inference.model!r}, tokenizer=…), such as "
                "Tokenizer.from_file('minilm/tokenizer.json') of the package tokenizers"
            )
        return self._inference.tokenizer

    def max_text_tokens(self, role: Role) -> int:
        """Return how many tokens of text the model reads; without a tokenizer, at most so many."""
        if not self.has_tokenizer:
            return self._recipe.max_text_tokens or self._recipe.max_tokens
        return self._text_tokenizer.max_text_tokens(role)

    @cached_property
    def _text_tokenizer(self) -> TextTokenizer:
        return TextTokenizer(self.tokenizer, self._recipe)

    def make_rows(self, texts: Sequence[str], *, role: Role, sparse: bool) -> list[Row]:
        """Return a row for each text, of which the server makes the vectors.

        Args:
            texts: Texts that are not blank. Their ends are cut where they are longer than the
                model reads.
            role: Passages are to be stored, queries to be searched with.
            sparse: Whether sparse vectors are wanted, too.

        Raises:
            CollectionMismatch: The server's model is not the collection's.
            StoreError: That cannot be proven, or the collection keeps soft tokens or token
                vectors, which the service does not give.
        """
        if role is Role.PASSAGE and self._kept:
            raise StoreError(
                f"the collection keeps {self._kept[0]}, which an inference service does not give; "
                "write to it with its encoder, and search it with ServerInference"
            )
        if texts:
            self._prove(may_write=role is Role.PASSAGE)
        return [self._row(text, role, sparse=sparse) for text in texts]

    def _row(self, text: str, role: Role, *, sparse: bool) -> Row:
        dense = TextToEmbed(text=text, model=self._pinned, role=role, using=DENSE)
        if not sparse:
            return Row(dense=dense)
        weighted = TextToEmbed(text=text, model=f"{self._pinned}:sparse", role=role, using=SPARSE)
        return Row(dense=dense, sparse=weighted)

    def _prove(self, *, may_write: bool) -> None:
        with self._lock:
            if self._precision is None:
                self._precision = self._proof.find_precision(may_write=may_write)

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Callable[[int], object] | None = None,
    ) -> Vectors:
        """Refuse: the numbers of a vector never come to this machine.

        Raises:
            StoreError: Always.
        """
        del texts, role, instruction, outputs, progress
        self._refuse()

    def stream(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[Vectors]:
        """Refuse; see :meth:`encode`.

        Raises:
            StoreError: Always.
        """
        del texts, role, instruction, outputs, progress
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreError(
            f"{self._inference.model} is not on this machine: with ServerInference the Qdrant "
            "server has texts embedded, and no vector comes back. Search and fill the collection "
            "with texts, or load the model where its vectors are needed: load('./minilm')"
        )


def is_blank_for(encoder: Encoder, text: str) -> bool:
    """Return whether a text holds nothing that an encoder could embed.

    Without a tokenizer, white space and invisible characters are nothing.
    """
    if isinstance(encoder, ServerEncoder) and not encoder.has_tokenizer:
        return is_unseen(text)
    return is_blank(text, encoder.tokenizer)
