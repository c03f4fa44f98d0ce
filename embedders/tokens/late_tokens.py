"""Which tokens of a text get a vector of their own, as its recipe's late interaction says.

Queries are filled up with an expansion token; passages lose the vectors of skipped tokens. The ids
that the model reads change only for queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from tokenizers import AddedToken

from ..errors import RecipeError
from ..recipe.prompt import Role

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..recipe.late_interaction import LateInteraction, QueryExpansion
    from .rows import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LateTokens:
    """The tokens of a recipe's late interaction as ids.

    Args:
        expansion: What queries are filled up with, and the id of its token; None: nothing.
        skipped: Ids that give no vector in a passage.
        skips_first: Whether the first token of every text gives no vector.
        longest_query: The longest query in tokens; None: the recipe's longest input.
    """

    expansion: tuple[QueryExpansion, int] | None = None
    skipped: frozenset[int] = frozenset()
    skips_first: bool = False
    longest_query: int | None = None

    @classmethod
    def of(cls, late: LateInteraction | None, tokenizer: Tokenizer) -> Self | None:
        """Return the tokens for a tokenizer, and let it read markers as one token each.

        Skipped words that are no token of the vocabulary are passed over, as ColBERT does: no text
        holds them as one token.

        Args:
            late: The recipe's late interaction; None: token vectors are the bare states.
            tokenizer: The model's; markers become special tokens of it.

        Raises:
            RecipeError: The vocabulary lacks a marker or the expansion token.
        """
        if late is None:
            return None
        for marker in late.markers:
            _known(tokenizer, marker, "has the marker")
        # Not normalised: a tokenizer that lower-cases would find no "[Q]" in a text.
        added = [AddedToken(marker, normalized=False) for marker in late.markers]
        tokenizer.add_special_tokens(list(added))
        expansion = late.expansion
        skipped = (tokenizer.token_to_id(word) for word in late.skipped)
        return cls(
            expansion=None
            if expansion is None
            else (expansion, _known(tokenizer, expansion.token, "fills queries up with")),
            skipped=frozenset(one for one in skipped if one is not None),
            skips_first=late.skips_first,
            longest_query=late.longest_query,
        )

    def limit(self, role: Role, most: int) -> int:
        """Return the longest input of a role in tokens, of ``most`` at most."""
        if role != Role.QUERY or self.longest_query is None:  # the role may be a name
            return most
        return min(most, self.longest_query)

    def marked(self, rows: Sequence[Tokens], role: Role) -> list[Tokens]:
        """Return the rows of texts with expansion, and with the places that give no vector."""
        if role == Role.QUERY:
            return [self._query(row) for row in rows]
        return [replace(row, silent=self._silent(row)) for row in rows]

    def _query(self, row: Tokens) -> Tokens:
        silent = (0,) if self.skips_first else ()
        if self.expansion is None:
            return replace(row, silent=silent)
        expansion, token = self.expansion
        lacking = max(0, expansion.length - len(row.ids))
        return replace(
            row,
            ids=row.ids + lacking * (token,),
            silent=silent,
            unattended=0 if expansion.attended else lacking,
        )

    def _silent(self, row: Tokens) -> tuple[int, ...]:
        return tuple(
            place
            for place, one in enumerate(row.ids)
            if one in self.skipped or (self.skips_first and place == 0)
        )


def _known(tokenizer: Tokenizer, token: str, what: str) -> int:
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise RecipeError(
            f"the recipe's late interaction {what} {token!r}, which this tokenizer does not know; "
            "correct the recipe, or add the token with the id that its trained embedding has"
        )
    return found
