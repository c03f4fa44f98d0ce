"""Query prompts with examples of the task, as BGE-EN-ICL takes them.

The template is that of "Making Text Embedders Few-Shot Learners" (arXiv 2409.15700, section 3.1)
and its code: an example is task, query and response, each behind its tag; an empty line separates
the examples and the query. Passages have no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RecipeError
from .prompt import Prompt


@dataclass(frozen=True, slots=True)
class InContextExample:
    """A query, and a passage that answers it."""

    query: str
    response: str


def in_context_query(task: str, examples: Sequence[InContextExample]) -> str:
    """Return the query template of BGE-EN-ICL, for ``Choices(query_prompt=…)``.

    Args:
        task: The task of the queries, in a sentence.
        examples: Examples before every query, in this order; they count towards ``max_tokens``.

    Raises:
        RecipeError: A text holds ``{text}`` or ``{slot}``, which have a meaning in templates.

    >>> print(in_context_query("Find the answer.", [InContextExample("1 + 1?", "Two.")]))
    <instruct>Find the answer.
    <query>1 + 1?
    <response>Two.
    <BLANKLINE>
    <instruct>Find the answer.
    <query>{text}
    <response>
    """
    shown = [
        f"<instruct>{task}\n<query>{example.query}\n<response>{example.response}\n\n"
        for example in examples
    ]
    before = f"{''.join(shown)}<instruct>{task}\n<query>"
    template = f"{before}{{text}}\n<response>"
    if "{text}" in before or Prompt.parse(template).prefix != before:
        raise RecipeError("task and examples may not hold {text} or {slot}; reword them")
    return template
