"""What decides a vector: the :class:`Recipe`, its choices, its JSON and its digest.

This module holds values only. ``sources/resolver.py`` finds the recipe of a model;
``tokens/tokenizer.py`` and the encoders follow it. Devices, batches, precisions and paths are not
part of a recipe. Invariant: two encoders with equal digests give the same vectors up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from .. import json_records
from ..enum_fields import member, settle
from ..errors import RecipeError
from ..json_records import stored_as
from .appended_tokens import AppendedTokens
from .dense import Dense
from .enums import INTEGERS, KINDS, Attention, PooledTokens, Pooling
from .late_interaction import LateInteraction
from .layer_hooks import ContrastivePrompting, TokenPrepending
from .layer_mix import LayerMix
from .prompt import Prompt, Role, TextFormat
from .sparse_head import SparseHead

_INSTRUCTION = "{instruction}"
_TEXT = "{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a vector.

    Args:
        base: The model's name for readers: a hub id or a folder's name.
        revision: The version of the weights: a hub commit, or ``sha256:…`` of a local folder's
            files; for a graph made by others (``import_onnx``), a hash over that and the graph.
        attention: Causal or bidirectional, as the model was trained.
        layer: Which hidden states are pooled, as an index into Transformers' ``hidden_states``;
            -1 is the last layer after the final norm, 0 the token embeddings.
        mix: Several layers instead, pooled one by one and averaged; None reads ``layer``.
        query_prompt: Prompt for :attr:`Role.QUERY`.
        passage_prompt: Prompt for :attr:`Role.PASSAGE`.
        eos: The token that ends every input, appended if the tokenizer does not append it; None
            leaves the end to the tokenizer.
        latent_heads: Heads of a learned latent attention between the states and their pooling
            (NV-Embed, ``pytorch/latent_attention.py``), whose weights lie in the model's folder;
            None: states are pooled as they are.
            span: Which tokens are pooled.
            pooling: How they are combined.
        head: Linear layers after pooling, in order.
        dim: Keep only this many leading dimensions (Matryoshka, arXiv 2205.13147), before
            normalising; None keeps all.
        normalize: Whether vectors get unit length.
        max_tokens: The longest input in tokens, prompt and special tokens included.
        max_text_tokens: The longest text in tokens, without prompt and special tokens (LLM2Vec's
            ``doc_max_length``); None: as many as ``max_tokens`` leaves.
        text_format: How a text enters its prompt.
        ensemble: Further prompts for either role; the vectors under all prompts are averaged,
            before head and normalisation (MetaEOL, arXiv 2402.18458).
        prepending: Overwrites the prompts' slot between layers.
        contrast: Subtracts the output of an auxiliary prompt.
        sparse_head: What makes the sparse vector that comes with the dense one; None makes none.
        token_embeddings: Whether the graph can give every token's state, for late interaction and
            late chunking.
        late_interaction: What makes a vector of each token that texts are compared by (MaxSim);
            then these are the token embeddings. None: the token embeddings are the bare states.
        appended: Trained tokens that end every input, of which :attr:`PooledTokens.TAIL` counts the
            last.
        open_end: Whether inputs end with the prompt's last token, without ``eos`` and the special
            tokens that the tokenizer would append (PromptEOL and similar methods).
        instruction_template: The query prompt with ``{instruction}`` in place of the task, for
            models that take one with each call; None: the model takes none.
        min_dim: The smallest width to which the model was trained to be cut; None: not
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
    query_prompt: Prompt = field(default_factory=Prompt, metadata=stored_as("query"))
    passage_prompt: Prompt = field(default_factory=Prompt, metadata=stored_as("passage"))
    eos: str | None = None
    span: PooledTokens = PooledTokens.ALL
    head: tuple[Dense, ...] = ()
    dim: int | None = None
    normalize: bool = True
    latent_heads: int | None = None
    mix: LayerMix | None = None
    text_format: TextFormat = field(default=TextFormat.VERBATIM, metadata=stored_as("wording"))
    ensemble: tuple[Prompt, ...] = ()
    prepending: TokenPrepending | None = None
    contrast: ContrastivePrompting | None = None
    sparse_head: SparseHead | None = field(default=None, metadata=stored_as("lexicon"))
    token_embeddings: bool = field(default=False, metadata=stored_as("tokens"))
    instruction_template: str | None = field(default=None, metadata=stored_as("instruction"))
    open_end: bool = False
    appended: AppendedTokens | None = None
    min_dim: int | None = field(default=None, metadata=stored_as("smallest_dim"))
    max_text_tokens: int | None = None
    late_interaction: LateInteraction | None = None

    def __post_init__(self) -> None:
        settle(self, KINDS, INTEGERS, error=RecipeError)
        if not self.base:
            raise RecipeError("base must name the model, got ''")
        if self.max_tokens < 1:
            raise RecipeError(f"max_tokens must be at least 1, got {self.max_tokens}")
        for name in ("dim", "latent_heads", "min_dim", "max_text_tokens"):
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
        self._check_prompts()
        self._check_tokens()
        for before, after in zip(self.head, self.head[1:], strict=False):
            if before.outputs != after.inputs:
                raise RecipeError(
                    f"the head does not chain: {before.path} gives {before.outputs} values, "
                    f"{after.path} takes {after.inputs}"
                )

    def prompt(self, role: Role) -> Prompt:
        """Return the prompt for ``role``.

        Raises:
            RecipeError: There is no such role.
        """
        query = member(Role, role, error=RecipeError) is Role.QUERY
        return self.query_prompt if query else self.passage_prompt

    @property
    def further(self) -> tuple[Prompt, ...]:
        """The prompts in addition to that of the role; each adds one row of a batch for a text."""
        return self.ensemble if self.contrast is None else (self.contrast.prompt,)

    def instructed(self, instruction: str) -> Prompt:
        """Return the query prompt for another task.

        Raises:
            RecipeError: The model takes no instruction, or this one is empty.
        """
        if self.instruction_template is None:
            raise RecipeError(
                f"{self.base} takes no instruction: its recipe has no template for one. Encode "
                "without, or export it with one (--instruction-template), as its model card says"
            )
        if not instruction.strip():
            raise RecipeError("an instruction must not be blank, got white space")
        before, _, after = self.instruction_template.partition(_INSTRUCTION)
        between, _, suffix = after.partition(_TEXT)
        return Prompt(prefix=f"{before}{instruction}{between}", suffix=suffix)

    def _check_tokens(self) -> None:
        if (self.span is PooledTokens.TAIL) != (self.appended is not None):
            raise RecipeError(
                f"span 'tail' and appended tokens go together; got span={self.span.value!r} and "
                f"appended={self.appended}. A model that appends tokens was trained to be pooled "
                "over them: leave out the strategy or span that pools others"
            )
        if self.appended is not None:
            _check_appended_tokens(self.appended, self)
        if self.late_interaction is not None:
            _check_late_interaction(self.late_interaction, self)

    def _check_prompts(self) -> None:
        """Refuse combinations of prompts that make no sense."""
        given = (self.query_prompt, self.passage_prompt, *self.further)
        if self.ensemble and self.contrast is not None:
            raise RecipeError("an ensemble of prompts and a contrast exclude each other; say one")
        if self.further and (self.sparse_head is not None or self.token_embeddings):
            raise RecipeError(
                "sparse vectors and token embeddings belong to one prompt, this recipe has several"
            )
        if self.token_embeddings and self.mix is not None:
            raise RecipeError(
                "token embeddings come from one layer; leave out the mix or token_embeddings"
            )
        if self.span is PooledTokens.COPY and any(
            prompt.between_copies is None for prompt in given
        ):
            raise RecipeError("span 'copy' wants {text} twice in every prompt, as Echo has it")
        slots = [prompt.before_slot is not None for prompt in given]
        if any(slots) != (self.prepending is not None) or (any(slots) and not all(slots)):
            raise RecipeError(
                "token prepending and {slot} go together: each prompt has it, or none"
            )
        causal = self.attention is Attention.CAUSAL
        if not causal and (self.prepending is not None or self.contrast is not None):
            raise RecipeError(
                "token prepending and contrasts are for causal models: in others every token sees "
                "the whole text anyway"
            )
        if self.instruction_template is not None and (any(slots) or self.span is PooledTokens.COPY):
            raise RecipeError(
                "an instruction template cannot have a slot or a second copy of the text"
            )
        if self.instruction_template is not None and (
            self.instruction_template.count(_INSTRUCTION) != 1
            or self.instruction_template.count(_TEXT) != 1
            or self.instruction_template.index(_TEXT)
            < self.instruction_template.index(_INSTRUCTION)
        ):
            raise RecipeError(
                f"an instruction's template holds {_INSTRUCTION} and then {_TEXT}, once each; got "
                f"{self.instruction_template!r}"
            )

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify this recipe: the start of a SHA-256.

        Fields that hold their default do not enter, so a later decant that adds a field keeps the
        digests of recipes that do not use it; nor do ``min_dim``, ``token_embeddings`` and
        ``instruction_template``, which say what a model can do and change no vector by themselves.
        """
        return json_records.digest(self.deciding)

    @property
    def deciding(self) -> Self:
        """The same without what says only what a model can do; see :meth:`digest`."""
        # Recipes with late interaction have token embeddings in any case.
        tokens = self.late_interaction is not None
        return replace(self, min_dim=None, token_embeddings=tokens, instruction_template=None)

    def to_json(self) -> str:
        """Return the recipe as readable JSON text."""
        return json_records.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecipeError: The text is not JSON, or a key is unknown, missing or of another type.
        """
        data = json_records.parse(text, where="the recipe", error=RecipeError)
        return json_records.decode(cls, data, where="recipe", error=RecipeError)


def _check_appended_tokens(appended: AppendedTokens, recipe: Recipe) -> None:
    """Refuse a recipe in which appended tokens make no sense.

    Raises:
        RecipeError: The message names the conflicting part.
    """
    if appended.decoded > len(recipe.head):
        raise RecipeError(
            f"decoded={appended.decoded} of the head's layers, and the head has {len(recipe.head)}"
        )
    prompts = (recipe.query_prompt, recipe.passage_prompt)
    conflicts = {
        "several prompts for one text": bool(recipe.further),
        "token prepending": recipe.prepending is not None,
        "a second copy of the text": any(prompt.between_copies is not None for prompt in prompts),
        "a sparse head": recipe.sparse_head is not None,
        "a mix of layers": recipe.mix is not None,
    }
    if named := [name for name, is_there in conflicts.items() if is_there]:
        raise RecipeError(
            f"appended tokens were trained to hold the whole text, so {named[0]} in addition to "
            "them makes no sense; leave one of the two out"
        )


def _check_late_interaction(late: LateInteraction, recipe: Recipe) -> None:
    """Refuse a recipe in which late interaction makes no sense.

    Raises:
        RecipeError: The message names the conflicting part.
    """
    if not recipe.token_embeddings:
        raise RecipeError(
            "late interaction compares token embeddings, and the recipe has token_embeddings=False"
        )
    conflicts = {
        "several prompts for one text": bool(recipe.further),
        "another layer than the last": recipe.layer != -1,
        "a latent attention": recipe.latent_heads is not None,
        "appended tokens": recipe.appended is not None,
        "a second copy of the text": recipe.span is PooledTokens.COPY,
    }
    if named := [name for name, is_there in conflicts.items() if is_there]:
        raise RecipeError(f"late interaction and {named[0]} exclude each other; leave one out")
    expansion = late.expansion
    if expansion is None:
        return
    if expansion.length > recipe.max_tokens:
        raise RecipeError(
            f"queries are filled up to {expansion.length} tokens, more than max_tokens="
            f"{recipe.max_tokens}"
        )
    if not expansion.attended and recipe.attention is Attention.CAUSAL:
        raise RecipeError(
            "in a causal model nothing tells tokens that no other sees from padding; the tokens "
            "that fill up queries have attended=True there"
        )
