"""The parts of a recipe that one source specifies, all optional, and how choices are combined."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Self

from .. import json_records
from ..enum_fields import settle
from ..errors import RecipeError
from ..json_records import stored_as
from ..recipe.appended_tokens import AppendedTokens
from ..recipe.dense import Dense
from ..recipe.enums import INTEGERS, KINDS, Attention, PooledTokens, Pooling
from ..recipe.late_interaction import LateInteraction
from ..recipe.layer_hooks import ContrastivePrompting, TokenPrepending
from ..recipe.layer_mix import LayerMix
from ..recipe.prompt import Prompt, TextFormat
from ..recipe.recipe import Recipe
from ..recipe.sparse_head import SparseHead
from .architectures import unsaid_attention

if TYPE_CHECKING:
    from .find import ModelFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What one source specifies of a recipe; None leaves a field open. See :class:`Recipe`.

    Prompts are templates here (``"query: {text}"``), as people write them; members of enumerations
    may be given by their names (``pooling="last"``).

    Raises:
        RecipeError: No member has such a name, or a number is not an integer.

    >>> Choices(pooling=Pooling.LAST).over(Choices(pooling=Pooling.MEAN, max_tokens=9)).max_tokens
    9
    """

    attention: Attention | None = None
    pooling: Pooling | None = None
    max_tokens: int | None = None
    layer: int | None = None
    query_prompt: str | None = field(default=None, metadata=stored_as("query"))
    passage_prompt: str | None = field(default=None, metadata=stored_as("passage"))
    eos: str | None = None
    span: PooledTokens | None = None
    head: tuple[Dense, ...] | None = None
    dim: int | None = None
    normalize: bool | None = None
    latent_heads: int | None = None
    mix: LayerMix | None = None
    text_format: TextFormat | None = field(default=None, metadata=stored_as("wording"))
    ensemble: tuple[Prompt, ...] | None = None
    prepending: TokenPrepending | None = None
    contrast: ContrastivePrompting | None = None
    sparse_head: SparseHead | None = field(default=None, metadata=stored_as("lexicon"))
    token_embeddings: bool | None = field(default=None, metadata=stored_as("tokens"))
    instruction_template: str | None = field(default=None, metadata=stored_as("instruction"))
    open_end: bool | None = None
    appended: AppendedTokens | None = None
    min_dim: int | None = field(default=None, metadata=stored_as("smallest_dim"))
    max_text_tokens: int | None = None
    late_interaction: LateInteraction | None = None

    def __post_init__(self) -> None:
        settle(self, KINDS, INTEGERS, error=RecipeError)

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return choices with all fields of a recipe but its name and revision."""
        prompts = {
            "query_prompt": recipe.query_prompt.template,
            "passage_prompt": recipe.passage_prompt.template,
        }
        held = {item.name: getattr(recipe, item.name) for item in fields(cls)}
        return cls(**{**held, **prompts})

    def over(self, other: Choices) -> Choices:
        """Return these choices, with fields of ``other`` where this one has None."""
        own = {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) is not None
        }
        return replace(other, **own)

    def recipe(self, source: ModelFiles) -> Recipe:
        """Make the recipe for a model; open fields take the recipe's defaults.

        Raises:
            RecipeError: No source specified attention, pooling or length.
        """
        if self.pooling is None and self.late_interaction is not None:
            raise RecipeError(
                f"{source.base} was trained to give a vector of each token and none of a whole "
                "text, and decant stores one beside them, by which candidates are found; pass its "
                "pooling (for example 'mean', or 'first'), which changes no token vector"
            )
        if self.pooling is None:
            raise RecipeError(
                f"nothing says how {source.base} is pooled: no row of the registry does, and its "
                "folder has no modules.json with a pooling. Pooling is never guessed; pass "
                "pooling (for example 'last' or 'mean'), as its model card says"
            )
        if self.attention is None:
            raise RecipeError(unsaid_attention(source.folder, source.base))
        if self.max_tokens is None:
            raise RecipeError(
                f"nothing says how long inputs of {source.base} may be; pass max_tokens"
            )
        given = {
            item.name: value
            for item in fields(self)
            if item.name not in ("query_prompt", "passage_prompt")
            and (value := getattr(self, item.name)) is not None
        }
        return Recipe(
            base=source.base,
            revision=source.revision,
            query_prompt=_prompt(self.query_prompt),
            passage_prompt=_prompt(self.passage_prompt),
            **given,
        )


def _prompt(template: str | None) -> Prompt:
    return Prompt() if template is None else Prompt.parse(template)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """Models with the same recipe, as our registry states it.

    Args:
        choices: The fields of their recipes that their own files do not specify.
        models: Their hub ids.
    """

    choices: Choices
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registry:
    families: dict[str, Choices]
    models: dict[str, str]


def known_families() -> dict[str, ModelFamily]:
    """Return the families of our registry by name, in its order."""
    registry = _registry()
    return {
        name: ModelFamily(
            choices=choices,
            models=tuple(model for model, family in registry.models.items() if family == name),
        )
        for name, choices in registry.families.items()
    }


def registry_choices(base: str) -> Choices:
    """Return the registry's choices for a hub id; they are empty if it is not listed."""
    registry = _registry()
    family = registry.models.get(base)
    return Choices() if family is None else registry.families[family]


def _registry() -> _Registry:
    """Read ``registry.json``, whose rows follow each model's reference code."""
    from importlib.resources import as_file, files

    with as_file(files("decant.embedders.sources").joinpath("registry.json")) as path:
        return json_records.read(_Registry, path, error=RecipeError)
