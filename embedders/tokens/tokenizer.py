"""Turn texts into token ids, and mark which tokens count.

Prompts are handled only up to here: later modules see arrays alone.

A prompt and its text are tokenised as one string, as the models were trained; then only the text
is cut, so prompt, special tokens, EOS and appended tokens always survive.
Invariant: ``pooling_mask <= attention_mask``, element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from tokenizers import Tokenizer

from ..errors import RecipeError
from ..forks import watch_forks
from ..recipe.enums import PooledTokens
from ..recipe.prompt import Prompt, Role
from ..recipe.recipe import Recipe
from .checks import Unembedded, check_counted
from .content_words import content_words
from .golden_texts import GOLDEN_TEXTS
from .late_tokens import LateTokens
from .prompt_layout import (
    Marks,
    Place,
    closing_tokens,
    lay_out,
    needs_marks,
    text_tokens,
    without_marks,
)
from .rows import Tokens
from .tokenizers_errors import encode_prompt, encode_texts

if TYPE_CHECKING:
    from tokenizers import Encoding

_GOLDEN_LIMIT = 64


class TextTokenizer:
    """Tokenises texts as one recipe specifies.

    Args:
        tokenizer: The model's tokenizer; it is copied, and its own truncation and padding are
            dropped (all-MiniLM-L6-v2 ships with both set to 128).
        recipe: Gives prompts, EOS, span and length.
        embedded: How many tokens the model has embeddings for; None: for all tokens of the
            tokenizer.

    Raises:
        RecipeError: EOS or an appended token is not in the vocabulary, a prompt fills
            ``max_tokens``, or it holds a token that has no embedding.
    """

    def __init__(
        self, tokenizer: Tokenizer, recipe: Recipe, *, embedded: int | None = None
    ) -> None:
        watch_forks()
        self.bare = Tokenizer.from_str(tokenizer.to_str())
        self.bare.no_truncation()
        self.bare.no_padding()
        self.recipe = recipe
        self._late = LateTokens.of(recipe.late_interaction, self.bare)
        self._ending = _end_ids(self.bare, recipe)
        prompts = {recipe.query_prompt, recipe.passage_prompt, *recipe.further}
        self._marks = Marks.of(self.bare) if any(map(needs_marks, prompts)) else None
        slot = None if recipe.prepending is None else recipe.prepending.slot
        self._unembedded = Unembedded.of(self.bare, embedded, slot)
        self._words = recipe.sparse_head is not None and recipe.sparse_head.words
        self._others = {prompt: self._count_others(prompt) for prompt in prompts}
        if self.max_text_tokens(Role.QUERY) < 1:
            raise RecipeError(
                f"the prompt of queries and special tokens fill {self._limit(Role.QUERY)} tokens, "
                "the longest query, and leave no room for text"
            )

    def max_text_tokens(self, role: Role) -> int:
        """Return how many tokens of text fit next to the prompt and the special tokens."""
        prompts = (self.recipe.prompt(role), *self.recipe.further)
        limit = self._limit(role)
        room = min((limit - self._others[prompt]) // prompt.copies for prompt in prompts)
        longest = self.recipe.max_text_tokens
        return room if longest is None else min(room, longest)

    def __call__(
        self,
        texts: Sequence[str],
        *,
        role: Role,
        max_tokens: int | None = None,
        instruction: str | None = None,
        first: int = 0,
    ) -> list[Tokens]:
        """Tokenise ``texts``.

        Args:
            texts: The texts.
            role: Selects the prompt.
            max_tokens: Each row is cut to so many; None is the recipe's limit.
            instruction: The task, in place of the one in the query prompt.
            first: The caller's number of the first text, for messages.

        Raises:
            RecipeError: The model takes no instruction, or the instruction fills ``max_tokens``.
            TextError: A text gives no token that counts, or a token without an embedding, or the
                tokenizer fails on it; the message holds its index.
        """
        prompt = self.recipe.prompt(role)
        if instruction is not None:
            prompt = self._instructed(instruction, role)
        limit = max_tokens or self._limit(role)
        rows = self._tokenised(texts, prompt, limit, first=first)
        if self._late is not None:
            rows = self._late.marked(rows, role)
        check_counted(rows, texts, first=first)
        if self._unembedded is not None:
            self._unembedded.check(rows, first=first)
        return rows

    def _limit(self, role: Role) -> int:
        """Return the longest input of a role in tokens."""
        most = self.recipe.max_tokens
        return most if self._late is None else self._late.limit(role, most)

    def _tokenised(
        self, texts: Sequence[str], prompt: Prompt, limit: int, *, first: int = 0
    ) -> list[Tokens]:
        worded = [self.recipe.text_format.of(text) for text in texts]
        prompts = (prompt, *self.recipe.further)
        rows, *further = (self._rows(worded, one, limit, first=first) for one in prompts)
        if further:
            others = zip(*further, strict=True)
            rows = [replace(row, others=more) for row, more in zip(rows, others, strict=True)]
        if self._words:
            found = [self._word_ids(text, first + index) for index, text in enumerate(texts)]
            rows = [replace(row, words=words) for row, words in zip(rows, found, strict=True)]
        return rows

    def places(self, text: str, parts: Sequence[Place], *, role: Role) -> list[Place]:
        """Return the tokens that hold each part of a text, in a row that is not truncated.

        Args:
            text: The text.
            parts: For each part, its first character and the character after its last.
            role: Selects the prompt.

        Returns:
            For each part, its first token and the token after its last; they are equal if no token
            holds any of its characters.
        """
        prompt = self.recipe.prompt(role)
        string, ((start, _), *_) = lay_out(prompt, text, self._marks)
        encoding = self._encoder(prompt).encode(string)
        return [text_tokens(encoding, start + begin, start + end) for begin, end in parts]

    def golden(self) -> list[tuple[Role, str, tuple[int, ...]]]:
        """Return role, text and ids of every golden text, cut to 64 tokens or the recipe's limit.

        Roles with the same prompt give the same ids, and both are listed.
        """
        found: list[tuple[Role, str, tuple[int, ...]]] = []
        for role in Role:
            prompt = self.recipe.prompt(role)
            enough = self._others[prompt] + prompt.copies * _GOLDEN_LIMIT
            limit = min(self._limit(role), enough)
            rows = self._tokenised(
                GOLDEN_TEXTS, prompt, limit
            )  # not checked, because a golden text may have no token
            rows = rows if self._late is None else self._late.marked(rows, role)
            found += [(role, text, row.ids) for text, row in zip(GOLDEN_TEXTS, rows, strict=True)]
        return found

    def _instructed(self, instruction: str, role: Role) -> Prompt:
        if role != Role.QUERY:  # the role may be a name
            raise RecipeError(
                "an instruction is for queries; where both sides have a task (similarity, "
                "clustering), encode both as queries"
            )
        prompt = self.recipe.instructed(instruction)
        self._count_others(prompt)
        return prompt

    def _encoder(self, prompt: Prompt) -> Tokenizer:
        if self._marks is None or not needs_marks(prompt):
            return self.bare
        return self._marks.tokenizer

    def _rows(
        self, texts: Sequence[str], prompt: Prompt, limit: int, *, first: int
    ) -> list[Tokens]:
        strings = [lay_out(prompt, text, self._marks) for text in texts]
        written = [string for string, _ in strings]
        encodings = encode_texts(self._encoder(prompt), written, first=first)
        return [
            self._row(encoding, copies, limit)
            for encoding, (_, copies) in zip(encodings, strings, strict=True)
        ]

    def _row(self, encoding: Encoding, copies: list[Place], limit: int) -> Tokens:
        """Cut the row to ``limit`` tokens, with as many dropped from the end of each copy."""
        ids, places = self._found(encoding, copies)
        surplus = len(ids) + len(self._ending) - limit
        share = -(-surplus // len(places))
        longest = self.recipe.max_text_tokens
        # A caller that passes more than the recipe's limit counts the tokens of the whole text.
        if longest is not None and limit <= self.recipe.max_tokens:
            share = max(share, places[0][1] - places[0][0] - longest)
        if share > 0:
            for number in reversed(range(len(places))):
                start, stop = places[number]
                end = max(start, stop - share)
                ids = ids[:end] + ids[stop:]
                later = [(a - stop + end, b - stop + end) for a, b in places[number + 1 :]]
                places = [*places[:number], (start, end), *later]
        ids = [*ids, *self._ending]
        counted, until = self._span(places, copies, len(ids))
        before = places[0][0]
        read = self.recipe.span is not PooledTokens.ALL and counted < before
        return Tokens(ids=tuple(ids), counted=counted, end=until, prompt=0 if read else before)

    def _found(self, encoding: Encoding, copies: list[Place]) -> tuple[list[int], list[Place]]:
        places = [text_tokens(encoding, *copy) for copy in copies]
        ids: list[int] = encoding.ids
        if self._marks is not None:
            prepending = self.recipe.prepending
            slot = None if prepending is None else prepending.slot
            ids, places = without_marks(self._marks, encoding, places, slot=slot)
        if self.recipe.open_end:
            ids = ids[: len(ids) - closing_tokens(encoding)]
        return ids, places

    def _span(self, places: list[Place], copies: list[Place], count: int) -> tuple[int, int | None]:
        """Return the first pooled token of ``count`` tokens, and the one after the last.

        None means the end.
        """
        match self.recipe.span:
            case PooledTokens.ALL:
                return 0, None
            case PooledTokens.TEXT:
                return (places[0][0] if copies[0][0] > 0 else 0), None
            case PooledTokens.COPY:
                return places[-1][0], None
            case PooledTokens.CONTENT:
                start, stop = places[0]
                return (start, stop) if start < stop else (0, None)
            case PooledTokens.TAIL:
                assert self.recipe.appended is not None
                return count - self.recipe.appended.read, None
            case _:
                assert_never(self.recipe.span)

    def _word_ids(self, text: str, index: int) -> tuple[int, ...]:
        words = content_words(text)
        encodings = encode_texts(self.bare, words, first=index, special=False)
        return tuple(sorted({one for encoding in encodings for one in encoding.ids}))

    def _count_others(self, prompt: Prompt) -> int:
        """Return how many tokens a prompt and special tokens take.

        Raises:
            RecipeError: They fill ``max_tokens``, or one of them has no embedding.
        """
        string, copies = lay_out(prompt, "a", self._marks)
        ids, places = self._found(encode_prompt(self._encoder(prompt), string), copies)
        if self._unembedded is not None:
            self._unembedded.check_prompt(prompt.template, [*ids, *self._ending])
        text = sum(stop - start for start, stop in places)
        others = len(ids) - text + len(self._ending)
        if others + prompt.copies > self.recipe.max_tokens:
            raise RecipeError(
                f"the prompt {prompt.template[:60]!r} and special tokens take {others} of "
                f"max_tokens={self.recipe.max_tokens} and leave no room for text; raise max_tokens"
            )
        return others


def _end_ids(tokenizer: Tokenizer, recipe: Recipe) -> tuple[int, ...]:
    """Return the ids that follow the special tokens of the tokenizer at the end.

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
        # transformers >= 5 no longer appends EOS for e5-mistral and similar models: their
        # tokenizer.json adds <s> alone, so the recipe decides, not the tokenizer's settings.
        if tokenizer.encode("a").ids[-1:] != [last]:
            eos = (last,)
    return (*eos, *_appended_ids(tokenizer, recipe))


def _appended_ids(tokenizer: Tokenizer, recipe: Recipe) -> tuple[int, ...]:
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
