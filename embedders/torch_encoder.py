"""The reference encoder: a model folder in PyTorch, float32. For parity, export and training.

It shares tokenising and pooling rules with the production encoder, and no graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .batching import Batching
from .choices import Choices
from .pipeline import BatchEncoder, Runner
from .resolution import pad_id, resolve
from .source import Source, find_source
from .tokenizer_file import load_tokenizer
from .tokens import TextTokenizer, TokenBatch
from .torch_model import PooledModel, load_model

_TOKEN_BUDGET = 4096


class TorchEncoder(BatchEncoder):
    """Runs a model folder with PyTorch.

    Args:
        model: The pooled model; it is moved nowhere and not changed.
        tokenizer: Tokenises as the model's recipe says.
        pad_id: Fills padded positions.
    """

    def __init__(self, model: PooledModel, tokenizer: TextTokenizer, *, pad_id: int) -> None:
        self.model = model
        runner = Runner(
            run=self.run,
            run_alone=self.run,
            batching=Batching(token_budget=_TOKEN_BUDGET, pad_id=pad_id),
            workers=1,  # torch uses all cores within one batch
            dim=model.dim,
        )
        super().__init__(tokenizer, runner)

    @classmethod
    def from_pretrained(
        cls, model: str | Path | Source, *, choices: Choices | None = None
    ) -> TorchEncoder:
        """Load a folder or hub model.

        Args:
            model: A folder, a hub id, or files already found.
            choices: What the user says about the recipe.

        Raises:
            RecipeError: The model is not there, its recipe is incomplete, or weights do not fit.
        """
        source = model if isinstance(model, Source) else find_source(model)
        recipe = resolve(source, choices)
        tokenizer = TextTokenizer(load_tokenizer(source.folder), recipe)
        pooled = load_model(source.folder, recipe, adapters=source.adapters)
        return cls(pooled, tokenizer, pad_id=pad_id(source.folder))

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """Tokenises as the recipe says; for export and training."""
        return self._tokenizer

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return float32 vectors of shape (B, D) for one batch."""
        device = next(self.model.parameters()).device
        arrays = (batch.input_ids, batch.attention_mask, batch.pooling_mask)
        with torch.inference_mode():
            vectors = self.model(*(torch.from_numpy(array).to(device) for array in arrays))
        return np.asarray(vectors.cpu().numpy(), np.float32)
