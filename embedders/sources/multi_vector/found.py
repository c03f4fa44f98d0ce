"""What the folder of another library says of a model with a vector for each token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import punctuation

from tokenizers import Tokenizer

from ... import json_records
from ...errors import RecipeError
from ...recipe.late_interaction import LateInteraction

PUNCTUATION = tuple(punctuation)
"""What ColBERT skips in passages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTokenVectors:
    """The parts of a recipe that such a folder says.

    Args:
        late: What makes the vectors.
        query_prompt: The template of queries.
        passage_prompt: The template of passages.
        passage_tokens: The longest passage in tokens; None: as the model takes.
    """

    late: LateInteraction
    query_prompt: str
    passage_prompt: str
    passage_tokens: int | None


def markers(tokenizer: Tokenizer, prompts: Iterable[str]) -> tuple[str, ...]:
    """Return the tokens at the start of prompts that the tokenizer would cut into pieces.

    ColBERT puts such a token into the ids. PyLate keeps ``"[Q] "`` with its space as one token,
    others ``[unused0]``, so the whole prompt is looked up before its first word.
    """
    found: dict[str, None] = {}
    for prompt in prompts:
        for piece in (prompt, *prompt.split(None, 1)[:1]):
            if not piece.strip() or tokenizer.token_to_id(piece) is None:
                continue
            if tokenizer.encode(piece, add_special_tokens=False).tokens != [piece]:
                found[piece] = None
            break
    return tuple(found)


def mask_token(folder: Path) -> str:
    """Return what queries are filled up with: the mask token, or else the last of every text.

    Raises:
        RecipeError: The tokenizer's settings are damaged, or have neither.
    """
    path = folder / "tokenizer_config.json"
    held = json_records.read_object(path, error=RecipeError) if path.exists() else {}
    for name in ("mask_token", "eos_token"):
        said = held.get(name)
        token = said.get("content") if isinstance(said, dict) else said
        if isinstance(token, str):
            return token
    raise RecipeError(
        f"{folder} fills queries up, and {path.name} names neither a mask_token nor an eos_token "
        "to do it with; add the one that the model was trained with"
    )
