"""A method of a collection as a coroutine, which never blocks the event loop.

The method runs in a thread of decant's own (``threads.py``). Cancelling the coroutine stops the
method before its next request to a server; in a folder only indexing stops.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from .threads import run_in_thread

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")


def as_coroutine(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Return the coroutine function that runs a method in a thread; its name gets an ``a``.

    Args:
        method: Any method. What a subclass puts in its place is run in its place.
    """
    name = method.__name__

    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        own: Callable[P, T] = getattr(self, name)
        return await run_in_thread(own, *args, **kwargs)

    run.__name__ = f"a{name}"
    run.__qualname__ = method.__qualname__.replace(name, f"a{name}")
    run.__module__ = method.__module__
    run.__doc__ = f"Do what :meth:`{name}` does, without blocking the event loop."
    run.__wrapped__ = method  # type: ignore[attr-defined]  # for inspect.signature
    return run
