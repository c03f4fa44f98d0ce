"""A backbone with the head of a reranker: its vectors are raw scores of width 1.

The head is the model's own classifier behind the pooled token, or one linear layer of the rows of
the language-model head that belong to the label tokens. Loading compares a short pair with the
whole Transformers model, so a family that is not known here is refused and never scored wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipe.recipe import Recipe
from ..recipe.rerank_recipe import ClassifierLabel, LabelTokens, RerankRecipe
from ..sources.config_files import settings
from ..sources.weight_files import check_finite_weights
from ..tokens.pair_tokenizer import PROBE_QUERY, PairTokenizer
from .backbone import load_classifier, load_language_model
from .load import settled
from .model import PooledModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TEXT = "It is about a river."
_CLOSE = 1e-4
_FOR_ANY_FAMILY = ("PreTrainedTokenizerFast", "TokenizersBackend")


class ScoreModel(PooledModel):
    """Maps the token ids of pairs to raw scores, float32 (B, 1).

    Args:
        backbone: A Transformers base model in evaluation mode.
        recipe: How it runs: :attr:`RerankRecipe.encoding`.
        head: From the pooled state to the score.
        separator: The first token of this id ends the query, and tokens behind it are of the second
            type; None: all tokens are of one type.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        recipe: Recipe,
        head: nn.Sequential,
        *,
        separator: int | None = None,
    ) -> None:
        super().__init__(backbone, recipe, head)
        self.separator = separator

    @property
    def dim(self) -> int:
        """Always 1."""
        return 1

    def with_parts(self, backbone: PreTrainedModel, recipe: Recipe) -> ScoreModel:
        """Return a model with this model's head on another backbone, by another recipe."""
        made = ScoreModel(backbone, recipe, self.head, separator=self.separator)
        made.first_position = self.first_position
        made.uncounted_id = self.uncounted_id
        return made.eval()

    def token_types(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return each token's type, int64 (B, T): 1 behind the first separator, else 0."""
        assert self.separator is not None
        ends = input_ids.eq(self.separator).to(torch.int64) * attention_mask
        return (ends.cumsum(1) - ends).clamp(max=1) * attention_mask

    def _arguments(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        arguments = super()._arguments(input_ids, attention_mask)
        if self.separator is not None:
            arguments["token_type_ids"] = self.token_types(input_ids, attention_mask)
        return arguments


def load_score_model(
    folder: Path,
    recipe: RerankRecipe,
    tokenizer: PairTokenizer,
    *,
    adapters: Sequence[Path] = (),
) -> ScoreModel:
    """Load a reranker's folder in float32, ready for inference.

    Args:
        folder: A Transformers or sentence-transformers folder.
        recipe: The recipe of its scores.
        tokenizer: Its tokenizer.
        adapters: Folders of LoRA adapters, merged in this order.

    Raises:
        RecipeError: The folder does not fit the recipe, has a head that is not known, or gives
            other scores than the whole Transformers model.
    """
    if adapters:
        raise RecipeError(
            "a reranker is exported from one folder; merge its adapters first "
            "(peft: merge_and_unload, save_pretrained)"
        )
    attention = recipe.model.attention
    load = load_classifier if recipe.tokens is None else load_language_model
    _, whole = load(folder, attention)
    return score_model_of(whole, folder, recipe, tokenizer)


def score_model_of(
    whole: PreTrainedModel,
    folder: Path,
    recipe: RerankRecipe,
    tokenizer: PairTokenizer,
    *,
    learns: bool = False,
) -> ScoreModel:
    """Return the score model of a whole Transformers model, with which it shares its weights.

    Args:
        whole: A model with its head, in evaluation mode.
        folder: Where it was loaded from.
        recipe: The recipe of its scores.
        tokenizer: Its tokenizer.
        learns: Whether it is to be trained: then the classifier's dropout is kept, and layers stay
            apart.

    Raises:
        RecipeError: As :func:`load_score_model`.
    """
    check_finite_weights(whole.named_parameters(), folder)
    backbone = cast("PreTrainedModel", whole.base_model)
    backbone.config.use_cache = False
    if recipe.label is not None:
        head = _classifier(whole, backbone, recipe.label)
        if learns and (drop := _dropout(whole)) is not None:
            head.insert(len(head) - 1, drop)
    else:
        assert recipe.tokens is not None
        head = _label_head(whole, recipe.tokens, tokenizer)
    typed = (getattr(backbone.config, "type_vocab_size", 0) or 0) > 1 and gives_types(folder)
    made = ScoreModel(
        backbone,
        recipe.encoding,
        nn.Sequential(*head),
        separator=tokenizer.separator() if typed else None,
    )
    model = cast("ScoreModel", settled(made, fold=not learns))
    _compare(model, whole, recipe, tokenizer)
    return model


def gives_types(folder: Path) -> bool:
    """Return whether Transformers' tokenizer of a folder gives a model token types.

    The classes of families that know two types do; a class for any family does not, unless the
    folder says so.

    Raises:
        RecipeError: ``tokenizer_config.json`` is damaged.
    """
    held = settings(folder / "tokenizer_config.json", required=False)
    names = held.get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names
    return held.get("tokenizer_class") not in _FOR_ANY_FAMILY


class _OfFirstToken(nn.Module):
    """A module that reads the first of several states, given that state alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, states: Tensor) -> Tensor:
        """Return what the inner module gives for (B, d)."""
        found: Tensor = self.inner(states.unsqueeze(1))
        return found


class _Output(nn.Module):
    """One output of a classifier, or the difference of two."""

    def __init__(self, label: ClassifierLabel) -> None:
        super().__init__()
        self.label = label

    def forward(self, logits: Tensor) -> Tensor:
        """Return (B, 1) of (B, outputs)."""
        at, against = self.label.index, self.label.against
        chosen = logits[:, at : at + 1]
        return chosen if against is None else chosen - logits[:, against : against + 1]


class _CappedDifference(nn.Module):
    """Logits that are softly capped before one is subtracted from the other (Gemma 2)."""

    def __init__(self, cap: float) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, logits: Tensor) -> Tensor:
        """Return (B, 1) of (B, 1) or (B, 2)."""
        capped = torch.tanh(logits / self.cap) * self.cap
        return capped if capped.shape[1] == 1 else capped[:, :1] - capped[:, 1:]


def _classifier(
    whole: PreTrainedModel, backbone: PreTrainedModel, label: ClassifierLabel
) -> list[nn.Module]:
    """Return the modules between the pooled state and the score.

    Raises:
        RecipeError: The family's head is not known, or has another number of outputs.
    """

    def part(name: str, owner: nn.Module = whole) -> nn.Module | None:
        found = getattr(owner, name, None)
        return found if isinstance(found, nn.Module) else None

    last = part("classifier") or part("score")
    if last is None:
        raise RecipeError(
            f"decant knows no head of a {type(whole).__name__}: it has no classifier and no score"
        )
    found: list[nn.Module]
    pooler = part("pooler") or part("pooler", backbone)
    if not isinstance(last, nn.Linear):  # a head that takes the first token itself
        found = [_OfFirstToken(last)]
    elif isinstance(pooler, nn.Linear):  # ALBERT
        found = [pooler, nn.Tanh(), last]
    elif pooler is not None:
        found = [_OfFirstToken(pooler), last]
    elif (first := part("pre_classifier")) is not None:  # DistilBERT
        found = [first, nn.ReLU(), last]
    elif (head := part("head")) is not None:  # ModernBERT
        found = [head, last]
    else:
        found = [last]
    outputs = getattr(whole.config, "num_labels", None)
    if outputs != label.count:
        raise RecipeError(
            f"the classifier of {whole.config.model_type} has {outputs} outputs, the recipe says "
            f"{label.count}"
        )
    return found if label.count == 1 else [*found, _Output(label)]


def _dropout(whole: PreTrainedModel) -> nn.Module | None:
    """Return the dropout before a plain classifier; None: it has none, or has it inside."""
    if not isinstance(getattr(whole, "classifier", None), nn.Linear):
        return None
    parts = (getattr(whole, name, None) for name in ("dropout", "drop"))
    return next((one for one in parts if isinstance(one, nn.Module)), None)


def _label_head(
    whole: PreTrainedModel, labels: LabelTokens, tokenizer: PairTokenizer
) -> list[nn.Module]:
    """Return a linear layer of the label tokens' rows of the language-model head.

    Raises:
        RecipeError: A label is no token of the vocabulary, or the model has no plain head.
    """
    output: nn.Module | None = whole.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        raise RecipeError(f"a {type(whole).__name__} has no language-model head of one matrix")
    names = [labels.true] if labels.false is None else [labels.true, labels.false]
    numbers = [label_id(tokenizer, name, rows=output.out_features) for name in names]
    weight = output.weight.detach()[numbers].double()
    bias: nn.Parameter | None = output.bias
    shift = None if bias is None else bias.detach()[numbers].double()
    cap = getattr(whole.config.get_text_config(), "final_logit_softcapping", None)
    if cap is None and len(numbers) > 1:
        weight = weight[:1] - weight[1:]
        shift = None if shift is None else shift[:1] - shift[1:]
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=shift is not None)
    with torch.no_grad():
        made.weight.copy_(weight)
        if shift is not None:
            made.bias.copy_(shift)
    return [made] if cap is None else [made, _CappedDifference(float(cap))]


def label_id(tokenizer: PairTokenizer, token: str, *, rows: int) -> int:
    """Return the id of a label token.

    Raises:
        RecipeError: The vocabulary does not hold it, or the head has no row for it.
    """
    found = tokenizer.bare.token_to_id(token)
    if found is None or found >= rows:
        pieces = tokenizer.bare.encode(token, add_special_tokens=False).tokens
        raise RecipeError(
            f"the label {token!r} is no token of this model, which reads it as {pieces}; name a "
            "token as the vocabulary spells it (--true-token, --false-token)"
        )
    return int(found)


def _compare(
    model: ScoreModel, whole: PreTrainedModel, recipe: RerankRecipe, tokenizer: PairTokenizer
) -> None:
    """Refuse a model whose score of a pair is not that of the whole Transformers model.

    Raises:
        RecipeError: It differs by more than 1e-4, relative to scores above 1.
    """
    (row,) = tokenizer.pairs([(PROBE_QUERY, _TEXT)], max_tokens=10**9)
    ids = torch.tensor([row.ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.separator is not None:
        inputs["token_type_ids"] = torch.tensor([tokenizer.type_ids(PROBE_QUERY, _TEXT)])
    with torch.inference_mode():
        logits = whole(**inputs).logits
        ours = float(model(ids, torch.ones_like(ids))[0, 0])
    if recipe.label is not None:
        known = logits[0]
        numbers = [recipe.label.index]
        numbers += [] if recipe.label.against is None else [recipe.label.against]
    else:
        assert recipe.tokens is not None
        known = logits[0, -1]
        labels = [recipe.tokens.true, *([recipe.tokens.false] if recipe.tokens.false else [])]
        numbers = [label_id(tokenizer, name, rows=len(known)) for name in labels]
    expected = float(known[numbers[0]] - (known[numbers[1]] if len(numbers) > 1 else 0.0))
    if not abs(ours - expected) <= _CLOSE * max(1.0, float(known[numbers].abs().max())):
        raise RecipeError(
            f"decant scores a pair {ours:.6f} with this {type(whole).__name__}, and the whole "
            f"model in Transformers {expected:.6f}: its head or its pooling is not known to "
            "decant, or a pooling was named that is not the model's; nothing was exported"
        )
