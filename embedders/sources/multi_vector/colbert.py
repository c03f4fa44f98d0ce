"""Read ColBERT's own checkpoints: ``artifact.metadata`` beside the weights of ``HF_ColBERT``.

The projection lies among the model's weights as ``linear.weight``. Queries are always filled up
with the mask token. Formats: https://github.com/stanford-futuredata/ColBERT (infra/config,
modeling/tokenization).
"""

from __future__ import annotations

from pathlib import Path

from ... import json_records
from ...errors import RecipeError
from ...recipe.dense import Dense
from ...recipe.late_interaction import LateInteraction, QueryExpansion
from ...tokens.load import load_tokenizer
from .found import PUNCTUATION, FoundTokenVectors, markers, mask_token

METADATA = "artifact.metadata"
_CLASS = "HF_ColBERT"
# ColBERT's defaults (infra/config/settings.py).
_QUERY_TOKENS, _WIDTH = 32, 128
_QUERY_MARKER, _PASSAGE_MARKER = "[unused0]", "[unused1]"


def is_colbert(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint of ColBERT's own."""
    if (folder / METADATA).is_file():
        return True
    config = json_records.read_object(folder / "config.json", error=RecipeError)
    classes = config.get("architectures")
    return isinstance(classes, list) and _CLASS in classes


def read_colbert(folder: Path) -> FoundTokenVectors:
    """Return what a checkpoint says.

    Raises:
        RecipeError: A file is damaged, or the model compares its vectors otherwise than by cosine.
    """
    path = folder / METADATA
    said = json_records.read_object(path, error=RecipeError) if path.exists() else {}
    if said.get("similarity", "cosine") != "cosine":
        raise RecipeError(
            f"{path}: similarity {said['similarity']!r}; decant compares token vectors by cosine"
        )
    config = json_records.read_object(folder / "config.json", error=RecipeError)
    width = config.get("hidden_size")
    if not isinstance(width, int):
        raise RecipeError(f"{folder / 'config.json'} lacks hidden_size")
    query = f"{said.get('query_token_id') or _QUERY_MARKER} "
    passage = f"{said.get('doc_token_id') or _PASSAGE_MARKER} "
    late = LateInteraction(
        projection=Dense(path="", inputs=width, outputs=_count(said, "dim", _WIDTH), bias=False),
        markers=markers(load_tokenizer(folder), (query, passage)),
        expansion=QueryExpansion(
            length=_count(said, "query_maxlen", _QUERY_TOKENS),
            token=mask_token(folder),
            attended=said.get("attend_to_mask_tokens") is True,
        ),
        skipped=PUNCTUATION if said.get("mask_punctuation", True) else (),
    )
    longest = said.get("doc_maxlen")
    return FoundTokenVectors(
        late=late,
        query_prompt=f"{query}{{text}}",
        passage_prompt=f"{passage}{{text}}",
        passage_tokens=longest if isinstance(longest, int) else None,
    )


def _count(said: dict[str, object], name: str, default: int) -> int:
    value = said.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
