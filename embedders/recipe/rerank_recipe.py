"""What decides the score of a pair: the :class:`RerankRecipe`, its JSON and its digest.

This module holds values only. ``sources/cross_encoders`` finds the recipe of a model;
``tokens/pair_tokenizer.py`` and the rerankers follow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from .. import json_records
from ..enum_fields import settle
from ..errors import RecipeError
from .prompt import Prompt
from .recipe import Recipe

_QUERY = "{query}"
_TEXT = "{text}"
_INSTRUCTION = "{instruction}"


class ScoreActivation(StrEnum):
    """What turns the raw score of a graph into the score that a caller gets.

    IDENTITY: nothing. SIGMOID: ``1 / (1 + exp(-x))``, a probability.
    """

    IDENTITY = "identity"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFormat:
    """How a query and a passage become one input.

    Args:
        template: The string with ``{query}`` and then ``{text}``, each once, and perhaps
            ``{instruction}`` before them, as a chat template renders it; None: the tokenizer's own
            pair of two sequences, with its special tokens in between.
        instruction: The task in place of ``{instruction}``, unless a call names another; None
            exactly if the template has no such place.

    Raises:
        RecipeError: The template lacks one of its places, or has it twice or in another order.
    """

    template: str | None = None
    instruction: str | None = None

    def __post_init__(self) -> None:
        takes_one = self.template is not None and _INSTRUCTION in self.template
        if takes_one != (self.instruction is not None):
            raise RecipeError(
                f"an instruction and its place {_INSTRUCTION} go together; got "
                f"instruction={self.instruction!r} and the template {self.template!r}"
            )
        if self.template is None:
            return
        for place in (_QUERY, _TEXT, _INSTRUCTION):
            count = self.template.count(place)
            if count > 1 or (count == 0 and place != _INSTRUCTION):
                raise RecipeError(
                    f"a pair's template holds {_QUERY} and {_TEXT} once each, and {_INSTRUCTION} "
                    f"at most once; got {self.template!r}"
                )
        order = [at for at in map(self.template.find, (_INSTRUCTION, _QUERY, _TEXT)) if at >= 0]
        if order != sorted(order):
            raise RecipeError(
                f"a pair's template holds {_INSTRUCTION}, {_QUERY} and {_TEXT} in this order, so "
                "that what comes before the passage is computed once for all passages; got "
                f"{self.template!r}"
            )

    def check_instruction(self, instruction: str | None) -> None:
        """Refuse an instruction where there is no place for one, and a blank one.

        Raises:
            RecipeError: The model takes no instruction, or it is blank.
        """
        if instruction is None:
            return
        if self.instruction is None:
            raise RecipeError(
                "this reranker takes no instruction: its template has no place for one; score "
                "without"
            )
        if not instruction.strip():
            raise RecipeError("an instruction must not be blank, got white space")

    def prompt(self, query: str, instruction: str | None = None) -> Prompt:
        """Return what stands around the passages of a query.

        Args:
            query: The query.
            instruction: The task, in place of the recipe's.

        Raises:
            RecipeError: The model takes no instruction, or it is blank; or the pair has no
                template.
        """
        if self.template is None:
            raise RecipeError(
                "this model reads a query and a passage as two sequences, without a template"
            )
        self.check_instruction(instruction)
        # Split first: a query may hold the name of another place.
        before, _, suffix = self.template.partition(_TEXT)
        before, _, between = before.partition(_QUERY)
        task = self.instruction if instruction is None else instruction
        if task is not None:
            lead, _, after = before.partition(_INSTRUCTION)
            before = f"{lead}{task}{after}"
        return Prompt(prefix=f"{before}{query}{between}", suffix=suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTokens:
    """Rows of a language model's head that are the score: ``logit(true) - logit(false)``.

    Args:
        true: The token that says yes, as the vocabulary spells it.
        false: The token that says no; None: the score is ``logit(true)`` alone.
    """

    true: str
    false: str | None = None

    def __post_init__(self) -> None:
        if not self.true or self.false in ("", self.true):
            raise RecipeError(
                f"the labels of a reranker are two different tokens, or one; got {self}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierLabel:
    """The outputs of a classifier that are the score: ``logit(index) - logit(against)``.

    Args:
        index: Which output, from 0.
        count: How many outputs the classifier has.
        against: The output that is subtracted; None: none.
    """

    index: int = 0
    count: int = 1
    against: int | None = None

    def __post_init__(self) -> None:
        settle(self, {}, ("index", "count", "against"), error=RecipeError)
        outputs = [self.index] if self.against is None else [self.index, self.against]
        if len(set(outputs)) < len(outputs) or not all(0 <= at < self.count for at in outputs):
            raise RecipeError(
                f"a score is one of the classifier's {self.count} outputs, from 0, or the "
                f"difference of two of them; got {self}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRecipe:
    """Everything that decides a score.

    Args:
        model: How the backbone runs: base and revision, attention, which states are pooled and
            how, and ``max_tokens`` of query, passage, template and special tokens together. A
            longer pair loses the end of its passage. ``normalize`` is False.
        pair: How a query and a passage become one input.
        label: The classifier's output, for models that end in a classifier.
        tokens: The label tokens, for language models; exactly one of the two is given.
        activation: What turns the raw score into the score.

    Raises:
        RecipeError: The parts do not go together; the message says which.
    """

    model: Recipe
    pair: PairFormat = field(default_factory=PairFormat)
    label: ClassifierLabel | None = None
    tokens: LabelTokens | None = None
    activation: ScoreActivation = ScoreActivation.SIGMOID

    def __post_init__(self) -> None:
        settle(self, {"activation": ScoreActivation}, (), error=RecipeError)
        if (self.label is None) == (self.tokens is None):
            raise RecipeError(
                "a reranker's score is an output of its classifier (label) or the logits of label "
                f"tokens (tokens); say exactly one, got label={self.label}, tokens={self.tokens}"
            )
        if self.tokens is not None and self.pair.template is None:
            raise RecipeError(
                f"{self.model.base} is a language model, and without the template that it was "
                "trained with its scores are next to random; name one with {query} and {text}"
            )
        if self.model.late_interaction is not None:
            raise RecipeError(
                f"{self.model.base} compares token vectors (late interaction) and gives no score "
                "of a pair; order hits by it with SearchOptions(late=Late())"
            )
        if self.model.normalize or self.model.dim is not None:
            raise RecipeError(
                "a score is one number, so its recipe has normalize=False and no dim; got "
                f"normalize={self.model.normalize}, dim={self.model.dim}"
            )
        if any(
            prompt != Prompt() for prompt in (self.model.query_prompt, self.model.passage_prompt)
        ):
            raise RecipeError(
                "the words around a query and a passage are the template of the pair, and the "
                f"model's recipe has no prompts of its own; got {self.model.passage_prompt}"
            )

    @property
    def encoding(self) -> Recipe:
        """The recipe by which the backbone runs, with the template as the prompt of either role.

        The query's place still holds its name: a prompt is what stands before a passage, and a
        graph is made by what kind of prompt there is, not by its words.
        """
        if self.pair.template is None:
            return self.model
        prompt = self.pair.prompt(_QUERY)
        return replace(self.model, query_prompt=prompt, passage_prompt=prompt)

    @property
    def base(self) -> str:
        """The model's name for readers."""
        return self.model.base

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens: query, passage, template and special tokens."""
        return self.model.max_tokens

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify this recipe: the start of a SHA-256.

        Fields that hold their default do not enter, so a later decant that adds a field keeps the
        digests of recipes that do not use it.
        """
        return json_records.digest(replace(self, model=self.model.deciding))

    def to_json(self) -> str:
        """Return the recipe as readable JSON text."""
        return json_records.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecipeError: The text is not JSON, or a key is unknown, missing or of another type.
        """
        data = json_records.parse(text, where="the recipe of a reranker", error=RecipeError)
        return json_records.decode(cls, data, where="recipe", error=RecipeError)
