"""Positives of all processes as negatives of each: what several GPUs make of in-batch negatives."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.distributed.nn import functional


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, this one's first; gradients flow to all of them.

    Args:
        rows: (B, ...), of one B in all processes.

    Returns:
        (B * processes, ...); with one process, what was given.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    processes, rank = distributed.get_world_size(), distributed.get_rank()
    if processes == 1:
        return rows
    if rows.requires_grad:
        parts = list(functional.all_gather(rows))  # type: ignore[no-untyped-call]
    else:
        parts = [torch.empty_like(rows) for _ in range(processes)]
        distributed.all_gather(parts, rows.contiguous())
    return torch.cat([parts[rank], *parts[:rank], *parts[rank + 1 :]])
