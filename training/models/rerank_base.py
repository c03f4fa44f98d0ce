"""A reranker in training: opened from a folder, trained, and written as a folder again.

The base is a folder with a classifier of pairs, an encoder's folder, which gets a new classifier,
or a causal language model whose score is read from label tokens. Pairs are tokenised by the recipe,
so training and serving see the same ids. Invariant: decant opens what :meth:`RerankBase.write`
writes and gives the scores of the trained model, and so does sentence-transformers' CrossEncoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from decant.embedders import (
    ModelFiles,
    RerankChoices,
    RerankRecipe,
    TorchEncoder,
    TorchReranker,
    find_model,
    is_reranker,
    resolve_new_reranker,
    resolve_reranker,
)
from decant.embedders.pytorch import (
    load_classifier,
    load_language_model,
    new_classifier,
    score_model_of,
)
from decant.embedders.sources import pad_id
from decant.embedders.tokens import PairTokenizer, Tokens, load_pair_tokenizer

from ..errors import TrainingError
from ..settings import Lora
from .cross_encoder_files import write_cross_encoder
from .trainable import Base, Batch, copy_tokenizer, longer, make_trainable, set_dropout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ENDLESS = 2**31


@dataclass(slots=True, kw_only=True, eq=False)
class RerankBase:
    """A reranker in training, with its tokenizer.

    Args:
        whole: The Transformers model with its head, which is what is written.
        base: The score model, which shares its weights, and its tokenizer of pairs.
        recipe: The recipe of the scores.
    """

    whole: PreTrainedModel
    base: Base
    recipe: RerankRecipe

    @property
    def tokenizer(self) -> PairTokenizer:
        """The tokenizer of pairs."""
        assert isinstance(self.base.tokenizer, PairTokenizer)
        return self.base.tokenizer

    @property
    def max_tokens(self) -> int:
        """The length to which training cuts pairs."""
        return self.base.max_tokens or self.recipe.max_tokens

    def tokens(
        self, query: str, texts: Sequence[str], *, instruction: str | None = None
    ) -> list[Tokens]:
        """Return the tokens of a query with each of some passages.

        Raises:
            TextError: The query leaves no room for a passage.
            RecipeError: The model takes no instruction.
        """
        pairs = [(query, text) for text in texts]
        return self.tokenizer.pairs(pairs, instruction=instruction, max_tokens=self.max_tokens)

    def length(self, query: str, text: str, *, instruction: str | None = None) -> tuple[int, int]:
        """Return how many tokens a pair has, and how many of them are read."""
        (row,) = self.tokenizer.pairs([(query, text)], instruction=instruction, max_tokens=_ENDLESS)
        return row.width, min(row.width, self.max_tokens)

    def scores(self, batch: Batch) -> Tensor:
        """Return the raw scores of pairs, float32 (P,), with gradients."""
        return cast("Tensor", self.base.model(**batch))[:, 0]

    def reranker(self, encoder: TorchEncoder) -> TorchReranker:
        """Return the reranker of an encoder that :meth:`Base.eval_encoder` gives."""
        return TorchReranker(encoder, self.recipe)

    def write(self, folder: Path) -> None:
        """Write model, tokenizer and recipe into an empty folder; adapters are merged."""
        self.base.merge()
        copy_tokenizer(self.base.source.folder, folder)
        write_cross_encoder(folder, self.whole, self.recipe, self.tokenizer.bare)


def open_rerank_base(
    model: str | Path | ModelFiles,
    *,
    choices: RerankChoices | None = None,
    lora: Lora | None = None,
    dropout: float | None = None,
    seed: int = 0,
) -> RerankBase:
    """Open a model for training as a reranker, in float32 on the CPU.

    The whole classifier is trained, also with ``lora``. Of a language model that is read by label
    tokens the head is not trained, nor the token embeddings where the head is tied to them.

    Args:
        model: A folder, a hub id, or the files of a model: one with a classifier of pairs; an
            encoder, which gets a new classifier of one output; or a causal language model.
        choices: Parts of the recipe that the user specifies, as in an export; but ``max_tokens``
            cuts the pairs of this training only.
        lora: Train adapters and the classifier only; None trains every weight.
        dropout: Dropout of all layers and of attention; None leaves it as it is.
        seed: Seed of new weights.

    Raises:
        RecipeError: No recipe can be made for the model: it is causal, and nothing names its
            template or its label tokens; or its family has no classifier.
        TrainingError: The model has adapters that are not merged, or several outputs.
        MissingExtra: ``lora`` is given and peft is not installed.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    if source.adapters:
        raise TrainingError(
            "the model has adapters that are not merged; merge them first, then train it"
        )
    said = choices or RerankChoices()
    limit, said = said.max_tokens, replace(said, max_tokens=None)
    ready = is_reranker(source, said)
    recipe = resolve_reranker(source, said) if ready else resolve_new_reranker(source, said)
    if recipe.label is not None and recipe.label.count > 1:
        raise TrainingError(
            f"the classifier of {source.base} has {recipe.label.count} outputs, and a reranker "
            "learns one score; give a model with one output, or the encoder that it was made from"
        )
    attention = recipe.model.attention
    if recipe.tokens is not None:
        _, whole = load_language_model(source.folder, attention)
    elif ready:
        _, whole = load_classifier(source.folder, attention)
    else:
        torch.manual_seed(seed)
        whole = new_classifier(source.folder, attention)
    tokenizer = load_pair_tokenizer(source.folder, recipe)
    loaded = replace(recipe, model=longer(recipe.model, limit))
    scoring = score_model_of(whole, source.folder, loaded, tokenizer, learns=True)
    scoring.recipe = recipe.encoding
    base = Base(
        source=source,
        model=scoring,
        tokenizer=tokenizer,
        pad_id=pad_id(source.folder),
        max_tokens=limit,
    )
    if dropout is not None:
        set_dropout(scoring, dropout)
        base.dropout = dropout
    make_trainable(base, lora=lora, dropout=None, seed=seed)
    scoring.head.requires_grad_(requires_grad=recipe.tokens is None)
    if recipe.tokens is not None and _is_tied(whole):
        # The head that is written would follow them, and the rows that are trained against not.
        whole.get_input_embeddings().requires_grad_(requires_grad=False)
    return RerankBase(whole=whole, base=base, recipe=recipe)


def _is_tied(whole: PreTrainedModel) -> bool:
    """Return whether a language model's head is its token embeddings."""
    output = whole.get_output_embeddings()
    return output is not None and output.weight is whole.get_input_embeddings().weight
