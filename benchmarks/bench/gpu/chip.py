"""What a device can do and holds: the matrix product's measured peak, and its memory in use."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from decant.embedders import ProviderError

_WARM_UPS = 5


def torch_device(provider: str) -> torch.device:
    """Return the device of torch that corresponds to an execution provider.

    Args:
        provider: ONNX Runtime's full name.

    Raises:
        ProviderError: It is an NVIDIA provider, and torch sees no GPU; or it is another kind.
    """
    if provider == "CPUExecutionProvider":
        return torch.device("cpu")
    if provider not in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        raise ProviderError(f"torch has no device for {provider}; measure on cpu or cuda")
    if not torch.cuda.is_available():
        raise ProviderError(
            f"torch {torch.__version__} sees no NVIDIA GPU to compare {provider} on; install a "
            "torch built for CUDA, or pass --provider cpu"
        )
    return torch.device("cuda")


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or ``CPU``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def matrix_peak(device: torch.device, dtype: torch.dtype, *, size: int, runs: int) -> float:
    """Return operations a second of a square matrix product, the median of many.

    Random data, as zeros draw less power and run faster. On a GPU timed by its own events.

    Args:
        device: Where.
        dtype: Of both matrices.
        size: Of each side; a product takes ``2 * size**3`` operations.
        runs: How many are timed.
    """
    left, right = (torch.randn((size, size), device=device).to(dtype) for _ in range(2))
    out = torch.empty((size, size), dtype=dtype, device=device)

    def multiply() -> None:
        torch.mm(left, right, out=out)

    for _ in range(_WARM_UPS):
        multiply()
    timer = _event_seconds if device.type == "cuda" else _clock_seconds
    return 2 * size**3 / median(timer(multiply) for _ in range(runs))


def memory_in_use(device: torch.device) -> int:
    """Return bytes in use: of the whole GPU, by everyone; on the CPU, of this process.

    Raises:
        ProviderError: This system does not tell a process's memory.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        free, total = torch.cuda.mem_get_info(device)
        return total - free
    table = Path("/proc/self/statm")
    if not table.exists():
        raise ProviderError("this system has no /proc/self/statm; pass --batches 0")
    pages = int(table.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def release(device: torch.device) -> None:
    """Give back what nobody refers to, so that the next one's memory is its own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _event_seconds(work: Callable[[], None]) -> float:
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def _clock_seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
