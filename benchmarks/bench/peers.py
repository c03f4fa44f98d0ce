"""The encoders that we compare with, on the same weights, set as their users set them.

sentence-transformers runs PyTorch with as many threads as there are cores, its own default.
fastembed runs ONNX Runtime with as many threads as there are cores, its own default too, on the
plain graph of the model: token states out, mean and normalisation done by fastembed.
"""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from decant.embedders.errors import need

Embed: TypeAlias = Callable[[Sequence[str], int], NDArray[np.float32]]
"""Maps texts and a batch size to vectors, shape (N, D)."""

_CUSTOM = "decant-benchmark/minilm"
_INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An encoder of another project.

    Args:
        name: Its name.
        threads: How its threads are set.
        default_batch: The batch size that it takes when nobody says one.
        batches: The batch sizes to try for the fastest.
        embed: Embeds texts at a batch size.
    """

    name: str
    threads: str
    default_batch: int
    batches: tuple[int, ...]
    embed: Embed


def sentence_transformers(
    model: Path, *, dtype: str = "float32", device: str = "cpu", autocast: bool = False
) -> Peer:
    """Return sentence-transformers on ``model``.

    Args:
        model: A sentence-transformers folder.
        dtype: The type of its weights, a name of torch's.
        device: Torch's name of where it runs.
        autocast: Whether torch multiplies in bfloat16 whatever the weights' type is.

    Raises:
        MissingExtra: It is not installed.
    """
    library = need("sentence_transformers", extra="peers")
    encoder = library.SentenceTransformer(
        str(model),
        device=device,
        trust_remote_code=False,
        model_kwargs={"dtype": getattr(torch, dtype)},
    )

    def embed(texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = encoder.encode(list(texts), batch_size=batch, show_progress_bar=False)
        return np.asarray(found, np.float32)

    kind = "" if dtype == "float32" else f" {dtype}"
    if autocast:
        kind = " autocast"
    return Peer(
        name=f"sentence-transformers{kind}",
        threads=f"torch's own number of threads, {torch.get_num_threads()}",
        default_batch=32,
        batches=(4, 8, 16, 32),
        embed=embed,
    )


def fastembed(model: Path, work: Path) -> Peer:
    """Return fastembed with the weights of ``model`` as a custom model, on the CPU.

    Args:
        model: A BERT-style Transformers folder with mean pooling.
        work: Where its ONNX file stays between runs.

    Raises:
        MissingExtra: It is not installed.
    """
    library = need("fastembed", extra="peers")
    parts = need("fastembed.common.model_description", extra="peers")
    folder = _usual_onnx(model, work / "fastembed")
    known = [item["model"] for item in library.TextEmbedding.list_supported_models()]
    if _CUSTOM not in known:
        library.TextEmbedding.add_custom_model(
            model=_CUSTOM,
            pooling=parts.PoolingType.MEAN,
            normalization=True,
            # Never fetched: the files are given below.
            sources=parts.ModelSource(url="https://localhost/"),
            dim=AutoModel.from_pretrained(model, trust_remote_code=False).config.hidden_size,
            model_file="model.onnx",
        )
    encoder = library.TextEmbedding(
        _CUSTOM, specific_model_path=str(folder), providers=["CPUExecutionProvider"]
    )

    def embed(texts: Sequence[str], batch: int) -> NDArray[np.float32]:
        return np.stack(list(encoder.embed(list(texts), batch_size=batch)))

    return Peer(
        name="fastembed",
        threads="threads=None, so one a core; in one process, as parallel=None has it",
        default_batch=256,
        # It does not sort by length, so small batches spare it padding.
        batches=(1, 2, 4, 8, 32),
        embed=embed,
    )


def batch_seconds(peer: Peer, texts: Sequence[str]) -> dict[int, float]:
    """Return, for each of the peer's batch sizes, the shorter time of two."""
    peer.embed(texts, peer.batches[0])
    best = dict.fromkeys(peer.batches, float("inf"))
    for _ in range(2):
        for batch in peer.batches:
            start = time.perf_counter()
            peer.embed(texts, batch)
            best[batch] = min(best[batch], time.perf_counter() - start)
    return best


def worst_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the lowest cosine between rows of the same index; shapes (N, D)."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).min())


class _TokenStates(torch.nn.Module):
    """The graph that the hub's ONNX files of such models hold: last_hidden_state, (B, T, d)."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.backbone(
            input_ids=ids, attention_mask=mask, token_type_ids=types
        ).last_hidden_state
        return states


def _usual_onnx(model: Path, folder: Path) -> Path:
    """Make the folder that fastembed loads: the usual ONNX file and the tokenizer's files."""
    target = folder / "model.onnx"
    if target.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in model.glob("*.json"):
        shutil.copy(path, folder)
    loaded = AutoModel.from_pretrained(model, attn_implementation="eager", trust_remote_code=False)
    backbone = loaded.eval()
    free = {0: "batch", 1: "tokens"}
    making = folder / "making.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # dynamo=False as in optimum, which made the files on the hub. ONNX Runtime also runs this
        # graph faster than dynamo's, so it is the kinder choice.
        torch.onnx.export(
            _TokenStates(backbone).eval(),
            tuple(torch.ones((2, 7), dtype=torch.int64) for _ in _INPUTS),
            str(making),
            dynamo=False,
            input_names=_INPUTS,
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys([*_INPUTS, "last_hidden_state"], free),
            opset_version=17,
        )
    making.rename(target)
    return folder
