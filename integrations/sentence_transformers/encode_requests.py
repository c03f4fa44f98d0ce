"""Turn a call of sentence-transformers into decant's role and texts without prompt.

sentence-transformers passes a task (``encode_query``, ``encode_document``; none from ``encode``)
and the text of a prompt, whether it was named, given or a default. The encoder adds the recipe's
own prompt, so that prompt is recognised here and not added. Invariant: a prompt is neither lost nor
doubled silently.
"""

from __future__ import annotations

from collections.abc import Sequence

from decant.embedders import PooledTokens, Recipe, RecipeError, Role
from decant.embedders.bundle import prompt_text

_TASKS = {"query": Role.QUERY, "document": Role.PASSAGE}
_METHODS = {Role.QUERY: "encode_query", Role.PASSAGE: "encode_document"}


def resolve_request(
    recipe: Recipe, texts: Sequence[str], *, task: str | None, prompt: str | None
) -> tuple[Role, list[str]]:
    """Return the role, and the texts to encode under it.

    Without a task, the query's prompt means queries, and any other prompt means passages.

    Args:
        recipe: The recipe, with its prompts.
        texts: The caller's texts.
        task: ``query``, ``document`` or None.
        prompt: The recipe's own prompt; None takes the role's prompt; another text is put before
            the texts if the role has no prompt.

    Raises:
        RecipeError: The role has another prompt than the requested one, the prompt would be
            pooled although the recipe does not pool prompts, or texts without a task begin with a
            prompt.

    >>> from decant.embedders import Attention, Pooling, Prompt
    >>> recipe = Recipe(
    ...     base="m", attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=8,
    ...     query_prompt=Prompt(prefix="query: "),
    ... )
    >>> resolve_request(recipe, ["a"], task=None, prompt="query: ")
    (<Role.QUERY: 'query'>, ['a'])
    >>> resolve_request(recipe, ["a"], task=None, prompt="title: ")
    (<Role.PASSAGE: 'passage'>, ['title: a'])
    """
    own = {role: prompt_text(recipe.prompt(role)) for role in Role}
    role = _role(own, task, prompt)
    if prompt is None or prompt == own[role]:
        if task is None and own[role]:
            _check_bare(recipe, texts)
        return role, list(texts)
    if own[role]:
        raise RecipeError(
            f"{recipe.base} reads {role} texts behind its own prompt, {own[role]!r}, and the "
            f"call has {prompt!r} instead; leave prompt and prompts out (of a model made with "
            "modules=, pass prompts=module.prompts). A model's task is passed as instruction="
        )
    if recipe.span not in (PooledTokens.ALL, PooledTokens.TAIL):
        raise RecipeError(
            f"{recipe.base} pools {recipe.span} tokens, and would take the prompt {prompt!r} for "
            "text; make it the recipe's (--query-prompt, --passage-prompt of decant export)"
        )
    return role, [prompt + text for text in texts]


def _role(own: dict[Role, str], task: str | None, prompt: str | None) -> Role:
    if task is None:
        query = prompt == own[Role.QUERY] != own[Role.PASSAGE]
        return Role.QUERY if query else Role.PASSAGE
    if task not in _TASKS:
        raise RecipeError(f"a bundle knows the tasks {', '.join(_TASKS)}, got {task!r}")
    return _TASKS[task]


def _check_bare(recipe: Recipe, texts: Sequence[str]) -> None:
    """Refuse texts that already begin with a prompt, as callers write them for other models."""
    prefixes = tuple(
        prefix for role in Role if (prefix := recipe.prompt(role).prefix) and prefix.strip()
    )
    for text in texts:
        if text.startswith(prefixes):
            methods = " or ".join(_METHODS.values())
            raise RecipeError(
                f"{text[:60]!r} begins with a prompt of {recipe.base}, which would then appear "
                f"twice, because decant adds it. Pass texts alone, and use {methods} for their role"
            )
