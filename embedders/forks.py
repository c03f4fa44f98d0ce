"""Replace in a forked child what a fork breaks: threads, and locks that a thread held.

A forked child has one thread, whatever its parent had (gunicorn's ``--preload``, Celery's prefork
pool, ``multiprocessing`` before Python 3.14). Work that waits for another thread waits for ever,
and so does code that takes a lock which another thread held at the fork. Objects with threads or
locks register here, and ``renew()`` is called on them in the child before anything else runs there.
Without a fork this costs nothing.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object that holds threads or locks."""

    def renew(self) -> None:
        """Make new threads and locks without waiting; called in a forked child."""
        ...


_owners: WeakSet[Renewable] = WeakSet()


_forked: list[bool] = []  # filled in a child


def renew_after_fork(owner: Renewable) -> None:
    """Call ``owner.renew()`` in every child that is forked while ``owner`` exists."""
    watch_forks()
    _owners.add(owner)


def forked() -> bool:
    """Return whether this process was forked after :func:`watch_forks`."""
    return bool(_forked)


def leave_behind(inherited: object) -> None:
    """Never free an object of the parent's threads: its destructor would wait for them.

    A reference is not enough, because the interpreter drops them all when it ends.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def end_without_destructors() -> None:
    """Let this process end like ``os._exit`` once Python has finished, with its exit code.

    This is for a forked child that inherited ONNX Runtime. The mere import starts a thread, and the
    destructors of ONNX Runtime 1.31 wait for that thread in the child for ever (``multiprocessing``
    and Celery skip destructors, gunicorn's workers do not). Python's exit handlers run before, and
    C's buffers are written. Without glibc this function does nothing.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        # Handlers run in reverse order of registration, so these run before those of the parent.
        libc.on_exit(libc["_exit"], None)
        libc.on_exit(libc.fcloseall, None)


@cache
def watch_forks() -> None:
    """Notice forks from now on."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    _forked.append(True)
    for owner in list(_owners):
        owner.renew()
