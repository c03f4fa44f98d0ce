"""Measure the range of each dimension of a bundle's vectors, and keep it in the bundle.

The result is a :class:`VectorRanges`, which ``calibration_file.py`` stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from ..bundle.bundle import Bundle
from ..encoding.quantize import VectorRanges
from ..recipe.prompt import Role
from ..tokens.texts import checked
from .calibration_file import keep_calibration
from .encoder import load_bundle

MOST_TEXTS = 100_000


def calibrate_vectors(
    bundle: str | Path,
    texts: Iterable[str],
    *,
    provider: str = "auto",
    precision: str = "auto",
    dim: int | None = None,
    allow_any_dim: bool = False,
) -> VectorRanges:
    """Find the ranges of a bundle's vectors; ``encoder.quantizer`` takes them from then on.

    Values outside the ranges are clipped later, so the texts should be like those that will be
    embedded; some thousand are enough. They are embedded as passages, and their vectors are not
    kept.

    Args:
        bundle: The bundle's folder; ``calibration.json`` is written there.
        texts: At least two texts, of which the first 100,000 are used.
        provider: As for :func:`decant.embedders.load`.
        precision: As for :func:`decant.embedders.load`.
        dim: As for :func:`decant.embedders.load`; each width has its own ranges.
        allow_any_dim: As for :func:`decant.embedders.load`.

    Raises:
        QuantizationError: There are fewer than two texts, or a dimension is the same for all.
        TextError: A text is empty or not a string.
        DecantError: As for :func:`decant.embedders.load`.
    """
    opened = load_bundle(
        bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
    )
    with opened as encoder:
        given = islice(checked(texts), MOST_TEXTS)
        blocks = (block.dense for block in encoder.stream(given, role=Role.PASSAGE))
        found = VectorRanges.of_blocks(blocks, recipe=encoder.recipe)
    keep_calibration(Bundle.unchecked(bundle), found)
    return found
