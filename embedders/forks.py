"""Make anew in a forked child what a fork breaks: threads, and locks that a thread held.

A child has one thread, whatever its parent had (gunicorn's ``--preload``, Celery's prefork pool,
``multiprocessing`` before Python 3.14): work that waits for another waits for ever, and so does who
takes a lock that one of them held at that moment. Objects that have either register here and are
told in the child, before anything else runs there. Where nothing forks this costs nothing.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Holds threads or locks."""

    def renew(self) -> None:
        """Make threads and locks anew, without waiting for anything; called in a forked child."""
        ...


_owners: WeakSet[Renewable] = WeakSet()


_forked: list[bool] = []  # filled in a child


def renew_after_fork(owner: Renewable) -> None:
    """Call ``owner.renew()`` in every child that is forked while ``owner`` exists."""
    watch_forks()
    _owners.add(owner)


def forked() -> bool:
    """Tell whether this process was forked after :func:`watch_forks`."""
    return bool(_forked)


def leave_behind(inherited: object) -> None:
    """Never free what belongs to the parent's threads: its destructor would wait for them.

    A reference is not enough, because the interpreter drops them all when it ends.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def end_without_destructors() -> None:
    """Let this process end as ``os._exit`` does once Python has finished, with its exit code.

    For a forked child that inherited ONNX Runtime: merely imported, it has a thread, for which its
    destructors in the child wait for ever (1.31; ``multiprocessing`` and Celery skip them anyway,
    gunicorn's workers do not). Python's own handlers ran before, and C's buffers are written. Does
    nothing where the C library is not glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        # What is registered last runs first, and all of it before what the parent registered.
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
