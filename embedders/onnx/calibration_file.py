"""``calibration.json``: the measured ranges of a bundle's vectors.

A bundle keeps one entry for each recipe: its own, and that of each ``dim`` to which it was cut
when it was calibrated, because cut vectors are normalised again and have other ranges. An entry is
used only for the recipe whose digest it holds. ``calibrator.py`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from .. import json_records
from ..bundle.bundle import Bundle, read_record
from ..encoding.quantize import VectorRanges
from ..errors import BundleError, QuantizationError
from ..files import write_atomically
from ..recipe.recipe import Recipe

CALIBRATION = "calibration.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """One :class:`VectorRanges` in JSON.

    Args:
        digest: The recipe's digest.
        texts: How many texts were embedded.
        low: The smallest value of each dimension; its decimals give the same float32 again.
        high: The largest value of each dimension.
        date: The time of the measurement, as ISO 8601 in UTC.
    """

    digest: str
    texts: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrations:
    """The whole file; at most one entry for each recipe."""

    format: int = _FORMAT
    entries: tuple[Ranges, ...] = ()


def read_calibrations(bundle: Bundle) -> Calibrations:
    """Return a bundle's calibrations; they are empty if it was never calibrated.

    Raises:
        BundleError: The file is damaged or of a newer format.
    """
    path = bundle.folder / CALIBRATION
    if not path.exists():
        return Calibrations()
    return read_record(Calibrations, path, newest=_FORMAT)


def keep_calibration(bundle: Bundle, new: VectorRanges) -> None:
    """Write a calibration into ``calibration.json``, and drop entries of other bundles."""
    entry = Ranges(
        digest=new.digest,
        texts=new.texts,
        low=tuple(float(str(value)) for value in new.low),
        high=tuple(float(str(value)) for value in new.high),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    others = (item for item in read_calibrations(bundle).entries if item.digest != new.digest)
    kept = Calibrations(entries=(*(item for item in others if _of_bundle(item, bundle)), entry))
    write_atomically(bundle.folder / CALIBRATION, json_records.to_json(kept))


def calibration_of(bundle: Bundle, recipe: Recipe) -> VectorRanges:
    """Return a bundle's calibration for its own recipe, or for its recipe cut to fewer values.

    Raises:
        QuantizationError: There is none for this recipe.
        BundleError: The file is damaged or of a newer format.
    """
    path = bundle.folder / CALIBRATION
    entries = read_calibrations(bundle).entries
    width = recipe.dim or bundle.manifest.dim
    cut = "" if width == bundle.manifest.dim else f" --dim {width}"
    command = f"run: decant calibrate-vectors {bundle.folder} --texts FILE{cut}"
    for entry in entries:
        if entry.digest != recipe.digest():
            continue
        if len(entry.low) != width:
            raise BundleError(f"{path} holds {len(entry.low)} ranges for {width} values; {command}")
        try:
            return _calibration(entry)
        except QuantizationError as error:
            raise BundleError(f"{path} is damaged: {error}; {command}") from error
    if entries:
        known = ", ".join(f"{entry.digest} ({len(entry.low)} wide)" for entry in entries)
        raise QuantizationError(
            f"{path} has no ranges for recipe {recipe.digest()} ({width} wide), only for {known}, "
            f"and ranges serve only the recipe that they were measured with; {command}"
        )
    raise QuantizationError(f"{bundle.folder} was never calibrated; {command}")


def _calibration(entry: Ranges) -> VectorRanges:
    with np.errstate(over="ignore"):  # too large values become infinity, which VectorRanges refuses
        low, high = (np.array(values, np.float32) for values in (entry.low, entry.high))
    return VectorRanges(low=low, high=high, texts=entry.texts, digest=entry.digest)


def _of_bundle(entry: Ranges, bundle: Bundle) -> bool:
    """Return whether an entry's recipe is the bundle's, perhaps cut to the entry's width."""
    recipe = bundle.manifest.recipe
    return entry.digest in (recipe.digest(), replace(recipe, dim=len(entry.low) or None).digest())
