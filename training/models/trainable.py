"""The model in training: opened from a folder, trained, and written as a folder again.

Texts are tokenised as the recipe says, prompts included, so that training and inference see the
same. Invariant: every command of decant opens what :meth:`Base.write` writes, and gets the vectors
of the trained model.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from decant.embedders import (
    Choices,
    ModelFiles,
    Recipe,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from decant.embedders.errors import need
from decant.embedders.pytorch import PooledModel, load_model
from decant.embedders.sources import pad_id, write_recipe
from decant.embedders.tokens import TextTokenizer, Tokens, load_text_tokenizer, load_tokenizer, pad

from ..errors import TrainingError
from ..settings import Lora
from .st_files import write_sentence_files

if TYPE_CHECKING:
    from peft import LoraModel, TrainableTokensModel
    from tokenizers import Tokenizer

Batch = dict[str, Tensor]
"""The inputs of a model: int64 tensors, named as in :class:`TokenBatch`."""

_ENDLESS = 2**31
# Models like BERT have it; our vectors do not read it, so nothing would train it.
_UNREAD = "pooler"
# The files of a tokenizer, in any of Transformers' formats.
_TOKENIZER_FILES = (
    "added_tokens.json", "chat_template.jinja", "merges.txt", "sentencepiece.bpe.model",
    "special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip


@dataclass(slots=True, kw_only=True, eq=False)
class Base:
    """A pooled model in training, with its tokenizer.

    Args:
        source: The files that it was loaded from.
        model: The model; its parameters are trained unless they are frozen.
        tokenizer: The tokenizer, which follows the recipe.
        pad_id: The token id of padded positions.
        adapters: Low-rank adapters, if only these are trained.
        lora: Settings of the adapters.
        dropout: The dropout that was set; None: that of the model's files.
        vocabulary: The tokenizer with added tokens; None: there are none.
        max_tokens: Texts are cut to this many tokens in training; None: to the recipe's
            ``max_tokens``. The written model keeps that of the recipe.
    """

    source: ModelFiles
    model: PooledModel
    tokenizer: TextTokenizer
    pad_id: int
    adapters: LoraModel | TrainableTokensModel | None = None
    lora: Lora | None = None
    dropout: float | None = None
    vocabulary: Tokenizer | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            # This refuses a length that the prompts fill.
            TextTokenizer(self.tokenizer.bare, self.training_recipe)

    @property
    def training_recipe(self) -> Recipe:
        """The model's recipe with the length to which training cuts texts."""
        recipe = self.model.recipe
        return replace(recipe, max_tokens=self.max_tokens or recipe.max_tokens)

    def tokens(
        self, texts: Sequence[str], *, role: Role, instructions: Sequence[str | None] | None = None
    ) -> Batch:
        """Return the tokens of texts, each with its own instruction if it has one."""
        if instructions is None or not any(instructions):
            rows = self.tokenizer(texts, role=role, max_tokens=self.max_tokens)
        else:
            rows = [
                self.tokenizer(
                    [text],
                    role=role,
                    max_tokens=self.max_tokens,
                    instruction=instruction,
                    first=number,
                )[0]
                for number, (text, instruction) in enumerate(zip(texts, instructions, strict=True))
            ]
        return self.stacked(rows)

    def stacked(self, rows: Sequence[Tokens]) -> Batch:
        """Return rows as one batch, padded on the right."""
        batch = pad(rows, pad_id=self.pad_id)
        return {name: torch.from_numpy(getattr(batch, name)) for name in self.model.inputs}

    def length(self, text: str, role: Role) -> tuple[int, int]:
        """Return how many tokens a text has with its prompt, and how many of them are read."""
        whole = self.tokenizer([text], role=role, max_tokens=_ENDLESS)[0].width
        recipe = self.training_recipe
        if recipe.max_text_tokens is None:
            return whole, min(whole, recipe.max_tokens)
        return whole, min(self.tokenizer([text], role=role)[0].width, recipe.max_tokens)

    def vectors(self, batch: Batch, *, mini_batch_size: int | None = None) -> Tensor:
        """Return vectors of shape (B, D), with gradients.

        Args:
            batch: A batch from :meth:`tokens`.
            mini_batch_size: Texts per forward pass. Their activations are dropped and computed
                again in the backward pass (GradCache, Gao et al., arXiv 2101.06983): a batch of
                any size takes the memory of one mini-batch, and the gradients are the same,
                dropout included. None computes the whole batch in one pass.
        """
        rows = 1 + len(self.model.recipe.further)
        count = len(batch["input_ids"]) // rows
        if mini_batch_size is None or count <= mini_batch_size:
            return _dense(self.model(**batch))
        parts = []
        for begin in range(0, count, mini_batch_size):
            part = {
                name: values[begin * rows : (begin + mini_batch_size) * rows]
                for name, values in batch.items()
            }
            longest = int(part["attention_mask"].sum(1).max())
            cut = {name: values[:, :longest] for name, values in part.items()}
            parts.append(checkpoint(self._dense_of, cut, use_reentrant=False))
        return torch.cat(cast("list[Tensor]", parts))

    def _dense_of(self, batch: Batch) -> Tensor:
        return _dense(self.model(**batch))

    @contextmanager
    def eval_encoder(self) -> Iterator[TorchEncoder]:
        """Yield the model in eval mode as an encoder; training mode is restored on exit."""
        training = self.model.training
        self.model.eval()
        try:
            yield TorchEncoder(self.model, self.tokenizer, pad_id=self.pad_id)
        finally:
            self.model.train(training)

    def note_matryoshka_dims(self, dims: Sequence[int]) -> None:
        """Note in the recipe that vectors may be cut, down to the smallest of ``dims``."""
        self.model.recipe = replace(self.model.recipe, min_dim=min(dims))

    def merge(self) -> None:
        """Merge the adapters into the weights, which cannot be undone."""
        if self.adapters is not None:
            self.adapters.merge_and_unload()
            self.adapters = None

    def write(self, folder: Path) -> None:
        """Write weights, tokenizer and recipe into an empty folder; adapters are merged.

        sentence-transformers can load the folder, too, if its files can express the recipe.
        """
        self.merge()
        backbone, recipe = self.model.backbone, self.model.recipe
        backbone.save_pretrained(folder)
        copy_tokenizer(self.source.folder, folder)
        if self.vocabulary is not None:
            self.vocabulary.save(str(folder / "tokenizer.json"))
        write_recipe(folder, recipe)
        linears = [module for module in self.model.head if isinstance(module, nn.Linear)]
        write_sentence_files(folder, recipe, linears)


def open_base(
    model: str | Path | ModelFiles,
    *,
    choices: Choices | None = None,
    lora: Lora | None = None,
    dropout: float | None = None,
    seed: int = 0,
) -> Base:
    """Open a model for training, in float32 on the CPU; :func:`train` moves it to the GPU.

    Args:
        model: A folder, a hub id, or the files of a model.
        choices: Parts of the recipe that the user specifies, as in an export; but ``max_tokens``
            cuts the texts of this training only, see :func:`training_length`.
        lora: Train adapters only; None trains every weight.
        dropout: Dropout of all layers and of attention; None leaves it as it is.
        seed: Seed of new weights.

    Raises:
        RecipeError: No recipe can be made for the model, see :func:`resolve`.
        TrainingError: The model has parts that this method does not train.
        MissingExtra: ``lora`` is given and peft is not installed.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    said, limit = training_length(source, choices)
    recipe = resolve(source, said)
    parts = {
        "sparse head": recipe.sparse_head,
        "latent attention": recipe.latent_heads,
        "projection of token vectors": recipe.late_interaction,
    }
    if named := [name for name, there in parts.items() if there is not None]:
        part = named[0]
        raise TrainingError(
            f"{source.base} has a {part}, which this method does not train (sparse heads: "
            "decant train sparse)"
        )
    tokenizer = load_text_tokenizer(source.folder, recipe)
    pooled = load_model(source.folder, longer(recipe, limit), adapters=source.adapters, fold=False)
    pooled.recipe = recipe
    return make_trainable(
        Base(
            source=source,
            model=pooled,
            tokenizer=tokenizer,
            pad_id=pad_id(source.folder),
            max_tokens=limit,
        ),
        lora=lora,
        dropout=dropout,
        seed=seed,
    )


def training_length(
    source: ModelFiles, choices: Choices | None, *, strategy: str | None = None
) -> tuple[Choices, int | None]:
    """Separate the length to which training cuts texts from the other choices.

    The recipe keeps the model's own length, so that training on short texts does not shorten the
    inputs of the trained model; an export can specify another length.

    Args:
        source: The model's files.
        choices: The user's choices.
        strategy: A strategy, see :func:`resolve`.

    Returns:
        The choices without their length, and that length; None if they have none. If only
        ``choices`` specify a length, they keep it, and it is the recipe's.
    """
    said = choices or Choices()
    if said.max_tokens is None:
        return said, None
    others = replace(said, max_tokens=None)
    try:
        resolve(source, others, strategy=strategy)
    except RecipeError:
        return said, None  # nothing else specifies a length; other errors come from the next call
    return others, said.max_tokens


def longer(recipe: Recipe, limit: int | None) -> Recipe:
    """Return the recipe with the longer of its own and the training length, for loading."""
    return replace(recipe, max_tokens=max(recipe.max_tokens, limit or 0))


def make_trainable(base: Base, *, lora: Lora | None, dropout: float | None, seed: int) -> Base:
    """Make all weights of a base trainable, or adapters only; arguments as :func:`open_base`."""
    if dropout is not None:
        set_dropout(base.model.backbone, dropout)
        base.dropout = dropout
    if lora is None:
        base.model.requires_grad_(requires_grad=True)
        unread = getattr(base.model.backbone, _UNREAD, None)
        if isinstance(unread, nn.Module):
            unread.requires_grad_(requires_grad=False)
    else:
        torch.manual_seed(seed)
        base.adapters = add_adapters(base.model.backbone, lora)
        base.lora = lora
    return base


def add_adapters(backbone: nn.Module, lora: Lora) -> LoraModel:
    """Add low-rank adapters to every linear layer of a backbone; only they are trainable."""
    peft = need("peft", extra="training")
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        exclude_modules=[f"{_UNREAD}.dense"] if hasattr(backbone, _UNREAD) else None,
    )
    return cast("LoraModel", peft.LoraModel(backbone, settings, "default"))


def set_dropout(backbone: nn.Module, share: float) -> None:
    """Set every dropout of a backbone, in modules and in attention functions."""
    if not 0 <= share < 1:
        raise TrainingError(f"dropout must be at least 0 and below 1, got {share}")
    found = False
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p, found = share, True
        # Models like Llama pass this number to the attention function; BERT has modules.
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", share)  # noqa: B010 - no attribute that types know
            found = True
    if not found:
        raise TrainingError("this model has no dropout to set; two passes would give equal vectors")


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer files of a folder; write a ``tokenizer.json`` if there is none."""
    for name in _TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    if not (target / "tokenizer.json").exists():
        load_tokenizer(source).save(str(target / "tokenizer.json"))
    length = source / "sentence_bert_config.json"
    if length.exists():
        shutil.copyfile(length, target / length.name)


def _dense(given: Tensor | tuple[Tensor, ...]) -> Tensor:
    return given if isinstance(given, Tensor) else given[0]
