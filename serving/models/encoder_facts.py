"""What a served model tells the clients that use it as an encoder of their own.

Golden vectors are those of the bundle's reference, which its certificate compares with too. For an
encoder without a readable one they are its own, which still shows whether a client gets them.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Bundle, Encoder, Output, Precision, Role
from decant.embedders.bundle import Golden
from decant.embedders.distribution import decant_version
from decant.embedders.encoding import TokenEncoder, cut
from decant.embedders.files import REFERENCE
from decant.embedders.remote import PROTOCOL, EncoderFacts, GoldenVector, RequestLimits

from .served_model import ServedModel

_GOLDEN_TEXTS = (
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "Who wrote the first compiler?",
    "a",
)
_GOLDEN_COUNT = 4  # of each role; the first probe texts are short
# Errors of numpy and zipfile for files that are missing, cut off or altered.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile)


@runtime_checkable
class _OfBundle(Protocol):
    """An encoder that shows the bundle that it runs, and which of its graphs."""

    precision: Precision
    provider: str

    @property
    def bundle(self) -> Bundle: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescribedEncoder:
    """The facts of a served encoder, and the bytes of its tokenizer's file."""

    facts: EncoderFacts
    tokenizer: bytes


def describe_encoder(model: ServedModel, limits: RequestLimits) -> DescribedEncoder:
    """Return what clients have to know of a model; it may run the model once.

    Args:
        model: The model.
        limits: How much one request may ask for.
    """
    encoder = model.encoder
    recipe = encoder.recipe
    tokenizer = encoder.tokenizer.to_str().encode()
    bundle = encoder.bundle if isinstance(encoder, _OfBundle) else None
    precision = Precision(getattr(encoder, "precision", Precision.FP32))
    ids: list[tuple[Role, str, tuple[int, ...]]] = []
    if isinstance(encoder, TokenEncoder):
        ids = encoder.text_tokenizer.golden()
    facts = EncoderFacts(
        protocol=PROTOCOL,
        version=decant_version(),
        name=model.name,
        recipe=recipe,
        digest=recipe.digest(),
        dim=encoder.dim,
        precision=precision,
        provider=str(getattr(encoder, "provider", type(encoder).__name__)),
        graph=None if bundle is None else bundle.manifest.files[bundle.manifest.graphs[precision]],
        max_text_tokens={role: encoder.max_text_tokens(role) for role in Role},
        outputs=tuple(output for output in Output if model.gives(output)),
        soft_tokens_shape=_soft_tokens_shape(model),
        tokenizer=hashlib.sha256(tokenizer).hexdigest(),
        golden_ids=tuple(Golden(role=role, text=text, ids=found) for role, text, found in ids),
        golden=tuple(_golden(encoder, bundle)),
        limits=limits,
    )
    return DescribedEncoder(facts=facts, tokenizer=tokenizer)


def _soft_tokens_shape(model: ServedModel) -> tuple[int, ...] | None:
    if not model.gives(Output.SOFT_TOKENS):
        return None
    soft = model.encoder.encode([], role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]).soft_tokens
    assert soft is not None
    return tuple(soft.shape[1:])


def _golden(encoder: Encoder, bundle: Bundle | None) -> Iterator[GoldenVector]:
    """Yield the golden vectors of both roles, as wide as the encoder's."""
    found = None if bundle is None else _reference(bundle)
    for role in Role:
        if found is not None and role in found:
            texts, vectors = found[role]
            if vectors.shape[1] > encoder.dim:
                vectors = cut(vectors, dim=encoder.dim, normalize=encoder.recipe.normalize)
        else:
            texts, vectors = [*_GOLDEN_TEXTS], encoder.encode(_GOLDEN_TEXTS, role=role).dense
        for text, vector in zip(texts, vectors.tolist(), strict=True):
            yield GoldenVector(role=role, text=text, vector=tuple(vector))


def _reference(bundle: Bundle) -> dict[Role, tuple[list[str], NDArray[np.float32]]] | None:
    """Return the first texts of a bundle's reference and their vectors, for each role.

    It holds every text as a passage, then every text as a query if the prompts differ
    (``export/certify/probes.py``).
    """
    try:
        with np.load(bundle.folder / REFERENCE, allow_pickle=False) as stored:
            texts = [str(text) for text in stored["texts"]]
            vectors = np.asarray(stored["vectors"], np.float32)
    except _UNREADABLE:
        return None
    if vectors.ndim != 2 or vectors.shape[1] != bundle.manifest.dim or not texts:
        return None
    recipe, shown = bundle.manifest.recipe, texts[:_GOLDEN_COUNT]
    found = {Role.PASSAGE: (shown, vectors[: len(shown)])}
    first = len(texts) if recipe.query_prompt != recipe.passage_prompt else 0
    found[Role.QUERY] = (shown, vectors[first : first + len(shown)])
    return found if all(len(rows) == len(shown) for _, rows in found.values()) else None
