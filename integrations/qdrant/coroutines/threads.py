"""Run blocking calls of coroutines in decant's own threads, so that they do not delay other code.

There are at most 32 of these threads; further calls wait for a free one. They are daemons, and a
forked child starts its own. Cancelling a coroutine stops its call before the next request.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Condition, Event, Thread
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...stop import stoppable

_THREADS = 32
_GRACE = 1.0  # seconds for which the end of the process waits for calls whose coroutines are gone

S = TypeVar("S")
P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of a blocking function, without blocking the event loop.

    It runs in a thread of decant's own, with the caller's context variables. If the coroutine is
    cancelled before a thread is free, the function never runs. If it is cancelled later, the thread
    sends no further request to a server, and is free when the current request has ended or timed
    out.

    Args:
        function: The function to run; its errors are raised here.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
    """
    stop = Event()
    context = copy_context()

    def work() -> T:
        with stoppable(stop):
            return function(*args, **kwargs)

    try:
        return await asyncio.get_running_loop().run_in_executor(_pool(), context.run, work)
    except asyncio.CancelledError:
        stop.set()
        raise


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


class _Pool(Executor):
    """Daemon threads; a new one is started when there is work and no idle thread.

    The interpreter's exit would wait for threads of ``ThreadPoolExecutor``, however long a server
    keeps them.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._changed = Condition()
        self._threads = 0
        self._unfinished = 0
        atexit.register(self._await_the_rest, os.getpid())

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a call."""
        future: Future[T] = Future()
        call = partial(fn, *args, **kwargs)
        with self._changed:
            self._unfinished += 1
            is_short = self._unfinished > self._threads and self._threads < _THREADS
            self._threads += is_short
        self._work.put(partial(_carry_out, future, call))
        if is_short:
            name = f"decant-async-{self._threads}"
            Thread(target=self._run, name=name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            work = self._work.get()
            work()
            del work  # otherwise its result would live until the next call
            with self._changed:
                self._unfinished -= 1
                self._changed.notify_all()

    def _await_the_rest(self, process: int) -> None:
        if os.getpid() == process:  # a forked child has none of the threads
            with self._changed:
                self._changed.wait_for(lambda: not self._unfinished, _GRACE)


def _carry_out(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 (raised again where the future is awaited)
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        del future, call  # the error's traceback and these would refer to each other


_POOLS: dict[int, _Pool] = {}


def _pool() -> _Pool:
    """Return the pool of this process.

    There is no lock, because a fork could copy it while it is held; ``setdefault`` is atomic.
    """
    process = os.getpid()
    if (pool := _POOLS.get(process)) is not None:
        return pool
    for other in {*_POOLS} - {process}:
        _POOLS.pop(other, None)  # of a parent
    return _POOLS.setdefault(process, _Pool())
