"""Run coroutines that never wait, without an event loop.

What reads a collection is written once, as coroutines. A coroutine awaits what sends its requests
(``reads.py``): in a program without an event loop that has the answer at once, so that nothing is
ever waited for, and the coroutine runs to its end in one step. In a program with an event loop the
same coroutine is awaited there. Invariant: a coroutine run here awaits nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits; its errors are raised here.

    Raises:
        RuntimeError: It waits, because something gave it a connection of an event loop.

    >>> async def double(number: int) -> int:
    ...     return 2 * number
    >>> run_now(double(4))
    8
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a call that must not wait was given a connection of an event loop")


def immediate(function: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a function as one whose result is awaited, and there at once."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return run
