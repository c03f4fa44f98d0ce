"""What stands after every text: its EOS, then the tokens that a recipe appends."""

from __future__ import annotations

from tokenizers import Tokenizer

from .errors import RecipeError
from .recipe import Recipe


def ending(tokenizer: Tokenizer, recipe: Recipe) -> tuple[int, ...]:
    """Return the ids that follow what the tokenizer itself puts at the end.

    Raises:
        RecipeError: The vocabulary lacks one of the tokens.
    """
    eos: tuple[int, ...] = ()
    if recipe.eos is not None and not recipe.open_end:
        last = tokenizer.token_to_id(recipe.eos)
        if last is None:
            raise RecipeError(
                f"the recipe ends every text with {recipe.eos!r}, which this tokenizer "
                "does not know; correct the recipe's eos"
            )
        # transformers >= 5 no longer appends EOS for e5-mistral and its kin: their
        # tokenizer.json adds <s> alone, so the recipe decides, not the tokenizer's settings.
        if tokenizer.encode("a").ids[-1:] != [last]:
            eos = (last,)
    return (*eos, *_appended(tokenizer, recipe))


def _appended(tokenizer: Tokenizer, recipe: Recipe) -> tuple[int, ...]:
    found: list[int] = []
    for token in () if recipe.appended is None else recipe.appended.tokens:
        one = tokenizer.token_to_id(token)
        if one is None:
            raise RecipeError(
                f"the recipe appends {token!r}, which this tokenizer does not know; add it to the "
                "tokenizer with the id that its trained embedding has, or correct the recipe"
            )
        found.append(one)
    return tuple(found)
