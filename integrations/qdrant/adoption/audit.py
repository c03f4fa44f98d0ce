"""Audit a collection: embed a sample of its texts again, and say how its vectors were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import Encoder
from decant.embedders.encoding import cut

from ..inference.server_encoder import is_blank_for
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Store
from .candidates import RECIPE, Candidate, CandidateMaker, OnStep
from .explain import UNEXPLAINED, cosines, explain, wilson
from .report import AuditReport, VectorShare, Verdict
from .sample import Sample, check_store, read_sample
from .settings import AuditSettings, Gate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COSINE = "Cosine"
_EXAMPLES = 3
_LENGTH = 0.01  # float16 keeps a length to 1e-3


def audit(
    store: Store,
    name: str,
    encoder: Encoder,
    *,
    settings: AuditSettings | None = None,
    on_step: OnStep | None = None,
) -> AuditReport:
    """Say whether an encoder made the vectors of a collection, whoever filled it.

    A sample of its points is read, and their texts are embedded again: by the encoder's recipe, and
    in the ways in which collections are filled by mistake, as far as the encoder can follow them:
    without the prompt, with the query prompt, without EOS, cut earlier or later, pooled otherwise,
    cut to fewer values, not normalised. Each point is assigned to the way that gives its vector.
    Nothing is written.

    Args:
        store: A server, or qdrant-client's local mode.
        name: The collection, of langchain-qdrant, LlamaIndex, mcp-server-qdrant, Haystack, decant
            or any program whose points hold their texts.
        encoder: What should have filled it. A bundle's tries other tokens, and other poolings if
            it gives token embeddings; a :class:`TorchEncoder` tries other poolings, too. What was
            not tried is in the report.
        settings: How many points, which, and where their texts lie; by default it is found.
        on_step: Called with the name of each way that is tried.

    Raises:
        StoreError: The store is a folder, there is no such collection, it is empty, or where its
            texts and vectors lie is not known.
    """
    report, _ = audit_sample(store, name, encoder, settings or AuditSettings(), on_step)
    return report


def audit_sample(
    store: Store,
    name: str,
    encoder: Encoder,
    settings: AuditSettings,
    on_step: OnStep | None = None,
) -> tuple[AuditReport, Sample]:
    """Return the report of :func:`audit`, and the sample that it was made of."""
    requests = check_store(store, name)
    sample = _without_blanks(read_sample(requests, name, encoder.dim, settings), encoder)
    if not sample.ids:
        raise StoreInputError(
            f"none of the {sample.drawn} drawn points of {name!r} has a text and a vector; the "
            f"layout found is: {sample.layout}. Name the field of the text (text=…, --text)"
        )
    gate = Gate.of(encoder)
    maker = CandidateMaker(encoder=encoder, sample=sample, on_step=on_step or (lambda _: None))
    candidates, found = _compare(maker, sample, gate)
    chosen = explain(found, gate)
    made = _names(candidates, chosen, sample, encoder)
    shares = _shares(made, found.max(axis=0), sample)
    own = found[0]
    report = AuditReport(
        verdict=_verdict(shares, is_whole=sample.space.width == encoder.dim),
        collection=name,
        place=store.place,
        model=encoder.recipe.base,
        digest=encoder.recipe.digest(),
        layout=str(sample.layout),
        distance=sample.space.distance,
        width=sample.space.width,
        points=sample.points,
        drawn=sample.drawn,
        textless=sample.textless,
        vectorless=sample.vectorless,
        seed=settings.seed,
        shares=shares,
        median_cosine=float(np.median(own)),
        least_cosine=float(own.min()),
        gate=gate.cosine,
        unseen=_unseen(candidates, gate),
        untried=maker.untried,
        notes=tuple(_notes(sample, gate, encoder)),
    )
    return report, sample


def _without_blanks(sample: Sample, encoder: Encoder) -> Sample:
    """Leave out texts of which the encoder would see nothing."""
    kept = [row for row, text in enumerate(sample.embedded) if not is_blank_for(encoder, text)]
    return Sample(
        space=sample.space,
        layout=sample.layout,
        points=sample.points,
        drawn=sample.drawn,
        textless=sample.textless + len(sample.ids) - len(kept),
        vectorless=sample.vectorless,
        ids=tuple(sample.ids[row] for row in kept),
        embedded=tuple(sample.embedded[row] for row in kept),
        texts=tuple(sample.texts[row] or sample.embedded[row] for row in kept),
        vectors=sample.vectors[kept],
    )


def _compare(
    maker: CandidateMaker, sample: Sample, gate: Gate
) -> tuple[list[Candidate], NDArray[np.float64]]:
    """Return the candidates, that of the recipe first, and their cosines (K, N) with the points."""
    candidates = [maker.recipe(), *maker.neighbours()]
    found = np.stack([_agreement(sample.vectors, one.vectors) for one in candidates])
    left = np.flatnonzero(found.max(axis=0) < gate.cosine)
    if len(left):

        def fits(rows: Sequence[int], vectors: NDArray[np.float32]) -> bool:
            near = _agreement(sample.vectors[list(rows)], vectors)
            return bool((near >= gate.cosine).any())

        further = list(maker.pairs(left.tolist(), fits))
        candidates += further
        more = [_agreement(sample.vectors, one.vectors) for one in further]
        found = np.stack([*found, *more])
    return candidates, found


def _agreement(stored: NDArray[np.float32], made: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosines of rows, over the values that both have."""
    width = min(stored.shape[1], made.shape[1])
    return cosines(stored[:, :width], made[:, :width])


def _names(
    candidates: Sequence[Candidate],
    chosen: NDArray[np.int64],
    sample: Sample,
    encoder: Encoder,
) -> list[str | None]:
    """Return for each point how its vector was made, in words; None if nothing explains it."""
    widths = sample.space.width, encoder.dim
    names: list[str | None] = []
    for row, number in enumerate(chosen.tolist()):
        if number == UNEXPLAINED:
            names.append(None)
            continue
        one = candidates[number]
        parts = [one.name] if one.name != RECIPE else []
        if widths[0] < widths[1]:
            parts.append(f"the first {widths[0]} of {widths[1]} values kept (Matryoshka)")
        elif widths[0] > widths[1]:
            parts.append(f"{widths[0]} values, of which this encoder keeps the first {widths[1]}")
        if sample.space.distance != _COSINE:
            parts += _length(sample.vectors[row], one.vectors[row], encoder, widths[0])
        names.append(", and ".join(parts) or RECIPE)
    return names


def _length(
    stored: NDArray[np.float32], made: NDArray[np.float32], encoder: Encoder, width: int
) -> list[str]:
    """Return how the length of a stored vector differs from that of the recipe, if it does."""
    normalize = encoder.recipe.normalize
    wanted = cut(made[None], dim=min(width, len(made)), normalize=normalize)[0]
    expected, found = float(np.linalg.norm(wanted)), float(np.linalg.norm(stored))
    if abs(found - expected) <= _LENGTH * expected:
        return []
    if not normalize and abs(found - 1) <= _LENGTH:
        return ["normalised to unit length"]
    return ["not normalised"] if normalize else ["another length"]


def _shares(
    made: Sequence[str | None], nearest: NDArray[np.float64], sample: Sample
) -> tuple[VectorShare, ...]:
    total = len(made)
    found = []
    for name in dict.fromkeys(made):
        rows = [row for row, one in enumerate(made) if one == name]
        low, high = wilson(len(rows), total)
        found.append(
            VectorShare(
                made=name,
                points=len(rows),
                share=len(rows) / total,
                low=low,
                high=high,
                cosine=float(nearest[rows].mean()),
                examples=tuple(sample.ids[row] for row in rows[:_EXAMPLES]),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.points))


def _verdict(shares: Sequence[VectorShare], *, is_whole: bool) -> Verdict:
    if len(shares) > 1:
        return Verdict.MIXTURE
    if shares[0].made is None:
        return Verdict.UNKNOWN
    return Verdict.PASSED if shares[0].made == RECIPE and is_whole else Verdict.OTHER_RECIPE


def _unseen(candidates: Sequence[Candidate], gate: Gate) -> tuple[str, ...]:
    """Return the ways that no point of this sample can tell from the recipe."""
    first = candidates[0].vectors
    return tuple(
        one.name
        for one in candidates[1:]
        if one.vectors.shape == first.shape
        and bool((cosines(first, one.vectors) >= 1 - gate.tie).all())
    )


def _notes(sample: Sample, gate: Gate, encoder: Encoder) -> Iterator[str]:
    if sample.space.distance == _COSINE:
        yield (
            "the distance is Cosine, for which Qdrant normalises what it stores: whether vectors "
            "were normalised before is not seen, and changes no search"
        )
    if not gate.is_full:
        yield (
            f"the encoder runs in {getattr(encoder, 'precision', 'a coarse precision')}, so "
            f"vectors count as one from a cosine of {gate.cosine} on; fp32 tells more apart"
        )
