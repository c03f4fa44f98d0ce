"""LangChain embeddings over an encoder.

The role decides the prompt: documents get the recipe's passage prompt, queries its query prompt.
The encoder makes its own batches; the asynchronous methods are LangChain's, which run these in a
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
    """Embeddings by one recipe.

    A copy, deep or not, has the same encoder, which is safe to share. If the encoder runs a bundle,
    unpickling opens the bundle again with the same settings.

    Args:
        encoder: Computes the vectors.

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
            precision: The precision of the graph; ``"auto"`` takes the best for the provider.

        Raises:
            BundleError: The bundle is missing or damaged.
            ProviderError: The provider is not the one that would run.
            ParityError: The graph is not certified on this provider.
        """
        from decant.embedders import (
            load,  # imported here, because only this method needs onnxruntime
        )

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
        """Return a call that opens the bundle again in another process, with equal settings.

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
        """The encoder that computes the vectors."""
        return self._encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, in the order given.

        Raises:
            TextError: A text is empty; the message holds its index. An empty text has no vector:
                leave it out, or pass it to a ``DecantVectorStore``, which stores it without one.
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
