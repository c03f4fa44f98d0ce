"""Tell before all layers are rounded that a graph of few bits will miss its gates.

Every layer is rounded by itself, by what float32 states look like, so no later layer takes back
what an earlier one loses: what is lost grows with each. A graph that misses a gate by a margin
when only some of its layers are rounded is therefore given up. One that does not may still fail;
that is left to its certificate. Short probes alone are run, one by one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx_ir

from decant.embedders import ParityError, Precision
from decant.embedders.onnx import Session, provider_name
from decant.embedders.tokens import pad

from ..certify.any_certifier import AnyCertifier
from ..certify.checks import cosines_of
from ..certify.score_certifier import ScoreCertifier
from ..graph.external_data import save_graph, weights_of
from ..graph.layers import drop_unused

# Measured (experiments/log/2026-11-30-early-refusal-of-w4.md): a worst cosine rises by at most
# 0.003 on its way down, which is a twentieth of what may be lost.
_MARGIN = 1.1
_TOKENS = 32  # beside the prompt
_LARGEST = 2**31  # bytes of weights; to write more takes longer than is won


def refuse_hopeless(
    model: onnx_ir.Model, precision: Precision, home: Path, certifier: AnyCertifier, *, rounded: str
) -> None:
    """Refuse a graph some of whose layers are rounded, where it misses its gates already.

    Args:
        model: The graph; constants that nobody reads any more are dropped.
        precision: Whose gates.
        home: A folder, in which a file lies for the time of the call.
        certifier: Its tokenizer and reference.
        rounded: How many of its layers are, for the message: ``18 of 36``.

    Raises:
        ParityError: Too much is lost; the message says by how few layers.
    """
    drop_unused(model)
    if isinstance(certifier, ScoreCertifier):
        return  # the order of passages is judged at the end alone
    tensors = [value.const_value for value in weights_of(model)]
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > _LARGEST:
        return
    rows = certifier.rows()
    shortest = min(row.width for row in rows)
    numbers = [place for place, row in enumerate(rows) if row.width < shortest + _TOKENS]
    with tempfile.TemporaryDirectory(dir=home) as name:
        save_graph(model, Path(name) / "model.onnx")
        session = Session(Path(name) / "model.onnx", provider_name("cpu"))
    found = [session.run(pad([rows[place]], pad_id=certifier.pad_id)) for place in numbers]
    cosines = cosines_of(np.concatenate(found), certifier.reference.vectors[numbers])
    worst, mean = float(cosines.min()), float(cosines.mean())
    for kind, value, gate in zip(("worst", "mean"), (worst, mean), precision.gates, strict=True):
        if 1 - value > _MARGIN * (1 - gate):
            raise ParityError(
                f"rounding to {precision} loses too much on this model: with {rounded} layers "
                f"rounded the {kind} cosine is {value:.4f} already, and {gate} is asked of all; "
                "take int8 or w8"
            )
