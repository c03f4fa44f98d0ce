"""Gather positives across processes, so that each GPU uses those of all others as negatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.autograd import Function


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, this one's first; gradients flow to all of them.

    Args:
        rows: (B, ...), with the same B in all processes.

    Returns:
        (B * processes, ...); with one process, ``rows`` itself.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    processes, rank = distributed.get_world_size(), distributed.get_rank()
    if processes == 1:
        return rows
    gather = cast("Callable[[Tensor], Tensor]", _Gather.apply) if rows.requires_grad else _all
    every = gather(rows)  # one row of (B, ...) for each process
    return torch.cat([every[rank], *every[:rank], *every[rank + 1 :]])


class _Gather(Function):
    """Gather with gradients: torch deprecates its own in 2.13, in favour of a private module."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - torch's signature
        return _all(rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - as above
        # The gradient of every process's loss by the rows of this one.
        summed = grad_outputs[0].contiguous().clone()
        distributed.all_reduce(summed)
        return summed[distributed.get_rank()]


def _all(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.stack(parts)
