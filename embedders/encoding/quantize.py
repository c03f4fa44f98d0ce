"""Vectors as bytes or bits: the ranges of the dimensions, and the arithmetic.

An int8 or uint8 code is the number of the bucket, of 255 between a dimension's lowest and highest
value; a ubinary code holds the signs. Nothing here runs a model or reads a file;
``onnx/calibration_file.py`` keeps the ranges of a bundle. The formulas are those of
sentence-transformers 6.2 (``util/quantization.py``, ``quantize_embeddings``), which also clips
values outside the ranges. Earlier versions did not: such values wrapped around (the largest became
the smallest), and int8 was rounded towards zero, which made one bucket twice as wide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from ..enum_fields import member
from ..errors import QuantizationError

if TYPE_CHECKING:
    from ..recipe.recipe import Recipe

Codes: TypeAlias = NDArray[np.int8] | NDArray[np.uint8]
"""int8 or uint8, shape (N, D); of bits uint8, shape (N, ceil(D / 8))."""

_HIGHEST = 255
_OFFSET = 128  # of int8 from uint8


class Quantization(StrEnum):
    """What a vector's values become.

    INT8 and UINT8 take a byte each and need a :class:`VectorRanges`. UBINARY takes a bit each, the
    first dimension in the highest bit, as sentence-transformers' ``ubinary`` does. Its name was
    ``binary`` before, which is still read.
    """

    INT8 = "int8"
    UINT8 = "uint8"
    UBINARY = "ubinary"

    @classmethod
    def _missing_(cls, value: object) -> Quantization | None:
        return cls.UBINARY if value == "binary" else None

    @classmethod
    def named(cls, kind: str) -> Self:
        """Return the member of a name.

        Raises:
            QuantizationError: There is none.
        """
        return member(cls, kind, error=QuantizationError)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorRanges:
    """The range of each dimension over some vectors of one recipe.

    Args:
        low: The smallest values, float32, shape (D,).
        high: The largest, float32, shape (D,).
        texts: How many vectors were measured.
        digest: The digest of their recipe.

    Raises:
        QuantizationError: Ranges are empty, of different shapes or not finite, or a dimension is
            constant, so that its range cannot be divided.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    texts: int
    digest: str

    def __post_init__(self) -> None:
        if self.low.ndim != 1 or self.low.shape != self.high.shape or not self.low.size:
            raise QuantizationError(
                "a calibration has one low and one high value a dimension, got shapes "
                f"{self.low.shape} and {self.high.shape}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            steps = self.steps
        if not np.isfinite(steps).all():
            raise QuantizationError(
                "the ranges of a calibration, and their widths, are finite float32; got NaN or "
                "infinity"
            )
        # Below the smallest normal number, steps have no precision left to divide by.
        if (steps < np.finfo(np.float32).tiny).any():
            at = int(np.argmin(steps))
            raise QuantizationError(
                f"dimension {at} does not vary over {self.texts:,} texts: it goes from "
                f"{self.low[at]} to {self.high[at]}; calibrate with more, and different, texts, or "
                "use ubinary, which needs no ranges"
            )

    @classmethod
    def of(cls, vectors: NDArray[np.float32], *, recipe: Recipe) -> Self:
        """Return the ranges of vectors.

        Args:
            vectors: float32, shape (N, D), N at least 2.
            recipe: The recipe of the vectors.

        Raises:
            QuantizationError: They are fewer than two, not finite, or a dimension is constant.
        """
        return cls.of_blocks([vectors], recipe=recipe)

    @classmethod
    def of_blocks(cls, blocks: Iterable[NDArray[np.float32]], *, recipe: Recipe) -> Self:
        """Return the ranges of vectors that come in blocks; one block is held at a time."""
        low: NDArray[np.float32] | None = None
        high: NDArray[np.float32] | None = None
        texts = 0
        for block in blocks:
            _check_vectors(block, None if low is None else len(low), first=texts)
            if not len(block):
                continue
            texts += len(block)
            lowest, highest = block.min(axis=0), block.max(axis=0)  # (D,)
            low = lowest if low is None else np.minimum(low, lowest)
            high = highest if high is None else np.maximum(high, highest)
        if low is None or high is None or texts < 2:
            raise QuantizationError(
                f"a range takes at least two vectors, got {texts}; calibrate with some thousand "
                "texts like those that will be embedded"
            )
        return cls(low=low, high=high, texts=texts, digest=recipe.digest())

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return len(self.low)

    @property
    def steps(self) -> NDArray[np.float32]:
        """The width of a bucket in each dimension, float32, shape (D,)."""
        return (self.high - self.low) / np.float32(_HIGHEST)

    def require(self, recipe: Recipe) -> None:
        """Refuse vectors of another recipe.

        Raises:
            QuantizationError: Names both recipes.
        """
        if self.digest != recipe.digest():
            raise QuantizationError(
                f"this calibration is of recipe {self.digest}, {self.dim} wide, and the vectors "
                f"are of {recipe.base} with recipe {recipe.digest()}; calibrate with that recipe"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantizer:
    """Turns vectors into codes.

    Args:
        kind: What values become.
        calibration: The ranges for int8 and uint8; ubinary has none.

    Raises:
        QuantizationError: The kind needs a calibration and there is none.

    >>> signs = Quantizer(kind=Quantization.UBINARY)
    >>> signs.quantize(np.array([[0.5, -0.5, 0.0, 2.0]], np.float32)).tolist()
    [[144]]
    """

    kind: Quantization
    calibration: VectorRanges | None = None

    def __post_init__(self) -> None:
        if self.calibration is None and self.kind is not Quantization.UBINARY:
            raise QuantizationError(
                f"{self.kind} needs the range of each dimension; pass "
                "calibration=VectorRanges.of(vectors, recipe=…), or run `decant calibrate-vectors` "
                "on the bundle"
            )

    def quantize(self, vectors: NDArray[np.float32]) -> Codes:
        """Return the codes of vectors.

        ``floor((x - low) / step)`` with ``step = (high - low) / 255``, clipped to 0 … 255, for
        uint8; 128 less for int8. UBINARY: a bit for each ``x > 0``, filled up with zeros.

        Args:
            vectors: float32, shape (N, D); it is not changed.

        Returns:
            int8 or uint8, shape (N, D); for ubinary uint8, shape (N, ceil(D / 8)).

        Raises:
            QuantizationError: They are not float32, of another width, or not finite.
        """
        _check_vectors(vectors, None if self.calibration is None else self.calibration.dim)
        match self.kind:
            case Quantization.INT8:
                return (self._buckets(vectors) - _OFFSET).astype(np.int8)
            case Quantization.UINT8:
                return self._buckets(vectors).astype(np.uint8)
            case Quantization.UBINARY:
                return np.packbits(vectors > 0, axis=1)
            case _:
                assert_never(self.kind)

    def dequantize(self, codes: Codes) -> NDArray[np.float32]:
        """Return the middle of each code's bucket.

        The last bucket begins where the range ends, so its middle is taken to be that end. A value
        within its range is missed by half a step at most, up to float32's rounding.

        Args:
            codes: What :meth:`quantize` gave: int8 or uint8, shape (N, D).

        Returns:
            float32, shape (N, D).

        Raises:
            QuantizationError: The codes are signs, of another kind, or of another width.
        """
        ranges = self.calibration
        if self.kind is Quantization.UBINARY or ranges is None:
            raise QuantizationError(
                "ubinary codes hold signs, from which no value comes back; compare them by the "
                "number of bits that differ"
            )
        wanted = np.dtype(self.kind.value)
        if codes.dtype != wanted or codes.ndim != 2 or codes.shape[1] != ranges.dim:
            raise QuantizationError(
                f"expected {wanted} codes of shape (N, {ranges.dim}), got {codes.dtype} of shape "
                f"{codes.shape}"
            )
        first = np.float32(_OFFSET if self.kind is Quantization.INT8 else 0)
        middles = np.minimum(codes.astype(np.float32) + first + np.float32(0.5), _HIGHEST)
        return np.asarray(ranges.low + middles * ranges.steps, np.float32)

    def _buckets(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the number of each value's bucket, 0 to 255 as float32, shape (N, D)."""
        ranges = self.calibration
        assert ranges is not None, "checked when this was made"
        with np.errstate(over="ignore"):  # too large values are clipped below
            buckets = np.floor((vectors - ranges.low) / ranges.steps)
        return np.asarray(np.clip(buckets, 0, _HIGHEST), np.float32)


def _check_vectors(vectors: NDArray[np.float32], dim: int | None, *, first: int = 0) -> None:
    """Refuse what is not finite float32 of shape (N, D); ``first`` is the index of row 0."""
    if vectors.dtype != np.float32 or vectors.ndim != 2:
        raise QuantizationError(
            f"expected float32 vectors of shape (N, D), got {vectors.dtype} of shape "
            f"{vectors.shape}"
        )
    if dim is not None and vectors.shape[1] != dim:
        raise QuantizationError(
            f"the vectors are {vectors.shape[1]} wide and the calibration {dim}; calibrate with "
            "the model, and the dim, that makes them"
        )
    if not np.isfinite(vectors).all():
        row, column = (int(index) for index in np.argwhere(~np.isfinite(vectors))[0])
        raise QuantizationError(
            f"vector {first + row} holds {vectors[row, column]} in dimension {column}; leave out "
            "what is not finite"
        )
