"""A model folder's own word on its recipe: the file that decant's training leaves beside weights.

It says everything but name and revision, which belong to the folder that is read. Files of
sentence-transformers may stand there as well, for its own users; here they do not count.
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
    """Return what a folder's recipe file says; None where there is no such file.

    Raises:
        RecipeError: The file is damaged, or of a newer decant.
    """
    path = folder / RECIPE_FILE
    return json_records.read(Choices, path, error=RecipeError) if path.exists() else None


def write_recipe(folder: Path, recipe: Recipe) -> None:
    """Write a recipe into a model's folder, where :func:`resolve` then finds it.

    Raises:
        RecipeError: A prompt holds ``{text}`` in other places than the text's.
    """
    for prompt in (recipe.query_prompt, recipe.passage_prompt):
        if Prompt.parse(prompt.template) != prompt:
            raise RecipeError(f"the prompt {prompt.template!r} would be read otherwise; reword it")
    path = folder / RECIPE_FILE
    path.write_text(json_records.to_json(Choices.of(recipe)), encoding="utf-8")
