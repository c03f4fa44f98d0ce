"""A model that appends new tokens to every input and reads their hidden states.

The tokens are added to the tokenizer and the embeddings. As in Transformers, new embeddings are
drawn from a normal distribution with the mean and covariance of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from decant.embedders import (
    AppendedTokens,
    Attention,
    Choices,
    Dense,
    ModelFiles,
    PooledTokens,
    Pooling,
    find_model,
    resolve,
)
from decant.embedders.errors import need
from decant.embedders.pytorch import make_head, pooled_model, read_states
from decant.embedders.sources import pad_id
from decant.embedders.tokens import TextTokenizer, load_tokenizer

from ..errors import TrainingError
from ..settings import Lora
from .language_model import load_with_head
from .shared_weights import frozen_copy
from .trainable import Base, Batch, longer, training_length

if TYPE_CHECKING:
    from peft import LoraModel, TrainableTokensModel
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

_LONGEST = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTokens:
    """The appended tokens, and which weights are trained.

    Args:
        appended: The new tokens.
        head: Returns the layers after pooling, which get new weights, for the model's width; None:
            there are none.
        lora: Train adapters in the backbone in addition to the new tokens; None: see ``whole``.
        whole: Train every weight of the backbone; otherwise only the new tokens' embeddings.
        seed: Seed of new embeddings, layers and adapters.
    """

    appended: AppendedTokens
    head: Callable[[int], tuple[Dense, ...]] | None = None
    lora: Lora | None = None
    whole: bool = False
    seed: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class AppendedBase:
    """An embedder with appended tokens, and the language model that it is part of.

    Args:
        base: The embedder.
        language: The model with its head, which shares the embedder's backbone.
        words: The size of the vocabulary without the appended tokens.
        decoder: The original model, frozen, with the same parameters but without adapters and new
            tokens; None if every weight of the backbone is trained.
    """

    base: Base
    language: PreTrainedModel
    words: int
    decoder: PreTrainedModel | None = None

    def states(self, batch: Batch) -> Tensor:
        """Return the hidden states that are read, float32 (B, n, d), with gradients."""
        model = self.base.model
        appended = model.recipe.appended
        assert appended is not None
        ((states,), _) = model.states(batch["input_ids"], batch["attention_mask"])
        return read_states(states, batch["pooling_mask"], appended.read)


def open_appended(
    model: str | Path | ModelFiles, new: NewTokens, *, choices: Choices | None = None
) -> AppendedBase:
    """Open a causal language model and append tokens to it, in float32.

    Args:
        model: A folder, a hub id, or the files of a model.
        new: The appended tokens, and which weights are trained.
        choices: Prompts and, for this training only, the length that the user specifies. The
            trained model takes 512 tokens, or fewer if the language model takes fewer.

    Raises:
        RecipeError: No recipe can be made for the model, see :func:`resolve`.
        TrainingError: The model is not a causal language model, or has one of the tokens already.
        MissingExtra: peft is not installed.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    mean = Choices(pooling=Pooling.MEAN)
    said, limit = training_length(source, (choices or Choices()).over(mean))
    plain = resolve(source, said)
    if plain.attention is not Attention.CAUSAL:
        raise TrainingError(f"{source.base} is not a causal model, which decoding its states needs")
    vocabulary = load_tokenizer(source.folder)
    ids = _added(vocabulary, new.appended.tokens, source.base)
    backbone, language = load_with_head(source, plain.attention)
    head = () if new.head is None else new.head(language.config.hidden_size)
    own = Choices(
        pooling=Pooling.MEAN,
        span=PooledTokens.TAIL,
        appended=new.appended,
        head=head,
        max_tokens=min(plain.max_tokens, _LONGEST),
    )
    recipe = resolve(source, said.over(own))
    words: int = language.config.vocab_size
    torch.manual_seed(new.seed)
    if max(ids) >= words:
        language.resize_token_embeddings(max(ids) + 1)
    decoder = None if new.whole else frozen_copy(language)  # before adapters are in it
    loaded = longer(recipe, limit)
    pooled = pooled_model(source.folder, loaded, backbone, head=make_head(head), fold=False)
    pooled.recipe = recipe
    language.requires_grad_(requires_grad=new.whole)
    pooled.head.requires_grad_(requires_grad=True)
    adapters = None if new.whole else _make_trainable(backbone, new, ids)
    base = Base(
        source=source,
        model=pooled,
        tokenizer=TextTokenizer(vocabulary, recipe),
        pad_id=pad_id(source.folder),
        adapters=adapters,
        lora=new.lora,
        vocabulary=vocabulary,
        max_tokens=limit,
    )
    return AppendedBase(base=base, language=language, words=words, decoder=decoder)


def _added(vocabulary: Tokenizer, tokens: Sequence[str], name: str) -> list[int]:
    known = [token for token in tokens if vocabulary.token_to_id(token) is not None]
    if known:
        raise TrainingError(
            f"{name} has the token {known[0]!r} already, perhaps because it was trained by this "
            "method; use the original model, or give the new tokens other names"
        )
    vocabulary.add_special_tokens(list(tokens))
    return [cast("int", vocabulary.token_to_id(token)) for token in tokens]


def _make_trainable(
    backbone: nn.Module, new: NewTokens, ids: Sequence[int]
) -> LoraModel | TrainableTokensModel:
    """Make the new tokens' embeddings trainable, and adapters if ``new.lora`` is given."""
    peft = need("peft", extra="training")
    rows = {"token_indices": list(ids)}
    if new.lora is None:
        plain = peft.TrainableTokensConfig(**rows)
        return cast("TrainableTokensModel", peft.TrainableTokensModel(backbone, plain, "default"))
    settings = peft.LoraConfig(
        r=new.lora.rank,
        lora_alpha=new.lora.alpha,
        lora_dropout=new.lora.dropout,
        target_modules="all-linear",
        trainable_token_indices=list(ids),
    )
    return cast("LoraModel", peft.LoraModel(backbone, settings, "default"))
