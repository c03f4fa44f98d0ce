"""One model of a server: an encoder under a name, and how many tokens it reads of a text.

Texts are tokenised here before they are accepted. So a text that cannot be embedded is refused for
the client that sent it, and never reaches a pass with texts of others. Messages name its index and
hold nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never, runtime_checkable

from decant.embedders import Encoder, Output, RecipeError, Role, TextError, Vectors
from decant.embedders.tokens import checked

from ..batches import PASS_TOKENS, PassKey
from ..errors import InstructionRefused, RequestError, SettingsError, TextRefused

if TYPE_CHECKING:
    from decant.embedders.onnx import Settled
    from decant.embedders.tokens import TextTokenizer

# With one, workers wait for the longest batch of a pass more often than they work.
_BATCHES_A_WORKER = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


@runtime_checkable
class _TokenizesTexts(Protocol):
    """An encoder that shows the tokens that its model reads, prompts included."""

    @property
    def text_tokenizer(self) -> TextTokenizer: ...


@runtime_checkable
class _Batches(Protocol):
    """An encoder that shows how it cuts texts into batches."""

    @property
    def runtime(self) -> Settled: ...


def check_name(name: str) -> None:
    """Refuse a name by which no client could ask for a model.

    Raises:
        SettingsError: It has other characters than allowed, or is longer than 128.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"a model's name has at most 128 letters, digits and ._/-, and begins with a letter or "
            f"digit; got {name!r}. Give another one: NAME=BUNDLE"
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModel:
    """An encoder under the name by which clients ask for it.

    Args:
        name: Letters, digits, and ``._/-`` after the first of them.
        encoder: What computes the vectors; it stays the caller's to close.

    Raises:
        SettingsError: The name has other characters, or is longer than 128.
    """

    name: str
    encoder: Encoder

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def digest(self) -> str:
        """The digest of the recipe, by which ``name@digest`` pins the model."""
        return self.encoder.recipe.digest()

    @property
    def pass_tokens(self) -> int:
        """How many tokens keep the encoder busy: two batches for each of its workers."""
        if not isinstance(self.encoder, _Batches):
            return PASS_TOKENS
        runtime = self.encoder.runtime
        return _BATCHES_A_WORKER * runtime.workers * runtime.token_budget

    @property
    def needs_role(self) -> bool:
        """Whether queries and passages get different prompts."""
        recipe = self.encoder.recipe
        return recipe.query_prompt != recipe.passage_prompt

    def encode(self, texts: Sequence[str], key: PassKey) -> Vectors:
        """Return the vectors of the texts of one pass."""
        return self.encoder.encode(
            texts, role=key.role, instruction=key.instruction, outputs=key.outputs
        )

    def check_width(self, dim: int) -> None:
        """Refuse a width to which the model was not trained to be cut.

        Raises:
            RequestError: Says which widths there are.
        """
        width, least = self.encoder.dim, self.encoder.recipe.min_dim
        if dim not in range(min(width, least or width), width + 1):
            allowed = "only that" if least is None else f"it was trained to be cut to {least:,} up"
            raise RequestError(
                f"{self.name} gives vectors of {width:,} values, and {allowed}; asked for {dim:,}"
            )

    def check_instruction(self, key: PassKey) -> None:
        """Refuse an instruction that the model cannot take.

        Raises:
            InstructionRefused: The model takes none, the texts are passages, or it is blank.
        """
        if key.instruction is None:
            return
        if self.encoder.recipe.instruction_template is None:
            raise InstructionRefused(f"{self.name} takes no instruction; leave it out")
        if key.role is not Role.QUERY:
            raise InstructionRefused(
                "an instruction is for queries, and these texts are passages; leave it out, or "
                "send them with the role query"
            )
        if not key.instruction.strip():
            raise InstructionRefused("the instruction is blank; leave it out, or say the task")

    def check_outputs(self, outputs: Collection[Output]) -> None:
        """Refuse vectors that the model does not give.

        Raises:
            RequestError: Says which.
        """
        for output in outputs:
            if not self.gives(output):
                raise RequestError(f"{self.name} gives no {output}; leave it out")

    def gives(self, output: Output) -> bool:
        """Return whether the model gives such vectors in addition to dense ones."""
        recipe = self.encoder.recipe
        match output:
            case Output.SPARSE:
                return recipe.sparse_head is not None
            case Output.SOFT_TOKENS:
                return recipe.appended is not None
            case Output.TOKEN_EMBEDDINGS:
                return recipe.token_embeddings
            case _:
                assert_never(output)

    def count_tokens(
        self, texts: Sequence[str], key: PassKey, *, numbers: Sequence[int]
    ) -> tuple[int, ...]:
        """Return how many tokens the model reads of each text, prompt and special tokens included.

        Where texts are longer than the model reads, only what it reads is counted.

        Args:
            texts: The texts.
            key: How they are to be encoded.
            numbers: The client's number of each text, for messages.

        Raises:
            TextRefused: A text cannot be embedded; the message holds its number.
            InstructionRefused: The instruction leaves no room for texts.
        """
        try:
            return self._count(texts, key)
        except RecipeError:
            raise InstructionRefused(
                f"{self.name} cannot take this instruction: it leaves no room for the text, or "
                "holds a token that the model has no embedding for; shorten it"
            ) from None  # the cause quotes it
        except TextError:
            number = numbers[self._first_refused(texts, key)]
            raise TextRefused(
                f"text {number} cannot be embedded by {self.name}: it is empty, or its tokenizer "
                "drops all of it, or it holds a token that the model has no embedding for; leave "
                "it out"
            ) from None

    def check_lengths(self, texts: Sequence[str], key: PassKey, *, numbers: Sequence[int]) -> None:
        """Refuse texts of which the model would not read the end.

        Args:
            texts: The texts.
            key: How they are to be encoded.
            numbers: The client's number of each text, for messages.

        Raises:
            RequestError: A text has too many tokens; the message holds its index.
        """
        room = self.encoder.max_text_tokens(key.role)
        encodings = self.encoder.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        for number, encoding in zip(numbers, encodings, strict=True):
            if (count := len(encoding.ids)) > room:
                raise RequestError(
                    f"text {number} has {count:,} tokens, and {self.name} reads {room:,} of a "
                    f"{key.role}; shorten it, or allow it to be truncated"
                )

    def _count(self, texts: Sequence[str], key: PassKey) -> tuple[int, ...]:
        given = list(checked(texts))
        encoder = self.encoder
        if isinstance(encoder, _TokenizesTexts):
            rows = encoder.text_tokenizer(given, role=key.role, instruction=key.instruction)
            return tuple(sum(len(one.ids) for one in row.rows) for row in rows)
        room = encoder.max_text_tokens(key.role)
        others = encoder.recipe.max_tokens - room
        encodings = encoder.tokenizer.encode_batch(given, add_special_tokens=False)
        # A HashEncoder reads no token of a blank text, and still gives it a vector.
        return tuple(max(1, min(len(one.ids), room) + others) for one in encodings)

    def _first_refused(self, texts: Sequence[str], key: PassKey) -> int:
        """Return the index of the first text that is refused; the error itself quotes the text."""
        for index, text in enumerate(texts):
            try:
                self._count([text], key)
            except TextError:
                return index
        return 0
