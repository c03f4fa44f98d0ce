"""Time a decoder's graph on both runtimes of the CPU against PyTorch, batch by batch.

    python experiments/decoder_on_openvino.py MODEL GRAPH [--rounds 5] [--threads 2]

MODEL is a Transformers folder of a decoder, GRAPH what ``decant export`` traced of it. Each round
runs every system once on the same token ids (seed 0): a row of 12 tokens, and 8 rows of 20 to 64,
padded on the right. Printed are medians of seconds and processor seconds, and the worst cosine to
PyTorch in float32. Nothing of tokenising or of decant's batches is in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from decant.embedders import Precision
from decant.embedders.onnx import GraphFile, open_session
from decant.embedders.tokens import TokenBatch, Tokens, pad

System = Callable[[TokenBatch], NDArray[np.float32]]


def torch_system(folder: Path, dtype: torch.dtype, *, autocast: bool) -> System:
    """Return PyTorch's last real token, normalised."""
    model = AutoModel.from_pretrained(folder, dtype=dtype, trust_remote_code=False).eval()

    def run(batch: TokenBatch) -> NDArray[np.float32]:
        ids, mask = (torch.from_numpy(one) for one in (batch.input_ids, batch.attention_mask))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        last = states[torch.arange(len(ids)), mask.sum(1) - 1].float()
        found: NDArray[np.float32] = torch.nn.functional.normalize(last, dim=1).numpy()
        return found

    return run


def batch_of(lengths: list[int]) -> TokenBatch:
    """Return rows of drawn ids."""
    drawn = np.random.default_rng(0)
    rows = [Tokens(ids=tuple(drawn.integers(1000, 30_000, n).tolist()), counted=0) for n in lengths]
    return pad(rows, pad_id=0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    systems: dict[str, System] = {
        "torch float32": torch_system(given.model, torch.float32, autocast=False),
        "torch bfloat16": torch_system(given.model, torch.bfloat16, autocast=False),
        "torch autocast": torch_system(given.model, torch.float32, autocast=True),
    }
    for provider in ("CPUExecutionProvider", "OpenVINO"):
        for precision in (Precision.FP32, Precision.BF16):
            if provider == "OpenVINO" or precision is Precision.FP32:
                graph = GraphFile(path=given.graph, precision=precision)
                session = open_session(graph, provider, threads=given.threads)
                systems[f"{provider} {precision}"] = session.run
    for title, lengths in (("one text", [12]), ("8 texts", [20, 28, 33, 40, 47, 52, 60, 64])):
        batch = batch_of(lengths)
        vectors = {name: run(batch) for name, run in systems.items()}
        wall: dict[str, list[float]] = {name: [] for name in systems}
        cpu: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(given.rounds):
            for name, run in systems.items():
                began, used = time.perf_counter(), time.process_time()
                run(batch)
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
        exact = vectors["torch float32"]
        for name, found in vectors.items():
            norm = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
            worst = ((found * exact).sum(axis=1) / norm).min()
            print(
                f"{title:9} {name:26} {statistics.median(wall[name]):.4f} s, processor "
                f"{statistics.median(cpu[name]):.4f} s, worst cosine {worst:.6f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
