"""How a language model is asked to write, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..errors import TrainingError

SLOT = "{text}"


class OutputColumn(StrEnum):
    """What a generated text is in the file.

    RESPONSE: ``response``, beside the text as ``query``. QUERY: ``query``, beside the text as
    ``positive``.
    """

    RESPONSE = "response"
    QUERY = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How a model is asked.

    Args:
        template: What is asked, with ``{text}`` in the text's place; None: the text alone.
        chat: Whether the tokenizer's chat template stands around that; None: if there is one and
            no ``template``.
        max_tokens: Of a prompt; longer ones lose the end of their text.
        max_new_tokens: Of an answer.
        batch_size: Texts at a time. With ``sample`` it changes what is drawn.
        sample: Draw as the model's own settings say (temperature, top-p); else take the likeliest.
        seed: Of what is drawn.
        written: What the answers are.
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
            raise TrainingError(f"the template says where the text stands: {SLOT}; it has no slot")
        for name in ("max_tokens", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model said to one text.

    Args:
        query: The text.
        response: Without special tokens and white space at its ends; may be empty.
        cut: Whether the text was too long, so that its end was not asked.
    """

    query: str
    response: str
    cut: bool
