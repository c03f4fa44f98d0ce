"""Trace a pooled model into one ONNX graph.

The graph takes ``input_ids``, ``attention_mask`` (and ``pooling_mask`` where the recipe's span is
not ALL), int64 (B * P, T), P rows for each text, and ``word_ids``, int64 (B, W), if its sparse head
wants words. It gives ``sentence_embedding``, float32 (B, D), and further outputs of the recipe:
``sparse_indices``, int64, and ``sparse_values``, float32, both (B, K); ``compress_states``, float32
(B, n, d'), the states of appended tokens; ``token_embeddings``, float32 (B, T, d), in the columns
of the input. B, T and W are free from 1 on. If :func:`shareable`, it also has the inputs
``prompt_states`` and ``prompt_rows``, and the output ``present_states``; see
``prompt_cache_attention.py``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx_ir
import torch
from onnxscript.rewriter.ort_fusions.rms_normalization import fuse_rms_normalization
from torch import nn

from decant.embedders import RecipeError
from decant.embedders.encoding import PRESENT, PROMPT, PROMPT_ROWS
from decant.embedders.pytorch import PooledModel

from ..graph.external_data import EXTERNAL_ABOVE, save_graph, weights_of
from ..passes.fuse_bias import fuse_biases
from ..passes.fuse_rotary import fuse_rotary
from ..passes.restore_token_axis import unflatten
from ..passes.slice_pooled_token import prune_unread
from ..passes.widen_bfloat16 import widen_bfloat16
from .attention_impl import attending
from .group_query_attention import add_sinks, fusable, fused_attention
from .multi_head_attention import dense, dense_attention, lower
from .prompt_cache_attention import lower_shared, no_prompt, shareable, shared_prompt

# The first opset with Gelu as one operator; ONNX Runtime fuses the rest when it opens the graph.
OPSET = 20
_MOST_ROWS = 2**20


def trace(model: PooledModel, path: Path, *, external_above: int = EXTERNAL_ABOVE) -> None:
    """Write ``model`` as an ONNX file.

    Args:
        model: A model in evaluation mode, on the CPU. Its attention implementation changes during
            the call: causal attention becomes one operator if :func:`fusable`, the rest plain
            operators, which every provider runs.
        path: The file to write; large weights go to ``<path>_data`` next to it.
        external_above: The bytes of weights above which they go there.

    Raises:
        RecipeError: PyTorch cannot trace this architecture.
    """
    texts = torch.export.Dim("texts", min=1, max=_MOST_ROWS)
    prompts = 1 + len(model.recipe.further)
    rows = prompts * texts if prompts > 1 else texts
    columns = torch.export.Dim("tokens", min=1, max=max(model.recipe.max_tokens, 8))
    words = torch.export.Dim("words", min=1, max=_MOST_ROWS)
    # A tensor for each input, because torch.export takes one tensor for one input.
    examples = {
        name: torch.ones((2, 3) if name == "word_ids" else (2 * prompts, 7), dtype=torch.int64)
        for name in model.inputs
    }
    shapes = {
        name: {0: texts, 1: words} if name == "word_ids" else {0: rows, 1: columns}
        for name in model.inputs
    }
    outputs = [*model.outputs]
    if shared := shareable(model):
        examples[PROMPT] = no_prompt(model, tokens=3)
        examples[PROMPT_ROWS] = torch.arange(2)
        shapes[PROMPT] = {3: torch.export.Dim("prompt", min=1, max=columns.max)}
        shapes[PROMPT_ROWS] = {0: torch.export.Dim("prompts", min=1, max=_MOST_ROWS)}
        outputs.append(PRESENT)
    with _attention(model)(model) as traced, _quiet():
        try:
            program = torch.onnx.export(
                traced,
                kwargs=examples,
                dynamo=True,
                input_names=[*examples],
                output_names=outputs,
                dynamic_shapes=shapes,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            kind = model.backbone.config.model_type
            raise RecipeError(f"PyTorch cannot trace a {kind!r} model: {error}") from error
        assert program is not None
        weights = list(weights_of(program.model))
        program.optimize()
        fuse_rms_normalization(program.model)
    unflatten(program.model)
    fuse_rotary(program.model)
    lower(program.model)
    if shared:
        lower_shared(program.model, no_prompt(model))
    if model.backbone.dtype is not torch.bfloat16:
        widen_bfloat16(program.model)
    prune_unread(program.model, model.recipe.pooling)
    fuse_biases(program.model)
    if model.backbone.dtype is torch.float32:
        add_sinks(program.model)
    _drop_notes(program.model)
    save_graph(program.model, path, external_above=external_above)
    # onnxscript's rewriter keeps the last graph; this frees that graph's weights.
    for weight in (*weights, *weights_of(program.model)):
        weight.const_value = None


def _drop_notes(model: onnx_ir.Model) -> None:
    """Drop the exporter's notes about this machine's files from every node."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()


def _attention(
    model: PooledModel,
) -> Callable[[PooledModel], contextlib.AbstractContextManager[nn.Module]]:
    """Return how the model's attention is traced."""
    if shareable(model):
        return shared_prompt
    if fusable(model):
        return fused_attention
    return dense_attention if dense(model) else _eager


@contextlib.contextmanager
def _eager(model: PooledModel) -> Iterator[nn.Module]:
    with attending(model, "eager"):
        yield model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's progress and deprecation messages; errors are still raised."""
    logger = logging.getLogger("torch.onnx")  # for example "torchvision is not installed"
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
