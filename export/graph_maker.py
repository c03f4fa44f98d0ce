"""Make and certify the graphs of a bundle: first all that need the PyTorch model, then the rest.

The model is gone before the first graph is opened: together they would hold the weights in memory
three times.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import torch
from torch import nn

from decant.embedders import OnStep, Precision
from decant.embedders.bundle import AnyEntry
from decant.embedders.onnx import provider_name
from decant.embedders.pytorch import PooledModel

from .bundle_writer import GRAPH, graph_name
from .certify.any_certifier import AnyCertifier
from .certify.certifier import Place
from .certify.weight_checks import Fingerprints, weights_check
from .converter import make_graph
from .trace.tracing import trace


def trace_graphs(
    model: PooledModel, folder: Path, precisions: Iterable[Precision], on_step: OnStep
) -> None:
    """Write the graphs that are traced from the model; the others are made from the float32 one.

    Args:
        model: The float32 model.
        folder: The bundle in the making.
        precisions: All that the bundle shall have.
        on_step: Called with the name of each step as it begins.
    """
    for precision in precisions:
        path = folder / graph_name(precision)
        match precision:
            case Precision.FP32:
                on_step("tracing the graph")
                path.parent.mkdir()
                trace(model, path)
            case Precision.FP16:
                on_step("tracing the fp16 graph")
                trace(in_half(model, torch.float16), path)
            case Precision.BF16:
                on_step("tracing the bf16 graph; it is not certified, for no CPU runs it")
                trace(in_half(model, torch.bfloat16), path)
            case Precision.INT8 | Precision.W8 | Precision.W4:
                continue
            case _:
                assert_never(precision)


@dataclass(frozen=True, slots=True)
class Making:
    """What the graphs of a bundle are certified with, and rounded ones are made with.

    Args:
        certifier: Of the bundle in the making; :func:`trace_graphs` wrote its graphs.
        source: What is known of the float32 model's weights.
        on_step: Called with the name of each step as it begins.
    """

    certifier: AnyCertifier
    source: Fingerprints
    on_step: OnStep

    def entry(self, precision: Precision) -> AnyEntry | None:
        """Make the graph if it was not traced; return its entry, None where no CPU runs it."""
        folder, file = self.certifier.folder, graph_name(precision)
        match precision:
            case Precision.FP32:
                self.on_step("certifying on the CPU")
                known = [weights_check(self.source, folder / file)]
                return self.certifier.entry(precision, file, _cpu(), known=known)
            case Precision.FP16:
                return self._fp16(file)
            case Precision.BF16:
                return None
            case Precision.INT8 | Precision.W8 | Precision.W4:
                self.on_step(f"making the {precision} graph")
                make_graph(precision, folder / GRAPH, folder / file, self.certifier)
                self.on_step(f"certifying {precision} on the CPU")
                return self.certifier.entry(precision, file, _cpu())
            case _:
                assert_never(precision)

    def _fp16(self, file: str) -> AnyEntry:
        """All in float16 where that passes; else the products alone (``quantize/fp16.py``)."""
        path = self.certifier.folder / file
        self.on_step("certifying fp16 on the CPU")
        entry = self.certifier.entry(Precision.FP16, file, _cpu())
        if entry.passed:
            return entry
        self.on_step(f"fp16 throughout fails ({entry.failures}); keeping all but products in fp32")
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        make_graph(Precision.FP16, self.certifier.folder / GRAPH, path, self.certifier)
        return self.certifier.entry(Precision.FP16, file, _cpu())


def in_half(model: PooledModel, dtype: torch.dtype) -> PooledModel:
    """Return a copy whose backbone has weights of ``dtype``; buffers and the head keep float32.

    Transformers' rotary frequencies and embedding scales are buffers, and are cast where they are
    used. Weights are never in memory twice in float32.
    """
    cast: dict[int, object] = {
        id(weight): nn.Parameter(weight.detach().to(dtype), requires_grad=False)
        for weight in model.backbone.parameters()
    }
    backbone = copy.deepcopy(model.backbone, cast)
    return model.with_parts(backbone, model.recipe)


def _cpu() -> Place:
    return Place(provider=provider_name("cpu"))
