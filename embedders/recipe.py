"""What decides a vector: the :class:`Recipe`, its choices, its JSON and its digest.

Here are only values. How a recipe is found for a model is in ``resolution.py``; how it is carried
out, in ``tokens.py`` and the encoders. Devices, batches, precisions and paths are not part of it.
Invariant: two encoders with equal digests give the same vectors up to rounding.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from . import jsonio
from .errors import RecipeError
from .layer_mix import LayerMix

_SLOT = "{text}"


class Role(StrEnum):
    """What a text is for; it selects the prompt."""

    QUERY = "query"
    PASSAGE = "passage"


class Attention(StrEnum):
    """Which tokens a token may see."""

    CAUSAL = "causal"
    BIDIRECTIONAL = "bidirectional"


class Span(StrEnum):
    """Which tokens count when pooling.

    ALL: every token that is not padding. TEXT: the text itself and what follows it, without the
    prompt before it (GritLM, NV-Embed, LLM2Vec; sentence-transformers' ``include_prompt: false``).
    """

    ALL = "all"
    TEXT = "text"


class Pooling(StrEnum):
    """How the counted tokens combine into one vector; the formulas are in ``pooling.py``."""

    MEAN = "mean"
    MEAN_SQRT = "mean_sqrt"
    WEIGHTED_MEAN = "weighted_mean"
    FIRST = "first"
    LAST = "last"
    MAX = "max"


class Activation(StrEnum):
    """The function after a dense layer of the head."""

    IDENTITY = "identity"
    TANH = "tanh"
    RELU = "relu"
    GELU = "gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """One linear layer after pooling, ``activation(W x + b)``.

    The weights lie in the model's folder, under ``path``; they are not part of the recipe's JSON
    but of its ``revision``.
    """

    path: str
    inputs: int
    outputs: int
    bias: bool = True
    activation: Activation = Activation.IDENTITY

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.outputs < 1:
            raise RecipeError(f"a dense layer needs widths of at least 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What stands before and after a text, to the letter.

    >>> Prompt.parse("query: {text}")
    Prompt(prefix='query: ', suffix='')
    """

    prefix: str = ""
    suffix: str = ""

    @classmethod
    def parse(cls, template: str) -> Self:
        """Read a template that holds ``{text}`` once; other braces stand for themselves.

        Raises:
            RecipeError: ``{text}`` is missing or stands twice.
        """
        if template.count(_SLOT) != 1:
            raise RecipeError(f"a prompt holds {_SLOT} exactly once, got {template!r}")
        prefix, _, suffix = template.partition(_SLOT)
        return cls(prefix=prefix, suffix=suffix)

    @property
    def template(self) -> str:
        """The prompt as :meth:`parse` reads it."""
        return f"{self.prefix}{_SLOT}{self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a vector.

    Args:
        base: The model's name, for people: a hub id or a folder's name.
        revision: Which weights: a hub commit, or ``sha256:…`` of a local folder's files.
        attention: Causal or bidirectional, as the model was trained.
        layer: Which hidden states are pooled, as an index into Transformers' ``hidden_states``;
            -1 is the last layer after the final norm, 0 the token embeddings.
        mix: Several layers instead, pooled one by one and averaged; None reads ``layer``.
        query: Prompt for :attr:`Role.QUERY`.
        passage: Prompt for :attr:`Role.PASSAGE`.
        eos: The token that every input ends with, appended where the tokenizer does not do it;
            None leaves the end to the tokenizer.
        latent_heads: Heads of a learned latent attention between the states and their pooling
            (NV-Embed, ``latent_attention.py``), whose weights lie in the model's folder; None:
            states are pooled as they are.
        span: Which tokens count.
        pooling: How they combine.
        head: Linear layers after pooling, in order.
        dim: Keep only this many leading dimensions (Matryoshka, arXiv 2205.13147), before
            normalising; None keeps all.
        normalize: Whether vectors get unit length.
        max_tokens: The longest input in tokens, prompt and special tokens included.
        smallest_dim: The smallest width to which the model was trained to be cut; None: not
            trained for that. It decides no vector, only what :func:`decant.embedders.load` may
            cut, and is not part of the digest.

    >>> Recipe(base="m", attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=8).normalize
    True
    """

    base: str
    attention: Attention
    pooling: Pooling
    max_tokens: int
    revision: str | None = None
    layer: int = -1
    query: Prompt = field(default_factory=Prompt)
    passage: Prompt = field(default_factory=Prompt)
    eos: str | None = None
    span: Span = Span.ALL
    head: tuple[Dense, ...] = ()
    dim: int | None = None
    normalize: bool = True
    latent_heads: int | None = None
    mix: LayerMix | None = None
    smallest_dim: int | None = None

    def __post_init__(self) -> None:
        if not self.base:
            raise RecipeError("base must name the model, got ''")
        if self.max_tokens < 1:
            raise RecipeError(f"max_tokens must be at least 1, got {self.max_tokens}")
        for name in ("dim", "latent_heads", "smallest_dim"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RecipeError(f"{name} must be positive or None, got {value}")
        if self.mix is not None and (self.layer != -1 or self.latent_heads is not None):
            other = f"layer={self.layer}" if self.layer != -1 else "a latent attention"
            raise RecipeError(
                f"a mix of layers {list(self.mix.layers)} and {other} exclude each other; say one"
            )
        if self.eos == "":
            raise RecipeError("eos must be a token or None, got ''")
        if self.pooling is Pooling.FIRST and self.attention is Attention.CAUSAL:
            raise RecipeError(
                "pooling 'first' on a causal model gives every text the same vector, because the "
                "first token sees nothing after it; use 'last' or 'mean'"
            )
        for before, after in zip(self.head, self.head[1:], strict=False):
            if before.outputs != after.inputs:
                raise RecipeError(
                    f"the head does not chain: {before.path} gives {before.outputs} values, "
                    f"{after.path} takes {after.inputs}"
                )

    def prompt(self, role: Role) -> Prompt:
        """Return the prompt for ``role``."""
        return self.query if role is Role.QUERY else self.passage

    def digest(self) -> str:
        """Return 16 hexadecimal digits that name this recipe: the head of a SHA-256.

        Fields that hold their default do not enter, so a later decant that adds a field keeps the
        digests of recipes that do not use it; nor does ``smallest_dim``, which decides no vector.
        """
        deciding = jsonio.encode(replace(self, smallest_dim=None), defaults=False)
        text = json.dumps(deciding, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the recipe as readable JSON text."""
        return jsonio.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecipeError: The text is not JSON, or a key is unknown, missing or of another type.
        """
        try:
            data: object = json.loads(text)
        except json.JSONDecodeError as error:
            raise RecipeError(f"the recipe is not valid JSON: {error}") from error
        return jsonio.decode(cls, data, where="recipe", error=RecipeError)
