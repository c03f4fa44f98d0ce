"""A LlamaIndex embedding over an encoder.

Every setting that changes a vector is a serialised field, because LlamaIndex's pipeline cache is
keyed by them; the encoder itself is a private attribute. The public methods, their callbacks and
instrumentation are LlamaIndex's; this class implements the underscored ones. The asynchronous
methods run in a thread, so they do not block the event loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_validator

from decant.embedders import Encoder, Recipe, RecipeError, Role

from ..qdrant.inference.server_encoder import is_blank_for

# LlamaIndex's largest value; the encoder makes its own batches of these texts.
_LARGEST_BATCH = 2048


class DecantEmbedding(BaseEmbedding):
    """Embeddings by one recipe, with its prompts for passages and queries.

    A blank text (white space and characters that the tokenizer drops) has no vector. In a list of
    texts its embedding is an empty list, and ``DecantVectorStore`` stores its node without a
    vector; embedding it alone is an error. A copy, deep or not, shares the encoder.

    Args:
        encoder: Computes the vectors. None opens ``bundle``.
        bundle: The folder of a bundle, saved with the fields.
        provider: The provider for opening the bundle.
        precision: The precision for opening the bundle.
        recipe: A saved recipe as JSON, to compare with the encoder's.
        **fields: LlamaIndex's own, such as ``embed_batch_size`` and ``callback_manager``.

    Raises:
        TypeError: There is neither an encoder nor a bundle.
        RecipeError: The encoder's recipe is not the saved one.

    >>> from decant.embedders import HashEncoder
    >>> len(DecantEmbedding(encoder=HashEncoder(dim=4)).get_query_embedding("a question"))
    4
    """

    bundle: str | None = Field(default=None, description="The bundle's folder, if there is one.")
    provider: str = Field(default="auto", description="The requested execution provider.")
    precision: str = Field(default="auto", description="The precision that runs.")
    recipe: str = Field(description="Everything that decides a vector, as JSON.")
    embed_batch_size: int = Field(
        default=_LARGEST_BATCH,
        description="Texts passed to the encoder at a time; it makes its own batches.",
        gt=0,
        le=_LARGEST_BATCH,
    )
    _encoder: Encoder = PrivateAttr()

    # LlamaIndex restores components as cls(**fields), so this method takes the fields.
    def __init__(
        self,
        *,
        encoder: Encoder | None = None,
        bundle: str | None = None,
        provider: str = "auto",
        precision: str = "auto",
        recipe: str | None = None,
        **fields: object,
    ) -> None:
        opened = encoder or _opened(bundle, provider, precision)
        own = opened.recipe
        if recipe is not None and (saved := Recipe.from_json(recipe)).digest() != own.digest():
            raise RecipeError(
                f"this embedding was saved with the recipe {saved.base} ({saved.digest()}), but "
                f"its encoder now has {own.base} ({own.digest()}), which gives other vectors; "
                "make a new DecantEmbedding, and a new collection for it"
            )
        ours: dict[str, Any] = {
            "bundle": bundle,
            "provider": provider,
            # The graph of a bundle that runs changes the vectors, so save the precision in use, not
            # the requested one. Encoders without several graphs have no such attribute.
            "precision": str(getattr(opened, "precision", "fp32")),
            "recipe": own.to_json(),
        }
        super().__init__(**{"model_name": own.base, **fields, **ours})
        self._encoder = opened

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
        return cls(bundle=str(path), provider=provider, precision=precision)

    def __repr__(self) -> str:
        """Return the class and the model; the whole recipe is in :attr:`recipe`."""
        recipe = self._encoder.recipe
        return f"DecantEmbedding({recipe.base!r}, recipe {recipe.digest()!r})"

    __str__ = __repr__

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "DecantEmbedding"

    @property
    def encoder(self) -> Encoder:
        """The encoder that computes the vectors."""
        return self._encoder

    @field_validator("embeddings_cache", mode="before")
    @classmethod
    def _no_cache(cls, cache: object) -> None:
        # Its key is the text alone, without the model and the role.
        if cache is not None:
            raise ValueError(
                "embeddings_cache is keyed by the text alone, so a query would get the vector of "
                "a passage, or another model's; leave it out (Collection.index embeds only what "
                "is new)"
            )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy that shares the encoder."""
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with which another process opens the bundle again.

        Raises:
            TypeError: There is no bundle; an encoder in memory cannot be sent.
        """
        if getattr(self._encoder, "bundle", None) is None:
            raise TypeError(
                "a DecantEmbedding made from an encoder in memory cannot be pickled; make it with "
                "DecantEmbedding.from_bundle, which the other process can open"
            )
        state: dict[str, Any] = super().__getstate__()
        return {**state, "__pydantic_private__": None, "encoder": self._encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the bundle again; errors are raised, while the base class would hide them."""
        self.__init__(**state["__dict__"], encoder=state.get("encoder"))  # type: ignore[misc]

    def _get_query_embedding(self, query: str) -> list[float]:
        row: list[float] = self._encoder.encode([query], role=Role.QUERY).dense[0].tolist()
        return row

    def _get_text_embedding(self, text: str) -> list[float]:
        row: list[float] = self._encoder.encode([text], role=Role.PASSAGE).dense[0].tolist()
        return row

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        # An empty file or page must not end a whole pipeline, and LlamaIndex embeds whatever it
        # reads. A word replaces each blank text, so that the indices in messages stay right.
        blank = [self._is_blank(text) for text in texts]
        filled = [
            "blank" if is_empty else text for is_empty, text in zip(blank, texts, strict=True)
        ]
        rows = self._encoder.encode(filled, role=Role.PASSAGE).dense.tolist()
        return [[] if is_empty else row for is_empty, row in zip(blank, rows, strict=True)]

    def _is_blank(self, text: object) -> bool:
        return isinstance(text, str) and is_blank_for(self._encoder, text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _opened(bundle: str | None, provider: str, precision: str) -> Encoder:
    if bundle is None:
        raise TypeError(
            "DecantEmbedding needs an encoder, and one in memory is not part of the saved fields: "
            "use DecantEmbedding(encoder=...) or DecantEmbedding.from_bundle(folder), and "
            "DecantEmbedding.from_dict(saved, encoder=...) to restore"
        )
    from decant.embedders import load  # imported here, because only this function needs onnxruntime

    return load(bundle, provider=provider, precision=precision)
