"""A backbone, its pooling, head and normalisation as one torch module.

It is the reference, and the module that an export traces.

Positions are computed from the mask, so that either padding side gives the same vectors.
``load.py`` loads weights; tokenising is not here. The contract of the graph is in
``docs/architecture.md``.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..encoding.outputs import DENSE, SPARSE, STATES, TOKENS
from ..errors import RecipeError
from ..recipe.enums import PooledTokens, Pooling
from ..recipe.recipe import Recipe
from ..sources.positions import first_position, uncounted_id
from .appended_states import decoded_states, folded, read_states
from .late_head import TokenHead
from .latent_attention import LatentAttention
from .layer_hooks import contrasted, heads_at_last, prepended, states_before
from .pooling import pool
from .sparse_head import LexicalHead
from .token_weights import TokenWeightHead

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PooledModel(nn.Module):
    """Maps token ids to finished vectors.

    Args:
        backbone: A Transformers base model in evaluation mode.
        recipe: Layer, pooling, width and normalisation.
        head: Its dense layers, in the recipe's order.
        latent: Its latent attention, if the recipe has one.
        lexical: What gives sparse vectors, if the recipe has a sparse head.
        tokens: The layer of token vectors, if the recipe has late interaction.

    Attributes:
        decoding: The layers behind the states of appended tokens: the head's first layers, also
            where the head itself is folded.
        inputs: Names of the arguments of :meth:`forward`, in the graph's order.
        outputs: Names of its results.
        takes_positions: Whether the backbone takes position ids.
        first_position: The position of a text's first token; loading tests it (``load.py``).
        early: The backbone's layers, if a run may end at the deepest one that is pooled;
            loading tests this, too. None: the backbone runs as a whole.
        uncounted_id: The token that positions do not count, even inside a text: it gets the
            position before the first. None: every token of a text counts. Loading tests this,
            too.

    Raises:
        RecipeError: The recipe has a part that was not passed, or the other way round.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        recipe: Recipe,
        head: nn.Sequential,
        *,
        latent: LatentAttention | None = None,
        lexical: LexicalHead | TokenWeightHead | None = None,
        tokens: TokenHead | None = None,
    ) -> None:
        super().__init__()
        if (tokens is None) != (recipe.late_interaction is None):
            raise RecipeError(
                f"the recipe has late_interaction={recipe.late_interaction}, and the model "
                f"{'no' if tokens is None else 'a'} layer of token vectors; pass both or neither"
            )
        if (latent is None) != (recipe.latent_heads is None):
            raise RecipeError(
                f"the recipe has latent_heads={recipe.latent_heads}, and the model "
                f"{'no' if latent is None else 'a'} latent attention; pass both or neither"
            )
        if (lexical is None) != (recipe.sparse_head is None):
            raise RecipeError(
                f"the recipe has sparse_head={recipe.sparse_head}, and the model "
                f"{'no' if lexical is None else 'a'} lexical head; pass both or neither"
            )
        self.latent = latent
        self.lexical = lexical
        self.tokens = tokens
        self.backbone = backbone
        self.head = head
        # Each layer is two modules: the product, and its activation.
        decoded = 0 if recipe.appended is None else recipe.appended.decoded
        self.decoding = nn.Sequential(*list(head)[: 2 * decoded])
        self.recipe = recipe
        self.takes_positions = "position_ids" in inspect.signature(backbone.forward).parameters
        padding = getattr(backbone.config, "pad_token_id", None)
        self.first_position = first_position(backbone.config.model_type, padding)
        self.early: tuple[nn.ModuleList] | None = (
            None  # a tuple, so that torch does not register it as a submodule
        )
        self.uncounted_id = uncounted_id(backbone.config.model_type, padding)
        self.inputs = ["input_ids", "attention_mask"]
        if recipe.span is not PooledTokens.ALL:
            self.inputs.append("pooling_mask")
        if recipe.sparse_head is not None and recipe.sparse_head.words:
            self.inputs.append("word_ids")
        if recipe.late_interaction is not None and recipe.late_interaction.has_unattended:
            self.inputs.append("scoring_mask")
        self.outputs = [DENSE]
        if recipe.sparse_head is not None:
            self.outputs += SPARSE
        if recipe.appended is not None:
            self.outputs.append(STATES)
        if recipe.token_embeddings:
            self.outputs.append(TOKENS)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        pooling_mask: Tensor | None = None,
        word_ids: Tensor | None = None,
        scoring_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Return float32 vectors of shape (B, D); with further outputs, a tuple of all outputs.

        Args:
            input_ids: int64, shape (B * P, T): a row for each prompt of a text.
            attention_mask: int64, shape (B * P, T); 1 where there is a token.
            pooling_mask: int64, shape (B * P, T); 1 where a token counts; None: the attention mask.
            word_ids: int64, shape (B, W); see :class:`TokenBatch`; None: no text has words.
            scoring_mask: int64, shape (B, T); 1 where there is a token that others do not see, and
                where a token gives a token vector; None: the attention mask.
        """
        counted = attention_mask if pooling_mask is None else pooling_mask
        if self.recipe.contrast is None:
            states, last = self.states(input_ids, attention_mask, scoring_mask)
        else:
            pairs = (
                part.reshape(-1, 2, part.shape[1]) for part in (input_ids, attention_mask, counted)
            )
            (input_ids, ids), (attention_mask, mask), (counted, _) = (
                (pair[:, 0], pair[:, 1]) for pair in pairs
            )
            states, last = self._contrasted(input_ids, attention_mask, ids, mask)
        found = [self.pooled(states, counted)]
        if self.lexical is not None:
            found += self._sparse(self.lexical, last, counted, (input_ids, word_ids))
        if self.recipe.appended is not None:
            read = read_states(states[-1], counted, self.recipe.appended.read)
            found.append(decoded_states(read, self.decoding))
        if self.recipe.token_embeddings:
            rows = states[-1].to(torch.float32)
            found.append(rows if self.tokens is None else self.tokens(rows))
        return found[0] if len(found) == 1 else tuple(found)

    def _sparse(
        self,
        head: LexicalHead | TokenWeightHead,
        last: Tensor,
        counted: Tensor,
        ids: tuple[Tensor, Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """Return indices and weights; ``ids`` are those of the tokens and of the text's words."""
        input_ids, word_ids = ids
        if isinstance(head, TokenWeightHead):
            found: tuple[Tensor, Tensor] = head(last, counted, input_ids)
        else:
            nothing = torch.full_like(counted[:, :1], -1)
            found = head(last, counted, nothing if word_ids is None else word_ids)
        return found

    def pooled(self, states: list[Tensor], counted: Tensor) -> Tensor:
        """Return finished vectors, float32 (B, D), from the first result of :meth:`states`."""
        pooled = [pool(layer, counted, self.recipe.pooling) for layer in states]
        vectors: Tensor = self.head(self._averaged(self._mixed(pooled)))  # (B, D)
        if self.recipe.dim is not None:
            vectors = vectors[:, : self.recipe.dim]
        if self.recipe.normalize:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors.to(torch.float32)

    def named(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name; the arguments are those of :meth:`forward`."""
        found = self(**inputs)
        values = (found,) if isinstance(found, Tensor) else found
        return dict(zip(self.outputs, values, strict=True))

    def states(
        self, input_ids: Tensor, attention_mask: Tensor, scoring_mask: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Return the hidden states of each pooled layer, each (rows, T, d), and the last ones."""
        arguments = self._arguments(input_ids, attention_mask)
        if scoring_mask is not None and self.takes_positions:
            there = torch.maximum(attention_mask, scoring_mask)
            arguments["position_ids"] = self.positions(input_ids, there)
        plan = self.recipe.prepending
        acting = (
            nullcontext()
            if plan is None
            else prepended(self.backbone, plan, input_ids, attention_mask)
        )
        mix, layer = self.recipe.mix, self.recipe.layer
        with acting:
            if mix is None and layer == -1:
                last: Tensor = self.backbone(**arguments).last_hidden_state
                chosen = [last]
            elif (early := self._ended_early(arguments)) is not None:
                chosen, last = (
                    early,
                    early[-1],
                )  # without a lexical head, the last states are not used
            else:
                found = self.backbone(**arguments, output_hidden_states=True)
                last, states = found.last_hidden_state, found.hidden_states
                chosen = [states[index] for index in self.read_layers(len(states))]
        return (
            chosen if self.latent is None else [self.latent(states) for states in chosen],
            last,
        )

    def read_layers(self, count: int) -> tuple[int, ...]:
        """Return which of ``count`` hidden states are pooled; they count from 0."""
        mix, layer = self.recipe.mix, self.recipe.layer
        return (layer % count,) if mix is None else mix.indices(count)

    def _ended_early(self, arguments: dict[str, Tensor]) -> list[Tensor] | None:
        """Return the pooled states without running later layers; None if that is impossible."""
        if self.early is None or torch.compiler.is_compiling():
            return None
        (layers,) = self.early
        wanted = self.read_layers(1 + len(layers))
        return states_before(layers, wanted, lambda: self.backbone(**arguments))

    def _contrasted(
        self, input_ids: Tensor, attention_mask: Tensor, other_ids: Tensor, other_mask: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """Return :meth:`states` after the contrast with the rows of the auxiliary prompt."""
        plan = self.recipe.contrast
        assert plan is not None

        def auxiliary() -> object:
            return self.backbone(**self._arguments(other_ids, other_mask))

        heads = heads_at_last(self.backbone, plan.layer, auxiliary, other_mask)
        with contrasted(self.backbone, plan, attention_mask, heads):
            return self.states(input_ids, attention_mask)

    def _arguments(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.takes_positions:
            arguments["position_ids"] = self.positions(input_ids, attention_mask)
        return arguments

    def positions(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return each token's position, int64 (rows, T), for either padding side."""
        if self.uncounted_id is None:
            return (attention_mask.cumsum(1) - 1).clamp(min=0) + self.first_position
        counted = attention_mask * input_ids.ne(self.uncounted_id)
        return counted.cumsum(1) * counted + self.first_position - 1

    def _mixed(self, pooled: list[Tensor]) -> Tensor:
        """Average the layers' vectors, (B, d), with the weights of the recipe's mix."""
        mix = self.recipe.mix
        if mix is None:
            (vectors,) = pooled
            return vectors
        if mix.unit:
            pooled = [nn.functional.normalize(vectors, dim=-1) for vectors in pooled]
        shares = mix.shares(len(pooled))
        parts = [share * vectors for share, vectors in zip(shares, pooled, strict=True)]
        return torch.stack(parts).sum(0)

    def _averaged(self, vectors: Tensor) -> Tensor:
        """Average the vectors of a text under all prompts, (B * P, d) to (B, d)."""
        count = len(self.recipe.ensemble)
        return vectors.reshape(-1, 1 + count, vectors.shape[1]).mean(1) if count else vectors

    def with_parts(self, backbone: PreTrainedModel, recipe: Recipe) -> PooledModel:
        """Return a model with this model's heads on another backbone, by another recipe."""
        made = PooledModel(
            backbone,
            recipe,
            self.head,
            latent=self.latent,
            lexical=self.lexical,
            tokens=self.tokens,
        )
        made.decoding = self.decoding
        made.first_position = self.first_position
        made.uncounted_id = self.uncounted_id
        return made.eval()

    def folded(self) -> PooledModel:
        """Return a model that shares all but the head, whose linear layers are folded."""
        made = self.with_parts(self.backbone, self.recipe)
        made.head = folded(self.head)
        return made

    def pooled_by(self, pooling: Pooling) -> PooledModel:
        """Return a model that shares every weight and has another pooling.

        Raises:
            RecipeError: The pooling does not suit the model's attention.
        """
        recipe = replace(self.recipe, pooling=pooling)
        return self.with_parts(self.backbone, recipe)

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        given = pooled_width(self.backbone, self.recipe)
        width = self.recipe.head[-1].outputs if self.recipe.head else given
        return min(width, self.recipe.dim or width)

    @property
    def read_shape(self) -> tuple[int, int] | None:
        """Number n and width d' of the soft tokens; None if no tokens are appended."""
        appended = self.recipe.appended
        if appended is None:
            return None
        if appended.decoded:
            return appended.read, self.recipe.head[appended.decoded - 1].outputs
        return appended.read, pooled_width(self.backbone, self.recipe)


def pooled_width(backbone: PreTrainedModel, recipe: Recipe) -> int:
    """Return the width of the pooled states; only OPT-350m's last states have another width.

    Raises:
        RecipeError: The recipe mixes layers that do not exist, or have different widths.
    """
    config = backbone.config
    width: int = config.hidden_size
    last: int = getattr(config, "word_embed_proj_dim", None) or width
    if recipe.mix is None:
        return last if recipe.layer == -1 else width
    layers: int = config.num_hidden_layers
    widths = {last if at == layers else width for at in recipe.mix.indices(layers + 1)}
    if len(widths) > 1:
        raise RecipeError(
            f"the model's last layer is {last} wide and the others {width}; they cannot be averaged"
        )
    return widths.pop()
