"""ONNX Runtime without decant, with the settings that decant uses on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from decant.embedders.onnx import SLOW_ON_CPU

CPU = "CPUExecutionProvider"
_AROUND = {"If", "Loop", "Scan"}  # the nodes inside them are timed, too
Feeds = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One run of one node.

    Args:
        operator: Its name, for example ``MatMul``.
        ranks: Of its inputs, as far as they are tensors.
        microseconds: How long it took.
    """

    operator: str
    ranks: tuple[int, ...]
    microseconds: float


def bare_session(
    graph: Path, *, threads: int, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU; with ``profile``, a prefix, every node is timed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(
        str(graph), options, providers=[CPU], disabled_optimizers=list(SLOW_ON_CPU)
    )


def vectors_of(session: onnxruntime.InferenceSession) -> Callable[[Feeds], NDArray[np.float32]]:
    """Return the function from a graph's inputs to its vectors, float32 (B, D)."""

    def run(feeds: Feeds) -> NDArray[np.float32]:
        return np.asarray(session.run(["sentence_embedding"], dict(feeds))[0], np.float32)

    return run


def kernels(graph: Path, feeds: Feeds, *, runs: int, work: Path) -> list[Kernel]:
    """Return every node of several runs on one thread, after one that does not count.

    Args:
        graph: The ONNX file.
        feeds: Its inputs.
        runs: How many runs count.
        work: A folder for the profile.
    """
    session = bare_session(graph, threads=1, profile=work / "profile")
    run = vectors_of(session)
    for _ in range(runs + 1):
        run(feeds)
    file = Path(session.end_profiling())
    events = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    begins = sorted(event["ts"] for event in events if event.get("name") == "model_run")
    return [
        Kernel(
            operator=str(event["args"]["op_name"]),
            ranks=tuple(
                len(shape)
                for item in event["args"].get("input_type_shape", [])
                for shape in item.values()
            ),
            microseconds=float(event["dur"]),
        )
        for event in events
        if event.get("cat") == "Node"
        and str(event.get("name")).endswith("_kernel_time")
        and event["args"]["op_name"] not in _AROUND
        and event["ts"] >= begins[1]
    ]
