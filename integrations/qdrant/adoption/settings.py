"""What an audit reads and compares with, and when two vectors count as the same."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Encoder, StoreError

SAMPLE = 200
_FULL = 0.999
_HALF = 0.995
_INTEGER = 0.96
_GATES = {"fp32": _FULL, "fp16": _HALF, "bf16": _HALF}
_TIE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """What an audit reads.

    Args:
        sample: How many points are drawn and embedded again.
        seed: Decides which; the same seed draws the same points of an unchanged collection of at
            most 100,000 points. Larger ones the server draws from, differently each time.
        text: The payload field with the text; None: it is found, as for the next two.
        metadata: The payload field with the metadata; "": they are the other fields.
        vector: The name of the vector; "": the one without a name.

    Raises:
        StoreError: ``sample`` is below 1.
    """

    sample: int = SAMPLE
    seed: int = 0
    text: str | None = None
    metadata: str | None = None
    vector: str | None = None

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise StoreError(f"an audit draws at least one point, got sample={self.sample}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """When a stored vector counts as made by a recipe.

    Args:
        cosine: The least cosine of both. Vectors of one recipe in float32 differ by less than 1e-5
            between runtimes, and by less than 1e-3 where the model that filled the collection ran
            in half precision; float16 storage adds 1e-6. An audit whose own encoder is less precise
            allows more.
        tie: How much nearer another recipe must be to count as the nearer one.
    """

    cosine: float
    tie: float

    @classmethod
    def of(cls, encoder: Encoder) -> Gate:
        """Return the gate for vectors that this encoder makes."""
        precision = getattr(encoder, "precision", None)
        cosine = _FULL if precision is None else _GATES.get(str(precision), _INTEGER)
        return cls(cosine=cosine, tie=_TIE * (1 - cosine))

    @property
    def is_full(self) -> bool:
        """Whether the encoder is as precise as any."""
        return self.cosine >= _FULL
