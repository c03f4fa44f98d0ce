"""The language of words, as it is typed: a helper of its own, for indexing and for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from decant.embedders import StoreError

if TYPE_CHECKING:
    from decant.integrations.qdrant import Words

NO_LANGUAGE = "none"
"""What a user types for words of any language, which stay as they are."""


def words_of(language: str, *, option: str) -> Words:
    """Return how the words of texts in a language are indexed.

    Args:
        language: The name of a language, or :data:`NO_LANGUAGE`.
        option: The option by which it was given, for the message.

    Raises:
        BadParameter: Qdrant knows nothing of the language.
    """
    from decant.integrations.qdrant import Words

    try:
        return Words(language=None if language == NO_LANGUAGE else language)
    except StoreError as error:
        advice = str(error).replace("None (--words none)", repr(NO_LANGUAGE))
        raise typer.BadParameter(advice, param_hint=option) from None
