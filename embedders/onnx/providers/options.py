"""How hard to use the machine: the user's settings, tuned settings, and defaults.

These settings change how long a vector takes, never the vector.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...errors import ProviderError
from .table import find_provider

_CPU_TOKEN_BUDGET = 512
_GPU_TOKEN_BUDGET = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOptions:
    """How hard to use the machine; None chooses a default. Changes speed, never the result.

    Args:
        device: The GPU's number.
        workers: Batches that run at the same time.
        threads: Cores that one batch uses on the CPU.
        token_budget: The most tokens in a batch, padding included.
    """

    device: int = 0
    workers: int | None = None
    threads: int | None = None
    token_budget: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "token_budget"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ProviderError(f"{name} must be at least 1 or None, got {value}")

    @property
    def open(self) -> bool:
        """Whether all settings but the device are None."""
        return self.workers is self.threads is self.token_budget is None

    def settled(self, provider: str) -> Settled:
        """Return the settings with each None replaced by the default for ``provider``."""
        cores, on_cpu = available_cores(), find_provider(provider).is_cpu
        # On CPUs, one single-threaded worker a core beats one worker with all cores, and batches of
        # some hundred tokens stay in its cache and pad little. Token budgets were measured
        # (experiments/log/2026-11-20-skip-layer-normalization.md).
        workers = self.workers or (cores if on_cpu else 2)
        threads = self.threads or (max(1, cores // workers) if on_cpu else 1)
        budget = self.token_budget or (_CPU_TOKEN_BUDGET if on_cpu else _GPU_TOKEN_BUDGET)
        return Settled(device=self.device, workers=workers, threads=threads, token_budget=budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The fields of :class:`ExecutionOptions` without None."""

    device: int
    workers: int
    threads: int
    token_budget: int

    @property
    def lone_threads(self) -> int:
        """Cores for a batch that runs alone: as many as all workers use together."""
        return self.workers * self.threads

    def __str__(self) -> str:
        """Return the settings in words: ``2 workers x 1 thread, 512 tokens``."""
        workers = "worker" if self.workers == 1 else "workers"
        threads = "thread" if self.threads == 1 else "threads"
        return f"{self.workers} {workers} x {self.threads} {threads}, {self.token_budget:,} tokens"


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
