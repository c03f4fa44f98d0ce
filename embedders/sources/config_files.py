"""Read the JSON files of a model's folder, and the loose values that they hold.

Invariant: whatever a file holds, the caller gets a dictionary or a :class:`RecipeError`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeAlias, cast

from .. import json_records
from ..errors import RecipeError

LLM2VEC_CONFIG = "llm2vec_config.json"

Object: TypeAlias = dict[str, object]


def settings(path: Path, *, required: bool = True) -> Object:
    """Return the JSON object in the file at ``path``; empty if it is missing and may be.

    Raises:
        RecipeError: The file is missing, damaged, or holds something else.
    """
    if not required and not path.exists():
        return {}
    return json_records.read_object(path, error=RecipeError)


def part(config: Object, name: str) -> Object:
    """Return the object under ``name``; an empty one if there is none."""
    found = config.get(name)
    return cast("Object", found) if isinstance(found, dict) else {}


def count(value: object) -> int | None:
    """Return a positive, finite number as an int; some tools write 512.0 or 1e30, or Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 < value < math.inf else None
