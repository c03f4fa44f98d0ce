"""A healthy graph, for tests that certify it or damage it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.embedders import Bundle, Pooling, Precision
from decant.embedders.onnx import CPU, Session
from decant.export.certify.checks import Subject
from decant.export.certify.probes import probe_rows
from decant.export.certify.reference import Reference


@pytest.fixture(scope="module")
def subject(tiny_bundle: Path) -> Subject:
    """Return the graph of the tiny bundle, ready to be certified or damaged."""
    bundle = Bundle.open(tiny_bundle)
    reference = Reference.read(tiny_bundle / "reference.npz")
    return Subject(
        run=Session(bundle.graph(Precision.FP32), CPU).run,
        rows=probe_rows(bundle.tokenizer(), reference.texts),
        reference=reference,
        pooling=Pooling.MEAN,
        precision=Precision.FP32,
        pad_id=0,
    )
