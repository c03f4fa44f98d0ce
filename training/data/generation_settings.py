"""Settings of generated data, and an answer of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..errors import TrainingError

SLOT = "{text}"


class OutputColumn(StrEnum):
    """The column of a generated text in the file.

    RESPONSE: The generated text is the ``response`` to the given text, which is the ``query``.
    QUERY: The generated text is a ``query`` for the given text, which is its ``positive``.
    """

    RESPONSE = "response"
    QUERY = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """Settings of generation.

    Args:
        template: The prompt, with ``{text}`` in place of the text; None: the text alone.
        chat: Whether to apply the tokenizer's chat template to the prompt; None: if it has one and
            there is no ``template``.
        max_tokens: The most tokens of a prompt; longer texts are cut at their end.
        max_new_tokens: The most tokens of an answer.
        batch_size: Texts per batch. With ``sample`` it changes the answers.
        sample: Sample with the model's own settings (temperature, top-p) instead of greedy
            decoding.
        seed: Seed of the sampling.
        written: The column of the answers.
    """

    template: str | None = None
    chat: bool | None = None
    max_tokens: int = 1024
    max_new_tokens: int = 500
    batch_size: int = 16
    sample: bool = True
    seed: int = 0
    written: OutputColumn = OutputColumn.RESPONSE

    def __post_init__(self) -> None:
        if self.template is not None and SLOT not in self.template:
            raise TrainingError(f"the template needs {SLOT} in place of the text, and has none")
        for name in ("max_tokens", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a model to one text.

    Args:
        query: The text.
        response: The answer, without special tokens and white space at its ends; may be empty.
        cut: Whether the text was too long, so that its end was left out of the prompt.
    """

    query: str
    response: str
    cut: bool
