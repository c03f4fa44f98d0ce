"""Trace a pooled model into one ONNX graph, and check its weights against the source.

The graph takes ``input_ids``, ``attention_mask`` (and ``pooling_mask`` where the recipe's span is
not ALL), int64 (B, T), and gives ``sentence_embedding``, float32 (B, D). B and T are free from
1 on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import torch
from numpy.typing import NDArray
from torch import nn

from decant.embedders import Check, PooledModel, RecipeError, Span

from .fused import fusable, fused_attention
from .weight_files import EXTERNAL_ABOVE, save_graph

# The first with Gelu as one operator; ONNX Runtime fuses the rest when it opens the graph.
OPSET = 20
_MOST_ROWS = 2**20


def trace(model: PooledModel, path: Path, *, external_above: int = EXTERNAL_ABOVE) -> None:
    """Write ``model`` as an ONNX file.

    Args:
        model: In evaluation mode, on the CPU. Its attention implementation changes for the time
            of the call: causal attention becomes one operator where :func:`fusable`, the rest
            plain operators, which every provider runs.
        path: The file to write; weights go to ``<path>_data`` beside it above a size.
        external_above: That size in bytes.

    Raises:
        RecipeError: PyTorch cannot trace this architecture.
    """
    names = ["input_ids", "attention_mask"]
    if model.recipe.span is not Span.ALL:
        names.append("pooling_mask")
    # One tensor each: torch.export takes the same tensor twice for the same input twice.
    examples = tuple(torch.ones((2, 7), dtype=torch.int64) for _ in names)
    rows = torch.export.Dim("batch", min=1, max=_MOST_ROWS)
    columns = torch.export.Dim("tokens", min=1, max=max(model.recipe.max_tokens, 8))
    with (fused_attention if fusable(model) else _eager)(model) as traced, _quiet():
        try:
            program = torch.onnx.export(
                traced,
                examples,
                dynamo=True,
                input_names=names,
                output_names=["sentence_embedding"],
                dynamic_shapes=({0: rows, 1: columns},) * len(names),
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            kind = model.backbone.config.model_type
            raise RecipeError(f"PyTorch cannot trace a {kind!r} model: {error}") from error
    assert program is not None
    _drop_notes(program.model)
    save_graph(program.model, path, external_above=external_above)


def _drop_notes(model: onnx_ir.Model) -> None:
    """Drop the exporter's notes about this machine's files from every node."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()


def weights_check(model: PooledModel, path: Path) -> Check:
    """Look for every weight of the graph among the model's, bit by bit.

    The vectors of probe texts cannot see a damaged row of the token table that no probe uses; this
    does. The exporter stores linear layers transposed and shares equal tensors, so a tensor is
    known by its bytes; one that has the shape of a weight and the bytes of none is damaged.
    Vectors (biases, norms) are left to the probes, which use every element of them, because some
    are folded into constants (Gemma's ``1 + weight``).
    """
    parameters = [value.detach().numpy() for value in model.state_dict().values()]
    matrices = [value for value in parameters if value.ndim == 2]
    both = [*matrices, *(value.T for value in matrices)]
    shapes = {value.shape for value in both}
    known = {_fingerprint(value) for value in both}
    compared, strange = 0, []
    for tensor in onnx.load(path).graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tuple(tensor.dims) in shapes:
            compared += 1
            stored = onnx.numpy_helper.to_array(tensor, base_dir=str(path.parent))
            if _fingerprint(stored) not in known:
                strange.append(tensor.name)
    finding = f"{strange[0]} is not a weight of the source" if strange else ""
    if compared == 0:
        finding = "the graph holds no matrix of the shape of a weight"
    return Check(
        name="weights",
        cases=compared,
        worst_cosine=-1.0 if finding else 1.0,
        passed=not finding,
        finding=finding,
    )


def _fingerprint(values: NDArray[np.generic]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).data).digest()


@contextlib.contextmanager
def _eager(model: PooledModel) -> Iterator[nn.Module]:
    before = model.backbone.config._attn_implementation  # noqa: SLF001 - there is no public getter
    assert before is not None
    model.backbone.set_attn_implementation("eager")
    try:
        yield model
    finally:
        model.backbone.set_attn_implementation(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and deprecation notes off the terminal; errors still raise."""
    logger = logging.getLogger("torch.onnx")  # "torchvision is not installed", and the like
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
