"""A HashEncoder of a model that takes instructions, has prompts, and was trained to be cut."""

from __future__ import annotations

from dataclasses import replace

from decant.embedders import HashEncoder, Prompt

TEMPLATE = "task: {instruction} query: {text}"


class InstructedEncoder(HashEncoder):
    """Vectors of 8 values that may be cut to 4 up; also sparse vectors and token embeddings."""

    def __init__(self) -> None:
        super().__init__(
            8,
            query_prompt=Prompt.parse("query: {text}"),
            passage_prompt=Prompt.parse("passage: {text}"),
            max_tokens=32,
            sparse=True,
            tokens=True,
        )
        self._recipe = replace(self._recipe, min_dim=4, instruction_template=TEMPLATE)
