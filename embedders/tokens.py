"""Turn texts into token ids, and mark which tokens count.

Everything prompt-related ends here: after this module there are only arrays.
A prompt and its text are tokenised as one string, as the models were trained; then only the text
is cut, so that prompt, special tokens, EOS and what is appended always survive.
Invariant: ``pooling_mask <= attention_mask``, element by element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .ending import ending
from .errors import RecipeError
from .forking import watch_forks
from .golden_texts import GOLDEN_TEXTS
from .kinds import Span
from .marking import Marks, Place, built, closing_tokens, marked, text_tokens, without_marks
from .prompt import Prompt, Role
from .recipe import Recipe
from .row_checks import Unembedded, check_counted
from .tokenizing import encode_prompt, encode_texts
from .words import content_words

if TYPE_CHECKING:
    from tokenizers import Encoding

_GOLDEN_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One text as token ids.

    Args:
        ids: The ids under the role's prompt.
        counted: The first token of the span.
        end: The token after the span's last; None: the span reaches to the end.
        others: The same text under the recipe's further prompts.
        words: Ids of the text's own words, for a :class:`Lexicon` that asks for them.
        prompt: How many tokens stand before the text's first; 0 if the span begins among them.
    """

    ids: tuple[int, ...]
    counted: int
    end: int | None = None
    others: tuple[Tokens, ...] = ()
    words: tuple[int, ...] = ()
    prompt: int = 0

    @property
    def rows(self) -> tuple[Tokens, ...]:
        """The rows that this text takes in a batch: one for each prompt."""
        return (self, *self.others)

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.ids) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenBatch:
    """B texts, padded to one length; names are those of the graph's inputs.

    A text takes P rows that follow each other, one for each prompt of its recipe; P is 1 unless
    the recipe says otherwise. The first three arrays are int64 of shape (B * P, T).

    Args:
        input_ids: Token ids.
        attention_mask: 1 where there is a token.
        pooling_mask: 1 where a token is in the span.
        word_ids: int64, shape (B, W), W >= 1: ids of each text's own words, filled up with -1;
            None where no lexicon asks for them.
        prompt: The first columns that hold a prompt, the same in every row; each row goes on.
        prompt_states: Of a prompt that stands before all columns, float32 (L, 2, H, p, d); None:
            there is none.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    pooling_mask: NDArray[np.int64]
    word_ids: NDArray[np.int64] | None = None
    prompt: int = 0
    prompt_states: NDArray[np.float32] | None = None


class TextTokenizer:
    """Tokenises texts as one recipe says.

    Args:
        tokenizer: The model's tokenizer; it is copied, and its own truncation and padding are
            dropped (all-MiniLM-L6-v2 ships with both set to 128).
        recipe: Gives prompts, EOS, span and length.
        embedded: How many tokens the model has embeddings for; None: for all of the tokenizer's.

    Raises:
        RecipeError: EOS or an appended token is not in the vocabulary, or a prompt leaves no room
            for text, or holds a token that has no embedding.
    """

    def __init__(
        self, tokenizer: Tokenizer, recipe: Recipe, *, embedded: int | None = None
    ) -> None:
        watch_forks()
        self.bare = Tokenizer.from_str(tokenizer.to_str())
        self.bare.no_truncation()
        self.bare.no_padding()
        self.recipe = recipe
        self._ending = ending(self.bare, recipe)
        prompts = {recipe.query, recipe.passage, *recipe.further}
        self._marks = Marks.of(self.bare) if any(map(marked, prompts)) else None
        slot = None if recipe.prepending is None else recipe.prepending.slot
        self._unembedded = Unembedded.of(self.bare, embedded, slot)
        self._words = recipe.lexicon is not None and recipe.lexicon.words
        self._others = {prompt: self._count_others(prompt) for prompt in prompts}

    def room(self, role: Role) -> int:
        """Return how many tokens of text fit beside prompt and special tokens."""
        prompts = (self.recipe.prompt(role), *self.recipe.further)
        limit = self.recipe.max_tokens
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
            RecipeError: The model takes no instruction, or this one leaves no room for text.
            TextError: A text gives no token that counts, or one that the model has no embedding
                for, or the tokenizer fails on it; the message holds its index.
        """
        prompt = self.recipe.prompt(role)
        if instruction is not None:
            prompt = self._instructed(instruction, role)
        limit = max_tokens or self.recipe.max_tokens
        rows = self._tokenised(texts, prompt, limit, first=first)
        check_counted(rows, texts, first=first)
        if self._unembedded is not None:
            self._unembedded.check(rows, first=first)
        return rows

    def _tokenised(
        self, texts: Sequence[str], prompt: Prompt, limit: int, *, first: int = 0
    ) -> list[Tokens]:
        worded = [self.recipe.wording.of(text) for text in texts]
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
        """Return which tokens of a text's uncut row hold parts of it.

        Args:
            text: The text.
            parts: First character and the one after the last, of each part.
            role: Selects the prompt.

        Returns:
            First token and the one after the last, for each part; equal where no token holds any
            of its characters.
        """
        prompt = self.recipe.prompt(role)
        string, ((start, _), *_) = built(prompt, text, self._marks)
        encoding = self._encoder(prompt).encode(string)
        return [text_tokens(encoding, start + begin, start + end) for begin, end in parts]

    def golden(self) -> list[tuple[Role, str, tuple[int, ...]]]:
        """Return role, text and ids of every golden text, cut to 64 tokens or the recipe's limit.

        Roles with the same prompt give the same ids and are listed both.
        """
        found: list[tuple[Role, str, tuple[int, ...]]] = []
        for role in Role:
            prompt = self.recipe.prompt(role)
            enough = self._others[prompt] + prompt.copies * _GOLDEN_LIMIT
            limit = min(self.recipe.max_tokens, enough)
            rows = self._tokenised(GOLDEN_TEXTS, prompt, limit)  # unchecked: one may have no token
            found += [(role, text, row.ids) for text, row in zip(GOLDEN_TEXTS, rows, strict=True)]
        return found

    def _instructed(self, instruction: str, role: Role) -> Prompt:
        if role != Role.QUERY:  # a name is fine, too
            raise RecipeError(
                "an instruction is for queries; where both sides have a task (similarity, "
                "clustering), encode both as queries"
            )
        prompt = self.recipe.instructed(instruction)
        self._count_others(prompt)
        return prompt

    def _encoder(self, prompt: Prompt) -> Tokenizer:
        if self._marks is None or not marked(prompt):
            return self.bare
        return self._marks.tokenizer

    def _rows(
        self, texts: Sequence[str], prompt: Prompt, limit: int, *, first: int
    ) -> list[Tokens]:
        strings = [built(prompt, text, self._marks) for text in texts]
        written = [string for string, _ in strings]
        encodings = encode_texts(self._encoder(prompt), written, first=first)
        return [
            self._row(encoding, copies, limit)
            for encoding, (_, copies) in zip(encodings, strings, strict=True)
        ]

    def _row(self, encoding: Encoding, copies: list[Place], limit: int) -> Tokens:
        """Drop tokens beyond ``limit`` from the ends of the copies, as many from each."""
        ids, places = self._found(encoding, copies)
        surplus = len(ids) + len(self._ending) - limit
        share = -(-surplus // len(places))
        longest = self.recipe.max_text_tokens
        # Beyond the recipe's limit a caller wants the whole text, to count its tokens.
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
        read = self.recipe.span is not Span.ALL and counted < before
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
        """Return the first of ``count`` tokens that counts and the one after the last.

        None is the end.
        """
        match self.recipe.span:
            case Span.ALL:
                return 0, None
            case Span.TEXT:
                return (places[0][0] if copies[0][0] > 0 else 0), None
            case Span.COPY:
                return places[-1][0], None
            case Span.CONTENT:
                start, stop = places[0]
                return (start, stop) if start < stop else (0, None)
            case Span.TAIL:
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
            RecipeError: They leave no room for text, or one has no embedding.
        """
        string, copies = built(prompt, "a", self._marks)
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
