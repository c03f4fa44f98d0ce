"""The settings of a collection in its engine, which are fixed when it is created."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from decant.embedders import StoreError

from .filters import Key, path_of
from .words import Words

LEAST_EF = 4  # Qdrant refuses fewer candidates


class FieldType(StrEnum):
    """The type of a metadata entry that gets an index."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    DATETIME = "datetime"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadIndex:
    """A metadata entry that gets a payload index, which makes filters on it fast.

    Args:
        key: The entry's name, as in a condition.
        type: The type of its values.
    """

    key: Key
    type: FieldType = FieldType.KEYWORD

    @property
    def path(self) -> str:
        """The entry's path in the payload."""
        return path_of(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """The settings of a new collection.

    Args:
        indexed: Metadata entries to index, in addition to our own fields.
        hnsw_m: Links per node of the vector index (Malkov and Yashunin, arXiv 1603.09320).
        hnsw_ef_construct: Candidates examined while it is built.
        soft_tokens: Whether to store soft tokens with each vector, so that a language model can
            decode it (:meth:`Collection.soft_tokens`); for encoders whose recipe appends tokens.
        words: How to index the words of texts, so that passages are found by BM25, too, whatever
            the encoder is; None: by vectors alone.
    """

    indexed: tuple[PayloadIndex, ...] = ()
    hnsw_m: int = 16
    hnsw_ef_construct: int = 100
    soft_tokens: bool = False
    words: Words | None = None

    def __post_init__(self) -> None:
        if self.hnsw_m < 0 or self.hnsw_ef_construct < LEAST_EF:
            raise StoreError(
                f"hnsw_m must be at least 0 and hnsw_ef_construct at least {LEAST_EF}, got "
                f"{self.hnsw_m} and {self.hnsw_ef_construct}"
            )
