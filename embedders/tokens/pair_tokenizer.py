"""Turn pairs of a query and a passage into token ids.

With a template, what stands before and behind a passage is a prompt like any other, so the tokens
of the query are known to be shared by all passages behind it. Without one, the tokenizer's own
pair of two sequences is used, and special tokens that a user writes are read as plain text there:
a graph tells the two sequences apart by the separator, which only the tokenizer may put.
Invariant: a pair that is too long loses the end of its passage and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from ..errors import TextError
from ..recipe.prompt import Prompt, Role
from ..recipe.rerank_recipe import RerankRecipe
from .golden_texts import GOLDEN_TEXTS
from .rows import Tokens
from .tokenizer import TextTokenizer
from .tokenizers_errors import encode_prompt, encode_texts

if TYPE_CHECKING:
    from tokenizers import Encoding

Pair = tuple[str, str]
"""A query and a passage."""

PROBE_QUERY = "What is this text about?"
"""The query of texts that come without one, for example those that measure a graph's speed."""

_GOLDEN_QUERIES = (
    "what is a PEP",
    "naïve  café — 日本語 {text} </s> [SEP] <|endoftext|>",
)
_GOLDEN_LIMIT = 96
_UNCUT = 10**9  # tokens, more than any pair has


class PairTokenizer(TextTokenizer):
    """Tokenises pairs as one recipe specifies.

    Args:
        tokenizer: The model's tokenizer; it is copied, without its truncation and padding.
        recipe: Gives the template, the instruction and the length.
        embedded: How many tokens the model has embeddings for; None: for all tokens of the
            tokenizer.

    Raises:
        RecipeError: As :class:`TextTokenizer`.
    """

    def __init__(
        self, tokenizer: Tokenizer, recipe: RerankRecipe, *, embedded: int | None = None
    ) -> None:
        super().__init__(tokenizer, recipe.encoding, embedded=embedded)
        self.pair_recipe = recipe
        if recipe.pair.template is None:
            self.bare.encode_special_tokens = True

    def __call__(
        self,
        texts: Sequence[str],
        *,
        role: Role,
        max_tokens: int | None = None,
        instruction: str | None = None,
        first: int = 0,
    ) -> list[Tokens]:
        """Tokenise texts as passages under :data:`PROBE_QUERY`, whatever their role.

        Args:
            texts: The passages.
            role: It has no effect.
            max_tokens: As :meth:`pairs`.
            instruction: As :meth:`pairs`.
            first: As :meth:`pairs`.
        """
        del role
        pairs = [(PROBE_QUERY, text) for text in texts]
        return self.pairs(pairs, instruction=instruction, max_tokens=max_tokens, first=first)

    def pairs(
        self,
        pairs: Sequence[Pair],
        *,
        instruction: str | None = None,
        max_tokens: int | None = None,
        first: int = 0,
    ) -> list[Tokens]:
        """Tokenise pairs of a query and a passage.

        Args:
            pairs: The pairs; those of one query are best given one after the other.
            instruction: The task, in place of the recipe's.
            max_tokens: Each row is cut to so many; None is the recipe's limit.
            first: The caller's number of the first pair, for messages.

        Raises:
            RecipeError: The model takes no instruction.
            TextError: A query leaves no room for a passage, a text holds a token without an
                embedding, or the tokenizer fails on it; the message holds its index.
        """
        limit = max_tokens or self.recipe.max_tokens
        rows: list[Tokens] = []
        for query, group in groupby(pairs, key=itemgetter(0)):
            texts = [text for _, text in group]
            rows += self._behind(query, texts, instruction, limit=limit, first=first + len(rows))
        if self._unembedded is not None:
            self._unembedded.check(rows, first=first)
        return rows

    def golden_pairs(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return query, passage and ids of every golden pair: the last 96, uncut before."""
        golden = [(query, text) for query in _GOLDEN_QUERIES for text in GOLDEN_TEXTS]
        rows = [
            row
            for query, text in golden
            for row in self._behind(query, [text], None, limit=_UNCUT, first=0)
        ]
        return [
            (query, text, row.ids[-_GOLDEN_LIMIT:])
            for (query, text), row in zip(golden, rows, strict=True)
        ]

    def separator(self) -> int | None:
        """Return the token behind the query, from which on tokens are of the second type.

        None: the tokenizer's pair has one type, or the recipe has a template.
        """
        if self.pair_recipe.pair.template is not None:
            return None
        encoding = self.bare.encode("a", "a")
        types: list[int] = encoding.type_ids
        if 1 not in types:
            return None
        last: int = encoding.ids[types.index(1) - 1]
        return last

    def type_ids(self, query: str, text: str) -> list[int] | None:
        """Return the types that the tokenizer gives the tokens of a pair; None: it has one type."""
        if self.separator() is None:
            return None
        found: list[int] = self.bare.encode(query, text).type_ids
        return found

    def _behind(
        self, query: str, texts: list[str], instruction: str | None, *, limit: int, first: int
    ) -> list[Tokens]:
        """Return the rows of passages under one query."""
        if self.pair_recipe.pair.template is None:
            self.pair_recipe.pair.check_instruction(instruction)
            strings = [(query, text) for text in texts]
            encodings = encode_texts(self.bare, strings, first=first)
            return [self._pair_row(one, limit) for one in encodings]
        prompt = self.pair_recipe.pair.prompt(query, instruction)
        self._check_room(self._around(prompt), limit)
        return self._rows(texts, prompt, limit, first=first)

    def _around(self, prompt: Prompt) -> int:
        """Return how many tokens stand around a passage."""
        string = f"{prompt.prefix}a{prompt.suffix}"
        encoding = encode_prompt(self.bare, string)
        row = self._row(encoding, [(len(prompt.prefix), len(prompt.prefix) + 1)], _UNCUT)
        return len(row.ids) - 1

    def _check_room(self, taken: int, limit: int) -> None:
        if taken >= limit:
            raise TextError(
                f"the query with all that stands around a passage takes {taken} of "
                f"max_tokens={limit} tokens and leaves no room for a passage; a query is never "
                "cut, so shorten it"
            )

    def _pair_row(self, encoding: Encoding, limit: int) -> Tokens:
        """Return the row of the tokenizer's own pair, with the end of the passage cut."""
        ids: list[int] = encoding.ids
        places = [at for at, number in enumerate(encoding.sequence_ids) if number == 1]
        self._check_room(len(ids) - len(places), limit)
        surplus = len(ids) - limit
        if surplus > 0:
            end = places[-1] + 1
            ids = ids[: end - surplus] + ids[end:]
        return Tokens(ids=tuple(ids), counted=0)
