"""Sort the arguments of ``as_retriever``: some are the retriever's, others go to its searches.

LangChain itself drops the latter without a word where they are not in ``search_kwargs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.vectorstores import VectorStoreRetriever

from ..arguments import refuse_unknown

# Arguments of searches; outside of search_kwargs LangChain drops them silently.
_SEARCH = ("k", "filter", "offset", "mode", "fetch_k", "lambda_mult", "score_threshold")


def retriever_arguments(given: Mapping[str, object]) -> dict[str, Any]:
    """Return the arguments of a retriever, with those of its searches moved to ``search_kwargs``.

    Raises:
        TypeError: An argument is unknown, or appears both in and outside ``search_kwargs``.

    >>> retriever_arguments({"tags": ["mine"], "k": 2, "search_kwargs": {"mode": "dense"}})
    {'tags': ['mine'], 'search_kwargs': {'mode': 'dense', 'k': 2}}
    """
    known = {*VectorStoreRetriever.model_fields, *_SEARCH} - {"vectorstore"}
    refuse_unknown(
        {name: value for name, value in given.items() if name not in known}, "as_retriever()"
    )
    inner = given.get("search_kwargs") or {}
    if not isinstance(inner, Mapping):
        raise TypeError(f"search_kwargs is a mapping of names, got {inner!r}")
    search = {name: given[name] for name in _SEARCH if name in given}
    if twice := sorted(search.keys() & inner.keys()):
        raise TypeError(
            f"as_retriever() got {', '.join(twice)} both as an argument and in search_kwargs; "
            "give it once"
        )
    own = {name: value for name, value in given.items() if name not in {*_SEARCH, "search_kwargs"}}
    return {**own, "search_kwargs": {**inner, **search}}
