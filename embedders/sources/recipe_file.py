"""The recipe file of a model folder, which decant's training writes next to the weights.

It holds everything but name and revision, which belong to the folder that is read. The folder may
also hold files for users of sentence-transformers; decant ignores those.
"""

from __future__ import annotations

from pathlib import Path

from .. import json_records
from ..errors import RecipeError
from ..recipe.prompt import Prompt
from ..recipe.recipe import Recipe
from .choices import Choices

RECIPE_FILE = "decant_recipe.json"


def read_choices(folder: Path) -> Choices | None:
    """Return the choices in a folder's recipe file; None if there is no such file.

    Raises:
        RecipeError: The file is damaged, or of a newer decant.
    """
    path = folder / RECIPE_FILE
    return json_records.read(Choices, path, error=RecipeError) if path.exists() else None


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe into a model's folder, where :func:`resolve` then finds it.

    Raises:
        RecipeError: A prompt holds a literal ``{text}``, which would be read as the text's place.
    """
    for prompt in (recipe.query_prompt, recipe.passage_prompt):
        if Prompt.parse(prompt.template) != prompt:
            raise RecipeError(
                f"the prompt {prompt.template!r} would not be read back unchanged; reword it"
            )
    path = folder / RECIPE_FILE
    path.write_text(json_records.to_json(Choices.of(recipe)), encoding="utf-8")
