"""The language-model head that gives sparse vectors, which ``recipe/sparse_head.py`` defines.

Logits of all tokens, (B, T, V), would need gigabytes at a large vocabulary. The head goes through
the vocabulary in blocks and keeps one logit of each column, (B, V), so it needs memory for one
block only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never, cast

import torch
from torch import Tensor, nn

from ..encoding.protocol import OnStep
from ..errors import RecipeError
from ..recipe.enums import Pooling
from ..recipe.sparse_head import SparseHead, SparsePooling
from .pooling import token_weights
from .vocabulary_clusters import cluster_centres

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BLOCK = 8192
_HEAVIEST = 10


class LexicalHead(nn.Module):
    """Maps token states to the heaviest entries of sparse vectors.

    Args:
        sparse_head: How the logits become weights.
        before: The layers between the states and the output matrix; the identity for decoders.
        rows: The output matrix, float32, shape (V, d).
        bias: Shape (V,), or None.
        softcap: Gemma 2's bound on logits, ``c * tanh(logit / c)``; None for the others.
    """

    def __init__(
        self,
        sparse_head: SparseHead,
        before: nn.Module,
        rows: Tensor,
        bias: Tensor | None,
        *,
        softcap: float | None,
    ) -> None:
        super().__init__()
        self.sparse_head = sparse_head
        self.before = before
        self.rows = nn.Parameter(rows, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.softcap = softcap

    @property
    def width(self) -> int:
        """How many dimensions the sparse vectors have."""
        return len(self.rows)

    def forward(self, states: Tensor, mask: Tensor, word_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return indices, int64, and weights, float32, both (B, K), heaviest first.

        Args:
            states: The backbone's last states, shape (B, T, d).
            mask: int64, shape (B, T); 1 where a token counts.
            word_ids: int64, shape (B, W), -1 where there is none; read only if
                ``sparse_head.words``.
        """
        weights = self.weights(states, mask)
        count = min(self.sparse_head.top, self.width)
        if not self.sparse_head.words:
            values, indices = weights.topk(count, dim=1)
            return indices, values
        kept, any_word = self._of_words(weights, word_ids)
        values, indices = kept.topk(count, dim=1)
        few = torch.ones_like(values).cumsum(1) <= _HEAVIEST
        return indices, values * (any_word | few).to(values.dtype)

    def weights(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return all weights, float32 >= 0, (B, V); the arguments are those of :meth:`forward`."""
        states = self.before(states.to(self.rows.dtype))
        logits = self._logits(states, mask)  # (B, V)
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return torch.log1p(torch.relu(logits))

    def _logits(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the largest or the last logit of each column, shape (B, V)."""
        match self.sparse_head.weighting:
            case SparsePooling.LAST:
                weights = token_weights(mask, Pooling.LAST)
                kept = states.masked_fill(mask.unsqueeze(-1) == 0, 0.0)
                last = torch.einsum("bt,btd->bd", weights, kept)
                return nn.functional.linear(last, self.rows, self.bias)
            case SparsePooling.MAX:
                absent = mask.unsqueeze(-1) == 0
                lowest = torch.finfo(states.dtype).min
                parts = []
                for begin in range(0, self.width, _BLOCK):
                    part = slice(begin, begin + _BLOCK)
                    bias = None if self.bias is None else self.bias[part]
                    block = nn.functional.linear(states, self.rows[part], bias)  # (B, T, block)
                    parts.append(block.masked_fill(absent, lowest).amax(1))
                return torch.cat(parts, dim=1)
            case SparsePooling.TOKENS:
                raise AssertionError("a language-model head was made for weights of own tokens")
            case _:
                assert_never(self.sparse_head.weighting)

    def _of_words(self, weights: Tensor, word_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of tokens in a text's words, and which texts have such words."""
        beyond = word_ids < 0
        columns = torch.where(
            beyond, self.width, word_ids
        )  # one more column takes the entries without a word
        marks = torch.zeros_like(weights[:, :1]).expand(-1, self.width + 1)
        marks = marks.scatter(1, columns, 1.0)[:, : self.width]  # (B, V)
        any_word = (~beyond).any(1, keepdim=True)  # (B, 1)
        return torch.where(any_word, marks * weights, weights), any_word


def lexical_head(
    model: PreTrainedModel,
    sparse_head: SparseHead,
    *,
    folder: Path | None = None,
    on_step: OnStep | None = None,
) -> LexicalHead:
    """Take the head of a language model.

    Args:
        model: A causal or masked language model with its head, which is taken out of the model.
        sparse_head: How the logits become weights.
        folder: The folder in which clusters are cached; None caches nothing.
        on_step: Called with the steps of clustering, which may take minutes.

    Raises:
        RecipeError: The head has an unknown structure.
        MissingExtra: The sparse head has clusters and scikit-learn is not installed.
    """
    if sparse_head.weighting is SparsePooling.TOKENS:
        raise RecipeError(
            "weights of a text's own tokens come from a layer of their own, which is not trained "
            "and not taken from a language model; choose 'splade' or 'promptreps'"
        )
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        raise RecipeError(f"a {model.config.model_type!r} model has no head to take words from")
    rows = output.weight.detach()
    added: Tensor | None = output.bias  # Transformers' heads may have none
    bias = None if added is None else added.detach()
    before = _before(model, output)
    softcap = getattr(model.config, "final_logit_softcapping", None)
    if sparse_head.clusters is not None:
        if bias is not None:
            raise RecipeError("clusters of a head with a bias per token are not defined")
        centres = cluster_centres(rows.float().numpy(), sparse_head, folder=folder, on_step=on_step)
        rows = torch.from_numpy(centres).to(rows.dtype)
    return LexicalHead(sparse_head, before, rows, bias, softcap=softcap)


def _before(model: PreTrainedModel, output: nn.Linear) -> nn.Module:
    """Return the layers between the backbone and the output matrix."""
    prefix = model.base_model_prefix
    heads = [part for name, part in model.named_children() if name != prefix]
    if heads == [output]:
        return nn.Identity()
    if len(heads) != 1:
        raise RecipeError(
            f"the head of a {model.config.model_type!r} model has {len(heads)} parts; decant takes "
            "heads of one, such as BERT's and RoBERTa's"
        )
    model.set_output_embeddings(cast("nn.Module", _NoLayer()))
    return heads[0]


class _NoLayer(nn.Identity):
    """Replaces the output matrix, because Transformers ties its bias to the head's."""

    bias = None
