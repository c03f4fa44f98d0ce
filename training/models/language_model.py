"""A language model and the embedder inside it, for methods whose loss needs logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from decant.embedders import Attention, Choices, ModelFiles, RecipeError, find_model, resolve
from decant.embedders.pytorch import lexical_head, load_language_model, pooled_model
from decant.embedders.sources import pad_id, write_recipe
from decant.embedders.tokens import load_text_tokenizer

from ..errors import TrainingError
from ..settings import Lora
from .trainable import Base, copy_tokenizer, longer, make_trainable, training_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(slots=True, kw_only=True, eq=False)
class LanguageBase:
    """A language model, and an embedder that shares its backbone.

    Args:
        whole: The model with its head.
        base: The embedder inside it.
    """

    whole: PreTrainedModel
    base: Base

    @property
    def head(self) -> nn.Module:
        """The layer that maps hidden states, (..., d), to logits, (..., V)."""
        found = self.whole.get_output_embeddings()
        assert isinstance(found, nn.Module)
        return found

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of hidden states, with Gemma 2's soft-capping where a model has it."""
        found: Tensor = self.head(states)
        bound = getattr(self.whole.config, "final_logit_softcapping", None)
        return found if bound is None else (found / bound).tanh() * bound

    def write(self, folder: Path) -> None:
        """Write the whole model, head included, with the embedder's recipe."""
        self.base.merge()
        self.whole.save_pretrained(folder)
        copy_tokenizer(self.base.source.folder, folder)
        write_recipe(folder, self.base.model.recipe)


def open_language_model(
    model: str | Path | ModelFiles,
    *,
    choices: Choices | None = None,
    strategy: str | None = None,
    lora: Lora | None = None,
    dropout: float | None = None,
    seed: int = 0,
) -> LanguageBase:
    """Open a language model with its head, in float32; the head itself is not trained.

    The arguments are those of :func:`open_base`; ``choices``, or a ``strategy`` by its name,
    specify how its embedder attends and pools. If the recipe has a sparse head, token embeddings
    are not trained either.

    Raises:
        RecipeError: No recipe can be made for the model, see :func:`resolve`.
        TrainingError: The folder does not hold a causal language model, or has adapters that are
            not merged.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    if source.adapters:
        raise TrainingError(
            "the model has adapters that are not merged; merge them first, then train it"
        )
    said, limit = training_length(source, choices, strategy=strategy)
    recipe = resolve(source, said, strategy=strategy)
    backbone, whole = load_with_head(source, recipe.attention)
    sparse_head = recipe.sparse_head
    lexical = (
        None if sparse_head is None else lexical_head(whole, sparse_head, folder=source.folder)
    )
    pooled = pooled_model(
        source.folder, longer(recipe, limit), backbone, lexical=lexical, fold=False
    )
    pooled.recipe = recipe
    base = Base(
        source=source,
        model=pooled,
        tokenizer=load_text_tokenizer(source.folder, recipe),
        pad_id=pad_id(source.folder),
        max_tokens=limit,
    )
    whole.requires_grad_(requires_grad=False)
    learnt = make_trainable(base, lora=lora, dropout=dropout, seed=seed)
    if lexical is not None:
        # The head may be tied to them, and a sparse vector's dimensions are its rows.
        lexical.requires_grad_(requires_grad=False)
        backbone.get_input_embeddings().requires_grad_(requires_grad=False)
    return LanguageBase(whole=whole, base=learnt)


def load_with_head(
    source: ModelFiles, attention: Attention
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a model without and with its head, see :func:`load_language_model`.

    Raises:
        TrainingError: The folder has no head, or cannot be loaded.
    """
    try:
        return load_language_model(source.folder, attention)
    except RecipeError as error:
        raise TrainingError(
            f"{source.base} has no language-model head, which this method needs; give a causal "
            f"language model's folder ({error})"
        ) from error
