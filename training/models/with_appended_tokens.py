"""A base that appends new tokens to every input and reads their states.

The tokens are added to tokenizer and embeddings; new rows are drawn as Transformers draws them,
from a normal distribution with the mean and covariance of the others.
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
    """What is appended, and what learns.

    Args:
        appended: The new tokens.
        head: Makes the layers after pooling, which get new weights, from the model's width; None:
            there are none.
        lora: Adapters in the backbone beside the new tokens; None: see ``whole``.
        whole: Whether every weight of the backbone learns; else the new tokens' rows alone.
        seed: Of new rows, heads and adapters.
    """

    appended: AppendedTokens
    head: Callable[[int], tuple[Dense, ...]] | None = None
    lora: Lora | None = None
    whole: bool = False
    seed: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class AppendedBase:
    """A base with appended tokens, inside the language model that it was made from.

    Args:
        base: The embedder.
        language: The model with its head; its backbone is the base's, with what learns in it.
        words: How many tokens the language model had before.
        decoder: The same model without what learns, frozen, of the same parameters; None where
            every weight of the backbone learns.
    """

    base: Base
    language: PreTrainedModel
    words: int
    decoder: PreTrainedModel | None = None

    def states(self, batch: Batch) -> Tensor:
        """Return the states that are read, float32 (B, n, d), with gradients."""
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
        model: A folder, a hub id, or files already found.
        new: What is appended, and what learns.
        choices: What the user says of prompts and, for this training alone, of the length. The
            model's own is 512 tokens, or less where the language model has less.

    Raises:
        RecipeError: As for an export.
        TrainingError: The model is no causal language model, or knows one of the tokens.
        MissingExtra: peft is not installed.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    mean = Choices(pooling=Pooling.MEAN)
    said, limit = training_length(source, (choices or Choices()).over(mean))
    plain = resolve(source, said)
    if plain.attention is not Attention.CAUSAL:
        raise TrainingError(f"{source.base} is no causal model, and decoding its states needs one")
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
            f"{name} knows the token {known[0]!r} already; it was trained by this method, or name "
            "the new tokens otherwise"
        )
    vocabulary.add_special_tokens(list(tokens))
    return [cast("int", vocabulary.token_to_id(token)) for token in tokens]


def _make_trainable(
    backbone: nn.Module, new: NewTokens, ids: Sequence[int]
) -> LoraModel | TrainableTokensModel:
    """Let the new tokens' rows learn, and adapters if they are asked for."""
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
