"""LangChain embeddings over an encoder.

The role decides the prompt: documents are passages, queries are queries, as the recipe says.
Batching is the encoder's own; the asynchronous methods are LangChain's, which run these in a
thread (an encoder is safe to call from several).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Self

from langchain_core.embeddings import Embeddings

from decant.embedders import Encoder, Role


class DecantEmbeddings(Embeddings):
    """Embeddings as one recipe says.

    A copy, deep or not, has the same encoder, which is safe to share. Pickled, those whose encoder
    is a bundle's open it again, with its settings.

    Args:
        encoder: What computes the vectors.

    >>> from decant.embedders import HashEncoder
    >>> len(DecantEmbeddings(encoder=HashEncoder(dim=4)).embed_query("a question"))
    4
    """

    def __init__(self, *, encoder: Encoder) -> None:
        self._encoder = encoder

    @classmethod
    def from_bundle(
        cls, path: str | Path, *, provider: str = "auto", precision: str = "auto"
    ) -> Self:
        """Open a bundle and embed with it.

        Args:
            path: The bundle's folder.
            provider: The execution provider, for example ``"cuda"``; ``"auto"`` takes the best.
            precision: Which of the bundle's graphs; ``"auto"`` takes the one for the provider.

        Raises:
            BundleError: The bundle is missing or damaged.
            ProviderError: The provider is not the one that would run.
            ParityError: The graph is not certified on this provider.
        """
        from decant.embedders import load  # here: it alone needs onnxruntime

        return cls(encoder=load(path, provider=provider, precision=precision))

    def __repr__(self) -> str:
        """Return the class and the model."""
        recipe = self._encoder.recipe
        return f"DecantEmbeddings({recipe.base!r}, recipe {recipe.digest()!r})"

    def __copy__(self) -> Self:
        """Return the embeddings themselves."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        """Return the embeddings themselves."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Return what another process needs to open the bundle again, with equal settings.

        Raises:
            TypeError: There is no bundle; an encoder in memory cannot be sent.
        """
        if getattr(self._encoder, "bundle", None) is None:
            raise TypeError(
                "DecantEmbeddings made from an encoder in memory cannot be pickled; make them with "
                "DecantEmbeddings.from_bundle, which the other process can open"
            )
        return partial(type(self), encoder=self._encoder), ()

    @property
    def encoder(self) -> Encoder:
        """What computes the vectors."""
        return self._encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, in the order given.

        Raises:
            TextError: A text is empty; the message holds its index. An empty text has no vector:
                leave it out, or give it to a ``DecantVectorStore``, which stores it without.
        """
        rows: list[list[float]] = self._encoder.encode(texts, role=Role.PASSAGE).dense.tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one query.

        Raises:
            TextError: The text is empty.
        """
        row: list[float] = self._encoder.encode([text], role=Role.QUERY).dense[0].tolist()
        return row
