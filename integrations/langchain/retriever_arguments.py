"""Sort the arguments of LangChain's calls, which all come as keywords.

Some of ``as_retriever`` are the retriever's, others go to its searches, and LangChain itself drops
the latter without a word where they are not in ``search_kwargs``. Those of searches that LangChain
does not know are the fields of :class:`SearchOptions`, by their names; ``rerank`` may also be a
reranker itself, with ``candidates`` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from langchain_core.vectorstores import VectorStoreRetriever

from ..arguments import refuse_unknown
from ..qdrant import MMR, Field, Rerank, SearchOptions
from ..qdrant.searching.options import with_rerank

_OPTIONS = tuple(field.name for field in fields(SearchOptions))
# Arguments of searches; outside of search_kwargs LangChain drops them silently.
_SEARCH = (
    "k",
    "filter",
    "offset",
    "mode",
    "fusion",
    "fetch_k",
    "lambda_mult",
    *_OPTIONS,
    "candidates",
)


def search_options(given: Mapping[str, object], *, mmr: MMR | None = None) -> SearchOptions:
    """Return the options of a search from the keywords of a call.

    Args:
        given: The fields of :class:`SearchOptions` that were given, and ``candidates``.
        mmr: The variety that the call itself asks for; then ``given`` may not.

    Raises:
        TypeError: A keyword is unknown.
        StoreError: An option is impossible.

    >>> search_options({"distinct": True}).distinct
    True
    """
    known = {*_OPTIONS, "candidates"} - ({"mmr"} if mmr else set())
    call = "a search by maximal marginal relevance" if mmr else "a similarity search"
    refuse_unknown({name: value for name, value in given.items() if name not in known}, call)
    options: dict[str, Any] = {**given} if mmr is None else {**given, "mmr": mmr}
    candidates = options.pop("candidates", None)
    rerank = None if isinstance(options.get("rerank"), Rerank) else options.pop("rerank", None)
    found = with_rerank(SearchOptions(**options), rerank, candidates) or SearchOptions()
    if found.group is not None and found.group.by == "source":
        # Documents show it of every passage, as filters do.
        found = replace(found, group=replace(found.group, by=Field.SOURCE))
    return found


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
