"""What the server of an encoder and its clients write to each other, but for the vectors.

``GET …/encoder`` answers :class:`EncoderFacts`, ``GET …/tokenizer.json`` the tokenizer, and ``POST
…/encode`` takes :func:`encode_body` and answers a :mod:`vector_archive`, or an error with a
:class:`Refusal`. A client names the recipe and the graph that it knows in every request, and is
refused where another model answers by now: vectors of two models never mix.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..bundle.bundle import Golden
from ..bundle.precision import Precision
from ..encoding.protocol import Output
from ..errors import BundleError
from ..recipe.prompt import Role
from ..recipe.recipe import Recipe

PROTOCOL = 1
"""The version of what is written; a client refuses another one."""

FACTS_PATH = "/encoder"
TOKENIZER_PATH = "/tokenizer.json"
ENCODE_PATH = "/encode"


class Refusal(StrEnum):
    """Why a request has no vectors, for clients that decide what to do about it."""

    TEXT = "text"
    INSTRUCTION = "instruction"
    OTHER_MODEL = "other_model"
    TOO_LARGE = "too_large"
    NOT_FINITE = "not_finite"
    REQUEST = "request"
    KEY = "key"
    BUSY = "busy"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How much one request may ask for.

    Args:
        texts: The most texts.
        text_bytes: The most bytes of one text, in UTF-8.
        body_bytes: The most bytes of the whole body.
        tokens: The most tokens of all texts, which is what may wait for the model.
        pass_tokens: How many tokens the model reads at a time.

    Raises:
        BundleError: A number is below 1.
    """

    texts: int
    text_bytes: int
    body_bytes: int
    tokens: int
    pass_tokens: int

    def __post_init__(self) -> None:
        for name in ("texts", "text_bytes", "body_bytes", "tokens", "pass_tokens"):
            if (value := getattr(self, name)) < 1:
                raise BundleError(f"the limit {name} is {value}, and no request fits it")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenVector:
    """A text and the vector that it must have, up to what the model's precision may lose."""

    role: Role
    text: str
    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFacts:
    """What a client has to know of a served encoder.

    Args:
        protocol: The version of the protocol.
        version: The server's version of decant.
        name: The model's name on the server.
        recipe: What decides the vectors.
        digest: The recipe's digest.
        dim: Width D of the dense vectors.
        precision: The precision of the graph.
        provider: What runs it, for example ``CPUExecutionProvider``.
        graph: SHA-256 of the graph; None for an encoder without a bundle.
        max_text_tokens: How many tokens of text fit next to the prompt, for each role.
        outputs: What it gives in addition to dense vectors.
        soft_tokens_shape: Number n and width d' of the soft tokens; None if there are none.
        tokenizer: SHA-256 of the tokenizer's file.
        golden_ids: Token ids that the tokenizer must give; empty if the encoder does not show how
            it tokenises.
        golden: Vectors that the server must give.
        limits: How much one request may ask for.

    Raises:
        BundleError: A number is impossible, or the digest is not the recipe's.
    """

    protocol: int
    version: str
    name: str
    recipe: Recipe
    digest: str
    dim: int
    precision: Precision
    provider: str
    graph: str | None
    max_text_tokens: dict[str, int]
    outputs: tuple[Output, ...]
    soft_tokens_shape: tuple[int, ...] | None
    tokenizer: str
    golden_ids: tuple[Golden, ...]
    golden: tuple[GoldenVector, ...]
    limits: RequestLimits

    def __post_init__(self) -> None:
        if self.digest != self.recipe.digest():
            raise BundleError(
                f"it says digest {self.digest}, and its recipe has {self.recipe.digest()} here; "
                "run the same version of decant on both sides"
            )
        if self.dim < 1 or self.recipe.dim not in (None, self.dim):
            raise BundleError(
                f"dim is {self.dim}, and {self.recipe.dim} in the recipe; export the bundle again"
            )
        if any(self.max_text_tokens.get(role, 0) < 1 for role in Role):
            raise BundleError(f"max_text_tokens is {self.max_text_tokens}, and needs both roles")
        if self.soft_tokens_shape is not None and len(self.soft_tokens_shape) != 2:
            raise BundleError(f"soft_tokens_shape is {self.soft_tokens_shape}, and has two numbers")
        if not self.golden or any(len(one.vector) != self.dim for one in self.golden):
            raise BundleError(f"there are golden vectors, and each has {self.dim} values")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How the texts of a request are encoded."""

    role: Role
    instruction: str | None = None
    outputs: Collection[Output] = ()


def encode_body(
    texts: Sequence[str], options: EncodeOptions, facts: EncoderFacts, *, first: int
) -> bytes:
    """Return the body of a request for vectors.

    Args:
        texts: The texts.
        options: How they are encoded.
        facts: The model that must answer.
        first: The caller's number of the first text, for messages.
    """
    content = {
        "texts": [*texts],
        "role": str(options.role),
        "instruction": options.instruction,
        "outputs": sorted(map(str, options.outputs)),
        "digest": facts.digest,
        "graph": facts.graph,
        "first": first,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
