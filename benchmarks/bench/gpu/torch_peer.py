"""The same model in PyTorch, from token ids to vectors, as fast as Transformers runs it.

Two ways. Padded: batches sorted by length, attention by SDPA; no mask is passed where none is
needed (causal attention with padding on the right; batches without padding), which leaves SDPA its
fastest kernel. Packed (``packed.py``): no padding at all. Ids go to the device before the first
pass and vectors come back after the last one, so that nothing waits in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from decant.embedders import Attention, Pooling, Recipe, RecipeError
from decant.embedders.tokens import Tokens, pad

from ..peers import Embed
from .packed import Packed, Way, implementation
from .ready import Rows


class TorchModel:
    """A model folder in PyTorch on a device; pools and normalises as its recipe says.

    Args:
        folder: A Transformers folder.
        recipe: Of the bundle that it is compared with.
        device: Where it runs.
        dtype: Of its weights.

    Raises:
        RecipeError: The recipe has a head, another pooling than the mean and the last token, or
            not the whole last layer.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        if recipe.head or recipe.layer != -1 or recipe.mix or recipe.dim is not None:
            raise RecipeError("models with a head, another layer or a cut width are not compared")
        if recipe.pooling not in (Pooling.MEAN, Pooling.LAST):
            raise RecipeError(f"models that pool by {recipe.pooling} are not compared")
        module = AutoModel.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
        )
        self._module = cast("PreTrainedModel", module.to(device).eval())
        self._module.config.use_cache = False
        if hasattr(self._module, "pooler"):
            # Nobody reads what it gives.
            self._module.pooler = None  # type: ignore[assignment]
        self._recipe = recipe
        self._device = device
        self._way = Way.SDPA

    def embed(self, way: Way, rows: Rows) -> Embed:
        """Return a function from names and a batch size to vectors, float32 (N, D), in order."""
        run = self._padded if way in (Way.SDPA, Way.EAGER) else self._packed

        def embed(names: Sequence[str], batch: int) -> NDArray[np.float32]:
            self._attend(way)
            chosen = [rows[name] for name in names]
            order = sorted(range(len(chosen)), key=lambda index: -len(chosen[index].ids))
            groups = [order[start : start + batch] for start in range(0, len(order), batch)]
            with torch.inference_mode():
                vectors = run([[chosen[index] for index in group] for group in groups])
                if self._recipe.normalize:
                    vectors = nn.functional.normalize(vectors, dim=-1)
                found = vectors.cpu().numpy()
            restored = np.empty_like(found)
            restored[order] = found
            return restored

        return embed

    def _attend(self, way: Way) -> None:
        if way is not self._way:
            self._module.set_attn_implementation(implementation(way))
            self._way = way

    def _padded(self, groups: Sequence[Sequence[Tokens]]) -> Tensor:
        batches = [pad(group, pad_id=0) for group in groups]
        causal = self._recipe.attention is Attention.CAUSAL
        inputs = [
            (
                torch.from_numpy(batch.input_ids).to(self._device),
                torch.from_numpy(batch.attention_mask).to(self._device),
                causal or bool(batch.attention_mask.all()),
            )
            for batch in batches
        ]
        return torch.cat([self._pooled(*each) for each in inputs])

    def _pooled(self, ids: Tensor, mask: Tensor, maskless: bool) -> Tensor:  # noqa: FBT001
        states = self._module(input_ids=ids, attention_mask=None if maskless else mask)
        hidden: Tensor = states.last_hidden_state  # (B, T, d)
        counts = mask.sum(1)  # (B,)
        if self._recipe.pooling is Pooling.LAST:
            rows = torch.arange(len(ids), device=ids.device)
            return hidden[rows, counts - 1].float()
        sums = mask[:, None].to(hidden.dtype) @ hidden  # (B, 1, d)
        return sums[:, 0].float() / counts[:, None]

    def _packed(self, groups: Sequence[Sequence[Tokens]]) -> Tensor:
        batches = [Packed.of(group, self._device) for group in groups]
        return torch.cat([self._pooled_packed(batch) for batch in batches])

    def _pooled_packed(self, batch: Packed) -> Tensor:
        states = self._module(
            input_ids=batch.ids,
            position_ids=batch.positions,
            cu_seq_lens_q=batch.bounds,
            cu_seq_lens_k=batch.bounds,
            max_length_q=batch.longest,
            max_length_k=batch.longest,
        )
        hidden: Tensor = states.last_hidden_state[0]  # (N, d)
        if self._recipe.pooling is Pooling.LAST:
            return hidden[batch.bounds[1:].long() - 1].float()
        return torch.segment_reduce(hidden.float(), "mean", lengths=batch.bounds.diff().long())
