"""The reference encoder: a model folder in PyTorch, float32. For parity, export and training.

It shares tokenising and pooling rules with the production encoder, but runs no graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle.precision import Precision
from ..encoding.batch_encoder import BatchEncoder, BatchSettings
from ..encoding.outputs import DENSE
from ..encoding.protocol import OnStep
from ..recipe.recipe import Recipe
from ..sources.choices import Choices
from ..sources.find import ModelFiles, find_model
from ..sources.resolver import pad_id, resolve
from ..sources.strategy import Strategy
from ..tokens.batching import Batching
from ..tokens.load import load_text_tokenizer
from ..tokens.rows import TokenBatch
from ..tokens.tokenizer import TextTokenizer
from .load import load_model
from .model import PooledModel

_TOKEN_BUDGET = 4096


class TorchEncoder(BatchEncoder):
    """Runs a model folder with PyTorch.

    Args:
        model: The pooled model; it stays on its device and is not changed.
        tokenizer: Tokenises as the model's recipe specifies.
        pad_id: The token id of padded positions.
    """

    def __init__(self, model: PooledModel, tokenizer: TextTokenizer, *, pad_id: int) -> None:
        self.model = model
        settings = BatchSettings(
            batching=Batching(
                token_budget=_TOKEN_BUDGET, pad_id=pad_id, rows=1 + len(tokenizer.recipe.further)
            ),
            workers=1,  # torch uses all cores within one batch
            dim=model.dim,
            read_shape=model.read_shape,
        )
        super().__init__(tokenizer, settings)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | ModelFiles,
        *,
        choices: Choices | None = None,
        strategy: str | Strategy | None = None,
    ) -> TorchEncoder:
        """Load a folder or hub model.

        Args:
            model: A folder, a hub id, or files already found.
            choices: The user's choices for the recipe.
            strategy: A name of :func:`strategies`, the path of a JSON file, or a :class:`Strategy`.

        Raises:
            RecipeError: The model does not exist, its recipe is incomplete, or weights do not
                fit.
        """
        source = model if isinstance(model, ModelFiles) else find_model(model)
        return cls.from_source(source, resolve(source, choices, strategy=strategy))

    @classmethod
    def from_source(
        cls, source: ModelFiles, recipe: Recipe, *, on_step: OnStep | None = None
    ) -> TorchEncoder:
        """Load files as a recipe specifies.

        Args:
            source: The files.
            recipe: The recipe of the model's vectors.
            on_step: Called with the name of each step that may take minutes.

        Raises:
            RecipeError: The files do not fit the recipe.
        """
        tokenizer = load_text_tokenizer(source.folder, recipe)
        pooled = load_model(source.folder, recipe, adapters=source.adapters, on_step=on_step)
        return cls(pooled, tokenizer, pad_id=pad_id(source.folder))

    def with_recipe(self, recipe: Recipe) -> TorchEncoder:
        """Return an encoder that shares all weights, by a recipe with another pooling or prompt.

        The attention, head and width are those of the weights at hand and stay.

        Raises:
            RecipeError: The recipe does not suit the model.
        """
        model = self.model.with_parts(self.model.backbone, recipe)
        tokenizer = TextTokenizer(self.tokenizer, recipe)
        return TorchEncoder(model, tokenizer, pad_id=self.settings.batching.pad_id)

    @property
    def variable_fields(self) -> frozenset[str]:
        """The fields of the recipe that :meth:`with_recipe` can change."""
        return super().variable_fields | {"pooling", "span", "layer"}

    @property
    def precision(self) -> Precision:
        """Always float32, because models are loaded in no other precision."""
        return Precision.FP32

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return float32 vectors of shape (B, D) for one batch."""
        return np.asarray(self.outputs_of(batch, [DENSE])[0], np.float32)

    def run_batch(
        self, batch: TokenBatch, names: Sequence[str], *, alone: bool
    ) -> list[NDArray[np.generic]]:
        """Run the model on one batch; see :meth:`BatchEncoder.run_batch`."""
        del alone  # torch uses all cores within any batch
        return self.outputs_of(batch, names)

    def outputs_of(self, batch: TokenBatch, names: Sequence[str]) -> list[NDArray[np.generic]]:
        """Return the named outputs for one batch; the names are the graph's."""
        device = next(self.model.parameters()).device
        inputs = {name: getattr(batch, name) for name in self.model.inputs}
        with torch.inference_mode():
            values = self.model.named(
                **{name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            )
        return [values[name].cpu().numpy() for name in names]
