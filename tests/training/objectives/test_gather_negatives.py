"""Two processes that train together compare each query with the positives of both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from decant.training import Contrastive, ContrastiveSettings, TrainingExample, open_base
from decant.training.objectives.gather_negatives import gathered

# A query that comes twice, in both halves, and a positive that is another's query.
ROWS = [
    TrainingExample(query="the cat", positive="a hat"),
    TrainingExample(query="white heat", positive="that winter"),
    TrainingExample(query="the cat", positive="what then"),
    TrainingExample(query="in the end", positive="a whale"),
    TrainingExample(query="a hat", positive="the white whale"),
    TrainingExample(query="then", positive="heat in winter"),
]

_PART = """
import sys
from datetime import timedelta
import torch
from safetensors.torch import save_file
from torch import distributed
from decant.training import Contrastive, ContrastiveSettings, TrainingExample, open_base
model, meeting, rank, chunk, target, *texts = sys.argv[1:]
distributed.init_process_group(
    "gloo", init_method=f"file://{meeting}", rank=int(rank), world_size=2,
    timeout=timedelta(seconds=60),
)
torch.set_num_threads(1)
pairs = zip(texts[::2], texts[1::2])
rows = [TrainingExample(query=query, positive=positive) for query, positive in pairs]
settings = ContrastiveSettings(mini_batch_size=int(chunk) or None, matryoshka_dims=(8,))
objective = Contrastive(open_base(model), settings).eval()
loss = objective(objective.collate(rows))["loss"]
loss.backward()
found = {"loss": loss.detach()}
for name, value in objective.named_parameters():
    if value.grad is not None:
        distributed.all_reduce(value.grad)
        found[f"grad {name}"] = value.grad / 2  # what DistributedDataParallel does
save_file(found, target)
distributed.destroy_process_group()
"""


def together(bert: Path, folder: Path, *, chunk: int) -> list[Mapping[str, Tensor]]:
    """Return loss and mean gradients of two processes, each with a half of the rows."""
    running = []
    for rank, rows in enumerate((ROWS[:3], ROWS[3:])):
        texts = [text for row in rows for text in (row.query, row.positive or "")]
        words = (str(bert), str(folder / "meeting"), str(rank), str(chunk), str(folder / f"{rank}"))
        running.append(subprocess.Popen([sys.executable, "-c", _PART, *words, *texts]))
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return [load_file(folder / str(rank)) for rank in range(2)]


@pytest.mark.parametrize("chunk", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_two_processes_learn_what_one_learns_from_the_whole_batch(
    bert: Path, tmp_path: Path, chunk: int
) -> None:
    objective = Contrastive(open_base(bert), ContrastiveSettings(matryoshka_dims=(8,))).eval()
    loss = objective(objective.collate(ROWS))["loss"]
    loss.backward()
    first, second = together(bert, tmp_path, chunk=chunk)
    assert (first["loss"] + second["loss"]).item() / 2 == pytest.approx(loss.item(), abs=1e-5)
    assert first["loss"].item() != pytest.approx(second["loss"].item(), abs=1e-3)
    named = {
        f"grad {name}": value.grad
        for name, value in objective.named_parameters()
        if value.grad is not None
    }
    assert named.keys() == first.keys() - {"loss"} == second.keys() - {"loss"}
    assert max(float(value.abs().max()) for value in named.values()) > 1e-2
    for name, gradient in named.items():
        torch.testing.assert_close(first[name], gradient, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(second[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_run_of_two_processes_leaves_one_model_and_speaks_once(
    bert: Path, pairs: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [
        sys.executable, "-m", "decant.cli", "train", "contrastive", "--base", str(bert),
        "--pairs", str(pairs), "--out", "tuned", "--batch-size", "4", "--max-steps", "3", "--json",
    ]  # fmt: skip
    running = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        said = [process.communicate(timeout=180)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0]
    assert json.loads(said[0])["run"]["steps"] == 3
    assert said[1] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]
    first, tuned = (load_file(one / "model.safetensors") for one in (bert, tmp_path / "tuned"))
    assert any(not torch.equal(first[name], value) for name, value in tuned.items())


def test_alone_there_is_nothing_to_gather() -> None:
    rows = torch.ones(2, 3)
    assert gathered(rows) is rows
