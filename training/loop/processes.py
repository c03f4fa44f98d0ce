"""The other processes of a training: a file of its own, which the command line uses."""

from __future__ import annotations

from torch import distributed


def leave_other_processes() -> None:
    """End the connections to the other processes of a run, if there are some.

    If Python ends before that, PyTorch may abort.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
